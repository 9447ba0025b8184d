package delivering

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/storetest/stage"
)

func causeTests() map[string]func(*world) {
	return map[string]func(*world){
		"what is accepted as held keeps its cause":     causeAccepted,
		"a release releases what its cause holds":      causeReleased,
		"a settlement holds for its cause":             causeSettled,
		"a retry ends any cause":                       causeRetried,
		"held deliveries are listed by their cause":    causeListed,
		"a cause outlives a crash":                     causeCrash,
		"an attempt that is free is counted apart":     freeAttempt,
		"a free attempt of an inline delivery, too":    freeInline,
		"a probe is told from other attempts":          probeAttempt,
		"an event with an open delivery is not pruned": prunedNot,
	}
}

func (w *world) held(p place, cause hook.Cause) hook.DeliveryID {
	w.Helper()
	t := w.Target(p)
	t.Held, t.Cause, t.Reason = true, cause, "because"
	w.Accept(w.Event(p, t))
	return t.Delivery
}

func (w *world) causeOf(p place, id hook.DeliveryID, want hook.Cause) {
	w.Helper()
	if d := w.Delivery(p, id); d.Cause != want || (d.State == hook.StateHeld) != (want != hook.CauseNone) {
		w.Errorf("delivery %v is %v for cause %v, want cause %v", id, d.State, d.Cause, want)
	}
}

func causeAccepted(w *world) {
	for cause, want := range map[hook.Cause]hook.Cause{
		hook.CauseNone: hook.CausePaused, hook.CausePaused: hook.CausePaused, hook.CauseCircuit: hook.CauseCircuit,
	} {
		w.causeOf(w.Home, w.held(w.Home, cause), want)
	}
	w.WantBacklog(w.Home, "held=3")
}

func causeReleased(w *world) {
	paused, circuit := w.held(w.Home, hook.CausePaused), w.held(w.Home, hook.CauseCircuit)
	waiting := w.Waiting(w.Home)
	where := stage.ByDestination(w.Home)
	where.Cause = hook.CauseCircuit
	n, err := w.Store.Hold(w.Context(), where, "it is down")
	w.Must(err)
	if n != 1 {
		w.Errorf("%d held, want the waiting one", n)
	}
	w.causeOf(w.Home, paused, hook.CausePaused) // What is held stays held for its cause.
	w.causeOf(w.Home, waiting, hook.CauseCircuit)
	n, err = w.Store.Release(w.Context(), stage.ByDestination(w.Home), w.Now)
	w.Must(err)
	if n != 1 {
		w.Errorf("%d released by the end of the pause, want 1", n)
	}
	w.causeOf(w.Home, paused, hook.CauseNone)
	w.causeOf(w.Home, circuit, hook.CauseCircuit)
	n, err = w.Store.Release(w.Context(), where, w.Now)
	w.Must(err)
	if n != 2 {
		w.Errorf("%d released by the end of the circuit, want 2", n)
	}
	w.causeOf(w.Home, circuit, hook.CauseNone)
	w.WantBacklog(w.Home, "pending=3")
}

func causeSettled(w *world) {
	job := w.Inline(w.Home)
	w.Settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit, Reason: "it is down"})
	w.causeOf(w.Home, job.Delivery.ID, hook.CauseCircuit)
	id := w.Waiting(w.Home)
	w.Settle(hook.Settlement{Job: w.Claim(w.Home, 1)[0], State: hook.StateHeld, Reason: "paused"})
	w.causeOf(w.Home, id, hook.CausePaused)
}

func causeRetried(w *world) {
	id := w.held(w.Home, hook.CauseCircuit)
	_, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{id}, w.Now)
	w.Must(err)
	w.causeOf(w.Home, id, hook.CauseNone)
	w.Claim(w.Home, 1)
	w.causeOf(w.Home, id, hook.CauseNone)
	id = w.held(w.Home, hook.CauseCircuit)
	_, err = w.Store.Cancel(w.Context(), w.Home.Project, []hook.DeliveryID{id}, "x")
	w.Must(err)
	w.causeOf(w.Home, id, hook.CauseNone)
}

