package delivering

import (
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/storetest/stage"
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

func retryStates(w *world) {
	ids := w.Each(w.Home)
	w.Tick(time.Minute)
	for state, changes := range map[hook.State]int{
		hook.StateSucceeded: 1, hook.StateFailed: 1, hook.StateHeld: 1, hook.StateCanceled: 1, hook.StatePending: 1, hook.StateSending: 0,
	} {
		n, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{ids[state]}, w.Now)
		w.Must(err)
		if n != changes {
			w.Errorf("retrying a %v delivery changed %d, want %d", state, n, changes)
		}
		if changes == 0 {
			continue
		}
		d := w.InState(w.Home, ids[state], hook.StatePending)
		if d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(w.Now) || d.Reason != "" {
			w.Errorf("a %v delivery became %+v", state, d)
		}
	}
	n, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{ids[hook.StatePending], 12345}, w.Now)
	w.Must(err)
	if n != 0 {
		w.Errorf("retrying what is due, and what is not there, changed %d", n)
	}
	w.WantBacklog(w.Home, "pending=5 sending=1")
}

func retryManual(w *world) {
	ids := w.Each(w.Home)
	_, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{ids[hook.StateFailed], ids[hook.StatePending]}, w.Now)
	w.Must(err)
	manual := map[hook.DeliveryID]bool{}
	jobs := w.Claim(w.Home, 10)
	for _, job := range jobs {
		manual[job.Delivery.ID] = job.Manual
	}
	if len(manual) != 2 || !manual[ids[hook.StateFailed]] || manual[ids[hook.StatePending]] {
		w.Errorf("sent by hand: %v; want the failed one alone", manual)
	}
	for _, job := range jobs { // Given back without an attempt, it is still to be sent by hand; after one it is not.
		w.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.Now})
	}
	for range 2 {
		for _, job := range w.Claim(w.Home, 10) {
			if job.Manual != manual[job.Delivery.ID] {
				w.Errorf("%v: by hand is %v, want %v", job.Delivery.ID, job.Manual, manual[job.Delivery.ID])
			}
			w.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.Now, Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
			manual[job.Delivery.ID] = false
		}
	}
}

func manageIsolated(w *world) {
	ids := w.Each(w.Other)
	all := []hook.DeliveryID{}
	for _, id := range ids {
		all = append(all, id)
	}
	n, err := w.Store.Retry(w.Context(), w.Home.Project, all, w.Now)
	w.Must(err)
	m, err := w.Store.Cancel(w.Context(), w.Home.Project, all, "x")
	w.Must(err)
	where := stage.ByDestination(w.Other)
	where.Project = w.Home.Project
	h, err := w.Store.Hold(w.Context(), where, "x")
	w.Must(err)
	r, err := w.Store.Release(w.Context(), where, w.Now)
	w.Must(err)
	if n+m+h+r != 0 {
		w.Errorf("of another project's deliveries %d were retried, %d canceled, %d held, %d released", n, m, h, r)
	}
	for state, id := range ids {
		w.InState(w.Other, id, state)
	}
}

func cancelWaits(w *world) {
	ids := w.Each(w.Home)
	all := []hook.DeliveryID{12345}
	for _, id := range ids {
		all = append(all, id)
	}
	n, err := w.Store.Cancel(w.Context(), w.Home.Project, all, "not wanted any more")
	w.Must(err)
	if n != 2 {
		w.Errorf("%d were canceled, want the pending and the held one", n)
	}
	for state, id := range ids {
		want := state
		if state == hook.StatePending || state == hook.StateHeld {
			want = hook.StateCanceled
		}
		d := w.InState(w.Home, id, want)
		if want != state && (d.Reason != "not wanted any more" || d.NextAttemptAt != nil) {
			w.Errorf("canceled as %+v", d)
		}
	}
	w.Tick(24 * time.Hour)
	if jobs := w.Claim(w.Home, 10); jobs != nil {
		w.Error("a canceled delivery was claimed")
	}
	w.WantBacklog(w.Home, "sending=1 failed=1")
}

func holdDestination(w *world) {
	second := place{Project: w.Home.Project, Source: w.Home.Source, Destination: w.Home.Destination}
	second.Connection = w.Connect(second, "second")
	elsewhere := w.AddDestination(w.Home, "elsewhere")
	a, b, c := w.Waiting(w.Home), w.Waiting(second), w.Waiting(elsewhere)
	n, err := w.Store.Hold(w.Context(), stage.ByDestination(w.Home), "paused by Ana")
	w.Must(err)
	if n != 2 {
		w.Errorf("%d held, want 2", n)
	}
	for _, id := range []hook.DeliveryID{a, b} {
		if d := w.InState(w.Home, id, hook.StateHeld); d.Reason != "paused by Ana" || d.NextAttemptAt != nil {
			w.Errorf("held as %+v", d)
		}
	}
	w.InState(w.Home, c, hook.StatePending)
	w.WantBacklog(w.Home, "held=2")
	w.Tick(time.Hour)
	n, err = w.Store.Release(w.Context(), stage.ByDestination(w.Home), w.Now)
	w.Must(err)
	if n != 2 {
		w.Errorf("%d released, want 2", n)
	}
	jobs := w.Claim(w.Home, 10)
	if len(jobs) != 2 || jobs[0].Delivery.ID != a || jobs[1].Delivery.ID != b || jobs[0].Manual {
		w.Errorf("after the release %d are due, in an order or way of their own", len(jobs))
	}
}

