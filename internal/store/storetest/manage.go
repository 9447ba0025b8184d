package storetest

import (
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

func manageTests() map[string]func(*world) {
	return map[string]func(*world){
		"retry makes anything at rest due":   retryStates,
		"a retried delivery is sent by hand": retryManual,
		"retry keeps to its project":         manageIsolated,
		"cancel ends what waits":             cancelWaits,
		"hold and release by destination":    holdDestination,
		"hold and release by connection":     holdConnection,
		"hold and release a large backlog":   holdMany,
		"a moved connection keeps its lanes": holdMovedConnection,
		"what is in hand is neither":         holdLeavesSending,
	}
}

func holdOne(p place) store.Scope { return store.Scope{Project: p.project, Connection: p.connection} }

func holdAll(p place) store.Scope { return store.Scope{Project: p.project, Destination: p.destination} }

// each returns a delivery in each state, by state.
func (w *world) each(p place) map[hook.State]hook.DeliveryID {
	w.Helper()
	ids := map[hook.State]hook.DeliveryID{}
	for _, state := range []hook.State{hook.StateSucceeded, hook.StateFailed, hook.StateHeld, hook.StateCanceled, hook.StatePending} {
		job := w.inline(p)
		ids[state] = job.Delivery.ID
		s := hook.Settlement{Job: job, State: state, Reason: "because", Next: w.now.Add(time.Hour)}
		if state != hook.StateHeld && state != hook.StateCanceled {
			s.Attempt = w.attempt(hook.OutcomeRejected, 500)
		}
		w.settle(s)
	}
	ids[hook.StateSending] = w.inline(p).Delivery.ID
	return ids
}

func retryStates(w *world) {
	ids := w.each(w.home)
	w.tick(time.Minute)
	for state, changes := range map[hook.State]int{
		hook.StateSucceeded: 1, hook.StateFailed: 1, hook.StateHeld: 1, hook.StateCanceled: 1, hook.StatePending: 1, hook.StateSending: 0,
	} {
		n, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{ids[state]}, w.now)
		w.must(err)
		if n != changes {
			w.Errorf("retrying a %v delivery changed %d, want %d", state, n, changes)
		}
		if changes == 0 {
			continue
		}
		d := w.inState(w.home, ids[state], hook.StatePending)
		if d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(w.now) || d.Reason != "" {
			w.Errorf("a %v delivery became %+v", state, d)
		}
	}
	n, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{ids[hook.StatePending], 12345}, w.now)
	w.must(err)
	if n != 0 {
		w.Errorf("retrying what is due, and what is not there, changed %d", n)
	}
	w.wantBacklog(w.home, "pending=5 sending=1")
}

func retryManual(w *world) {
	ids := w.each(w.home)
	_, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{ids[hook.StateFailed], ids[hook.StatePending]}, w.now)
	w.must(err)
	manual := map[hook.DeliveryID]bool{}
	jobs := w.claim(w.home, 10)
	for _, job := range jobs {
		manual[job.Delivery.ID] = job.Manual
	}
	if len(manual) != 2 || !manual[ids[hook.StateFailed]] || manual[ids[hook.StatePending]] {
		w.Errorf("sent by hand: %v; want the failed one alone", manual)
	}
	for _, job := range jobs { // Given back without an attempt, it is still to be sent by hand; after one it is not.
		w.settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.now})
	}
	for range 2 {
		for _, job := range w.claim(w.home, 10) {
			if job.Manual != manual[job.Delivery.ID] {
				w.Errorf("%v: by hand is %v, want %v", job.Delivery.ID, job.Manual, manual[job.Delivery.ID])
			}
			w.settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.now, Attempt: w.attempt(hook.OutcomeTimeout, 0)})
			manual[job.Delivery.ID] = false
		}
	}
}