func causeListed(w *world) {
	circuit := w.held(w.Home, hook.CauseCircuit)
	w.held(w.Home, hook.CausePaused)
	for _, query := range []store.DeliveryQuery{stage.QueryOf(w.Home), {Project: w.Home.Project, Event: w.Delivery(w.Home, circuit).Event}} {
		query.State, query.Cause = hook.StateHeld, hook.CauseCircuit
		if list := w.Deliveries(query); len(list) != 1 || list[0].ID != circuit || list[0].Cause != hook.CauseCircuit {
			w.Errorf("held by the circuit: %+v", list)
		}
	}
}

func causeCrash(w *world) {
	id := w.held(w.Home, hook.CauseCircuit)
	w.Crash()
	w.Reclaim()
	w.causeOf(w.Home, id, hook.CauseCircuit)
}

func freeAttempt(w *world) {
	id := w.Waiting(w.Home)
	for n := 1; n <= 3; n++ {
		job := w.Claim(w.Home, 1)[0]
		if job.Delivery.Attempts != n-1 || job.Delivery.Probes != min(n-1, 1) {
			w.Errorf("claim %d: %d attempts, %d of them free", n, job.Delivery.Attempts, job.Delivery.Probes)
		}
		s := hook.Settlement{Job: job, State: hook.StatePending, Next: w.Now, Attempt: w.Attempt(hook.OutcomeTimeout, 0)}
		if n == 1 {
			s.State, s.Cause, s.Free, s.Attempt.Probe = hook.StateHeld, hook.CauseCircuit, true, true
		}
		w.Settle(s)
		where := stage.ByDestination(w.Home)
		where.Cause = hook.CauseCircuit
		_, err := w.Store.Release(w.Context(), where, w.Now)
		w.Must(err)
	}
	if d := w.Delivery(w.Home, id); d.Attempts != 3 || d.Probes != 1 {
		w.Errorf("after three attempts: %+v", d)
	}
}

func freeInline(w *world) {
	job := w.Inline(w.Home)
	w.Settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit, Free: true, Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	if d := w.Delivery(w.Home, job.Delivery.ID); d.Attempts != 1 || d.Probes != 1 {
		w.Errorf("after a failed probe: %+v", d)
	}
}

func probeAttempt(w *world) {
	job := w.Inline(w.Home)
	a := w.Attempt(hook.OutcomeTimeout, 0)
	a.Probe = true
	w.Settle(hook.Settlement{Job: job, State: hook.StateFailed, Attempt: a})
	got, err := w.Store.Attempts(w.Context(), w.Home.Project, job.Delivery.ID)
	w.Must(err)
	if len(got) != 1 || !got[0].Probe || got[0].Manual {
		w.Errorf("attempts %+v", got)
	}
}

