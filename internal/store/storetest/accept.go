package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
)

func acceptTests() map[string]func(*world) {
	return map[string]func(*world){
		"an event comes back as it was accepted":   eventRoundTrip,
		"the smallest event comes back, too":       smallestEvent,
		"it fills what the caller left out":        acceptFills,
		"acknowledged means durable":               acceptDurable,
		"many at once are all kept":                acceptMany,
		"a canceled request stores nothing":        acceptCanceled,
		"a deferred target waits in the store":     acceptDeferred,
		"a held target is kept as held":            acceptHeld,
		"an inline target is sending, without row": acceptInline,
		"what cannot be stored fails alone":        acceptFailsAlone,
	}
}

func eventRoundTrip(w *world) {
	w.tick(123 * time.Millisecond)
	deferred, held := w.target(w.home), w.target(w.home)
	deferred.Deferred, held.Held = true, true
	a := w.event(w.home, w.target(w.home), deferred, held)
	a.Event.Type, a.Event.Key, a.Event.ProviderID = "typ\x00e/ü\xff", "key 'with\" quotes; --", "provider-1"
	a.Event.Method, a.Event.Path, a.Event.Query, a.Event.Remote = "PUT", "/a/b", "x=1&y", "[2001:db8::1]:443"
	a.Event.Headers = hook.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "x-odd", Value: "\x00\xff"}, {Name: "X-ODD", Value: ""}}
	a.Event.Payload = []byte("\x00\x01binary\xff")
	a.Event.Verdict = hook.Verdict{Scheme: "hmac", Verified: true, Secret: 2, Admitted: true}
	a.Event.Unmatched = []hook.Miss{{Connection: w.home.connection, Error: "no such key: a"}}
	want := w.accept(a)
	got, err := w.store.Event(w.Context(), w.home.project, want.ID)
	w.must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	if got.ReceivedAt.Location() != time.UTC || got.PayloadSize != len(a.Event.Payload) {
		w.Errorf("received %v, %d bytes", got.ReceivedAt, got.PayloadSize)
	}
	_, err = w.store.Event(w.Context(), w.other.project, want.ID)
	w.wants(hook.KindNotFound, err)
	_, err = w.store.Event(w.Context(), w.home.project, 12345)
	w.wants(hook.KindNotFound, err)
}

func smallestEvent(w *world) {
	want := hook.Event{ID: hook.EventID(w.ids.Next(w.now)), Project: w.home.project, Source: w.home.source, ReceivedAt: w.now}
	w.accept(&hook.Acceptance{Event: want})
	got, err := w.store.Event(w.Context(), w.home.project, want.ID)
	w.must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("an event of nothing but ids (nil is nil, not empty):\n%s", diff)
	}
	empty := want
	empty.ID, empty.Payload, empty.Headers, empty.Targets = hook.EventID(w.ids.Next(w.now)), []byte{}, hook.Headers{}, []hook.Target{}
	w.accept(&hook.Acceptance{Event: empty})
	got, err = w.store.Event(w.Context(), w.home.project, empty.ID)
	w.must(err)
	if got.Payload != nil || got.Headers != nil || got.Targets != nil || got.Unmatched != nil {
		w.Errorf("empty lists are not nil: %+v", got)
	}
}

func acceptFills(w *world) {
	a := w.event(w.home, hook.Target{Connection: w.home.connection, Destination: w.home.destination})
	a.Event.ID, a.Event.ReceivedAt = 0, time.Time{}
	receipt, err := w.store.Accept(w.Context(), a)
	w.must(err)
	got, err := w.store.Event(w.Context(), w.home.project, receipt.Event)
	w.must(err)
	if receipt.Event == 0 || receipt.Event != a.Event.ID || got.ReceivedAt.IsZero() || got.Targets[0].Delivery == 0 {
		w.Errorf("receipt %+v, event %+v", receipt, got)
	}
}

func acceptDurable(w *world) {
	var ids []hook.EventID
	for range 20 {
		ids = append(ids, w.accept(w.event(w.home, w.target(w.home))).ID)
	}
	w.crash()
	for _, id := range ids {
		_, err := w.store.Event(w.Context(), w.home.project, id)
		w.must(err)
	}
}

