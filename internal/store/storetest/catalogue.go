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
	source := hook.Source{Project: w.home.project, Name: "full", SourceSpec: hook.SourceSpec{
		Provider: "shopify", Secret: "s3cret", Secrets: []hook.Secret{"older", "oldest"}, Settings: map[string]string{"url": "https://x"},
		Verify: &hook.Verify{HMAC: &hook.HMACRule{Hash: "sha1", SignatureRule: hook.SignatureRule{Header: "x-sig"}}},
		Type:   &hook.Field{Header: "x-type"}, Key: &hook.Field{Path: "id"},
		Dedupe: &hook.Dedupe{Field: hook.Field{Header: "x-id"}, Window: hook.Duration(time.Hour)},
		Reply:  &hook.Reply{Status: 202, Body: "ok"}, Methods: []string{"POST", "PUT"}, MaxBody: 12345, Disabled: true,
	}}
	w.must(w.store.Sources().Create(ctx, &source))
	jitter := 0.0
	destination := hook.Destination{Project: w.home.project, Name: "full", DestinationSpec: hook.DestinationSpec{
		HTTP: &hook.HTTPTarget{
			URL: "https://erp.example.com", Headers: map[string]string{"a": "b"}, Auth: &hook.Auth{Bearer: "t0ken"},
			Sign: &hook.Sign{None: true}, Timeout: hook.Duration(3 * time.Second),
		},
		Rate: hook.Rate{Count: 5, Per: time.Minute}, Concurrency: 3, Paused: true, PauseReason: "because",
	}}
	w.must(w.store.Destinations().Create(ctx, &destination))
	connection := hook.Connection{
		Project: w.home.project, Name: "full", Source: source.ID, Destination: destination.ID,
		ConnectionSpec: hook.ConnectionSpec{
			Types: []string{"a.*"}, Filter: "data.x > 1", Retry: hook.RetryPolicy{Schedule: []hook.Duration{1, 2}, Jitter: &jitter},
			Order: &hook.Order{Key: "data.id", Stuck: "park"}, Paused: true,
		},
	}
	w.must(w.store.Connections().Create(ctx, &connection))
	for _, ref := range []string{"full", source.ID.String()} {
		got, err := w.store.Sources().Get(ctx, w.home.project, ref)
		w.must(err)
		if diff := cmp.Diff(source, got); diff != "" {
			w.Errorf("source by %s:\n%s", ref, diff)
		}
	}
	gotDestination, err := w.store.Destinations().Get(ctx, w.home.project, "full")
	w.must(err)
	if diff := cmp.Diff(destination, gotDestination); diff != "" {
		w.Errorf("destination:\n%s", diff)
	}
	gotConnection, err := w.store.Connections().Get(ctx, w.home.project, connection.ID.String())
	w.must(err)
	if diff := cmp.Diff(connection, gotConnection); diff != "" {
		w.Errorf("connection:\n%s", diff)
	}
	if source.ID == 0 || source.Version != 1 || source.CreatedAt.IsZero() || source.CreatedAt.Location() != time.UTC ||
		!source.CreatedAt.Equal(source.CreatedAt.Truncate(time.Millisecond)) || !source.UpdatedAt.Equal(source.CreatedAt) {
		w.Errorf("a new source was filled with %v, version %d, %v, %v", source.ID, source.Version, source.CreatedAt, source.UpdatedAt)
	}
	source.Name, source.Secret, source.Secrets, source.Settings = "renamed", "new", nil, nil
	w.must(w.store.Sources().Update(ctx, &source))
	got, err := w.store.Sources().Get(ctx, w.home.project, "renamed")
	w.must(err)
	if diff := cmp.Diff(source, got); diff != "" || got.Version != 2 || got.Settings != nil {
		w.Errorf("after an update, version %d:\n%s", got.Version, diff)
	}
}