func manageIsolated(w *world) {
	ids := w.each(w.other)
	all := []hook.DeliveryID{}
	for _, id := range ids {
		all = append(all, id)
	}
	n, err := w.store.Retry(w.Context(), w.home.project, all, w.now)
	w.must(err)
	m, err := w.store.Cancel(w.Context(), w.home.project, all, "x")
	w.must(err)
	where := holdAll(w.other)
	where.Project = w.home.project
	h, err := w.store.Hold(w.Context(), where, "x")
	w.must(err)
	r, err := w.store.Release(w.Context(), where, w.now)
	w.must(err)
	if n+m+h+r != 0 {
		w.Errorf("of another project's deliveries %d were retried, %d canceled, %d held, %d released", n, m, h, r)
	}
	for state, id := range ids {
		w.inState(w.other, id, state)
	}
}

func cancelWaits(w *world) {
	ids := w.each(w.home)
	all := []hook.DeliveryID{12345}
	for _, id := range ids {
		all = append(all, id)
	}
	n, err := w.store.Cancel(w.Context(), w.home.project, all, "not wanted any more")
	w.must(err)
	if n != 2 {
		w.Errorf("%d were canceled, want the pending and the held one", n)
	}
	for state, id := range ids {
		want := state
		if state == hook.StatePending || state == hook.StateHeld {
			want = hook.StateCanceled
		}
		d := w.inState(w.home, id, want)
		if want != state && (d.Reason != "not wanted any more" || d.NextAttemptAt != nil) {
			w.Errorf("canceled as %+v", d)
		}
	}
	w.tick(24 * time.Hour)
	if jobs := w.claim(w.home, 10); jobs != nil {
		w.Error("a canceled delivery was claimed")
	}
	w.wantBacklog(w.home, "sending=1 failed=1")
}

func holdDestination(w *world) {
	second := place{project: w.home.project, source: w.home.source, destination: w.home.destination}
	second.connection = w.connect(second, "second")
	elsewhere := w.addDestination(w.home, "elsewhere")
	a, b, c := w.waiting(w.home), w.waiting(second), w.waiting(elsewhere)
	n, err := w.store.Hold(w.Context(), holdAll(w.home), "paused by Ana")
	w.must(err)
	if n != 2 {
		w.Errorf("%d held, want 2", n)
	}
	for _, id := range []hook.DeliveryID{a, b} {
		if d := w.inState(w.home, id, hook.StateHeld); d.Reason != "paused by Ana" || d.NextAttemptAt != nil {
			w.Errorf("held as %+v", d)
		}
	}
	w.inState(w.home, c, hook.StatePending)
	w.wantBacklog(w.home, "held=2")
	w.tick(time.Hour)
	n, err = w.store.Release(w.Context(), holdAll(w.home), w.now)
	w.must(err)
	if n != 2 {
		w.Errorf("%d released, want 2", n)
	}
	jobs := w.claim(w.home, 10)
	if len(jobs) != 2 || jobs[0].Delivery.ID != a || jobs[1].Delivery.ID != b || jobs[0].Manual {
		w.Errorf("after the release %d are due, in an order or way of their own", len(jobs))
	}
}

func holdConnection(w *world) {
	second := place{project: w.home.project, source: w.home.source, destination: w.home.destination}
	second.connection = w.connect(second, "second")
	a, b := w.waiting(w.home), w.waiting(second)
	n, err := w.store.Hold(w.Context(), holdOne(second), "paused")
	w.must(err)
	if n != 1 {
		w.Errorf("%d held, want 1", n)
	}
	w.inState(w.home, a, hook.StatePending)
	w.inState(w.home, b, hook.StateHeld)
	n, err = w.store.Release(w.Context(), holdOne(w.home), w.now)
	w.must(err)
	if n != 0 {
		w.Errorf("%d released of a connection that holds nothing", n)
	}
	n, err = w.store.Release(w.Context(), holdOne(second), w.now)
	w.must(err)
	if n != 1 {
		w.Errorf("%d released, want 1", n)
	}
	w.wantBacklog(w.home, "pending=2")
}