func acceptMany(w *world) {
	const clients, each = 16, 20
	ids := make([][]hook.EventID, clients)
	acceptances := make([]*hook.Acceptance, clients*each)
	for i := range acceptances {
		acceptances[i] = w.event(w.home, w.target(w.home))
	}
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			for i := range each {
				receipt, err := w.store.Accept(w.Context(), acceptances[c*each+i])
				if err != nil {
					w.Error(err)
				}
				ids[c] = append(ids[c], receipt.Event)
			}
		})
	}
	group.Wait()
	w.crash()
	seen := map[hook.EventID]bool{}
	for _, list := range ids {
		for _, id := range list {
			_, err := w.store.Event(w.Context(), w.home.project, id)
			w.must(err)
			seen[id] = true
		}
	}
	if len(seen) != clients*each {
		w.Errorf("%d events, want %d", len(seen), clients*each)
	}
	if n := w.reclaim(); n != clients*each {
		w.Errorf("%d deliveries were reclaimed, want %d", n, clients*each)
	}
}

func acceptCanceled(w *world) {
	ctx, cancel := context.WithCancel(w.Context())
	cancel()
	a := w.event(w.home, w.target(w.home))
	if _, err := w.store.Accept(ctx, a); !errors.Is(err, context.Canceled) {
		w.Errorf("error %v, want that of the context", err)
	}
	w.settled()
	_, err := w.store.Event(w.Context(), w.home.project, a.Event.ID)
	w.wants(hook.KindNotFound, err)
}

func acceptDeferred(w *world) {
	w.tick(7 * time.Millisecond)
	id := w.waiting(w.home)
	got := w.delivery(w.home, id)
	want := hook.Delivery{
		ID: id, Project: w.home.project, Event: got.Event, Connection: w.home.connection, Destination: w.home.destination,
		State: hook.StatePending, NextAttemptAt: &w.now, CreatedAt: w.now, UpdatedAt: w.now,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	w.wantBacklog(w.home, "pending=1")
	_, err := w.store.Delivery(w.Context(), w.other.project, id)
	w.wants(hook.KindNotFound, err)
}

func acceptHeld(w *world) {
	t := w.target(w.home)
	t.Held, t.Reason = true, "the destination is paused: moving to another machine"
	w.accept(w.event(w.home, t))
	d := w.inState(w.home, t.Delivery, hook.StateHeld)
	if d.Reason != t.Reason || d.NextAttemptAt != nil {
		w.Errorf("held for another reason, or due: %+v", d)
	}
	if jobs := w.claim(w.home, 10); jobs != nil {
		w.Error("a held delivery was claimed")
	}
	w.wantBacklog(w.home, "held=1")
}

func acceptInline(w *world) {
	job := w.inline(w.home)
	d := w.inState(w.home, job.Delivery.ID, hook.StateSending)
	if diff := cmp.Diff(job.Delivery, d); diff != "" {
		w.Error(diff)
	}
	w.wantBacklog(w.home, "sending=1")
	w.tick(time.Hour)
	if jobs := w.claim(w.home, 10); jobs != nil {
		w.Error("a delivery that its acceptor attempts was claimed")
	}
	if n := w.reclaim(); n != 0 {
		w.Errorf("%d deliveries were reclaimed while they are in hand", n)
	}
}

func acceptFailsAlone(w *world) {
	taken := w.accept(w.event(w.home))
	const clients = 16
	good := make([]*hook.Acceptance, clients)
	bad := make([]*hook.Acceptance, clients)
	for i := range good {
		good[i], bad[i] = w.event(w.home), w.event(w.home)
		bad[i].Event.ID = taken.ID
	}
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			if _, err := w.store.Accept(w.Context(), good[i]); err != nil {
				w.Errorf("an event in the company of an impossible one: %v", err)
			}
		})
		group.Go(func() {
			if _, err := w.store.Accept(w.Context(), bad[i]); err == nil {
				w.Error("two events have one id")
			}
		})
	}
	group.Wait()
	for _, a := range good {
		_, err := w.store.Event(w.Context(), w.home.project, a.Event.ID)
		w.must(err)
	}
}

func dedupeTests() map[string]func(*world) {
	return map[string]func(*world){
		"the second is known as a duplicate":        dedupeSecond,
		"of many at the same moment one is first":   dedupeRace,
		"the window ends":                           dedupeWindow,
		"without a hash nothing is a duplicate":     dedupeOff,
		"what was not stored is not remembered":     dedupeForgetsFailures,
		"it outlives a crash":                       dedupeOutlivesCrash,
		"pruning keeps what may still come again":   dedupePrune,
		"sources remember for windows of their own": dedupeWindows,
	}
}