func prunedNot(w *world) {
	project, err := w.Store.Projects().Get(w.Context(), 0, "default")
	w.Must(err)
	project.Retention.Events = hook.Duration(time.Hour)
	w.Must(w.Store.Projects().Update(w.Context(), &project))
	first, job := w.acceptOrdered(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	held := w.held(w.Home, hook.CauseCircuit)
	w.Succeed(job)
	w.Tick(24 * time.Hour)
	pruned, err := w.Store.Prune(w.Context(), w.Now)
	w.Must(err)
	if pruned.Events != 1 {
		w.Errorf("%d events were removed, want the one whose delivery has ended", pruned.Events)
	}
	_, err = w.Store.Delivery(w.Context(), w.Home.Project, first)
	w.Wants(hook.KindNotFound, err)
	w.causeOf(w.Home, held, hook.CauseCircuit)
	w.Succeed(w.wantDue(w.Home, second))
}

func probeTests() map[string]func(*world) {
	return map[string]func(*world){
		"nothing waits, nothing to probe with":      probeNothing,
		"probes go round what the circuit holds":    probeRound,
		"what is due is probed with, too":           probeDue,
		"only the head of a key is probed with":     probeHeads,
		"what is held for another cause is left":    probeOtherCause,
		"a crash gives back what was to be a probe": probeCrash,
	}
}

func (w *world) probe(p place, after hook.DeliveryID) *hook.Job {
	w.Helper()
	job, err := w.Store.Probe(w.Context(), store.Claim{
		Destination: p.Destination, Owner: "node-1", Until: w.Now.Add(time.Minute), Now: w.Now, Limit: 9,
	}, after)
	w.Must(err)
	return job
}

// failProbe settles a probe that failed: the delivery is held again.
func (w *world) failProbe(job *hook.Job) {
	w.Helper()
	w.Settle(hook.Settlement{
		Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit, Reason: "it is down", Free: true, Attempt: w.Attempt(hook.OutcomeTimeout, 0),
	})
}

func probeNothing(w *world) {
	w.held(w.Other, hook.CauseCircuit)
	job := w.Inline(w.Home)
	w.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.Now.Add(time.Hour), Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	if job := w.probe(w.Home, 0); job != nil {
		w.Errorf("a probe with %+v", job.Delivery)
	}
}

func probeRound(w *world) {
	second := place{Project: w.Home.Project, Source: w.Home.Source, Destination: w.Home.Destination}
	second.Connection = w.Connect(second, "second")
	ids := []hook.DeliveryID{w.held(w.Home, hook.CauseCircuit), w.held(second, hook.CauseCircuit), w.held(w.Home, hook.CauseCircuit)}
	var got []hook.DeliveryID
	after := hook.DeliveryID(0)
	for range 5 {
		job := w.probe(w.Home, after)
		if job == nil || !job.Probe || job.Event == nil || job.Delivery.State != hook.StateSending {
			w.Fatalf("a probe with %+v", job)
		}
		w.causeOf(w.Home, job.Delivery.ID, hook.CauseNone)
		w.WantBacklog(w.Home, "sending=1 held=2")
		got = append(got, job.Delivery.ID)
		after = job.Delivery.ID
		w.failProbe(job)
	}
	if diff := cmp.Diff([]hook.DeliveryID{ids[0], ids[1], ids[2], ids[0], ids[1]}, got); diff != "" {
		w.Error(diff)
	}
	if d := w.InState(w.Home, ids[0], hook.StateHeld); d.Attempts != 2 || d.Probes != 2 || d.Reason != "it is down" {
		w.Errorf("after two probes: %+v", d)
	}
}

func probeDue(w *world) {
	id := w.Waiting(w.Home)
	job := w.probe(w.Home, 0)
	if job == nil || job.Delivery.ID != id || !job.Probe {
		w.Fatalf("a probe with %+v", job)
	}
	w.Succeed(job)
	w.InState(w.Home, id, hook.StateSucceeded)
	held, due := w.held(w.Home, hook.CauseCircuit), w.Waiting(w.Home)
	seen := map[hook.DeliveryID]bool{}
	for range 2 {
		job := w.probe(w.Home, held)
		seen[job.Delivery.ID] = true
		w.failProbe(job)
	}
	if !seen[due] {
		w.Error("what is due had no turn")
	}
}

func probeHeads(w *world) {
	first, job := w.acceptOrdered(w.Home, "a")
	w.acceptOrdered(w.Home, "a")
	last := w.held(w.Home, hook.CauseCircuit)
	where := stage.ByDestination(w.Home)
	where.Cause = hook.CauseCircuit
	_, err := w.Store.Hold(w.Context(), where, "it is down")
	w.Must(err)
	for range 2 { // The head is in hand, so that its key has nothing to offer.
		got := w.probe(w.Home, 0)
		if got == nil || got.Delivery.ID != last {
			w.Fatalf("a probe with %+v", got)
		}
		w.failProbe(got)
	}
	w.Settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit})
	job = w.probe(w.Home, 0)
	if job == nil || job.Delivery.ID != first || job.Delivery.OrderKey != "a" {
		w.Fatalf("a probe with %+v", job)
	}
	if got := w.probe(w.Home, first); got == nil || got.Delivery.ID != last {
		w.Fatalf("beside the head: a probe with %+v", got)
	}
	if got := w.probe(w.Home, 0); got != nil {
		w.Errorf("a probe with %+v, behind its head", got.Delivery)
	}
	w.failProbe(job)
	w.wantNoneDue(w.Home)
}

func probeOtherCause(w *world) {
	w.held(w.Home, hook.CausePaused)
	w.park(w.Home, "a")
	if job := w.probe(w.Home, 0); job != nil {
		w.Errorf("a probe with %+v", job.Delivery)
	}
}

func probeCrash(w *world) {
	id := w.held(w.Home, hook.CauseCircuit)
	w.probe(w.Home, 0)
	w.Crash()
	w.Reclaim()
	w.causeOf(w.Home, id, hook.CauseNone)
	w.wantDue(w.Home, id)
	w.WantBacklog(w.Home, "sending=1")
}
