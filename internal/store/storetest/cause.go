package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
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
	t := w.target(p)
	t.Held, t.Cause, t.Reason = true, cause, "because"
	w.accept(w.event(p, t))
	return t.Delivery
}

func (w *world) causeOf(p place, id hook.DeliveryID, want hook.Cause) {
	w.Helper()
	if d := w.delivery(p, id); d.Cause != want || (d.State == hook.StateHeld) != (want != hook.CauseNone) {
		w.Errorf("delivery %v is %v for cause %v, want cause %v", id, d.State, d.Cause, want)
	}
}

func causeAccepted(w *world) {
	for cause, want := range map[hook.Cause]hook.Cause{
		hook.CauseNone: hook.CausePaused, hook.CausePaused: hook.CausePaused, hook.CauseCircuit: hook.CauseCircuit,
	} {
		w.causeOf(w.home, w.held(w.home, cause), want)
	}
	w.wantBacklog(w.home, "held=3")
}

func causeReleased(w *world) {
	paused, circuit := w.held(w.home, hook.CausePaused), w.held(w.home, hook.CauseCircuit)
	waiting := w.waiting(w.home)
	where := holdAll(w.home)
	where.Cause = hook.CauseCircuit
	n, err := w.store.Hold(w.Context(), where, "it is down")
	w.must(err)
	if n != 1 {
		w.Errorf("%d held, want the waiting one", n)
	}
	w.causeOf(w.home, paused, hook.CausePaused) // What is held stays held for its cause.
	w.causeOf(w.home, waiting, hook.CauseCircuit)
	n, err = w.store.Release(w.Context(), holdAll(w.home), w.now)
	w.must(err)
	if n != 1 {
		w.Errorf("%d released by the end of the pause, want 1", n)
	}
	w.causeOf(w.home, paused, hook.CauseNone)
	w.causeOf(w.home, circuit, hook.CauseCircuit)
	n, err = w.store.Release(w.Context(), where, w.now)
	w.must(err)
	if n != 2 {
		w.Errorf("%d released by the end of the circuit, want 2", n)
	}
	w.causeOf(w.home, circuit, hook.CauseNone)
	w.wantBacklog(w.home, "pending=3")
}

func causeSettled(w *world) {
	job := w.inline(w.home)
	w.settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit, Reason: "it is down"})
	w.causeOf(w.home, job.Delivery.ID, hook.CauseCircuit)
	id := w.waiting(w.home)
	w.settle(hook.Settlement{Job: w.claim(w.home, 1)[0], State: hook.StateHeld, Reason: "paused"})
	w.causeOf(w.home, id, hook.CausePaused)
}

func causeRetried(w *world) {
	id := w.held(w.home, hook.CauseCircuit)
	_, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{id}, w.now)
	w.must(err)
	w.causeOf(w.home, id, hook.CauseNone)
	w.claim(w.home, 1)
	w.causeOf(w.home, id, hook.CauseNone)
	id = w.held(w.home, hook.CauseCircuit)
	_, err = w.store.Cancel(w.Context(), w.home.project, []hook.DeliveryID{id}, "x")
	w.must(err)
	w.causeOf(w.home, id, hook.CauseNone)
}

func causeListed(w *world) {
	circuit := w.held(w.home, hook.CauseCircuit)
	w.held(w.home, hook.CausePaused)
	for _, query := range []store.DeliveryQuery{queryOf(w.home), {Project: w.home.project, Event: w.delivery(w.home, circuit).Event}} {
		query.State, query.Cause = hook.StateHeld, hook.CauseCircuit
		if list := w.deliveries(query); len(list) != 1 || list[0].ID != circuit || list[0].Cause != hook.CauseCircuit {
			w.Errorf("held by the circuit: %+v", list)
		}
	}
}

func causeCrash(w *world) {
	id := w.held(w.home, hook.CauseCircuit)
	w.crash()
	w.reclaim()
	w.causeOf(w.home, id, hook.CauseCircuit)
}

func freeAttempt(w *world) {
	id := w.waiting(w.home)
	for n := 1; n <= 3; n++ {
		job := w.claim(w.home, 1)[0]
		if job.Delivery.Attempts != n-1 || job.Delivery.Probes != min(n-1, 1) {
			w.Errorf("claim %d: %d attempts, %d of them free", n, job.Delivery.Attempts, job.Delivery.Probes)
		}
		s := hook.Settlement{Job: job, State: hook.StatePending, Next: w.now, Attempt: w.attempt(hook.OutcomeTimeout, 0)}
		if n == 1 {
			s.State, s.Cause, s.Free, s.Attempt.Probe = hook.StateHeld, hook.CauseCircuit, true, true
		}
		w.settle(s)
		where := holdAll(w.home)
		where.Cause = hook.CauseCircuit
		_, err := w.store.Release(w.Context(), where, w.now)
		w.must(err)
	}
	if d := w.delivery(w.home, id); d.Attempts != 3 || d.Probes != 1 {
		w.Errorf("after three attempts: %+v", d)
	}
}

func freeInline(w *world) {
	job := w.inline(w.home)
	w.settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit, Free: true, Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	if d := w.delivery(w.home, job.Delivery.ID); d.Attempts != 1 || d.Probes != 1 {
		w.Errorf("after a failed probe: %+v", d)
	}
}

func probeAttempt(w *world) {
	job := w.inline(w.home)
	a := w.attempt(hook.OutcomeTimeout, 0)
	a.Probe = true
	w.settle(hook.Settlement{Job: job, State: hook.StateFailed, Attempt: a})
	got, err := w.store.Attempts(w.Context(), w.home.project, job.Delivery.ID)
	w.must(err)
	if len(got) != 1 || !got[0].Probe || got[0].Manual {
		w.Errorf("attempts %+v", got)
	}
}