// known returns an event that may be a duplicate.
func (w *world) known(hash byte, window time.Duration) *hook.Acceptance {
	a := w.event(w.home, w.target(w.home))
	a.Dedupe, a.Window = hook.DedupeHash{hash}, window
	return a
}

// again accepts a duplicate and checks the receipt.
func (w *world) again(hash byte, window time.Duration, first hook.EventID) {
	w.Helper()
	a := w.known(hash, window)
	receipt, err := w.store.Accept(w.Context(), a)
	w.must(err)
	if !receipt.Duplicate || receipt.Event != first {
		w.Errorf("receipt %+v, want a duplicate of %v", receipt, first)
	}
	_, err = w.store.Event(w.Context(), w.home.project, a.Event.ID)
	w.wants(hook.KindNotFound, err)
}

func dedupeSecond(w *world) {
	first := w.accept(w.known(1, time.Hour))
	w.again(1, time.Hour, first.ID)
	w.again(1, time.Hour, first.ID)
	w.accept(w.known(2, time.Hour))
	got, err := w.store.Event(w.Context(), w.home.project, first.ID)
	w.must(err)
	if got.Duplicates != 2 {
		w.Errorf("%d duplicates, want 2", got.Duplicates)
	}
	if list := w.deliveries(queryOf(w.home)); len(list) != 2 {
		w.Errorf("%d deliveries, want those of the two events", len(list))
	}
}

func dedupeRace(w *world) {
	const clients = 32
	acceptances := make([]*hook.Acceptance, clients)
	for i := range acceptances {
		acceptances[i] = w.known(1, time.Hour)
	}
	receipts := make([]hook.Receipt, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			var err error
			if receipts[i], err = w.store.Accept(w.Context(), acceptances[i]); err != nil {
				w.Error(err)
			}
		})
	}
	group.Wait()
	firsts := 0
	for _, receipt := range receipts {
		if receipt.Event != receipts[0].Event {
			w.Errorf("two events for one id: %v and %v", receipt.Event, receipts[0].Event)
		}
		if !receipt.Duplicate {
			firsts++
		}
	}
	got, err := w.store.Event(w.Context(), w.home.project, receipts[0].Event)
	w.must(err)
	if firsts != 1 || got.Duplicates != clients-1 {
		w.Errorf("%d firsts and %d duplicates of %d", firsts, got.Duplicates, clients)
	}
}

func dedupeWindow(w *world) {
	const window = time.Hour
	for _, offset := range []time.Duration{0, time.Minute, 59 * time.Minute} { // of the first within the clock's hour
		w.now = noon.Add(offset)
		hash := byte(10 + offset/time.Minute)
		first := w.accept(w.known(hash, window))
		w.tick(window - time.Millisecond)
		w.again(hash, window, first.ID)
		w.tick(time.Millisecond)
		second := w.accept(w.known(hash, window))
		w.again(hash, window, second.ID)
	}
}

func dedupeOff(w *world) {
	w.accept(w.known(0, time.Hour))
	w.accept(w.known(0, time.Hour))
}

func dedupeForgetsFailures(w *world) {
	taken := w.accept(w.event(w.home))
	bad := w.known(1, time.Hour)
	bad.Event.ID = taken.ID
	if _, err := w.store.Accept(w.Context(), bad); err == nil {
		w.Error("two events have one id")
	}
	w.accept(w.known(1, time.Hour))
}

func dedupeOutlivesCrash(w *world) {
	first := w.accept(w.known(1, time.Hour))
	w.crash()
	w.again(1, time.Hour, first.ID)
	w.restart()
	w.again(1, time.Hour, first.ID)
}

func dedupePrune(w *world) {
	first := w.accept(w.known(1, time.Hour))
	w.tick(time.Hour - time.Millisecond)
	_, err := w.store.Prune(w.Context(), w.now)
	w.must(err)
	w.again(1, time.Hour, first.ID)
	w.tick(2 * time.Hour)
	pruned, err := w.store.Prune(w.Context(), w.now)
	w.must(err)
	if pruned.Dedupe != 1 {
		w.Errorf("%d remembered ids were dropped, want 1", pruned.Dedupe)
	}
}

func dedupeWindows(w *world) {
	short, long := w.accept(w.known(1, time.Second)), w.accept(w.known(2, 30*24*time.Hour))
	w.again(1, time.Second, short.ID)
	w.tick(time.Second)
	w.accept(w.known(1, time.Second))
	w.tick(29 * 24 * time.Hour)
	w.again(2, 30*24*time.Hour, long.ID)
}