func namesAreUnique(w *world) {
	again := hook.Source{Project: w.home.project, Name: "shop"}
	w.wants(hook.KindConflict, w.store.Sources().Create(w.Context(), &again))
	if again.ID != 0 || again.Version != 0 {
		w.Errorf("what was not created was filled: %+v", again)
	}
	second := hook.Source{Project: w.home.project, Name: "second"}
	w.must(w.store.Sources().Create(w.Context(), &second))
	second.Name = "shop"
	w.wants(hook.KindConflict, w.store.Sources().Update(w.Context(), &second))
	w.wants(hook.KindConflict, w.store.Projects().Create(w.Context(), &hook.Project{Name: "default"}))
	w.must(w.store.Destinations().Create(w.Context(), &hook.Destination{Project: w.home.project, Name: "shop"}))
}

func namesDifferByCase(w *world) {
	upper := hook.Source{Project: w.home.project, Name: "SHOP"}
	w.must(w.store.Sources().Create(w.Context(), &upper))
	got, err := w.store.Sources().Get(w.Context(), w.home.project, "shop")
	w.must(err)
	if got.ID != w.home.source {
		w.Errorf("%q found %q", "shop", got.Name)
	}
	_, err = w.store.Sources().Get(w.Context(), w.home.project, "Shop")
	w.wants(hook.KindNotFound, err)
}

func badNames(w *world) {
	for _, name := range []string{"", "a b", "ü", strings.Repeat("x", hook.MaxName+1), w.home.source.String()} {
		err := w.store.Sources().Create(w.Context(), &hook.Source{Project: w.home.project, Name: name})
		w.wants(hook.KindInvalid, err)
		var e *hook.Error
		if !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Path != "name" {
			w.Errorf("the error for the name %q does not point at it: %v", name, err)
		}
	}
}

func versionsGuardUpdates(w *world) {
	mine, err := w.store.Sources().Get(w.Context(), w.home.project, "shop")
	w.must(err)
	yours := mine
	yours.Secret = "yours"
	w.must(w.store.Sources().Update(w.Context(), &yours))
	mine.Secret = "mine"
	before := mine
	w.wants(hook.KindConflict, w.store.Sources().Update(w.Context(), &mine))
	if diff := cmp.Diff(before, mine); diff != "" {
		w.Errorf("a refused update changed what it was given:\n%s", diff)
	}
	got, err := w.store.Sources().Get(w.Context(), w.home.project, "shop")
	w.must(err)
	if got.Secret != "yours" || got.Version != 2 {
		w.Errorf("stored %q, version %d", got.Secret.Reveal(), got.Version)
	}
	w.wants(hook.KindNotFound, w.store.Sources().Update(w.Context(), &hook.Source{ID: 12345, Project: w.home.project, Name: "none", Version: 1}))
}

func updatesRace(w *world) {
	const racers = 8
	read, err := w.store.Sources().Get(w.Context(), w.home.project, "shop")
	w.must(err)
	results := make([]error, racers)
	var group sync.WaitGroup
	for i := range racers {
		group.Go(func() {
			mine := read
			mine.Secret = hook.Secret(fmt.Sprint(i))
			results[i] = w.store.Sources().Update(w.Context(), &mine)
		})
	}
	group.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else {
			w.wants(hook.KindConflict, err)
		}
	}
	if won != 1 {
		w.Errorf("%d of %d updates of one version went through", won, racers)
	}
}

func nounsAreIsolated(w *world) {
	ctx, mine, theirs := w.Context(), w.home, w.other
	_, err := w.store.Sources().Get(ctx, mine.project, theirs.source.String())
	w.wants(hook.KindNotFound, err)
	_, err = w.store.Destinations().Get(ctx, mine.project, theirs.destination.String())
	w.wants(hook.KindNotFound, err)
	_, err = w.store.Connections().Get(ctx, mine.project, theirs.connection.String())
	w.wants(hook.KindNotFound, err)
	w.wants(hook.KindNotFound, w.store.Connections().Delete(ctx, mine.project, theirs.connection.String()))
	stolen, err := w.store.Sources().Get(ctx, theirs.project, "shop")
	w.must(err)
	stolen.Project = mine.project
	w.wants(hook.KindNotFound, w.store.Sources().Update(ctx, &stolen))
	list, err := w.store.Sources().List(ctx, mine.project, page.Request{})
	w.must(err)
	if len(list.Items) != 2 || !list.Items[0].System || list.Items[1].ID != mine.source {
		w.Errorf("the list of a project's sources has %d items, want its own and its notices'", len(list.Items))
	}
}

