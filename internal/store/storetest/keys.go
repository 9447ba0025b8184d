package storetest

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
	return store.Key{Project: p.project, Connection: p.connection, Key: key}
}

func (w *world) keys(query store.KeyQuery) []hook.OrderedKey {
	w.Helper()
	keys, err := w.store.ListKeys(w.Context(), query)
	w.must(err)
	return keys
}

// park accepts a delivery of a key and parks it.
func (w *world) park(p place, key string) hook.DeliveryID {
	w.Helper()
	id, job := w.acceptOrdered(p, key)
	w.settle(hook.Settlement{
		Job: job, State: hook.StateHeld, Cause: hook.CauseParked, Reason: "it said no", Attempt: w.attempt(hook.OutcomeRefused, 400),
	})
	return id
}

func keysListed(w *world) {
	parked := w.park(w.home, "b")
	w.acceptOrdered(w.home, "b")
	inHand, _ := w.acceptOrdered(w.home, "a") // It has no row.
	alone, _ := w.acceptOrdered(w.home, "c")
	w.acceptOrdered(w.home, "a")
	w.acceptOrdered(w.home, "a")
	_, ended := w.acceptOrdered(w.home, "d")
	w.succeed(ended)
	want := []hook.OrderedKey{
		{Connection: w.home.connection, Key: "a", Head: inHand, HeadState: hook.StateSending, Waiting: 3},
		{Connection: w.home.connection, Key: "b", Parked: true, Reason: "it said no", Head: parked, HeadState: hook.StateHeld, Waiting: 2},
		{Connection: w.home.connection, Key: "c", Head: alone, HeadState: hook.StateSending, Waiting: 1},
	}
	query := store.KeyQuery{Project: w.home.project, Connection: w.home.connection}
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
	_, err := w.store.ListKeys(w.Context(), store.KeyQuery{Project: w.home.project})
	w.wants(hook.KindInvalid, err)
}

func keysPaged(w *world) {
	want := []string{"a", "b", "c", "d", "e"}
	for _, key := range []string{"d", "b", "e", "a", "c"} {
		w.park(w.home, key)
		w.acceptOrdered(w.home, key)
	}
	for _, parked := range []bool{false, true} {
		var got []string
		query := store.KeyQuery{Project: w.home.project, Connection: w.home.connection, Parked: parked, Limit: 2}
		for {
			keys := w.keys(query)
			if len(keys) == 0 {
				break
			}
			for _, k := range keys {
				got = append(got, k.Key)
			}
			query.After = keyOf(w.home, keys[len(keys)-1].Key)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("parked %v:\n%s", parked, diff)
		}
	}
}

func keysParked(w *world) {
	second := w.addDestination(w.home, "second")
	first := []hook.DeliveryID{w.park(w.home, "x"), w.park(second, "a")}
	w.acceptOrdered(w.home, "b")
	w.park(w.other, "x")
	held, job := w.acceptOrdered(w.home, "c")
	w.settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit})
	var got []hook.DeliveryID
	query := store.KeyQuery{Project: w.home.project, Parked: true, Limit: 1}
	for keys := w.keys(query); len(keys) > 0; keys = w.keys(query) {
		got = append(got, keys[0].Head)
		query.After = store.Key{Connection: keys[0].Connection, Key: keys[0].Key}
	}
	if diff := cmp.Diff(first, got); diff != "" {
		w.Error(diff)
	}
	if d := w.inState(w.home, held, hook.StateHeld); d.Cause != hook.CauseCircuit {
		w.Errorf("held as %+v", d)
	}
}

