package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store/storetest/stage"
)

func catalogueTests() map[string]func(*world) {
	return map[string]func(*world){
		"everything comes back as it was stored":         nounsRoundTrip,
		"a name is taken once in a project":              namesAreUnique,
		"names differ by case":                           namesDifferByCase,
		"a bad name is refused":                          badNames,
		"another version changes nothing":                versionsGuardUpdates,
		"of two updates at once one wins":                updatesRace,
		"what others own is not found":                   nounsAreIsolated,
		"a connection stays in its project":              connectionsStayHome,
		"what a connection uses cannot be deleted":       usedNounsStay,
		"a project with content cannot be deleted":       projectsMustBeEmpty,
		"a deleted noun is gone and its name free":       deletedNounsAreGone,
		"deleting a connection cancels what waits":       deletedConnectionCancels,
		"a deleted connection takes nothing more":        deletedConnectionTakesNothing,
		"pages lead through all nouns both ways":         nounPages,
		"the catalogue is everything, and it has a pace": wholeCatalogue,
		"it outlives a crash":                            catalogueOutlivesCrash,
	}
}

func nounsRoundTrip(w *world) {
	ctx := w.Context()
	source := hook.Source{Project: w.Home.Project, Name: "full", SourceSpec: hook.SourceSpec{
		Provider: "shopify", Secret: "s3cret", Secrets: []hook.Secret{"older", "oldest"}, Settings: map[string]string{"url": "https://x"},
		Verify: &hook.Verify{HMAC: &hook.HMACRule{Hash: "sha1", SignatureRule: hook.SignatureRule{Header: "x-sig"}}},
		Type:   &hook.Field{Header: "x-type"}, Key: &hook.Field{Path: "id"},
		Dedupe: &hook.Dedupe{Field: hook.Field{Header: "x-id"}, Window: hook.Duration(time.Hour)},
		Reply:  &hook.Reply{Status: 202, Body: "ok"}, Methods: []string{"POST", "PUT"}, MaxBody: 12345, Disabled: true,
	}}
	w.Must(w.Store.Sources().Create(ctx, &source))
	jitter := 0.0
	destination := hook.Destination{Project: w.Home.Project, Name: "full", DestinationSpec: hook.DestinationSpec{
		HTTP: &hook.HTTPTarget{
			URL: "https://erp.example.com", Headers: map[string]string{"a": "b"}, Auth: &hook.Auth{Bearer: "t0ken"},
			Sign: &hook.Sign{None: true}, Timeout: hook.Duration(3 * time.Second),
		},
		Rate: hook.Rate{Count: 5, Per: time.Minute}, Concurrency: 3, Paused: true, PauseReason: "because",
	}}
	w.Must(w.Store.Destinations().Create(ctx, &destination))
	connection := hook.Connection{
		Project: w.Home.Project, Name: "full", Source: source.ID, Destination: destination.ID,
		ConnectionSpec: hook.ConnectionSpec{
			Types: []string{"a.*"}, Filter: "data.x > 1", Retry: hook.RetryPolicy{Schedule: []hook.Duration{1, 2}, Jitter: &jitter},
			Order: &hook.Order{Key: "data.id", Stuck: "park"}, Paused: true,
		},
	}
	w.Must(w.Store.Connections().Create(ctx, &connection))
	for _, ref := range []string{"full", source.ID.String()} {
		got, err := w.Store.Sources().Get(ctx, w.Home.Project, ref)
		w.Must(err)
		if diff := cmp.Diff(source, got); diff != "" {
			w.Errorf("source by %s:\n%s", ref, diff)
		}
	}
	gotDestination, err := w.Store.Destinations().Get(ctx, w.Home.Project, "full")
	w.Must(err)
	if diff := cmp.Diff(destination, gotDestination); diff != "" {
		w.Errorf("destination:\n%s", diff)
	}
	gotConnection, err := w.Store.Connections().Get(ctx, w.Home.Project, connection.ID.String())
	w.Must(err)
	if diff := cmp.Diff(connection, gotConnection); diff != "" {
		w.Errorf("connection:\n%s", diff)
	}
	if source.ID == 0 || source.Version != 1 || source.CreatedAt.IsZero() || source.CreatedAt.Location() != time.UTC ||
		!source.CreatedAt.Equal(source.CreatedAt.Truncate(time.Millisecond)) || !source.UpdatedAt.Equal(source.CreatedAt) {
		w.Errorf("a new source was filled with %v, version %d, %v, %v", source.ID, source.Version, source.CreatedAt, source.UpdatedAt)
	}
	source.Name, source.Secret, source.Secrets, source.Settings = "renamed", "new", nil, nil
	w.Must(w.Store.Sources().Update(ctx, &source))
	got, err := w.Store.Sources().Get(ctx, w.Home.Project, "renamed")
	w.Must(err)
	if diff := cmp.Diff(source, got); diff != "" || got.Version != 2 || got.Settings != nil {
		w.Errorf("after an update, version %d:\n%s", got.Version, diff)
	}
}