func connectionsStayHome(w *world) {
	for _, connection := range []hook.Connection{
		{Project: w.home.project, Name: "a", Source: w.other.source, Destination: w.home.destination},
		{Project: w.home.project, Name: "b", Source: w.home.source, Destination: w.other.destination},
		{Project: w.home.project, Name: "c"},
	} {
		w.wants(hook.KindInvalid, w.store.Connections().Create(w.Context(), &connection))
	}
	w.wants(hook.KindNotFound, w.store.Sources().Create(w.Context(), &hook.Source{Project: 999, Name: "lost"}))
	existing, err := w.store.Connections().Get(w.Context(), w.home.project, "orders")
	w.must(err)
	existing.Destination = w.other.destination
	w.wants(hook.KindInvalid, w.store.Connections().Update(w.Context(), &existing))
}

func usedNounsStay(w *world) {
	for noun, err := range map[string]error{
		"source":      w.store.Sources().Delete(w.Context(), w.home.project, "shop"),
		"destination": w.store.Destinations().Delete(w.Context(), w.home.project, "erp"),
	} {
		w.wants(hook.KindConflict, err)
		if err != nil && !strings.Contains(err.Error(), `"orders"`) {
			w.Errorf("the error for the %s does not name the connection: %v", noun, err)
		}
	}
	w.must(w.store.Connections().Delete(w.Context(), w.home.project, "orders"))
	w.must(w.store.Sources().Delete(w.Context(), w.home.project, "shop"))
	w.must(w.store.Destinations().Delete(w.Context(), w.home.project, "erp"))
}

func projectsMustBeEmpty(w *world) {
	err := w.store.Projects().Delete(w.Context(), 0, "other")
	w.wants(hook.KindConflict, err)
	if err != nil && !strings.Contains(err.Error(), `"shop"`) {
		w.Errorf("the error does not name what is inside: %v", err)
	}
	w.must(w.store.Connections().Delete(w.Context(), w.other.project, "orders"))
	w.must(w.store.Sources().Delete(w.Context(), w.other.project, "shop"))
	w.must(w.store.Destinations().Delete(w.Context(), w.other.project, "erp"))
	w.must(w.store.Projects().Delete(w.Context(), 0, "other"))
	_, err = w.store.Projects().Get(w.Context(), 0, "other")
	w.wants(hook.KindNotFound, err)
}

func deletedNounsAreGone(w *world) {
	w.must(w.store.Connections().Delete(w.Context(), w.home.project, w.home.connection.String()))
	_, err := w.store.Connections().Get(w.Context(), w.home.project, "orders")
	w.wants(hook.KindNotFound, err)
	w.wants(hook.KindNotFound, w.store.Connections().Delete(w.Context(), w.home.project, "orders"))
	if again := w.connect(w.home, "orders"); again == w.home.connection {
		w.Error("a new connection has the id of a deleted one")
	}
}

func deletedConnectionCancels(w *world) {
	pending, held := w.waiting(w.home), w.waiting(w.home)
	_, err := w.store.Hold(w.Context(), holdOne(w.home), "paused")
	w.must(err)
	_, err = w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{pending}, w.now)
	w.must(err)
	failed := w.inline(w.home)
	w.fail(failed)
	sending := w.inline(w.home)
	w.must(w.store.Connections().Delete(w.Context(), w.home.project, "orders"))
	for _, id := range []hook.DeliveryID{pending, held} {
		if d := w.inState(w.home, id, hook.StateCanceled); d.Reason == "" || d.NextAttemptAt != nil {
			w.Errorf("canceled with the reason %q, next attempt %v", d.Reason, d.NextAttemptAt)
		}
	}
	w.inState(w.home, failed.Delivery.ID, hook.StateFailed)
	w.settle(hook.Settlement{Job: sending, State: hook.StatePending, Next: w.now, Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	w.inState(w.home, sending.Delivery.ID, hook.StateCanceled)
	n, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{failed.Delivery.ID}, w.now)
	w.must(err)
	if n != 0 {
		w.Error("a delivery of a deleted connection was retried")
	}
	if got := w.deliveries(queryOf(w.home)); len(got) != 4 {
		w.Errorf("the log shows %d of the deleted connection's 4 deliveries", len(got))
	}
	w.wantBacklog(w.home, "failed=1")
}

