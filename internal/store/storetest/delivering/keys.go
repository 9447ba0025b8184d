package delivering

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

func keyTests() map[string]func(*world) {
	return map[string]func(*world){
		"keys with open deliveries are listed":         keysListed,
		"pages of keys follow each other":              keysPaged,
		"parked keys are listed over all connections":  keysParked,
		"a parked key is released with a new schedule": keyReleased,
		"a head is skipped, unless it is being sent":   keySkipped,
		"a key is dropped but for what is being sent":  keyDropped,
		"another project's keys are not found":         keysIsolated,
	}
}

func keyOf(p place, key string) store.Key {
	return store.Key{Project: p.Project, Connection: p.Connection, Key: key}
}

func (w *world) keys(query store.KeyQuery) []hook.OrderedKey {
	w.Helper()
	keys, err := w.Store.ListKeys(w.Context(), query)
	w.Must(err)
	return keys
}

// park accepts a delivery of a key and parks it.
func (w *world) park(p place, key string) hook.DeliveryID {
	w.Helper()
	id, job := w.acceptOrdered(p, key)
	w.Settle(hook.Settlement{
		Job: job, State: hook.StateHeld, Cause: hook.CauseParked, Reason: "it said no", Attempt: w.Attempt(hook.OutcomeRefused, 400),
	})
	return id
}

func keysListed(w *world) {
	parked := w.park(w.Home, "b")
	w.acceptOrdered(w.Home, "b")
	inHand, _ := w.acceptOrdered(w.Home, "a") // It has no row.
	alone, _ := w.acceptOrdered(w.Home, "c")
	w.acceptOrdered(w.Home, "a")
	w.acceptOrdered(w.Home, "a")
	_, ended := w.acceptOrdered(w.Home, "d")
	w.Succeed(ended)
	want := []hook.OrderedKey{
		{Connection: w.Home.Connection, Key: "a", Head: inHand, HeadState: hook.StateSending, Waiting: 3},
		{Connection: w.Home.Connection, Key: "b", Parked: true, Reason: "it said no", Head: parked, HeadState: hook.StateHeld, Waiting: 2},
		{Connection: w.Home.Connection, Key: "c", Head: alone, HeadState: hook.StateSending, Waiting: 1},
	}
	query := store.KeyQuery{Project: w.Home.Project, Connection: w.Home.Connection}
	if diff := cmp.Diff(want, w.keys(query)); diff != "" {
		w.Error(diff)
	}
	query.Key = "b"
	if diff := cmp.Diff(want[1:2], w.keys(query)); diff != "" {
		w.Errorf("one key:\n%s", diff)
	}
	query.Key = "d"
	if keys := w.keys(query); keys != nil {
		w.Errorf("a key of which nothing is open: %+v", keys)
	}
	_, err := w.Store.ListKeys(w.Context(), store.KeyQuery{Project: w.Home.Project})
	w.Wants(hook.KindInvalid, err)
}

func keysPaged(w *world) {
	want := []string{"a", "b", "c", "d", "e"}
	for _, key := range []string{"d", "b", "e", "a", "c"} {
		w.park(w.Home, key)
		w.acceptOrdered(w.Home, key)
	}
	for _, parked := range []bool{false, true} {
		var got []string
		query := store.KeyQuery{Project: w.Home.Project, Connection: w.Home.Connection, Parked: parked, Limit: 2}
		for {
			keys := w.keys(query)
			if len(keys) == 0 {
				break
			}
			for _, k := range keys {
				got = append(got, k.Key)
			}
			query.After = keyOf(w.Home, keys[len(keys)-1].Key)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("parked %v:\n%s", parked, diff)
		}
	}
}

func keysParked(w *world) {
	second := w.AddDestination(w.Home, "second")
	first := []hook.DeliveryID{w.park(w.Home, "x"), w.park(second, "a")}
	w.acceptOrdered(w.Home, "b")
	w.park(w.Other, "x")
	held, job := w.acceptOrdered(w.Home, "c")
	w.Settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit})
	var got []hook.DeliveryID
	query := store.KeyQuery{Project: w.Home.Project, Parked: true, Limit: 1}
	for keys := w.keys(query); len(keys) > 0; keys = w.keys(query) {
		got = append(got, keys[0].Head)
		query.After = store.Key{Connection: keys[0].Connection, Key: keys[0].Key}
	}
	if diff := cmp.Diff(first, got); diff != "" {
		w.Error(diff)
	}
	if d := w.InState(w.Home, held, hook.StateHeld); d.Cause != hook.CauseCircuit {
		w.Errorf("held as %+v", d)
	}
}