func namesAreUnique(w *world) {
	again := hook.Source{Project: w.Home.Project, Name: "shop"}
	w.Wants(hook.KindConflict, w.Store.Sources().Create(w.Context(), &again))
	if again.ID != 0 || again.Version != 0 {
		w.Errorf("what was not created was filled: %+v", again)
	}
	second := hook.Source{Project: w.Home.Project, Name: "second"}
	w.Must(w.Store.Sources().Create(w.Context(), &second))
	second.Name = "shop"
	w.Wants(hook.KindConflict, w.Store.Sources().Update(w.Context(), &second))
	w.Wants(hook.KindConflict, w.Store.Projects().Create(w.Context(), &hook.Project{Name: "default"}))
	w.Must(w.Store.Destinations().Create(w.Context(), &hook.Destination{Project: w.Home.Project, Name: "shop"}))
}

func namesDifferByCase(w *world) {
	upper := hook.Source{Project: w.Home.Project, Name: "SHOP"}
	w.Must(w.Store.Sources().Create(w.Context(), &upper))
	got, err := w.Store.Sources().Get(w.Context(), w.Home.Project, "shop")
	w.Must(err)
	if got.ID != w.Home.Source {
		w.Errorf("%q found %q", "shop", got.Name)
	}
	_, err = w.Store.Sources().Get(w.Context(), w.Home.Project, "Shop")
	w.Wants(hook.KindNotFound, err)
}

func badNames(w *world) {
	for _, name := range []string{"", "a b", "ü", strings.Repeat("x", hook.MaxName+1), w.Home.Source.String()} {
		err := w.Store.Sources().Create(w.Context(), &hook.Source{Project: w.Home.Project, Name: name})
		w.Wants(hook.KindInvalid, err)
		var e *hook.Error
		if !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Path != "name" {
			w.Errorf("the error for the name %q does not point at it: %v", name, err)
		}
	}
}

func versionsGuardUpdates(w *world) {
	mine, err := w.Store.Sources().Get(w.Context(), w.Home.Project, "shop")
	w.Must(err)
	yours := mine
	yours.Secret = "yours"
	w.Must(w.Store.Sources().Update(w.Context(), &yours))
	mine.Secret = "mine"
	before := mine
	w.Wants(hook.KindConflict, w.Store.Sources().Update(w.Context(), &mine))
	if diff := cmp.Diff(before, mine); diff != "" {
		w.Errorf("a refused update changed what it was given:\n%s", diff)
	}
	got, err := w.Store.Sources().Get(w.Context(), w.Home.Project, "shop")
	w.Must(err)
	if got.Secret != "yours" || got.Version != 2 {
		w.Errorf("stored %q, version %d", got.Secret.Reveal(), got.Version)
	}
	w.Wants(hook.KindNotFound, w.Store.Sources().Update(w.Context(), &hook.Source{ID: 12345, Project: w.Home.Project, Name: "none", Version: 1}))
}