func holdMany(w *world) {
	const deliveries = 600
	var last hook.DeliveryID
	for range deliveries / 20 { // Twenty of one event, to be quick.
		targets := make([]hook.Target, 20)
		for i := range targets {
			targets[i] = w.target(w.home)
			targets[i].Deferred = true
			last = targets[i].Delivery
		}
		w.accept(w.event(w.home, targets...))
	}
	n, err := w.store.Hold(w.Context(), holdAll(w.home), "paused")
	w.must(err)
	m, err := w.store.Release(w.Context(), holdAll(w.home), w.now)
	w.must(err)
	if n != deliveries || m != deliveries {
		w.Errorf("%d held and %d released, want %d", n, m, deliveries)
	}
	w.inState(w.home, last, hook.StatePending)
	w.wantBacklog(w.home, "pending=600")
}

func holdMovedConnection(w *world) {
	before := w.waiting(w.home)
	moved := w.home
	destination := hook.Destination{Project: w.home.project, Name: "new-erp"}
	w.must(w.store.Destinations().Create(w.Context(), &destination))
	connection, err := w.store.Connections().Get(w.Context(), w.home.project, "orders")
	w.must(err)
	connection.Destination = destination.ID
	w.must(w.store.Connections().Update(w.Context(), &connection))
	moved.destination = destination.ID
	after := w.waiting(moved)
	n, err := w.store.Hold(w.Context(), holdAll(w.home), "paused")
	w.must(err)
	if n != 1 {
		w.Errorf("%d held, want the one to the old destination", n)
	}
	w.inState(w.home, before, hook.StateHeld)
	w.inState(w.home, after, hook.StatePending)
	query := queryOf(w.home)
	query.Destination = destination.ID
	if list := w.deliveries(query); len(list) != 1 || list[0].ID != after {
		w.Errorf("the list of the new destination has %d deliveries", len(list))
	}
	n, err = w.store.Hold(w.Context(), holdOne(w.home), "paused")
	w.must(err)
	if n != 1 {
		w.Errorf("%d more held by the connection, want the other one", n)
	}
}

func holdLeavesSending(w *world) {
	w.waiting(w.home)
	claimed := w.claim(w.home, 1)[0]
	inline := w.inline(w.home)
	n, err := w.store.Hold(w.Context(), holdAll(w.home), "paused")
	w.must(err)
	if n != 0 {
		w.Errorf("%d held of those in hand", n)
	}
	w.succeed(claimed)
	w.succeed(inline)
}

func reclaimTests() map[string]func(*world) {
	return map[string]func(*world){
		"accepted deliveries outlive a crash":           reclaimAccepted,
		"and a restart":                                 reclaimRestarted,
		"settled ones are left alone":                   reclaimLeavesSettled,
		"what a crashed process had claimed is due":     reclaimClaimed,
		"a second reclaim finds nothing":                reclaimTwice,
		"events accepted before it are found by it":     reclaimAfterTraffic,
		"what is deferred or held is not started twice": reclaimKeepsRows,
		"a crash between crashes loses nothing":         reclaimRepeatedly,
		"a settlement after a restart counts":           reclaimLateSettle,
		"what is being accepted is left alone":          reclaimBesideTraffic,
	}
}

func reclaimAccepted(w *world) {
	second := w.addDestination(w.home, "second")
	ev := w.accept(w.event(w.home, w.target(w.home), w.target(second)))
	w.crash()
	for i := range ev.Targets { // Before the reclaim they are not lost from sight.
		list := w.deliveries(store.DeliveryQuery{Project: w.home.project, Event: ev.ID})
		if len(list) != 2 || list[i].State != hook.StatePending {
			w.Errorf("before the reclaim: %+v", list)
		}
	}
	w.tick(time.Second)
	if n := w.reclaim(); n != 2 {
		w.Fatalf("%d reclaimed, want 2", n)
	}
	for i, p := range []place{w.home, second} {
		jobs := w.claim(p, 10)
		if len(jobs) != 1 || jobs[0].Delivery.ID != ev.Targets[i].Delivery || jobs[0].Event.ID != ev.ID || jobs[0].Inline || jobs[0].Delivery.Attempts != 0 {
			w.Fatalf("reclaimed as %+v", jobs)
		}
		if !jobs[0].Delivery.CreatedAt.Equal(ev.ReceivedAt) {
			w.Errorf("created at %v, want %v", jobs[0].Delivery.CreatedAt, ev.ReceivedAt)
		}
		w.succeed(jobs[0])
	}
}

