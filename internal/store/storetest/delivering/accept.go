package delivering

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store/storetest/stage"
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
	w.Tick(123 * time.Millisecond)
	deferred, held := w.Target(w.Home), w.Target(w.Home)
	deferred.Deferred, held.Held = true, true
	a := w.Event(w.Home, w.Target(w.Home), deferred, held)
	a.Event.Type, a.Event.Key, a.Event.ProviderID = "typ\x00e/ü\xff", "key 'with\" quotes; --", "provider-1"
	a.Event.Method, a.Event.Path, a.Event.Query, a.Event.Remote = "PUT", "/a/b", "x=1&y", "[2001:db8::1]:443"
	a.Event.Headers = hook.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "x-odd", Value: "\x00\xff"}, {Name: "X-ODD", Value: ""}}
	a.Event.Payload = []byte("\x00\x01binary\xff")
	a.Event.Verdict = hook.Verdict{Scheme: "hmac", Verified: true, Secret: 2, Admitted: true}
	a.Event.Unmatched = []hook.Miss{{Connection: w.Home.Connection, Error: "no such key: a"}}
	want := w.Accept(a)
	got, err := w.Store.Event(w.Context(), w.Home.Project, want.ID)
	w.Must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	if got.ReceivedAt.Location() != time.UTC || got.PayloadSize != len(a.Event.Payload) {
		w.Errorf("received %v, %d bytes", got.ReceivedAt, got.PayloadSize)
	}
	_, err = w.Store.Event(w.Context(), w.Other.Project, want.ID)
	w.Wants(hook.KindNotFound, err)
	_, err = w.Store.Event(w.Context(), w.Home.Project, 12345)
	w.Wants(hook.KindNotFound, err)
}

func smallestEvent(w *world) {
	want := hook.Event{ID: hook.EventID(w.IDs.Next(w.Now)), Project: w.Home.Project, Source: w.Home.Source, ReceivedAt: w.Now}
	w.Accept(&hook.Acceptance{Event: want})
	got, err := w.Store.Event(w.Context(), w.Home.Project, want.ID)
	w.Must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("an event of nothing but ids (nil is nil, not empty):\n%s", diff)
	}
	empty := want
	empty.ID, empty.Payload, empty.Headers, empty.Targets = hook.EventID(w.IDs.Next(w.Now)), []byte{}, hook.Headers{}, []hook.Target{}
	w.Accept(&hook.Acceptance{Event: empty})
	got, err = w.Store.Event(w.Context(), w.Home.Project, empty.ID)
	w.Must(err)
	if got.Payload != nil || got.Headers != nil || got.Targets != nil || got.Unmatched != nil {
		w.Errorf("empty lists are not nil: %+v", got)
	}
}

func acceptFills(w *world) {
	a := w.Event(w.Home, hook.Target{Connection: w.Home.Connection, Destination: w.Home.Destination})
	a.Event.ID, a.Event.ReceivedAt = 0, time.Time{}
	receipt, err := w.Store.Accept(w.Context(), a)
	w.Must(err)
	got, err := w.Store.Event(w.Context(), w.Home.Project, receipt.Event)
	w.Must(err)
	if receipt.Event == 0 || receipt.Event != a.Event.ID || got.ReceivedAt.IsZero() || got.Targets[0].Delivery == 0 {
		w.Errorf("receipt %+v, event %+v", receipt, got)
	}
}

func acceptDurable(w *world) {
	var ids []hook.EventID
	for range 20 {
		ids = append(ids, w.Accept(w.Event(w.Home, w.Target(w.Home))).ID)
	}
	w.Crash()
	for _, id := range ids {
		_, err := w.Store.Event(w.Context(), w.Home.Project, id)
		w.Must(err)
	}
}

