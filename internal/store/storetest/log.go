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
	"malote.dev/malote/internal/store/storetest/stage"
)

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
	second := w.AddSource(w.Home, "second")
	var want []hook.EventID
	for i := range 9 {
		p := w.Home
		if i%3 == 1 {
			p = second
		}
		want = append(want, w.Accept(w.Event(p, w.Target(p))).ID)
		w.Tick(time.Duration(i%2) * time.Millisecond)
	}
	slices.Reverse(want)
	var got []hook.EventID
	for _, ev := range w.Events(store.EventQuery{Project: w.Home.Project}) {
		got = append(got, ev.ID)
		if ev.Payload != nil || ev.PayloadSize != 8 || len(ev.Targets) != 1 {
			w.Errorf("listed as %+v", ev)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	if n := len(w.Events(store.EventQuery{Project: w.Home.Project, Source: second.Source})); n != 3 {
		w.Errorf("%d events of the second source, want 3", n)
	}
}

func eventFilters(w *world) {
	second := w.AddSource(w.Home, "second")
	for i := range 12 {
		p := w.Home
		if i%2 == 1 {
			p = second
		}
		a := w.Event(p)
		a.Event.Type, a.Event.Key = []string{"a.b", "a.c", "A.B"}[i%3], fmt.Sprint("key-", i%4)
		a.Event.Payload = fmt.Appendf(nil, `{"n":%d,"text":"Größe %%_"}`, i)
		w.Accept(a)
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
		"type, key and source": {store.EventQuery{Type: "a.b", Key: "key-1", Source: second.Source}, 1},
		"another's source":     {store.EventQuery{Source: w.Other.Source}, 0},
	} {
		test.query.Project = w.Home.Project
		if got := w.Events(test.query); len(got) != test.want {
			w.Errorf("%s: %d events, want %d", name, len(got), test.want)
		}
	}
}

func eventPatterns(w *world) {
	for _, eventType := range []string{"orders/create", "orders/paid", "orders/create/draft", "products/create", "", "orders"} {
		a := w.Event(w.Home)
		a.Event.Type = eventType
		w.Accept(a)
	}
	for pattern, want := range map[string]int{
		"*": 6, "orders/*": 3, "*/create": 2, "orders*": 4, "*create*": 3, "o*/*t*": 2, "orders/?aid": 0, "*/*/*": 1, "orders/paid": 1, "**": 6, "[o]*": 0,
	} {
		if got := w.Events(store.EventQuery{Project: w.Home.Project, Type: pattern}); len(got) != want {
			w.Errorf("%q: %d events, want %d", pattern, len(got), want)
		}
	}
}

func eventTimes(w *world) {
	var at []time.Time
	for range 5 {
		at = append(at, w.Now)
		w.Accept(w.Event(w.Home, w.Target(w.Home)))
		w.Tick(time.Second)
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
		events := w.Events(store.EventQuery{Project: w.Home.Project, After: test.after, Before: test.before})
		deliveries := w.Deliveries(store.DeliveryQuery{Project: w.Home.Project, After: test.after, Before: test.before})
		if len(events) != test.want || len(deliveries) != test.want {
			w.Errorf("%s: %d events and %d deliveries, want %d", name, len(events), len(deliveries), test.want)
		}
	}
}

func eventScanLimit(w *world) {
	if testing.Short() {
		w.Skip("stores many events")
	}
	needle := w.Event(w.Home)
	needle.Event.Key = "needle"
	found := w.Accept(needle)
	fillEvents(w, store.ScanLimit+10)
	first, err := w.Store.Events(w.Context(), store.EventQuery{Project: w.Home.Project, Key: "needle"})
	w.Must(err)
	if first.Items != nil || first.Done || first.Last == 0 || first.Last <= int64(found.ID) {
		w.Fatalf("the first page: %+v; want an empty one that is not the last", first)
	}
	second, err := w.Store.Events(w.Context(), store.EventQuery{Project: w.Home.Project, Key: "needle", Page: page.Request{From: first.Last}})
	w.Must(err)
	if len(second.Items) != 1 || !second.Done {
		w.Errorf("the second page: %+v; want the needle", second)
	}
}

func eventsIsolated(w *world) {
	mine, theirs := w.Accept(w.Event(w.Home, w.Target(w.Home))), w.Accept(w.Event(w.Other, w.Target(w.Other)))
	if got := w.Events(store.EventQuery{Project: w.Home.Project}); len(got) != 1 || got[0].ID != mine.ID {
		w.Errorf("%d events, want the project's own", len(got))
	}
	if got := w.Events(store.EventQuery{}); got != nil {
		w.Errorf("%d events of no project", len(got))
	}
	if got := w.Deliveries(stage.QueryOf(w.Other)); len(got) != 1 || got[0].Event != theirs.ID {
		w.Errorf("%d deliveries, want the project's own", len(got))
	}
	for name, query := range map[string]store.DeliveryQuery{
		"event":       {Event: theirs.ID},
		"connection":  {Connection: w.Other.Connection},
		"destination": {Destination: w.Other.Destination},
	} {
		query.Project = w.Home.Project
		if got := w.Deliveries(query); got != nil {
			w.Errorf("another project's deliveries are listed by %s", name)
		}
	}
}

func eventPageSizes(w *world) {
	fillEvents(w, page.MaxLimit+5)
	for limit, want := range map[int]int{0: page.DefaultLimit, 1: 1, page.MaxLimit: page.MaxLimit, 1 << 20: page.MaxLimit} {
		p, err := w.Store.Events(w.Context(), store.EventQuery{Project: w.Home.Project, Page: page.Request{Limit: limit}})
		w.Must(err)
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
	second := w.AddDestination(w.Home, "second")
	for range 2 {
		w.Each(w.Home)
		w.Tick(time.Millisecond)
		w.Each(second)
	}
	w.Each(w.Other)
	for name, test := range map[string]struct {
		query store.DeliveryQuery
		want  int
	}{
		"all":                   {store.DeliveryQuery{}, 24},
		"failed":                {store.DeliveryQuery{State: hook.StateFailed}, 4},
		"sending":               {store.DeliveryQuery{State: hook.StateSending}, 4},
		"of a connection":       {store.DeliveryQuery{Connection: second.Connection}, 12},
		"of a destination":      {store.DeliveryQuery{Destination: w.Home.Destination}, 12},
		"held of a destination": {store.DeliveryQuery{Destination: second.Destination, State: hook.StateHeld}, 2},
		"of both ends":          {store.DeliveryQuery{Connection: second.Connection, Destination: second.Destination}, 12},
		"of ends that differ":   {store.DeliveryQuery{Connection: second.Connection, Destination: w.Home.Destination}, 0},
		"of nobody":             {store.DeliveryQuery{Connection: 12345}, 0},
	} {
		test.query.Project = w.Home.Project
		if got := w.Deliveries(test.query); len(got) != test.want {
			w.Errorf("%s: %d deliveries, want %d", name, len(got), test.want)
		}
	}
}

func deliveriesInMemory(w *world) {
	var want []hook.DeliveryID
	for i := range 8 {
		job := w.Inline(w.Home)
		want = append(want, job.Delivery.ID)
		if i%2 == 0 {
			w.Succeed(job)
		}
	}
	slices.Reverse(want)
	var got []hook.DeliveryID
	for _, d := range w.Deliveries(stage.QueryOf(w.Home)) {
		got = append(got, d.ID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	query := stage.QueryOf(w.Home)
	query.State = hook.StateSending
	if n := len(w.Deliveries(query)); n != 4 {
		w.Errorf("%d are sending, want 4", n)
	}
	query.State = hook.StatePending
	if got := w.Deliveries(query); got != nil {
		w.Errorf("%d are pending, want none", len(got))
	}
}

func deliveriesOfEvent(w *world) {
	second := w.AddDestination(w.Home, "second")
	first, deferred, last := w.Target(w.Home), w.Target(second), w.Target(w.Home)
	deferred.Deferred = true
	ev := w.Accept(w.Event(w.Home, first, deferred, last))
	w.Succeed(stage.InlineJob(&ev, 2))
	query := store.DeliveryQuery{Project: w.Home.Project, Event: ev.ID}
	got := w.Deliveries(query)
	if len(got) != 3 || got[0].State != hook.StateSucceeded || got[1].State != hook.StatePending || got[2].State != hook.StateSending {
		w.Errorf("deliveries of the event: %+v", got)
	}
	query.State = hook.StatePending
	if got := w.Deliveries(query); len(got) != 1 || got[0].ID != deferred.Delivery {
		w.Errorf("pending of the event: %+v", got)
	}
	query = store.DeliveryQuery{Project: w.Home.Project, Event: ev.ID, Connection: w.Home.Connection}
	if got := w.Deliveries(query); len(got) != 2 {
		w.Errorf("of the event over one connection: %+v", got)
	}
	if got := w.Deliveries(store.DeliveryQuery{Project: w.Home.Project, Event: 12345}); got != nil {
		w.Errorf("of no event: %+v", got)
	}
}

func deliveriesOfDeleted(w *world) {
	w.Succeed(w.Inline(w.Home))
	w.Must(w.Store.Connections().Delete(w.Context(), w.Home.Project, "orders"))
	w.Must(w.Store.Sources().Delete(w.Context(), w.Home.Project, "shop"))
	w.Restart()
	if n := len(w.Deliveries(stage.QueryOf(w.Home))); n != 1 {
		w.Errorf("%d deliveries, want the one of before", n)
	}
	if n := len(w.Events(store.EventQuery{Project: w.Home.Project})); n != 1 {
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

func refusalRoundTrip(w *world) {
	w.Tick(9 * time.Millisecond)
	want := w.Refusal(w.Home)
	w.Must(w.Store.Refuse(w.Context(), want))
	small := &hook.Refusal{Project: w.Home.Project, Source: w.Home.Source, Reason: "x"}
	w.Must(w.Store.Refuse(w.Context(), small))
	if small.ID == 0 || small.ReceivedAt.IsZero() {
		w.Errorf("not filled: %+v", small)
	}
	w.Must(w.Store.Admitted(w.Context(), want.ID, 77))
	want.Admitted = 77
	w.Wants(hook.KindNotFound, w.Store.Admitted(w.Context(), 12345, 77))
	w.Crash()
	got, err := w.Store.Refusal(w.Context(), w.Home.Project, want.ID)
	w.Must(err)
	if diff := cmp.Diff(*want, got); diff != "" {
		w.Error(diff)
	}
	got, err = w.Store.Refusal(w.Context(), w.Home.Project, small.ID)
	w.Must(err)
	if got.Payload != nil || got.Headers != nil || got.Explanation != nil {
		w.Errorf("empty lists are not nil: %+v", got)
	}
	_, err = w.Store.Refusal(w.Context(), w.Other.Project, want.ID)
	w.Wants(hook.KindNotFound, err)
}

func refusalLists(w *world) {
	second := w.AddSource(w.Home, "second")
	for i := range 6 {
		w.Must(w.Store.Refuse(w.Context(), w.Refusal([]place{w.Home, second, w.Other}[i%3])))
	}
	list := func(query store.RefusalQuery) []hook.Refusal {
		return stage.WalkBoth(w.World, func(req page.Request) page.Page[hook.Refusal] {
			query.Page = req
			p, err := w.Store.ListRefusals(w.Context(), query)
			w.Must(err)
			return p
		}, func(r hook.Refusal) int64 { return int64(r.ID) })
	}
	if n := len(list(store.RefusalQuery{Project: w.Home.Project})); n != 4 {
		w.Errorf("%d refusals of the project, want 4", n)
	}
	if n := len(list(store.RefusalQuery{Project: w.Home.Project, Source: second.Source})); n != 2 {
		w.Errorf("%d refusals of the source, want 2", n)
	}
	if n := len(list(store.RefusalQuery{Project: w.Home.Project, Source: w.Other.Source})); n != 0 {
		w.Errorf("%d refusals of another project's source", n)
	}
}

func refusalsBounded(w *world) {
	first := w.Refusal(w.Home)
	w.Must(w.Store.Refuse(w.Context(), first))
	other := w.Refusal(w.Other)
	w.Must(w.Store.Refuse(w.Context(), other))
	stage.Parallel(w.World, store.MaxRefusals-1, func(int) { w.Must(w.Store.Refuse(w.Context(), w.Refusal(w.Home))) })
	_, err := w.Store.Refusal(w.Context(), w.Home.Project, first.ID)
	w.Must(err)
	w.Must(w.Store.Refuse(w.Context(), w.Refusal(w.Home)))
	_, err = w.Store.Refusal(w.Context(), w.Home.Project, first.ID)
	w.Wants(hook.KindNotFound, err)
	_, err = w.Store.Refusal(w.Context(), w.Other.Project, other.ID)
	w.Must(err)
}