func updatesRace(w *world) {
	const racers = 8
	read, err := w.Store.Sources().Get(w.Context(), w.Home.Project, "shop")
	w.Must(err)
	results := make([]error, racers)
	var group sync.WaitGroup
	for i := range racers {
		group.Go(func() {
			mine := read
			mine.Secret = hook.Secret(fmt.Sprint(i))
			results[i] = w.Store.Sources().Update(w.Context(), &mine)
		})
	}
	group.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else {
			w.Wants(hook.KindConflict, err)
		}
	}
	if won != 1 {
		w.Errorf("%d of %d updates of one version went through", won, racers)
	}
}

func nounsAreIsolated(w *world) {
	ctx, mine, theirs := w.Context(), w.Home, w.Other
	_, err := w.Store.Sources().Get(ctx, mine.Project, theirs.Source.String())
	w.Wants(hook.KindNotFound, err)
	_, err = w.Store.Destinations().Get(ctx, mine.Project, theirs.Destination.String())
	w.Wants(hook.KindNotFound, err)
	_, err = w.Store.Connections().Get(ctx, mine.Project, theirs.Connection.String())
	w.Wants(hook.KindNotFound, err)
	w.Wants(hook.KindNotFound, w.Store.Connections().Delete(ctx, mine.Project, theirs.Connection.String()))
	stolen, err := w.Store.Sources().Get(ctx, theirs.Project, "shop")
	w.Must(err)
	stolen.Project = mine.Project
	w.Wants(hook.KindNotFound, w.Store.Sources().Update(ctx, &stolen))
	list, err := w.Store.Sources().List(ctx, mine.Project, page.Request{})
	w.Must(err)
	if len(list.Items) != 2 || !list.Items[0].System || list.Items[1].ID != mine.Source {
		w.Errorf("the list of a project's sources has %d items, want its own and its notices'", len(list.Items))
	}
}

func connectionsStayHome(w *world) {
	for _, connection := range []hook.Connection{
		{Project: w.Home.Project, Name: "a", Source: w.Other.Source, Destination: w.Home.Destination},
		{Project: w.Home.Project, Name: "b", Source: w.Home.Source, Destination: w.Other.Destination},
		{Project: w.Home.Project, Name: "c"},
	} {
		w.Wants(hook.KindInvalid, w.Store.Connections().Create(w.Context(), &connection))
	}
	w.Wants(hook.KindNotFound, w.Store.Sources().Create(w.Context(), &hook.Source{Project: 999, Name: "lost"}))
	existing, err := w.Store.Connections().Get(w.Context(), w.Home.Project, "orders")
	w.Must(err)
	existing.Destination = w.Other.Destination
	w.Wants(hook.KindInvalid, w.Store.Connections().Update(w.Context(), &existing))
}

func usedNounsStay(w *world) {
	for noun, err := range map[string]error{
		"source":      w.Store.Sources().Delete(w.Context(), w.Home.Project, "shop"),
		"destination": w.Store.Destinations().Delete(w.Context(), w.Home.Project, "erp"),
	} {
		w.Wants(hook.KindConflict, err)
		if err != nil && !strings.Contains(err.Error(), `"orders"`) {
			w.Errorf("the error for the %s does not name the connection: %v", noun, err)
		}
	}
	w.Must(w.Store.Connections().Delete(w.Context(), w.Home.Project, "orders"))
	w.Must(w.Store.Sources().Delete(w.Context(), w.Home.Project, "shop"))
	w.Must(w.Store.Destinations().Delete(w.Context(), w.Home.Project, "erp"))
}

