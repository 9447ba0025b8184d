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
	source, err := w.Store.Sources().Get(w.Context(), p.Project, hook.SystemSource)
	w.Must(err)
	return source
}

func systemSourceIsThere(w *world) {
	for _, p := range []place{w.Home, w.Other} {
		if source := w.systemSource(p); !source.System || source.Version != 1 || source.CreatedAt.IsZero() {
			w.Errorf("the source is %+v", source)
		}
	}
	before := w.systemSource(w.Home)
	connection := hook.Connection{Project: w.Home.Project, Name: "notices", Source: before.ID, Destination: w.Home.Destination}
	w.Must(w.Store.Connections().Create(w.Context(), &connection))
	w.Restart()
	if after := w.systemSource(w.Home); after.ID != before.ID || after.Version != before.Version {
		w.Errorf("after a restart it is %+v, before it was %+v", after, before)
	}
}

func systemSourceStays(w *world) {
	ctx := w.Context()
	source := w.systemSource(w.Home)
	own := hook.Source{Project: w.Home.Project, Name: "mine", SourceSpec: hook.SourceSpec{System: true}}
	shop, err := w.Store.Sources().Get(ctx, w.Home.Project, "shop")
	w.Must(err)
	became, renamed, opened := shop, source, source
	became.System = true
	renamed.Name = "mine"
	opened.System = false
	deleted := source
	for what, err := range map[string]error{
		"making one":            w.Store.Sources().Create(ctx, &own),
		"taking its name":       w.Store.Sources().Create(ctx, &hook.Source{Project: w.Home.Project, Name: hook.SystemSource}),
		"turning one into it":   w.Store.Sources().Update(ctx, &became),
		"renaming it":           w.Store.Sources().Update(ctx, &renamed),
		"opening it":            w.Store.Sources().Update(ctx, &opened),
		"deleting it":           w.Store.Sources().Delete(ctx, w.Home.Project, hook.SystemSource),
		"deleting it by its id": w.Store.Sources().Delete(ctx, w.Home.Project, source.ID.String()),
		"a change that deletes": w.Store.Apply(ctx, w.Home.Project, []hook.Change{{Op: hook.OpDelete, Source: &deleted}}),
	} {
		if hook.KindOf(err) != hook.KindConflict || !strings.Contains(err.Error(), "system's own") && what != "taking its name" {
			w.Errorf("%s: %v, want a conflict that says why", what, err)
		}
	}
	if after := w.systemSource(w.Home); after.Version != 1 || !after.System {
		w.Errorf("it became %+v", after)
	}
}

func systemSourceGoes(w *world) {
	ctx := w.Context()
	id := w.systemSource(w.Other).ID
	err := w.Store.Projects().Delete(ctx, 0, "other")
	if hook.KindOf(err) != hook.KindConflict || strings.Contains(err.Error(), hook.SystemSource) || !strings.Contains(err.Error(), "shop") {
		w.Errorf("%v, want a conflict that names what people made", err)
	}
	w.Must(w.Store.Connections().Delete(ctx, w.Other.Project, "orders"))
	w.Must(w.Store.Sources().Delete(ctx, w.Other.Project, "shop"))
	w.Must(w.Store.Destinations().Delete(ctx, w.Other.Project, "erp"))
	w.Must(w.Store.Projects().Delete(ctx, 0, "other"))
	_, err = w.Store.Sources().Get(ctx, w.Other.Project, id.String())
	w.Wants(hook.KindNotFound, err)
	catalogue, err := w.Store.Catalogue(ctx)
	w.Must(err)
	for i := range catalogue.Sources {
		if catalogue.Sources[i].ID == id {
			w.Error("the source outlived its project")
		}
	}
}