func deletedConnectionTakesNothing(w *world) {
	w.must(w.store.Connections().Delete(w.Context(), w.home.project, "orders"))
	late := w.waiting(w.home) // A router that has not heard of it yet.
	w.inState(w.home, late, hook.StateCanceled)
	succeeded := w.inline(w.home)
	w.succeed(succeeded)
	w.inState(w.home, succeeded.Delivery.ID, hook.StateSucceeded)
	w.crash()
	w.reclaim()
	late = w.waiting(w.home)
	w.inState(w.home, late, hook.StateCanceled)
	if jobs := w.claim(w.home, 10); jobs != nil {
		w.Errorf("%d deliveries of a deleted connection were claimed", len(jobs))
	}
}

func nounPages(w *world) {
	for i := range 7 {
		w.must(w.store.Sources().Create(w.Context(), &hook.Source{Project: w.home.project, Name: fmt.Sprint("s", i)}))
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
		p, err := w.store.Sources().List(w.Context(), w.home.project, req)
		w.must(err)
		all, pages = append(all, names(p)...), append(pages, p)
		if p.Done {
			break
		}
		req.From = p.Last
	}
	if want := []string{hook.SystemSource, "shop", "s0", "s1", "s2", "s3", "s4", "s5", "s6"}; !cmp.Equal(all, want) || len(pages) != 3 {
		w.Errorf("walked over %v in %d pages, want %v in 3", all, len(pages), want)
	}
	back, err := w.store.Sources().List(w.Context(), w.home.project, page.Request{Limit: 3, From: pages[2].First, Back: true})
	w.must(err)
	if diff := cmp.Diff(names(pages[1]), names(back)); diff != "" || back.Done {
		w.Errorf("walking back from the third page (done: %v):\n%s", back.Done, diff)
	}
	back, err = w.store.Sources().List(w.Context(), w.home.project, page.Request{Limit: 3, From: pages[1].First, Back: true})
	w.must(err)
	if diff := cmp.Diff(names(pages[0]), names(back)); diff != "" || !back.Done {
		w.Errorf("walking back to the first page (done: %v):\n%s", back.Done, diff)
	}
	empty, err := w.store.Sources().List(w.Context(), 999, page.Request{})
	w.must(err)
	if empty.Items != nil || !empty.Done || empty.First != 0 || empty.Last != 0 {
		w.Errorf("an empty list is %+v", empty)
	}
}

func wholeCatalogue(w *world) {
	before, err := w.store.Catalogue(w.Context())
	w.must(err)
	if len(before.Projects) != 2 || len(before.Sources) != 4 || len(before.Destinations) != 2 || len(before.Connections) != 2 {
		w.Errorf("%d projects, %d sources, %d destinations, %d connections; want 2 of each, and 2 sources of notices",
			len(before.Projects), len(before.Sources), len(before.Destinations), len(before.Connections))
	}
	w.must(w.store.Sources().Create(w.Context(), &hook.Source{Project: w.home.project, Name: "third"}))
	w.wants(hook.KindConflict, w.store.Sources().Create(w.Context(), &hook.Source{Project: w.home.project, Name: "third"}))
	after, err := w.store.Catalogue(w.Context())
	w.must(err)
	if after.Revision != before.Revision+1 {
		w.Errorf("the revision went from %d to %d by one change and a refused one", before.Revision, after.Revision)
	}
}