func projectsMustBeEmpty(w *world) {
	err := w.Store.Projects().Delete(w.Context(), 0, "other")
	w.Wants(hook.KindConflict, err)
	if err != nil && !strings.Contains(err.Error(), `"shop"`) {
		w.Errorf("the error does not name what is inside: %v", err)
	}
	w.Must(w.Store.Connections().Delete(w.Context(), w.Other.Project, "orders"))
	w.Must(w.Store.Sources().Delete(w.Context(), w.Other.Project, "shop"))
	w.Must(w.Store.Destinations().Delete(w.Context(), w.Other.Project, "erp"))
	w.Must(w.Store.Projects().Delete(w.Context(), 0, "other"))
	_, err = w.Store.Projects().Get(w.Context(), 0, "other")
	w.Wants(hook.KindNotFound, err)
}

func deletedNounsAreGone(w *world) {
	w.Must(w.Store.Connections().Delete(w.Context(), w.Home.Project, w.Home.Connection.String()))
	_, err := w.Store.Connections().Get(w.Context(), w.Home.Project, "orders")
	w.Wants(hook.KindNotFound, err)
	w.Wants(hook.KindNotFound, w.Store.Connections().Delete(w.Context(), w.Home.Project, "orders"))
	if again := w.Connect(w.Home, "orders"); again == w.Home.Connection {
		w.Error("a new connection has the id of a deleted one")
	}
}

func deletedConnectionCancels(w *world) {
	pending, held := w.Waiting(w.Home), w.Waiting(w.Home)
	_, err := w.Store.Hold(w.Context(), stage.ByConnection(w.Home), "paused")
	w.Must(err)
	_, err = w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{pending}, w.Now)
	w.Must(err)
	failed := w.Inline(w.Home)
	w.EndFailed(failed)
	sending := w.Inline(w.Home)
	w.Must(w.Store.Connections().Delete(w.Context(), w.Home.Project, "orders"))
	for _, id := range []hook.DeliveryID{pending, held} {
		if d := w.InState(w.Home, id, hook.StateCanceled); d.Reason == "" || d.NextAttemptAt != nil {
			w.Errorf("canceled with the reason %q, next attempt %v", d.Reason, d.NextAttemptAt)
		}
	}
	w.InState(w.Home, failed.Delivery.ID, hook.StateFailed)
	w.Settle(hook.Settlement{Job: sending, State: hook.StatePending, Next: w.Now, Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	w.InState(w.Home, sending.Delivery.ID, hook.StateCanceled)
	n, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{failed.Delivery.ID}, w.Now)
	w.Must(err)
	if n != 0 {
		w.Error("a delivery of a deleted connection was retried")
	}
	if got := w.Deliveries(stage.QueryOf(w.Home)); len(got) != 4 {
		w.Errorf("the log shows %d of the deleted connection's 4 deliveries", len(got))
	}
	w.WantBacklog(w.Home, "failed=1")
}

func deletedConnectionTakesNothing(w *world) {
	w.Must(w.Store.Connections().Delete(w.Context(), w.Home.Project, "orders"))
	late := w.Waiting(w.Home) // A router that has not heard of it yet.
	w.InState(w.Home, late, hook.StateCanceled)
	succeeded := w.Inline(w.Home)
	w.Succeed(succeeded)
	w.InState(w.Home, succeeded.Delivery.ID, hook.StateSucceeded)
	w.Crash()
	w.Reclaim()
	late = w.Waiting(w.Home)
	w.InState(w.Home, late, hook.StateCanceled)
	if jobs := w.Claim(w.Home, 10); jobs != nil {
		w.Errorf("%d deliveries of a deleted connection were claimed", len(jobs))
	}
}