func holdConnection(w *world) {
	second := place{Project: w.Home.Project, Source: w.Home.Source, Destination: w.Home.Destination}
	second.Connection = w.Connect(second, "second")
	a, b := w.Waiting(w.Home), w.Waiting(second)
	n, err := w.Store.Hold(w.Context(), stage.ByConnection(second), "paused")
	w.Must(err)
	if n != 1 {
		w.Errorf("%d held, want 1", n)
	}
	w.InState(w.Home, a, hook.StatePending)
	w.InState(w.Home, b, hook.StateHeld)
	n, err = w.Store.Release(w.Context(), stage.ByConnection(w.Home), w.Now)
	w.Must(err)
	if n != 0 {
		w.Errorf("%d released of a connection that holds nothing", n)
	}
	n, err = w.Store.Release(w.Context(), stage.ByConnection(second), w.Now)
	w.Must(err)
	if n != 1 {
		w.Errorf("%d released, want 1", n)
	}
	w.WantBacklog(w.Home, "pending=2")
}

func holdMany(w *world) {
	const deliveries = 600
	var last hook.DeliveryID
	for range deliveries / 20 { // Twenty of one event, to be quick.
		targets := make([]hook.Target, 20)
		for i := range targets {
			targets[i] = w.Target(w.Home)
			targets[i].Deferred = true
			last = targets[i].Delivery
		}
		w.Accept(w.Event(w.Home, targets...))
	}
	n, err := w.Store.Hold(w.Context(), stage.ByDestination(w.Home), "paused")
	w.Must(err)
	m, err := w.Store.Release(w.Context(), stage.ByDestination(w.Home), w.Now)
	w.Must(err)
	if n != deliveries || m != deliveries {
		w.Errorf("%d held and %d released, want %d", n, m, deliveries)
	}
	w.InState(w.Home, last, hook.StatePending)
	w.WantBacklog(w.Home, "pending=600")
}

func holdMovedConnection(w *world) {
	before := w.Waiting(w.Home)
	moved := w.Home
	destination := hook.Destination{Project: w.Home.Project, Name: "new-erp"}
	w.Must(w.Store.Destinations().Create(w.Context(), &destination))
	connection, err := w.Store.Connections().Get(w.Context(), w.Home.Project, "orders")
	w.Must(err)
	connection.Destination = destination.ID
	w.Must(w.Store.Connections().Update(w.Context(), &connection))
	moved.Destination = destination.ID
	after := w.Waiting(moved)
	n, err := w.Store.Hold(w.Context(), stage.ByDestination(w.Home), "paused")
	w.Must(err)
	if n != 1 {
		w.Errorf("%d held, want the one to the old destination", n)
	}
	w.InState(w.Home, before, hook.StateHeld)
	w.InState(w.Home, after, hook.StatePending)
	query := stage.QueryOf(w.Home)
	query.Destination = destination.ID
	if list := w.Deliveries(query); len(list) != 1 || list[0].ID != after {
		w.Errorf("the list of the new destination has %d deliveries", len(list))
	}
	n, err = w.Store.Hold(w.Context(), stage.ByConnection(w.Home), "paused")
	w.Must(err)
	if n != 1 {
		w.Errorf("%d more held by the connection, want the other one", n)
	}
}