func acceptMany(w *world) {
	const clients, each = 16, 20
	ids := make([][]hook.EventID, clients)
	acceptances := make([]*hook.Acceptance, clients*each)
	for i := range acceptances {
		acceptances[i] = w.Event(w.Home, w.Target(w.Home))
	}
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			for i := range each {
				receipt, err := w.Store.Accept(w.Context(), acceptances[c*each+i])
				if err != nil {
					w.Error(err)
				}
				ids[c] = append(ids[c], receipt.Event)
			}
		})
	}
	group.Wait()
	w.Crash()
	seen := map[hook.EventID]bool{}
	for _, list := range ids {
		for _, id := range list {
			_, err := w.Store.Event(w.Context(), w.Home.Project, id)
			w.Must(err)
			seen[id] = true
		}
	}
	if len(seen) != clients*each {
		w.Errorf("%d events, want %d", len(seen), clients*each)
	}
	if n := w.Reclaim(); n != clients*each {
		w.Errorf("%d deliveries were reclaimed, want %d", n, clients*each)
	}
}

func acceptCanceled(w *world) {
	ctx, cancel := context.WithCancel(w.Context())
	cancel()
	a := w.Event(w.Home, w.Target(w.Home))
	if _, err := w.Store.Accept(ctx, a); !errors.Is(err, context.Canceled) {
		w.Errorf("error %v, want that of the context", err)
	}
	w.Settled()
	_, err := w.Store.Event(w.Context(), w.Home.Project, a.Event.ID)
	w.Wants(hook.KindNotFound, err)
}

func acceptDeferred(w *world) {
	w.Tick(7 * time.Millisecond)
	id := w.Waiting(w.Home)
	got := w.Delivery(w.Home, id)
	want := hook.Delivery{
		ID: id, Project: w.Home.Project, Event: got.Event, Connection: w.Home.Connection, Destination: w.Home.Destination,
		State: hook.StatePending, NextAttemptAt: &w.Now, CreatedAt: w.Now, UpdatedAt: w.Now,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	w.WantBacklog(w.Home, "pending=1")
	_, err := w.Store.Delivery(w.Context(), w.Other.Project, id)
	w.Wants(hook.KindNotFound, err)
}

func acceptHeld(w *world) {
	t := w.Target(w.Home)
	t.Held, t.Reason = true, "the destination is paused: moving to another machine"
	w.Accept(w.Event(w.Home, t))
	d := w.InState(w.Home, t.Delivery, hook.StateHeld)
	if d.Reason != t.Reason || d.NextAttemptAt != nil {
		w.Errorf("held for another reason, or due: %+v", d)
	}
	if jobs := w.Claim(w.Home, 10); jobs != nil {
		w.Error("a held delivery was claimed")
	}
	w.WantBacklog(w.Home, "held=1")
}

func acceptInline(w *world) {
	job := w.Inline(w.Home)
	d := w.InState(w.Home, job.Delivery.ID, hook.StateSending)
	if diff := cmp.Diff(job.Delivery, d); diff != "" {
		w.Error(diff)
	}
	w.WantBacklog(w.Home, "sending=1")
	w.Tick(time.Hour)
	if jobs := w.Claim(w.Home, 10); jobs != nil {
		w.Error("a delivery that its acceptor attempts was claimed")
	}
	if n := w.Reclaim(); n != 0 {
		w.Errorf("%d deliveries were reclaimed while they are in hand", n)
	}
}

func acceptFailsAlone(w *world) {
	taken := w.Accept(w.Event(w.Home))
	const clients = 16
	good := make([]*hook.Acceptance, clients)
	bad := make([]*hook.Acceptance, clients)
	for i := range good {
		good[i], bad[i] = w.Event(w.Home), w.Event(w.Home)
		bad[i].Event.ID = taken.ID
	}
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			if _, err := w.Store.Accept(w.Context(), good[i]); err != nil {
				w.Errorf("an event in the company of an impossible one: %v", err)
			}
		})
		group.Go(func() {
			if _, err := w.Store.Accept(w.Context(), bad[i]); err == nil {
				w.Error("two events have one id")
			}
		})
	}
	group.Wait()
	for _, a := range good {
		_, err := w.Store.Event(w.Context(), w.Home.Project, a.Event.ID)
		w.Must(err)
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
	a := w.Event(w.Home, w.Target(w.Home))
	a.Dedupe, a.Window = hook.DedupeHash{hash}, window
	return a
}