func nounPages(w *world) {
	for i := range 7 {
		w.Must(w.Store.Sources().Create(w.Context(), &hook.Source{Project: w.Home.Project, Name: fmt.Sprint("s", i)}))
	}
	names := func(p page.Page[hook.Source]) (list []string) {
		for i := range p.Items {
			list = append(list, p.Items[i].Name)
		}
		return list
	}
	var all []string
	var pages []page.Page[hook.Source]
	req := page.Request{Limit: 3}
	for {
		p, err := w.Store.Sources().List(w.Context(), w.Home.Project, req)
		w.Must(err)
		all, pages = append(all, names(p)...), append(pages, p)
		if p.Done {
			break
		}
		req.From = p.Last
	}
	if want := []string{hook.SystemSource, "shop", "s0", "s1", "s2", "s3", "s4", "s5", "s6"}; !cmp.Equal(all, want) || len(pages) != 3 {
		w.Errorf("walked over %v in %d pages, want %v in 3", all, len(pages), want)
	}
	back, err := w.Store.Sources().List(w.Context(), w.Home.Project, page.Request{Limit: 3, From: pages[2].First, Back: true})
	w.Must(err)
	if diff := cmp.Diff(names(pages[1]), names(back)); diff != "" || back.Done {
		w.Errorf("walking back from the third page (done: %v):\n%s", back.Done, diff)
	}
	back, err = w.Store.Sources().List(w.Context(), w.Home.Project, page.Request{Limit: 3, From: pages[1].First, Back: true})
	w.Must(err)
	if diff := cmp.Diff(names(pages[0]), names(back)); diff != "" || !back.Done {
		w.Errorf("walking back to the first page (done: %v):\n%s", back.Done, diff)
	}
	empty, err := w.Store.Sources().List(w.Context(), 999, page.Request{})
	w.Must(err)
	if empty.Items != nil || !empty.Done || empty.First != 0 || empty.Last != 0 {
		w.Errorf("an empty list is %+v", empty)
	}
}

func wholeCatalogue(w *world) {
	before, err := w.Store.Catalogue(w.Context())
	w.Must(err)
	if len(before.Projects) != 2 || len(before.Sources) != 4 || len(before.Destinations) != 2 || len(before.Connections) != 2 {
		w.Errorf("%d projects, %d sources, %d destinations, %d connections; want 2 of each, and 2 sources of notices",
			len(before.Projects), len(before.Sources), len(before.Destinations), len(before.Connections))
	}
	w.Must(w.Store.Sources().Create(w.Context(), &hook.Source{Project: w.Home.Project, Name: "third"}))
	w.Wants(hook.KindConflict, w.Store.Sources().Create(w.Context(), &hook.Source{Project: w.Home.Project, Name: "third"}))
	after, err := w.Store.Catalogue(w.Context())
	w.Must(err)
	if after.Revision != before.Revision+1 {
		w.Errorf("the revision went from %d to %d by one change and a refused one", before.Revision, after.Revision)
	}
}

func catalogueOutlivesCrash(w *world) {
	w.Must(w.Store.Sources().Create(w.Context(), &hook.Source{Project: w.Home.Project, Name: "third", SourceSpec: hook.SourceSpec{Secret: "s"}}))
	before, err := w.Store.Catalogue(w.Context())
	w.Must(err)
	w.Crash()
	after, err := w.Store.Catalogue(w.Context())
	w.Must(err)
	if diff := cmp.Diff(before, after); diff != "" {
		w.Errorf("the catalogue before and after a crash:\n%s", diff)
	}
}

func applyTests() map[string]func(*world) {
	return map[string]func(*world){
		"a plan is made as a whole":              applyWhole,
		"or not at all":                          applyNothing,
		"a plan is confined to its project":      applyIsolated,
		"deleting in a plan cancels what waits":  applyCancels,
		"an update in a plan minds the version":  applyMindsVersions,
		"an empty or unknown change is an error": applyRefusesNonsense,
	}
}