func holdLeavesSending(w *world) {
	w.Waiting(w.Home)
	claimed := w.Claim(w.Home, 1)[0]
	inline := w.Inline(w.Home)
	n, err := w.Store.Hold(w.Context(), stage.ByDestination(w.Home), "paused")
	w.Must(err)
	if n != 0 {
		w.Errorf("%d held of those in hand", n)
	}
	w.Succeed(claimed)
	w.Succeed(inline)
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
	second := w.AddDestination(w.Home, "second")
	ev := w.Accept(w.Event(w.Home, w.Target(w.Home), w.Target(second)))
	w.Crash()
	for i := range ev.Targets { // Before the reclaim they are not lost from sight.
		list := w.Deliveries(store.DeliveryQuery{Project: w.Home.Project, Event: ev.ID})
		if len(list) != 2 || list[i].State != hook.StatePending {
			w.Errorf("before the reclaim: %+v", list)
		}
	}
	w.Tick(time.Second)
	if n := w.Reclaim(); n != 2 {
		w.Fatalf("%d reclaimed, want 2", n)
	}
	for i, p := range []place{w.Home, second} {
		jobs := w.Claim(p, 10)
		if len(jobs) != 1 || jobs[0].Delivery.ID != ev.Targets[i].Delivery || jobs[0].Event.ID != ev.ID || jobs[0].Inline || jobs[0].Delivery.Attempts != 0 {
			w.Fatalf("reclaimed as %+v", jobs)
		}
		if !jobs[0].Delivery.CreatedAt.Equal(ev.ReceivedAt) {
			w.Errorf("created at %v, want %v", jobs[0].Delivery.CreatedAt, ev.ReceivedAt)
		}
		w.Succeed(jobs[0])
	}
}

func reclaimRestarted(w *world) {
	job := w.Inline(w.Home)
	w.Restart()
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want 1", n)
	}
	w.InState(w.Home, job.Delivery.ID, hook.StatePending)
	w.WantBacklog(w.Home, "pending=1")
}

func reclaimLeavesSettled(w *world) {
	ids := w.Each(w.Home)
	w.Crash()
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the one that was in hand", n)
	}
	for state, id := range ids {
		if state == hook.StateSending {
			state = hook.StatePending
		}
		w.InState(w.Home, id, state)
	}
}

func reclaimClaimed(w *world) {
	id := w.Waiting(w.Home)
	w.Claim(w.Home, 1)
	w.Crash()
	w.Tick(time.Hour) // A backend of many nodes waits for the lease to end.
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want 1", n)
	}
	w.InState(w.Home, id, hook.StatePending)
	w.WantBacklog(w.Home, "pending=1")
}

func reclaimTwice(w *world) {
	w.Inline(w.Home)
	w.Crash()
	w.Reclaim()
	if n := w.Reclaim(); n != 0 {
		w.Errorf("%d reclaimed a second time", n)
	}
}

func reclaimAfterTraffic(w *world) {
	lost := w.Inline(w.Home)
	w.Crash()
	job := w.Inline(w.Home) // Accepted before the reclaim of the new process.
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the lost one alone", n)
	}
	w.InState(w.Home, lost.Delivery.ID, hook.StatePending)
	w.InState(w.Home, job.Delivery.ID, hook.StateSending)
	w.Succeed(job)
}

func reclaimKeepsRows(w *world) {
	deferred, held := w.Target(w.Home), w.Target(w.Home)
	deferred.Deferred, held.Held = true, true
	w.Accept(w.Event(w.Home, deferred, held, w.Target(w.Home)))
	w.Crash()
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the inline one", n)
	}
	w.InState(w.Home, held.Delivery, hook.StateHeld)
	w.WantBacklog(w.Home, "pending=2 held=1")
}

func reclaimRepeatedly(w *world) {
	var ids []hook.DeliveryID
	for range 5 {
		ids = append(ids, w.Inline(w.Home).Delivery.ID)
		w.Succeed(w.Inline(w.Home))
		w.Crash()
		if len(ids)%2 == 0 {
			w.Reclaim()
		}
	}
	w.Reclaim()
	for _, id := range ids {
		w.InState(w.Home, id, hook.StatePending)
	}
	w.WantBacklog(w.Home, "pending=5")
}

func reclaimLateSettle(w *world) {
	job := w.Inline(w.Home)
	w.Crash()
	w.Succeed(job) // As a test may; a backend of many nodes sees it in earnest.
	if n := w.Reclaim(); n != 0 {
		w.Errorf("%d reclaimed, want none: it was settled", n)
	}
	w.InState(w.Home, job.Delivery.ID, hook.StateSucceeded)
}

// A reclaim that shares its commits with acceptances ends, and takes none of them for
// lost.
func reclaimBesideTraffic(w *world) {
	lost := w.Inline(w.Home)
	w.Crash()
	acceptances := make([]*hook.Acceptance, 400)
	for i := range acceptances {
		acceptances[i] = w.Event(w.Home, w.Target(w.Home))
	}
	stop, counted := make(chan struct{}), make(chan int)
	go func() {
		total := 0
		for {
			n, err := w.Store.Reclaim(w.Context(), w.Now)
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
	stage.Parallel(w.World, len(acceptances), func(i int) {
		if _, err := w.Store.Accept(w.Context(), acceptances[i]); err != nil {
			w.Error(err)
		}
	})
	close(stop)
	if n := <-counted; n != 1 {
		w.Errorf("%d reclaimed, want the lost one alone", n)
	}
	w.InState(w.Home, lost.Delivery.ID, hook.StatePending)
	w.WantBacklog(w.Home, "pending=1 sending=400")
}