func catalogueOutlivesCrash(w *world) {
	w.must(w.store.Sources().Create(w.Context(), &hook.Source{Project: w.home.project, Name: "third", SourceSpec: hook.SourceSpec{Secret: "s"}}))
	before, err := w.store.Catalogue(w.Context())
	w.must(err)
	w.crash()
	after, err := w.store.Catalogue(w.Context())
	w.must(err)
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
	shop, err := w.store.Sources().Get(w.Context(), w.home.project, "shop")
	w.must(err)
	shop.Secret = "changed"
	source, destination := &hook.Source{Name: "new"}, &hook.Destination{Name: "new"}
	both, half := &hook.Connection{Name: "both"}, &hook.Connection{Name: "half", Source: w.home.source}
	w.must(w.store.Apply(w.Context(), w.home.project, []hook.Change{
		{Op: hook.OpCreate, Source: source},
		{Op: hook.OpCreate, Destination: destination},
		{Op: hook.OpCreate, Connection: both, From: "new", To: "new"},
		{Op: hook.OpCreate, Connection: half, To: "new"},
		{Op: hook.OpUpdate, Source: &shop},
		{Op: hook.OpDelete, Connection: &hook.Connection{ID: w.home.connection}},
	}))
	if source.ID == 0 || both.Source != source.ID || both.Destination != destination.ID || half.Destination != destination.ID || shop.Version != 2 {
		w.Errorf("the plan's nouns were not filled: %+v %+v", both, half)
	}
	got, err := w.store.Connections().Get(w.Context(), w.home.project, "both")
	w.must(err)
	if diff := cmp.Diff(*both, got); diff != "" {
		w.Error(diff)
	}
	_, err = w.store.Connections().Get(w.Context(), w.home.project, "orders")
	w.wants(hook.KindNotFound, err)
}

func applyNothing(w *world) {
	before, err := w.store.Catalogue(w.Context())
	w.must(err)
	source := &hook.Source{Name: "new"}
	err = w.store.Apply(w.Context(), w.home.project, []hook.Change{
		{Op: hook.OpCreate, Source: source},
		{Op: hook.OpDelete, Connection: &hook.Connection{ID: w.home.connection}},
		{Op: hook.OpCreate, Destination: &hook.Destination{Name: "erp"}},
	})
	w.wants(hook.KindConflict, err)
	after, err := w.store.Catalogue(w.Context())
	w.must(err)
	if diff := cmp.Diff(before, after); diff != "" || source.ID != 0 {
		w.Errorf("a failed plan left something behind (source %v):\n%s", source.ID, diff)
	}
	waiting := w.waiting(w.home)
	w.inState(w.home, waiting, hook.StatePending)
}

func applyIsolated(w *world) {
	err := w.store.Apply(w.Context(), w.home.project, []hook.Change{{Op: hook.OpDelete, Connection: &hook.Connection{ID: w.other.connection}}})
	w.wants(hook.KindNotFound, err)
	err = w.store.Apply(w.Context(), w.home.project, []hook.Change{
		{Op: hook.OpCreate, Connection: &hook.Connection{Name: "x", Source: w.other.source, Destination: w.home.destination}},
	})
	w.wants(hook.KindInvalid, err)
}

func applyCancels(w *world) {
	id := w.waiting(w.home)
	w.must(w.store.Apply(w.Context(), w.home.project, []hook.Change{{Op: hook.OpDelete, Connection: &hook.Connection{ID: w.home.connection}}}))
	w.inState(w.home, id, hook.StateCanceled)
}

func applyMindsVersions(w *world) {
	err := w.store.Apply(w.Context(), w.home.project, []hook.Change{{Op: hook.OpUpdate, Source: &hook.Source{ID: w.home.source, Name: "shop", Version: 7}}})
	w.wants(hook.KindConflict, err)
}

func applyRefusesNonsense(w *world) {
	w.wants(hook.KindInvalid, w.store.Apply(w.Context(), w.home.project, []hook.Change{{Op: hook.OpCreate}}))
	w.wants(hook.KindInvalid, w.store.Apply(w.Context(), w.home.project, []hook.Change{{Op: "replace", Source: &hook.Source{Name: "x"}}}))
	w.wants(hook.KindNotFound, w.store.Apply(w.Context(), w.home.project, []hook.Change{
		{Op: hook.OpCreate, Connection: &hook.Connection{Name: "x"}, From: "nobody", To: "erp"},
	}))
	w.must(w.store.Apply(w.Context(), w.home.project, nil))
}