// again accepts a duplicate and checks the receipt.
func (w *world) again(hash byte, window time.Duration, first hook.EventID) {
	w.Helper()
	a := w.known(hash, window)
	receipt, err := w.Store.Accept(w.Context(), a)
	w.Must(err)
	if !receipt.Duplicate || receipt.Event != first {
		w.Errorf("receipt %+v, want a duplicate of %v", receipt, first)
	}
	_, err = w.Store.Event(w.Context(), w.Home.Project, a.Event.ID)
	w.Wants(hook.KindNotFound, err)
}

func dedupeSecond(w *world) {
	first := w.Accept(w.known(1, time.Hour))
	w.again(1, time.Hour, first.ID)
	w.again(1, time.Hour, first.ID)
	w.Accept(w.known(2, time.Hour))
	got, err := w.Store.Event(w.Context(), w.Home.Project, first.ID)
	w.Must(err)
	if got.Duplicates != 2 {
		w.Errorf("%d duplicates, want 2", got.Duplicates)
	}
	if list := w.Deliveries(stage.QueryOf(w.Home)); len(list) != 2 {
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
			if receipts[i], err = w.Store.Accept(w.Context(), acceptances[i]); err != nil {
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
	got, err := w.Store.Event(w.Context(), w.Home.Project, receipts[0].Event)
	w.Must(err)
	if firsts != 1 || got.Duplicates != clients-1 {
		w.Errorf("%d firsts and %d duplicates of %d", firsts, got.Duplicates, clients)
	}
}

func dedupeWindow(w *world) {
	const window = time.Hour
	for _, offset := range []time.Duration{0, time.Minute, 59 * time.Minute} { // of the first within the clock's hour
		w.Now = stage.Noon().Add(offset)
		hash := byte(10 + offset/time.Minute)
		first := w.Accept(w.known(hash, window))
		w.Tick(window - time.Millisecond)
		w.again(hash, window, first.ID)
		w.Tick(time.Millisecond)
		second := w.Accept(w.known(hash, window))
		w.again(hash, window, second.ID)
	}
}

func dedupeOff(w *world) {
	w.Accept(w.known(0, time.Hour))
	w.Accept(w.known(0, time.Hour))
}

func dedupeForgetsFailures(w *world) {
	taken := w.Accept(w.Event(w.Home))
	bad := w.known(1, time.Hour)
	bad.Event.ID = taken.ID
	if _, err := w.Store.Accept(w.Context(), bad); err == nil {
		w.Error("two events have one id")
	}
	w.Accept(w.known(1, time.Hour))
}

func dedupeOutlivesCrash(w *world) {
	first := w.Accept(w.known(1, time.Hour))
	w.Crash()
	w.again(1, time.Hour, first.ID)
	w.Restart()
	w.again(1, time.Hour, first.ID)
}

func dedupePrune(w *world) {
	first := w.Accept(w.known(1, time.Hour))
	w.Tick(time.Hour - time.Millisecond)
	_, err := w.Store.Prune(w.Context(), w.Now)
	w.Must(err)
	w.again(1, time.Hour, first.ID)
	w.Tick(2 * time.Hour)
	pruned, err := w.Store.Prune(w.Context(), w.Now)
	w.Must(err)
	if pruned.Dedupe != 1 {
		w.Errorf("%d remembered ids were dropped, want 1", pruned.Dedupe)
	}
}

func dedupeWindows(w *world) {
	short, long := w.Accept(w.known(1, time.Second)), w.Accept(w.known(2, 30*24*time.Hour))
	w.again(1, time.Second, short.ID)
	w.Tick(time.Second)
	w.Accept(w.known(1, time.Second))
	w.Tick(29 * 24 * time.Hour)
	w.again(2, 30*24*time.Hour, long.ID)
}