func keyReleased(w *world) {
	id := w.park(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	w.tick(time.Hour)
	w.must(w.store.ReleaseKey(w.Context(), keyOf(w.home, "a"), w.now))
	d := w.inState(w.home, id, hook.StatePending)
	if d.Cause != hook.CauseNone || d.Reason != "" || d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(w.now) {
		w.Errorf("released as %+v", d)
	}
	job := w.wantDue(w.home, id)
	if job.Manual || job.Delivery.Attempts-job.Delivery.Probes != 0 {
		w.Errorf("after the release %+v has its schedule not before it", job.Delivery)
	}
	w.wants(hook.KindNotFound, w.store.ReleaseKey(w.Context(), keyOf(w.home, "b"), w.now))
	w.wants(hook.KindConflict, w.store.ReleaseKey(w.Context(), keyOf(w.home, "a"), w.now))
	w.succeed(job)
	w.wants(hook.KindNotFound, w.store.ReleaseKey(w.Context(), keyOf(w.home, "a"), w.now)) // Its head is not parked.
	w.wantDue(w.home, second)
}

func keySkipped(w *world) {
	_, job := w.acceptOrdered(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	third, _ := w.acceptOrdered(w.home, "a")
	skip := func() error { return w.store.SkipKey(w.Context(), keyOf(w.home, "a"), "skipped by Ana") }
	w.wants(hook.KindConflict, skip())
	w.giveBack(job)
	w.must(skip())
	if d := w.inState(w.home, job.Delivery.ID, hook.StateCanceled); d.Reason != "skipped by Ana" {
		w.Errorf("skipped as %+v", d)
	}
	job = w.wantDue(w.home, second)
	w.wants(hook.KindConflict, skip())
	w.settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseParked})
	w.must(skip())
	w.wantDue(w.home, third)
	w.wants(hook.KindNotFound, w.store.SkipKey(w.Context(), keyOf(w.home, "z"), ""))
}

func keyDropped(w *world) {
	const waiting = 300
	_, job := w.acceptOrdered(w.home, "a")
	var last hook.DeliveryID
	for range waiting / 20 {
		targets := make([]hook.Target, 20)
		for i := range targets {
			targets[i] = w.ordered(w.home, "a")
			last = targets[i].Delivery
		}
		w.accept(w.event(w.home, targets...))
	}
	drop := func(want int) {
		w.Helper()
		n, err := w.store.DropKey(w.Context(), keyOf(w.home, "a"), "dropped by Ana")
		w.must(err)
		if n != want {
			w.Errorf("%d dropped, want %d", n, want)
		}
	}
	drop(waiting)
	if d := w.inState(w.home, last, hook.StateCanceled); d.Reason != "dropped by Ana" {
		w.Errorf("dropped as %+v", d)
	}
	w.wantBacklog(w.home, "sending=1")
	w.succeed(job)
	w.park(w.home, "a")
	w.acceptOrdered(w.home, "a")
	drop(2)
	drop(0)
	if _, job := w.acceptOrdered(w.home, "a"); job == nil {
		w.Error("a dropped key keeps a new delivery waiting")
	}
}

func keysIsolated(w *world) {
	id := w.park(w.other, "a")
	w.acceptOrdered(w.other, "a")
	w.acceptOrdered(w.other, "b")
	key := keyOf(w.other, "a")
	key.Project = w.home.project
	w.wants(hook.KindNotFound, w.store.ReleaseKey(w.Context(), key, w.now))
	w.wants(hook.KindNotFound, w.store.SkipKey(w.Context(), key, "x"))
	n, err := w.store.DropKey(w.Context(), key, "x")
	w.must(err)
	if n != 0 {
		w.Errorf("%d of another project were dropped", n)
	}
	key.Key = "b" // Its head is in memory alone.
	w.wants(hook.KindNotFound, w.store.SkipKey(w.Context(), key, "x"))
	query := store.KeyQuery{Project: w.home.project, Connection: w.other.connection}
	if keys := w.keys(query); keys != nil {
		w.Errorf("another project's keys: %+v", keys)
	}
	query.Parked = true
	if keys := w.keys(query); keys != nil {
		w.Errorf("another project's parked keys: %+v", keys)
	}
	w.inState(w.other, id, hook.StateHeld)
}
