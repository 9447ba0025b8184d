package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/storetest/stage"
)

func healthTests() map[string]func(*world) {
	return map[string]func(*world){
		"the oldest is the one that waits longest":       oldestWaits,
		"the oldest may be in memory":                    oldestInline,
		"failures are counted by their kind":             failuresCount,
		"an example is good for a minute":                failuresExample,
		"failures are their project's and destination's": failuresIsolated,
		"a deleted destination leaves no examples":       failuresGone,
	}
}

// wantOldest fails unless the oldest open delivery of the place's destination was
// accepted then.
func (w *world) wantOldest(p place, want time.Time) {
	w.Helper()
	got, err := w.Store.Oldest(w.Context(), p.Project, p.Destination)
	w.Must(err)
	if !got.Equal(want) {
		w.Errorf("the oldest is of %v, want %v", got, want)
	}
}

func oldestWaits(w *world) {
	second := w.Home
	second.Connection = w.Connect(w.Home, "second")
	w.wantOldest(w.Home, time.Time{})
	w.Waiting(second)
	first := w.Now
	w.Tick(time.Minute)
	w.Waiting(w.Home)
	middle := w.Now
	w.Tick(time.Minute)
	w.Waiting(second)
	last := w.Now
	elsewhere := w.Home
	elsewhere.Project = w.Other.Project
	w.wantOldest(elsewhere, time.Time{})
	w.wantOldest(w.Other, time.Time{})
	jobs := w.Claim(w.Home, 3)
	w.wantOldest(w.Home, first)
	for i, want := range []time.Time{middle, last, {}} {
		for _, job := range jobs {
			if job.Delivery.CreatedAt.Equal([]time.Time{first, middle, last}[i]) {
				w.Settle(hook.Settlement{Job: job, State: hook.StateHeld, Reason: "paused"})
				w.wantOldest(w.Home, []time.Time{first, middle, last}[i])
				_, err := w.Store.Cancel(w.Context(), w.Home.Project, []hook.DeliveryID{job.Delivery.ID}, "no")
				w.Must(err)
			}
		}
		w.wantOldest(w.Home, want)
	}
}

func oldestInline(w *world) {
	first, began := w.Inline(w.Home), w.Now
	w.Tick(time.Minute)
	waiting := w.Now
	w.Waiting(w.Home)
	w.wantOldest(w.Home, began)
	w.Succeed(first)
	w.wantOldest(w.Home, waiting)
}

// try settles a new delivery as failed with the given outcome.
func (w *world) try(p place, outcome hook.Outcome, status int, text string) hook.DeliveryID {
	w.Helper()
	job := w.Inline(p)
	attempt := w.Attempt(outcome, status)
	attempt.Error = text
	w.Settle(hook.Settlement{Job: job, State: hook.StateFailed, Reason: "the answer was " + fmt.Sprint(status), Attempt: attempt})
	return job.Delivery.ID
}

func (w *world) failures(p place, since time.Time) []hook.Failure {
	w.Helper()
	list, err := w.Store.Failures(w.Context(), p.Project, p.Destination, since)
	w.Must(err)
	return list
}

func failuresCount(w *world) {
	w.try(w.Home, hook.OutcomeNetwork, 0, "connection refused")
	w.Tick(time.Hour)
	at := w.Now.Add(30 * time.Millisecond)
	refused := w.try(w.Home, hook.OutcomeRefused, 400, "")
	timeout := w.try(w.Home, hook.OutcomeTimeout, 0, "no answer within 10s")
	w.try(w.Home, hook.OutcomeTimeout, 0, "no answer within 10s")
	w.Succeed(w.Inline(w.Home))
	want := []hook.Failure{
		{Outcome: hook.OutcomeTimeout, Attempts: 2, Delivery: timeout, Number: 1, At: at, Text: "no answer within 10s"},
		{Outcome: hook.OutcomeRefused, Status: 400, Attempts: 1, Delivery: refused, Number: 1, At: at, Text: "the answer was 400"},
	}
	got := w.failures(w.Home, w.Now)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	if all := w.failures(w.Home, stage.Noon()); len(all) != 3 {
		w.Errorf("%d kinds since the beginning, want 3", len(all))
	}
	if later := w.failures(w.Home, w.Now.Add(time.Minute)); later != nil {
		w.Errorf("failures of the future: %+v", later)
	}
	w.Crash()
	if diff := cmp.Diff(want, w.failures(w.Home, w.Now)); diff != "" {
		w.Errorf("after a crash:\n%s", diff)
	}
}