func prunedNot(w *world) {
	project, err := w.store.Projects().Get(w.Context(), 0, "default")
	w.must(err)
	project.Retention.Events = hook.Duration(time.Hour)
	w.must(w.store.Projects().Update(w.Context(), &project))
	first, job := w.acceptOrdered(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	held := w.held(w.home, hook.CauseCircuit)
	w.succeed(job)
	w.tick(24 * time.Hour)
	pruned, err := w.store.Prune(w.Context(), w.now)
	w.must(err)
	if pruned.Events != 1 {
		w.Errorf("%d events were removed, want the one whose delivery has ended", pruned.Events)
	}
	_, err = w.store.Delivery(w.Context(), w.home.project, first)
	w.wants(hook.KindNotFound, err)
	w.causeOf(w.home, held, hook.CauseCircuit)
	w.succeed(w.wantDue(w.home, second))
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
	job, err := w.store.Probe(w.Context(), store.Claim{
		Destination: p.destination, Owner: "node-1", Until: w.now.Add(time.Minute), Now: w.now, Limit: 9,
	}, after)
	w.must(err)
	return job
}

// failProbe settles a probe that failed: the delivery is held again.
func (w *world) failProbe(job *hook.Job) {
	w.Helper()
	w.settle(hook.Settlement{
		Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit, Reason: "it is down", Free: true, Attempt: w.attempt(hook.OutcomeTimeout, 0),
	})
}

func probeNothing(w *world) {
	w.held(w.other, hook.CauseCircuit)
	job := w.inline(w.home)
	w.settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.now.Add(time.Hour), Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	if job := w.probe(w.home, 0); job != nil {
		w.Errorf("a probe with %+v", job.Delivery)
	}
}

func probeRound(w *world) {
	second := place{project: w.home.project, source: w.home.source, destination: w.home.destination}
	second.connection = w.connect(second, "second")
	ids := []hook.DeliveryID{w.held(w.home, hook.CauseCircuit), w.held(second, hook.CauseCircuit), w.held(w.home, hook.CauseCircuit)}
	var got []hook.DeliveryID
	after := hook.DeliveryID(0)
	for range 5 {
		job := w.probe(w.home, after)
		if job == nil || !job.Probe || job.Event == nil || job.Delivery.State != hook.StateSending {
			w.Fatalf("a probe with %+v", job)
		}
		w.causeOf(w.home, job.Delivery.ID, hook.CauseNone)
		w.wantBacklog(w.home, "sending=1 held=2")
		got = append(got, job.Delivery.ID)
		after = job.Delivery.ID
		w.failProbe(job)
	}
	if diff := cmp.Diff([]hook.DeliveryID{ids[0], ids[1], ids[2], ids[0], ids[1]}, got); diff != "" {
		w.Error(diff)
	}
	if d := w.inState(w.home, ids[0], hook.StateHeld); d.Attempts != 2 || d.Probes != 2 || d.Reason != "it is down" {
		w.Errorf("after two probes: %+v", d)
	}
}

func probeDue(w *world) {
	id := w.waiting(w.home)
	job := w.probe(w.home, 0)
	if job == nil || job.Delivery.ID != id || !job.Probe {
		w.Fatalf("a probe with %+v", job)
	}
	w.succeed(job)
	w.inState(w.home, id, hook.StateSucceeded)
	held, due := w.held(w.home, hook.CauseCircuit), w.waiting(w.home)
	seen := map[hook.DeliveryID]bool{}
	for range 2 {
		job := w.probe(w.home, held)
		seen[job.Delivery.ID] = true
		w.failProbe(job)
	}
	if !seen[due] {
		w.Error("what is due had no turn")
	}
}

func probeHeads(w *world) {
	first, job := w.acceptOrdered(w.home, "a")
	w.acceptOrdered(w.home, "a")
	last := w.held(w.home, hook.CauseCircuit)
	where := holdAll(w.home)
	where.Cause = hook.CauseCircuit
	_, err := w.store.Hold(w.Context(), where, "it is down")
	w.must(err)
	for range 2 { // The head is in hand, so that its key has nothing to offer.
		got := w.probe(w.home, 0)
		if got == nil || got.Delivery.ID != last {
			w.Fatalf("a probe with %+v", got)
		}
		w.failProbe(got)
	}
	w.settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit})
	job = w.probe(w.home, 0)
	if job == nil || job.Delivery.ID != first || job.Delivery.OrderKey != "a" {
		w.Fatalf("a probe with %+v", job)
	}
	if got := w.probe(w.home, first); got == nil || got.Delivery.ID != last {
		w.Fatalf("beside the head: a probe with %+v", got)
	}
	if got := w.probe(w.home, 0); got != nil {
		w.Errorf("a probe with %+v, behind its head", got.Delivery)
	}
	w.failProbe(job)
	w.wantNoneDue(w.home)
}

func probeOtherCause(w *world) {
	w.held(w.home, hook.CausePaused)
	w.park(w.home, "a")
	if job := w.probe(w.home, 0); job != nil {
		w.Errorf("a probe with %+v", job.Delivery)
	}
}

func probeCrash(w *world) {
	id := w.held(w.home, hook.CauseCircuit)
	w.probe(w.home, 0)
	w.crash()
	w.reclaim()
	w.causeOf(w.home, id, hook.CauseNone)
	w.wantDue(w.home, id)
	w.wantBacklog(w.home, "sending=1")
}
