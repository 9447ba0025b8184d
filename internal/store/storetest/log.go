package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

func queryOf(p place) store.DeliveryQuery { return store.DeliveryQuery{Project: p.project} }

// deliveries walks over all pages of a list, two at a time, back and forth, and
// returns what it has.
func (w *world) deliveries(query store.DeliveryQuery) []hook.Delivery {
	w.Helper()
	return walkBoth(w, func(req page.Request) page.Page[hook.Delivery] {
		query.Page = req
		p, err := w.store.Deliveries(w.Context(), query)
		w.must(err)
		return p
	}, func(d hook.Delivery) int64 { return int64(d.ID) })
}

func (w *world) events(query store.EventQuery) []hook.Event {
	w.Helper()
	return walkBoth(w, func(req page.Request) page.Page[hook.Event] {
		query.Page = req
		p, err := w.store.Events(w.Context(), query)
		w.must(err)
		return p
	}, func(ev hook.Event) int64 { return int64(ev.ID) })
}

// walkBoth walks a list to its end and back to its start, checks that both ways show
// the same, newest first and each item once, and returns the items.
func walkBoth[T any](w *world, get func(page.Request) page.Page[T], id func(T) int64) []T {
	w.Helper()
	var there, back []T
	req := page.Request{Limit: 2}
	for range 10_000 {
		p := get(req)
		w.checkPage(len(p.Items), p.Items == nil, 2)
		there = append(there, p.Items...)
		if p.Done {
			break
		}
		req.From = p.Last
	}
	req = page.Request{Limit: 3, Back: true}
	for range 10_000 {
		p := get(req)
		w.checkPage(len(p.Items), p.Items == nil, 3)
		back = append(slices.Clone(p.Items), back...)
		if p.Done {
			break
		}
		req.From = p.First
	}
	if diff := cmp.Diff(there, back); diff != "" {
		w.Errorf("the list differs by the way it is walked:\n%s", diff)
	}
	for i := 1; i < len(there); i++ {
		if id(there[i-1]) <= id(there[i]) {
			w.Errorf("item %d is not older than item %d", i, i-1)
		}
	}
	return there
}

func (w *world) checkPage(items int, isNil bool, limit int) {
	w.Helper()
	if items > limit || (items == 0) != isNil {
		w.Errorf("a page has %d items of at most %d (nil: %v)", items, limit, isNil)
	}
}

func eventTests() map[string]func(*world) {
	return map[string]func(*world){
		"lists are newest first and complete": eventLists,
		"filters select":                      eventFilters,
		"patterns of types":                   eventPatterns,
		"times are at or after, and before":   eventTimes,
		"a search is bounded":                 eventScanLimit,
		"projects are apart":                  eventsIsolated,
		"a default page and the largest":      eventPageSizes,
	}
}