func failuresExample(w *world) {
	first := w.try(w.Home, hook.OutcomeTimeout, 0, "first")
	w.Tick(59 * time.Second)
	w.try(w.Home, hook.OutcomeTimeout, 0, "too soon")
	if list := w.failures(w.Home, stage.Noon()); len(list) != 1 || list[0].Delivery != first || list[0].Attempts != 2 {
		w.Errorf("%+v, want the first one as the example of both", list)
	}
	w.Tick(time.Second)
	long := strings.Repeat("ä", 1000)
	job := w.Inline(w.Home)
	for range 2 { // The example is an attempt of some delivery, not always its first one.
		attempt := w.Attempt(hook.OutcomeNetwork, 0)
		w.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.Now, Attempt: attempt})
		job = w.Claim(w.Home, 1)[0]
	}
	attempt := w.Attempt(hook.OutcomeTimeout, 0)
	attempt.Error = long
	w.Settle(hook.Settlement{Job: job, State: hook.StateFailed, Attempt: attempt})
	for _, failure := range w.failures(w.Home, stage.Noon()) {
		if failure.Outcome != hook.OutcomeTimeout {
			continue
		}
		if failure.Delivery != job.Delivery.ID || failure.Number != 3 || len(failure.Text) > 600 || !strings.HasPrefix(long, failure.Text) {
			w.Errorf("%+v, want the third attempt, its text cut", failure)
		}
	}
}

func failuresIsolated(w *world) {
	second := w.AddDestination(w.Home, "second")
	w.try(w.Home, hook.OutcomeTimeout, 0, "x")
	elsewhere := w.Home
	elsewhere.Project = w.Other.Project
	for _, p := range []place{second, w.Other, elsewhere} {
		if list := w.failures(p, stage.Noon()); list != nil {
			w.Errorf("%+v, want no failures", list)
		}
	}
}