func reclaimRestarted(w *world) {
	job := w.inline(w.home)
	w.restart()
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want 1", n)
	}
	w.inState(w.home, job.Delivery.ID, hook.StatePending)
	w.wantBacklog(w.home, "pending=1")
}

func reclaimLeavesSettled(w *world) {
	ids := w.each(w.home)
	w.crash()
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the one that was in hand", n)
	}
	for state, id := range ids {
		if state == hook.StateSending {
			state = hook.StatePending
		}
		w.inState(w.home, id, state)
	}
}

func reclaimClaimed(w *world) {
	id := w.waiting(w.home)
	w.claim(w.home, 1)
	w.crash()
	w.tick(time.Hour) // A backend of many nodes waits for the lease to end.
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want 1", n)
	}
	w.inState(w.home, id, hook.StatePending)
	w.wantBacklog(w.home, "pending=1")
}

func reclaimTwice(w *world) {
	w.inline(w.home)
	w.crash()
	w.reclaim()
	if n := w.reclaim(); n != 0 {
		w.Errorf("%d reclaimed a second time", n)
	}
}

func reclaimAfterTraffic(w *world) {
	lost := w.inline(w.home)
	w.crash()
	job := w.inline(w.home) // Accepted before the reclaim of the new process.
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the lost one alone", n)
	}
	w.inState(w.home, lost.Delivery.ID, hook.StatePending)
	w.inState(w.home, job.Delivery.ID, hook.StateSending)
	w.succeed(job)
}

func reclaimKeepsRows(w *world) {
	deferred, held := w.target(w.home), w.target(w.home)
	deferred.Deferred, held.Held = true, true
	w.accept(w.event(w.home, deferred, held, w.target(w.home)))
	w.crash()
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the inline one", n)
	}
	w.inState(w.home, held.Delivery, hook.StateHeld)
	w.wantBacklog(w.home, "pending=2 held=1")
}

func reclaimRepeatedly(w *world) {
	var ids []hook.DeliveryID
	for range 5 {
		ids = append(ids, w.inline(w.home).Delivery.ID)
		w.succeed(w.inline(w.home))
		w.crash()
		if len(ids)%2 == 0 {
			w.reclaim()
		}
	}
	w.reclaim()
	for _, id := range ids {
		w.inState(w.home, id, hook.StatePending)
	}
	w.wantBacklog(w.home, "pending=5")
}

func reclaimLateSettle(w *world) {
	job := w.inline(w.home)
	w.crash()
	w.succeed(job) // As a test may; a backend of many nodes sees it in earnest.
	if n := w.reclaim(); n != 0 {
		w.Errorf("%d reclaimed, want none: it was settled", n)
	}
	w.inState(w.home, job.Delivery.ID, hook.StateSucceeded)
}

// A reclaim that shares its commits with acceptances ends, and takes none of them for
// lost.
func reclaimBesideTraffic(w *world) {
	lost := w.inline(w.home)
	w.crash()
	acceptances := make([]*hook.Acceptance, 400)
	for i := range acceptances {
		acceptances[i] = w.event(w.home, w.target(w.home))
	}
	stop, counted := make(chan struct{}), make(chan int)
	go func() {
		total := 0
		for {
			n, err := w.store.Reclaim(w.Context(), w.now)
			if err != nil {
				w.Error(err)
			}
			total += n
			select {
			case <-stop:
				counted <- total
				return
			default:
			}
		}
	}()
	parallel(w, len(acceptances), func(i int) {
		if _, err := w.store.Accept(w.Context(), acceptances[i]); err != nil {
			w.Error(err)
		}
	})
	close(stop)
	if n := <-counted; n != 1 {
		w.Errorf("%d reclaimed, want the lost one alone", n)
	}
	w.inState(w.home, lost.Delivery.ID, hook.StatePending)
	w.wantBacklog(w.home, "pending=1 sending=400")
}