func eventLists(w *world) {
	second := w.addSource(w.home, "second")
	var want []hook.EventID
	for i := range 9 {
		p := w.home
		if i%3 == 1 {
			p = second
		}
		want = append(want, w.accept(w.event(p, w.target(p))).ID)
		w.tick(time.Duration(i%2) * time.Millisecond)
	}
	slices.Reverse(want)
	var got []hook.EventID
	for _, ev := range w.events(store.EventQuery{Project: w.home.project}) {
		got = append(got, ev.ID)
		if ev.Payload != nil || ev.PayloadSize != 8 || len(ev.Targets) != 1 {
			w.Errorf("listed as %+v", ev)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	if n := len(w.events(store.EventQuery{Project: w.home.project, Source: second.source})); n != 3 {
		w.Errorf("%d events of the second source, want 3", n)
	}
}

func eventFilters(w *world) {
	second := w.addSource(w.home, "second")
	for i := range 12 {
		p := w.home
		if i%2 == 1 {
			p = second
		}
		a := w.event(p)
		a.Event.Type, a.Event.Key = []string{"a.b", "a.c", "A.B"}[i%3], fmt.Sprint("key-", i%4)
		a.Event.Payload = fmt.Appendf(nil, `{"n":%d,"text":"Größe %%_"}`, i)
		w.accept(a)
	}
	for name, test := range map[string]struct {
		query store.EventQuery
		want  int
	}{
		"type":                 {store.EventQuery{Type: "a.b"}, 4},
		"type in other case":   {store.EventQuery{Type: "A.B"}, 4},
		"unknown type":         {store.EventQuery{Type: "a"}, 0},
		"key":                  {store.EventQuery{Key: "key-1"}, 3},
		"key in other case":    {store.EventQuery{Key: "KEY-1"}, 0},
		"part of a key":        {store.EventQuery{Key: "key-"}, 0},
		"text":                 {store.EventQuery{Text: `"n":1,`}, 1},
		"text is literal":      {store.EventQuery{Text: "%_"}, 12},
		"text is bytes":        {store.EventQuery{Text: "Größe"}, 12},
		"text in other case":   {store.EventQuery{Text: "größe"}, 0},
		"type, key and source": {store.EventQuery{Type: "a.b", Key: "key-1", Source: second.source}, 1},
		"another's source":     {store.EventQuery{Source: w.other.source}, 0},
	} {
		test.query.Project = w.home.project
		if got := w.events(test.query); len(got) != test.want {
			w.Errorf("%s: %d events, want %d", name, len(got), test.want)
		}
	}
}

func eventPatterns(w *world) {
	for _, eventType := range []string{"orders/create", "orders/paid", "orders/create/draft", "products/create", "", "orders"} {
		a := w.event(w.home)
		a.Event.Type = eventType
		w.accept(a)
	}
	for pattern, want := range map[string]int{
		"*": 6, "orders/*": 3, "*/create": 2, "orders*": 4, "*create*": 3, "o*/*t*": 2, "orders/?aid": 0, "*/*/*": 1, "orders/paid": 1, "**": 6, "[o]*": 0,
	} {
		if got := w.events(store.EventQuery{Project: w.home.project, Type: pattern}); len(got) != want {
			w.Errorf("%q: %d events, want %d", pattern, len(got), want)
		}
	}
}

func eventTimes(w *world) {
	var at []time.Time
	for range 5 {
		at = append(at, w.now)
		w.accept(w.event(w.home, w.target(w.home)))
		w.tick(time.Second)
	}
	for name, test := range map[string]struct {
		after, before time.Time
		want          int
	}{
		"after the third":          {at[2], time.Time{}, 3},
		"before the third":         {time.Time{}, at[2], 2},
		"from one to the other":    {at[1], at[3], 2},
		"just after":               {at[2].Add(time.Microsecond), time.Time{}, 2},
		"just before the next":     {time.Time{}, at[2].Add(time.Microsecond), 3},
		"an empty stretch":         {at[3], at[3], 0},
		"the wrong way round":      {at[3], at[1], 0},
		"long before all of it":    {time.Unix(0, 0), at[0], 0},
		"another zone, same point": {at[2].In(time.FixedZone("x", 3*3600)), time.Time{}, 3},
	} {
		events := w.events(store.EventQuery{Project: w.home.project, After: test.after, Before: test.before})
		deliveries := w.deliveries(store.DeliveryQuery{Project: w.home.project, After: test.after, Before: test.before})
		if len(events) != test.want || len(deliveries) != test.want {
			w.Errorf("%s: %d events and %d deliveries, want %d", name, len(events), len(deliveries), test.want)
		}
	}
}

func eventScanLimit(w *world) {
	if testing.Short() {
		w.Skip("stores many events")
	}
	needle := w.event(w.home)
	needle.Event.Key = "needle"
	found := w.accept(needle)
	fillEvents(w, store.ScanLimit+10)
	first, err := w.store.Events(w.Context(), store.EventQuery{Project: w.home.project, Key: "needle"})
	w.must(err)
	if first.Items != nil || first.Done || first.Last == 0 || first.Last <= int64(found.ID) {
		w.Fatalf("the first page: %+v; want an empty one that is not the last", first)
	}
	second, err := w.store.Events(w.Context(), store.EventQuery{Project: w.home.project, Key: "needle", Page: page.Request{From: first.Last}})
	w.must(err)
	if len(second.Items) != 1 || !second.Done {
		w.Errorf("the second page: %+v; want the needle", second)
	}
}

func eventsIsolated(w *world) {
	mine, theirs := w.accept(w.event(w.home, w.target(w.home))), w.accept(w.event(w.other, w.target(w.other)))
	if got := w.events(store.EventQuery{Project: w.home.project}); len(got) != 1 || got[0].ID != mine.ID {
		w.Errorf("%d events, want the project's own", len(got))
	}
	if got := w.events(store.EventQuery{}); got != nil {
		w.Errorf("%d events of no project", len(got))
	}
	if got := w.deliveries(queryOf(w.other)); len(got) != 1 || got[0].Event != theirs.ID {
		w.Errorf("%d deliveries, want the project's own", len(got))
	}
	for name, query := range map[string]store.DeliveryQuery{
		"event":       {Event: theirs.ID},
		"connection":  {Connection: w.other.connection},
		"destination": {Destination: w.other.destination},
	} {
		query.Project = w.home.project
		if got := w.deliveries(query); got != nil {
			w.Errorf("another project's deliveries are listed by %s", name)
		}
	}
}

func eventPageSizes(w *world) {
	fillEvents(w, page.MaxLimit+5)
	for limit, want := range map[int]int{0: page.DefaultLimit, 1: 1, page.MaxLimit: page.MaxLimit, 1 << 20: page.MaxLimit} {
		p, err := w.store.Events(w.Context(), store.EventQuery{Project: w.home.project, Page: page.Request{Limit: limit}})
		w.must(err)
		if len(p.Items) != want || p.Done {
			w.Errorf("limit %d: %d events (done: %v), want %d", limit, len(p.Items), p.Done, want)
		}
	}
}

func deliveryTests() map[string]func(*world) {
	return map[string]func(*world){
		"lists by everything":                     deliveryLists,
		"those in memory stand among the others":  deliveriesInMemory,
		"the deliveries of an event":              deliveriesOfEvent,
		"a deleted connection's stay in the list": deliveriesOfDeleted,
	}
}

func deliveryLists(w *world) {
	second := w.addDestination(w.home, "second")
	for range 2 {
		w.each(w.home)
		w.tick(time.Millisecond)
		w.each(second)
	}
	w.each(w.other)
	for name, test := range map[string]struct {
		query store.DeliveryQuery
		want  int
	}{
		"all":                   {store.DeliveryQuery{}, 24},
		"failed":                {store.DeliveryQuery{State: hook.StateFailed}, 4},
		"sending":               {store.DeliveryQuery{State: hook.StateSending}, 4},
		"of a connection":       {store.DeliveryQuery{Connection: second.connection}, 12},
		"of a destination":      {store.DeliveryQuery{Destination: w.home.destination}, 12},
		"held of a destination": {store.DeliveryQuery{Destination: second.destination, State: hook.StateHeld}, 2},
		"of both ends":          {store.DeliveryQuery{Connection: second.connection, Destination: second.destination}, 12},
		"of ends that differ":   {store.DeliveryQuery{Connection: second.connection, Destination: w.home.destination}, 0},
		"of nobody":             {store.DeliveryQuery{Connection: 12345}, 0},
	} {
		test.query.Project = w.home.project
		if got := w.deliveries(test.query); len(got) != test.want {
			w.Errorf("%s: %d deliveries, want %d", name, len(got), test.want)
		}
	}
}

func deliveriesInMemory(w *world) {
	var want []hook.DeliveryID
	for i := range 8 {
		job := w.inline(w.home)
		want = append(want, job.Delivery.ID)
		if i%2 == 0 {
			w.succeed(job)
		}
	}
	slices.Reverse(want)
	var got []hook.DeliveryID
	for _, d := range w.deliveries(queryOf(w.home)) {
		got = append(got, d.ID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	query := queryOf(w.home)
	query.State = hook.StateSending
	if n := len(w.deliveries(query)); n != 4 {
		w.Errorf("%d are sending, want 4", n)
	}
	query.State = hook.StatePending
	if got := w.deliveries(query); got != nil {
		w.Errorf("%d are pending, want none", len(got))
	}
}

func deliveriesOfEvent(w *world) {
	second := w.addDestination(w.home, "second")
	first, deferred, last := w.target(w.home), w.target(second), w.target(w.home)
	deferred.Deferred = true
	ev := w.accept(w.event(w.home, first, deferred, last))
	w.succeed(inlineJob(&ev, 2))
	query := store.DeliveryQuery{Project: w.home.project, Event: ev.ID}
	got := w.deliveries(query)
	if len(got) != 3 || got[0].State != hook.StateSucceeded || got[1].State != hook.StatePending || got[2].State != hook.StateSending {
		w.Errorf("deliveries of the event: %+v", got)
	}
	query.State = hook.StatePending
	if got := w.deliveries(query); len(got) != 1 || got[0].ID != deferred.Delivery {
		w.Errorf("pending of the event: %+v", got)
	}
	query = store.DeliveryQuery{Project: w.home.project, Event: ev.ID, Connection: w.home.connection}
	if got := w.deliveries(query); len(got) != 2 {
		w.Errorf("of the event over one connection: %+v", got)
	}
	if got := w.deliveries(store.DeliveryQuery{Project: w.home.project, Event: 12345}); got != nil {
		w.Errorf("of no event: %+v", got)
	}
}

func deliveriesOfDeleted(w *world) {
	w.succeed(w.inline(w.home))
	w.must(w.store.Connections().Delete(w.Context(), w.home.project, "orders"))
	w.must(w.store.Sources().Delete(w.Context(), w.home.project, "shop"))
	w.restart()
	if n := len(w.deliveries(queryOf(w.home))); n != 1 {
		w.Errorf("%d deliveries, want the one of before", n)
	}
	if n := len(w.events(store.EventQuery{Project: w.home.project})); n != 1 {
		w.Errorf("%d events, want the one of before", n)
	}
}

func refusalTests() map[string]func(*world) {
	return map[string]func(*world){
		"a refusal comes back as it was": refusalRoundTrip,
		"lists are newest first":         refusalLists,
		"only the newest are kept":       refusalsBounded,
	}
}

func (w *world) refusal(p place) *hook.Refusal {
	return &hook.Refusal{
		ID: hook.RefusalID(w.ids.Next(w.now)), Project: p.project, Source: p.source, Reason: "signature", Explanation: []string{"wrong secret", "or not"},
		Method: "POST", Path: "/x", Query: "a=b", Remote: "192.0.2.1", Headers: hook.Headers{{Name: "X", Value: "y"}}, Payload: []byte("\x00{"),
		Truncated: true, ReceivedAt: w.now,
	}
}

func refusalRoundTrip(w *world) {
	w.tick(9 * time.Millisecond)
	want := w.refusal(w.home)
	w.must(w.store.Refuse(w.Context(), want))
	small := &hook.Refusal{Project: w.home.project, Source: w.home.source, Reason: "x"}
	w.must(w.store.Refuse(w.Context(), small))
	if small.ID == 0 || small.ReceivedAt.IsZero() {
		w.Errorf("not filled: %+v", small)
	}
	w.must(w.store.Admitted(w.Context(), want.ID, 77))
	want.Admitted = 77
	w.wants(hook.KindNotFound, w.store.Admitted(w.Context(), 12345, 77))
	w.crash()
	got, err := w.store.Refusal(w.Context(), w.home.project, want.ID)
	w.must(err)
	if diff := cmp.Diff(*want, got); diff != "" {
		w.Error(diff)
	}
	got, err = w.store.Refusal(w.Context(), w.home.project, small.ID)
	w.must(err)
	if got.Payload != nil || got.Headers != nil || got.Explanation != nil {
		w.Errorf("empty lists are not nil: %+v", got)
	}
	_, err = w.store.Refusal(w.Context(), w.other.project, want.ID)
	w.wants(hook.KindNotFound, err)
}

func refusalLists(w *world) {
	second := w.addSource(w.home, "second")
	for i := range 6 {
		w.must(w.store.Refuse(w.Context(), w.refusal([]place{w.home, second, w.other}[i%3])))
	}
	list := func(query store.RefusalQuery) []hook.Refusal {
		return walkBoth(w, func(req page.Request) page.Page[hook.Refusal] {
			query.Page = req
			p, err := w.store.ListRefusals(w.Context(), query)
			w.must(err)
			return p
		}, func(r hook.Refusal) int64 { return int64(r.ID) })
	}
	if n := len(list(store.RefusalQuery{Project: w.home.project})); n != 4 {
		w.Errorf("%d refusals of the project, want 4", n)
	}
	if n := len(list(store.RefusalQuery{Project: w.home.project, Source: second.source})); n != 2 {
		w.Errorf("%d refusals of the source, want 2", n)
	}
	if n := len(list(store.RefusalQuery{Project: w.home.project, Source: w.other.source})); n != 0 {
		w.Errorf("%d refusals of another project's source", n)
	}
}

func refusalsBounded(w *world) {
	first := w.refusal(w.home)
	w.must(w.store.Refuse(w.Context(), first))
	other := w.refusal(w.other)
	w.must(w.store.Refuse(w.Context(), other))
	parallel(w, store.MaxRefusals-1, func(int) { w.must(w.store.Refuse(w.Context(), w.refusal(w.home))) })
	_, err := w.store.Refusal(w.Context(), w.home.project, first.ID)
	w.must(err)
	w.must(w.store.Refuse(w.Context(), w.refusal(w.home)))
	_, err = w.store.Refusal(w.Context(), w.home.project, first.ID)
	w.wants(hook.KindNotFound, err)
	_, err = w.store.Refusal(w.Context(), w.other.project, other.ID)
	w.must(err)
}