func failuresGone(w *world) {
	w.try(w.Home, hook.OutcomeTimeout, 0, "x")
	late := w.Inline(w.Home)
	w.Must(w.Store.Connections().Delete(w.Context(), w.Home.Project, "orders"))
	w.Must(w.Store.Destinations().Delete(w.Context(), w.Home.Project, "erp"))
	w.Tick(time.Hour)
	w.Settle(hook.Settlement{Job: late, State: hook.StateFailed, Reason: "x", Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	for _, failure := range w.failures(w.Home, stage.Noon()) {
		if failure.Delivery != 0 || failure.Attempts != 2 {
			w.Errorf("%+v, want the count alone", failure)
		}
	}
}

func circuitTests() map[string]func(*world) {
	return map[string]func(*world){
		"a circuit is replaced, and removed": circuitSaved,
		"it goes with its destination":       circuitGone,
	}
}

func (w *world) circuits() []hook.Circuit {
	w.Helper()
	list, err := w.Store.Circuits(w.Context())
	w.Must(err)
	return list
}

func circuitSaved(w *world) {
	ctx := w.Context()
	if list := w.circuits(); list != nil {
		w.Errorf("a new store has circuits %+v", list)
	}
	open := hook.Circuit{
		Destination: w.Home.Destination, Project: w.Home.Project, State: hook.CircuitOpen, Reason: "10 attempts in a row failed",
		Since: w.Now, OpenedAt: w.Now.Add(-time.Minute), ProbeAt: w.Now.Add(time.Second), Failures: 10, Probes: 3,
	}
	ramp := hook.Circuit{Destination: w.Other.Destination, Project: w.Other.Project, State: hook.CircuitRamp, Since: w.Now}
	w.Must(w.Store.SaveCircuit(ctx, open))
	w.Must(w.Store.SaveCircuit(ctx, ramp))
	open.State, open.Reason = hook.CircuitHalfOpen, "11 attempts in a row failed"
	w.Must(w.Store.SaveCircuit(ctx, open))
	w.Crash()
	if diff := cmp.Diff([]hook.Circuit{open, ramp}, w.circuits()); diff != "" {
		w.Error(diff)
	}
	w.Must(w.Store.SaveCircuit(ctx, hook.Circuit{Destination: w.Home.Destination, Project: w.Home.Project}))
	if diff := cmp.Diff([]hook.Circuit{ramp}, w.circuits()); diff != "" {
		w.Errorf("after one that never opened:\n%s", diff)
	}
}

func circuitGone(w *world) {
	ctx := w.Context()
	open := hook.Circuit{Destination: w.Home.Destination, Project: w.Home.Project, State: hook.CircuitOpen, Since: w.Now}
	w.Must(w.Store.SaveCircuit(ctx, open))
	w.Must(w.Store.Connections().Delete(ctx, w.Home.Project, "orders"))
	w.Must(w.Store.Destinations().Delete(ctx, w.Home.Project, "erp"))
	w.Must(w.Store.SaveCircuit(ctx, open)) // The engine may be late.
	if list := w.circuits(); list != nil {
		w.Errorf("circuits of no destination: %+v", list)
	}
}

func auditTests() map[string]func(*world) {
	return map[string]func(*world){
		"entries come back as they were stored": auditRoundTrip,
		"entries are found":                     auditFinds,
		"a long search goes on":                 auditSearches,
		"old entries go":                        auditPruned,
	}
}

func (w *world) audit(query store.AuditQuery) []hook.AuditEntry {
	w.Helper()
	return stage.WalkBoth(w.World, func(req page.Request) page.Page[hook.AuditEntry] {
		query.Page = req
		p, err := w.Store.ListAudit(w.Context(), query)
		w.Must(err)
		return p
	}, func(e hook.AuditEntry) int64 { return int64(e.ID) })
}

func (w *world) record(p place, action, subject string) hook.AuditEntry {
	w.Helper()
	e := hook.AuditEntry{ID: hook.AuditID(w.IDs.Next(w.Now)), Project: p.Project, Actor: "ops", Action: action, Subject: subject}
	w.Must(w.Store.Record(w.Context(), &e))
	return e
}

func auditRoundTrip(w *world) {
	full := hook.AuditEntry{
		Project: w.Home.Project, Token: 77, Actor: "ops", Action: "destination.pause", Subject: "dst_1", Remote: "192.0.2.1:99",
		Detail: []byte(`{"reason":"…"}`),
	}
	w.Must(w.Store.Record(w.Context(), &full))
	if full.ID == 0 || !full.At.Equal(full.ID.Time()) {
		w.Errorf("filled as %+v", full)
	}
	small := w.record(w.Other, "replay.stop", "")
	if !small.At.Equal(w.Now) {
		w.Errorf("an entry with an id is of %v, want %v", small.At, w.Now)
	}
	w.Crash()
	if diff := cmp.Diff([]hook.AuditEntry{full}, w.audit(store.AuditQuery{Project: w.Home.Project})); diff != "" {
		w.Error(diff)
	}
	if diff := cmp.Diff([]hook.AuditEntry{small}, w.audit(store.AuditQuery{Project: w.Other.Project})); diff != "" {
		w.Error(diff)
	}
}

func auditFinds(w *world) {
	var all []hook.AuditEntry
	for i := range 30 {
		subject := []string{"dst_1", "dst_2", "con_1"}[i%3]
		action := []string{"destination.pause", "destination.resume"}[i%2]
		all = append([]hook.AuditEntry{w.record(w.Home, action, subject)}, all...)
		w.record(w.Other, action, subject)
		w.Tick(time.Minute)
	}
	for name, test := range map[string]struct {
		query store.AuditQuery
		keep  func(*hook.AuditEntry) bool
	}{
		"all":       {store.AuditQuery{}, func(*hook.AuditEntry) bool { return true }},
		"an action": {store.AuditQuery{Action: "destination.pause"}, func(e *hook.AuditEntry) bool { return e.Action == "destination.pause" }},
		"a pattern": {store.AuditQuery{Action: "*.resume"}, func(e *hook.AuditEntry) bool { return e.Action == "destination.resume" }},
		"a subject": {store.AuditQuery{Subject: "con_1"}, func(e *hook.AuditEntry) bool { return e.Subject == "con_1" }},
		"both": {store.AuditQuery{Action: "destination.*", Subject: "dst_2"}, func(e *hook.AuditEntry) bool {
			return e.Subject == "dst_2"
		}},
		"a time": {store.AuditQuery{After: stage.Noon().Add(5 * time.Minute), Before: stage.Noon().Add(9 * time.Minute), Action: "*"}, func(e *hook.AuditEntry) bool {
			return !e.At.Before(stage.Noon().Add(5*time.Minute)) && e.At.Before(stage.Noon().Add(9*time.Minute))
		}},
		"nothing": {store.AuditQuery{Action: "token.create"}, func(*hook.AuditEntry) bool { return false }},
	} {
		test.query.Project = w.Home.Project
		var want []hook.AuditEntry
		for i := range all {
			if test.keep(&all[i]) {
				want = append(want, all[i])
			}
		}
		if diff := cmp.Diff(want, w.audit(test.query)); diff != "" {
			w.Errorf("%s:\n%s", name, diff)
		}
	}
}

func auditSearches(w *world) {
	rare := w.record(w.Home, "token.create", "tok_1")
	stage.Parallel(w.World, store.ScanLimit+10, func(int) {
		if err := w.Store.Record(w.Context(), &hook.AuditEntry{Project: w.Home.Project, At: w.Now.Add(time.Hour), Actor: "ops", Action: "event.send"}); err != nil {
			w.Error(err)
		}
	})
	query := store.AuditQuery{Project: w.Home.Project, Action: "token.create"}
	short, err := w.Store.ListAudit(w.Context(), query)
	w.Must(err)
	if len(short.Items) != 0 || short.Done || short.Last == 0 {
		w.Fatalf("the first page has %d items, done: %v, last: %d; want a search that goes on", len(short.Items), short.Done, short.Last)
	}
	query.Page.From = short.Last
	rest, err := w.Store.ListAudit(w.Context(), query)
	w.Must(err)
	if len(rest.Items) != 1 || rest.Items[0].ID != rare.ID || !rest.Done {
		w.Errorf("the second page has %+v, done: %v", rest.Items, rest.Done)
	}
}

func auditPruned(w *world) {
	w.record(w.Home, "destination.pause", "")
	w.record(w.Other, "destination.pause", "")
	w.Tick(399 * day)
	young := w.record(w.Home, "destination.resume", "")
	if pruned := w.Prune(); pruned.Audit != 0 {
		w.Errorf("%d entries went before their time", pruned.Audit)
	}
	w.Tick(2 * day)
	if pruned := w.Prune(); pruned.Audit != 2 {
		w.Errorf("%d entries went, want the two that are old", pruned.Audit)
	}
	if list := w.audit(store.AuditQuery{Project: w.Home.Project}); len(list) != 1 || list[0].ID != young.ID {
		w.Errorf("%+v stayed, want the young one", list)
	}
	w.record(w.Other, "project.delete", "")
	w.Must(w.Store.Connections().Delete(w.Context(), w.Other.Project, "orders"))
	w.Must(w.Store.Sources().Delete(w.Context(), w.Other.Project, "shop"))
	w.Must(w.Store.Destinations().Delete(w.Context(), w.Other.Project, "erp"))
	w.Must(w.Store.Projects().Delete(w.Context(), 0, "other"))
	if pruned := w.Prune(); pruned.Audit != 1 {
		w.Errorf("%d entries went, want that of the deleted project", pruned.Audit)
	}
}