func keyReleased(w *world) {
	id := w.park(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	w.Tick(time.Hour)
	w.Must(w.Store.ReleaseKey(w.Context(), keyOf(w.Home, "a"), w.Now))
	d := w.InState(w.Home, id, hook.StatePending)
	if d.Cause != hook.CauseNone || d.Reason != "" || d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(w.Now) {
		w.Errorf("released as %+v", d)
	}
	job := w.wantDue(w.Home, id)
	if job.Manual || job.Delivery.Attempts-job.Delivery.Probes != 0 {
		w.Errorf("after the release %+v has its schedule not before it", job.Delivery)
	}
	w.Wants(hook.KindNotFound, w.Store.ReleaseKey(w.Context(), keyOf(w.Home, "b"), w.Now))
	w.Wants(hook.KindConflict, w.Store.ReleaseKey(w.Context(), keyOf(w.Home, "a"), w.Now))
	w.Succeed(job)
	w.Wants(hook.KindNotFound, w.Store.ReleaseKey(w.Context(), keyOf(w.Home, "a"), w.Now)) // Its head is not parked.
	w.wantDue(w.Home, second)
}

func keySkipped(w *world) {
	_, job := w.acceptOrdered(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	third, _ := w.acceptOrdered(w.Home, "a")
	skip := func() error { return w.Store.SkipKey(w.Context(), keyOf(w.Home, "a"), "skipped by Ana") }
	w.Wants(hook.KindConflict, skip())
	w.giveBack(job)
	w.Must(skip())
	if d := w.InState(w.Home, job.Delivery.ID, hook.StateCanceled); d.Reason != "skipped by Ana" {
		w.Errorf("skipped as %+v", d)
	}
	job = w.wantDue(w.Home, second)
	w.Wants(hook.KindConflict, skip())
	w.Settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseParked})
	w.Must(skip())
	w.wantDue(w.Home, third)
	w.Wants(hook.KindNotFound, w.Store.SkipKey(w.Context(), keyOf(w.Home, "z"), ""))
}

func keyDropped(w *world) {
	const waiting = 300
	_, job := w.acceptOrdered(w.Home, "a")
	var last hook.DeliveryID
	for range waiting / 20 {
		targets := make([]hook.Target, 20)
		for i := range targets {
			targets[i] = w.ordered(w.Home, "a")
			last = targets[i].Delivery
		}
		w.Accept(w.Event(w.Home, targets...))
	}
	drop := func(want int) {
		w.Helper()
		n, err := w.Store.DropKey(w.Context(), keyOf(w.Home, "a"), "dropped by Ana")
		w.Must(err)
		if n != want {
			w.Errorf("%d dropped, want %d", n, want)
		}
	}
	drop(waiting)
	if d := w.InState(w.Home, last, hook.StateCanceled); d.Reason != "dropped by Ana" {
		w.Errorf("dropped as %+v", d)
	}
	w.WantBacklog(w.Home, "sending=1")
	w.Succeed(job)
	w.park(w.Home, "a")
	w.acceptOrdered(w.Home, "a")
	drop(2)
	drop(0)
	if _, job := w.acceptOrdered(w.Home, "a"); job == nil {
		w.Error("a dropped key keeps a new delivery waiting")
	}
}

func keysIsolated(w *world) {
	id := w.park(w.Other, "a")
	w.acceptOrdered(w.Other, "a")
	w.acceptOrdered(w.Other, "b")
	key := keyOf(w.Other, "a")
	key.Project = w.Home.Project
	w.Wants(hook.KindNotFound, w.Store.ReleaseKey(w.Context(), key, w.Now))
	w.Wants(hook.KindNotFound, w.Store.SkipKey(w.Context(), key, "x"))
	n, err := w.Store.DropKey(w.Context(), key, "x")
	w.Must(err)
	if n != 0 {
		w.Errorf("%d of another project were dropped", n)
	}
	key.Key = "b" // Its head is in memory alone.
	w.Wants(hook.KindNotFound, w.Store.SkipKey(w.Context(), key, "x"))
	query := store.KeyQuery{Project: w.Home.Project, Connection: w.Other.Connection}
	if keys := w.keys(query); keys != nil {
		w.Errorf("another project's keys: %+v", keys)
	}
	query.Parked = true
	if keys := w.keys(query); keys != nil {
		w.Errorf("another project's parked keys: %+v", keys)
	}
	w.InState(w.Other, id, hook.StateHeld)
}
