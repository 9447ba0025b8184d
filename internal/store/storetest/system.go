package storetest

import (
	"strings"

	"malote.dev/malote/internal/hook"
)

func systemTests() map[string]func(*world) {
	return map[string]func(*world){
		"every project has the source of its notices": systemSourceIsThere,
		"nobody makes, changes or deletes it":         systemSourceStays,
		"it goes with its project":                    systemSourceGoes,
	}
}

// systemSource returns the source of a project's notices.
func (w *world) systemSource(p place) hook.Source {
	w.Helper()
	source, err := w.store.Sources().Get(w.Context(), p.project, hook.SystemSource)
	w.must(err)
	return source
}

func systemSourceIsThere(w *world) {
	for _, p := range []place{w.home, w.other} {
		if source := w.systemSource(p); !source.System || source.Version != 1 || source.CreatedAt.IsZero() {
			w.Errorf("the source is %+v", source)
		}
	}
	before := w.systemSource(w.home)
	connection := hook.Connection{Project: w.home.project, Name: "notices", Source: before.ID, Destination: w.home.destination}
	w.must(w.store.Connections().Create(w.Context(), &connection))
	w.restart()
	if after := w.systemSource(w.home); after.ID != before.ID || after.Version != before.Version {
		w.Errorf("after a restart it is %+v, before it was %+v", after, before)
	}
}

func systemSourceStays(w *world) {
	ctx := w.Context()
	source := w.systemSource(w.home)
	own := hook.Source{Project: w.home.project, Name: "mine", SourceSpec: hook.SourceSpec{System: true}}
	shop, err := w.store.Sources().Get(ctx, w.home.project, "shop")
	w.must(err)
	became, renamed, opened := shop, source, source
	became.System = true
	renamed.Name = "mine"
	opened.System = false
	deleted := source
	for what, err := range map[string]error{
		"making one":            w.store.Sources().Create(ctx, &own),
		"taking its name":       w.store.Sources().Create(ctx, &hook.Source{Project: w.home.project, Name: hook.SystemSource}),
		"turning one into it":   w.store.Sources().Update(ctx, &became),
		"renaming it":           w.store.Sources().Update(ctx, &renamed),
		"opening it":            w.store.Sources().Update(ctx, &opened),
		"deleting it":           w.store.Sources().Delete(ctx, w.home.project, hook.SystemSource),
		"deleting it by its id": w.store.Sources().Delete(ctx, w.home.project, source.ID.String()),
		"a change that deletes": w.store.Apply(ctx, w.home.project, []hook.Change{{Op: hook.OpDelete, Source: &deleted}}),
	} {
		if hook.KindOf(err) != hook.KindConflict || !strings.Contains(err.Error(), "system's own") && what != "taking its name" {
			w.Errorf("%s: %v, want a conflict that says why", what, err)
		}
	}
	if after := w.systemSource(w.home); after.Version != 1 || !after.System {
		w.Errorf("it became %+v", after)
	}
}

func systemSourceGoes(w *world) {
	ctx := w.Context()
	id := w.systemSource(w.other).ID
	err := w.store.Projects().Delete(ctx, 0, "other")
	if hook.KindOf(err) != hook.KindConflict || strings.Contains(err.Error(), hook.SystemSource) || !strings.Contains(err.Error(), "shop") {
		w.Errorf("%v, want a conflict that names what people made", err)
	}
	w.must(w.store.Connections().Delete(ctx, w.other.project, "orders"))
	w.must(w.store.Sources().Delete(ctx, w.other.project, "shop"))
	w.must(w.store.Destinations().Delete(ctx, w.other.project, "erp"))
	w.must(w.store.Projects().Delete(ctx, 0, "other"))
	_, err = w.store.Sources().Get(ctx, w.other.project, id.String())
	w.wants(hook.KindNotFound, err)
	catalogue, err := w.store.Catalogue(ctx)
	w.must(err)
	for i := range catalogue.Sources {
		if catalogue.Sources[i].ID == id {
			w.Error("the source outlived its project")
		}
	}
}