func applyWhole(w *world) {
	shop, err := w.Store.Sources().Get(w.Context(), w.Home.Project, "shop")
	w.Must(err)
	shop.Secret = "changed"
	source, destination := &hook.Source{Name: "new"}, &hook.Destination{Name: "new"}
	both, half := &hook.Connection{Name: "both"}, &hook.Connection{Name: "half", Source: w.Home.Source}
	w.Must(w.Store.Apply(w.Context(), w.Home.Project, []hook.Change{
		{Op: hook.OpCreate, Source: source},
		{Op: hook.OpCreate, Destination: destination},
		{Op: hook.OpCreate, Connection: both, From: "new", To: "new"},
		{Op: hook.OpCreate, Connection: half, To: "new"},
		{Op: hook.OpUpdate, Source: &shop},
		{Op: hook.OpDelete, Connection: &hook.Connection{ID: w.Home.Connection}},
	}))
	if source.ID == 0 || both.Source != source.ID || both.Destination != destination.ID || half.Destination != destination.ID || shop.Version != 2 {
		w.Errorf("the plan's nouns were not filled: %+v %+v", both, half)
	}
	got, err := w.Store.Connections().Get(w.Context(), w.Home.Project, "both")
	w.Must(err)
	if diff := cmp.Diff(*both, got); diff != "" {
		w.Error(diff)
	}
	_, err = w.Store.Connections().Get(w.Context(), w.Home.Project, "orders")
	w.Wants(hook.KindNotFound, err)
}

func applyNothing(w *world) {
	before, err := w.Store.Catalogue(w.Context())
	w.Must(err)
	source := &hook.Source{Name: "new"}
	err = w.Store.Apply(w.Context(), w.Home.Project, []hook.Change{
		{Op: hook.OpCreate, Source: source},
		{Op: hook.OpDelete, Connection: &hook.Connection{ID: w.Home.Connection}},
		{Op: hook.OpCreate, Destination: &hook.Destination{Name: "erp"}},
	})
	w.Wants(hook.KindConflict, err)
	after, err := w.Store.Catalogue(w.Context())
	w.Must(err)
	if diff := cmp.Diff(before, after); diff != "" || source.ID != 0 {
		w.Errorf("a failed plan left something behind (source %v):\n%s", source.ID, diff)
	}
	waiting := w.Waiting(w.Home)
	w.InState(w.Home, waiting, hook.StatePending)
}

func applyIsolated(w *world) {
	err := w.Store.Apply(w.Context(), w.Home.Project, []hook.Change{{Op: hook.OpDelete, Connection: &hook.Connection{ID: w.Other.Connection}}})
	w.Wants(hook.KindNotFound, err)
	err = w.Store.Apply(w.Context(), w.Home.Project, []hook.Change{
		{Op: hook.OpCreate, Connection: &hook.Connection{Name: "x", Source: w.Other.Source, Destination: w.Home.Destination}},
	})
	w.Wants(hook.KindInvalid, err)
}

func applyCancels(w *world) {
	id := w.Waiting(w.Home)
	w.Must(w.Store.Apply(w.Context(), w.Home.Project, []hook.Change{{Op: hook.OpDelete, Connection: &hook.Connection{ID: w.Home.Connection}}}))
	w.InState(w.Home, id, hook.StateCanceled)
}

func applyMindsVersions(w *world) {
	err := w.Store.Apply(w.Context(), w.Home.Project, []hook.Change{{Op: hook.OpUpdate, Source: &hook.Source{ID: w.Home.Source, Name: "shop", Version: 7}}})
	w.Wants(hook.KindConflict, err)
}

func applyRefusesNonsense(w *world) {
	w.Wants(hook.KindInvalid, w.Store.Apply(w.Context(), w.Home.Project, []hook.Change{{Op: hook.OpCreate}}))
	w.Wants(hook.KindInvalid, w.Store.Apply(w.Context(), w.Home.Project, []hook.Change{{Op: "replace", Source: &hook.Source{Name: "x"}}}))
	w.Wants(hook.KindNotFound, w.Store.Apply(w.Context(), w.Home.Project, []hook.Change{
		{Op: hook.OpCreate, Connection: &hook.Connection{Name: "x"}, From: "nobody", To: "erp"},
	}))
	w.Must(w.Store.Apply(w.Context(), w.Home.Project, nil))
}
