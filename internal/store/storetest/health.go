package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
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
	got, err := w.store.Oldest(w.Context(), p.project, p.destination)
	w.must(err)
	if !got.Equal(want) {
		w.Errorf("the oldest is of %v, want %v", got, want)
	}
}

func oldestWaits(w *world) {
	second := w.home
	second.connection = w.connect(w.home, "second")
	w.wantOldest(w.home, time.Time{})
	w.waiting(second)
	first := w.now
	w.tick(time.Minute)
	w.waiting(w.home)
	middle := w.now
	w.tick(time.Minute)
	w.waiting(second)
	last := w.now
	elsewhere := w.home
	elsewhere.project = w.other.project
	w.wantOldest(elsewhere, time.Time{})
	w.wantOldest(w.other, time.Time{})
	jobs := w.claim(w.home, 3)
	w.wantOldest(w.home, first)
	for i, want := range []time.Time{middle, last, {}} {
		for _, job := range jobs {
			if job.Delivery.CreatedAt.Equal([]time.Time{first, middle, last}[i]) {
				w.settle(hook.Settlement{Job: job, State: hook.StateHeld, Reason: "paused"})
				w.wantOldest(w.home, []time.Time{first, middle, last}[i])
				_, err := w.store.Cancel(w.Context(), w.home.project, []hook.DeliveryID{job.Delivery.ID}, "no")
				w.must(err)
			}
		}
		w.wantOldest(w.home, want)
	}
}

func oldestInline(w *world) {
	first, began := w.inline(w.home), w.now
	w.tick(time.Minute)
	waiting := w.now
	w.waiting(w.home)
	w.wantOldest(w.home, began)
	w.succeed(first)
	w.wantOldest(w.home, waiting)
}

// try settles a new delivery as failed with the given outcome.
func (w *world) try(p place, outcome hook.Outcome, status int, text string) hook.DeliveryID {
	w.Helper()
	job := w.inline(p)
	attempt := w.attempt(outcome, status)
	attempt.Error = text
	w.settle(hook.Settlement{Job: job, State: hook.StateFailed, Reason: "the answer was " + fmt.Sprint(status), Attempt: attempt})
	return job.Delivery.ID
}

func (w *world) failures(p place, since time.Time) []hook.Failure {
	w.Helper()
	list, err := w.store.Failures(w.Context(), p.project, p.destination, since)
	w.must(err)
	return list
}

func failuresCount(w *world) {
	w.try(w.home, hook.OutcomeNetwork, 0, "connection refused")
	w.tick(time.Hour)
	at := w.now.Add(30 * time.Millisecond)
	refused := w.try(w.home, hook.OutcomeRefused, 400, "")
	timeout := w.try(w.home, hook.OutcomeTimeout, 0, "no answer within 10s")
	w.try(w.home, hook.OutcomeTimeout, 0, "no answer within 10s")
	w.succeed(w.inline(w.home))
	want := []hook.Failure{
		{Outcome: hook.OutcomeTimeout, Attempts: 2, Delivery: timeout, Number: 1, At: at, Text: "no answer within 10s"},
		{Outcome: hook.OutcomeRefused, Status: 400, Attempts: 1, Delivery: refused, Number: 1, At: at, Text: "the answer was 400"},
	}
	got := w.failures(w.home, w.now)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
	if all := w.failures(w.home, noon); len(all) != 3 {
		w.Errorf("%d kinds since the beginning, want 3", len(all))
	}
	if later := w.failures(w.home, w.now.Add(time.Minute)); later != nil {
		w.Errorf("failures of the future: %+v", later)
	}
	w.crash()
	if diff := cmp.Diff(want, w.failures(w.home, w.now)); diff != "" {
		w.Errorf("after a crash:\n%s", diff)
	}
}

func failuresExample(w *world) {
	first := w.try(w.home, hook.OutcomeTimeout, 0, "first")
	w.tick(59 * time.Second)
	w.try(w.home, hook.OutcomeTimeout, 0, "too soon")
	if list := w.failures(w.home, noon); len(list) != 1 || list[0].Delivery != first || list[0].Attempts != 2 {
		w.Errorf("%+v, want the first one as the example of both", list)
	}
	w.tick(time.Second)
	long := strings.Repeat("ä", 1000)
	job := w.inline(w.home)
	for range 2 { // The example is an attempt of some delivery, not always its first one.
		attempt := w.attempt(hook.OutcomeNetwork, 0)
		w.settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.now, Attempt: attempt})
		job = w.claim(w.home, 1)[0]
	}
	attempt := w.attempt(hook.OutcomeTimeout, 0)
	attempt.Error = long
	w.settle(hook.Settlement{Job: job, State: hook.StateFailed, Attempt: attempt})
	for _, failure := range w.failures(w.home, noon) {
		if failure.Outcome != hook.OutcomeTimeout {
			continue
		}
		if failure.Delivery != job.Delivery.ID || failure.Number != 3 || len(failure.Text) > 600 || !strings.HasPrefix(long, failure.Text) {
			w.Errorf("%+v, want the third attempt, its text cut", failure)
		}
	}
}

func failuresIsolated(w *world) {
	second := w.addDestination(w.home, "second")
	w.try(w.home, hook.OutcomeTimeout, 0, "x")
	elsewhere := w.home
	elsewhere.project = w.other.project
	for _, p := range []place{second, w.other, elsewhere} {
		if list := w.failures(p, noon); list != nil {
			w.Errorf("%+v, want no failures", list)
		}
	}
}

func failuresGone(w *world) {
	w.try(w.home, hook.OutcomeTimeout, 0, "x")
	late := w.inline(w.home)
	w.must(w.store.Connections().Delete(w.Context(), w.home.project, "orders"))
	w.must(w.store.Destinations().Delete(w.Context(), w.home.project, "erp"))
	w.tick(time.Hour)
	w.settle(hook.Settlement{Job: late, State: hook.StateFailed, Reason: "x", Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	for _, failure := range w.failures(w.home, noon) {
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
	list, err := w.store.Circuits(w.Context())
	w.must(err)
	return list
}

func circuitSaved(w *world) {
	ctx := w.Context()
	if list := w.circuits(); list != nil {
		w.Errorf("a new store has circuits %+v", list)
	}
	open := hook.Circuit{
		Destination: w.home.destination, Project: w.home.project, State: hook.CircuitOpen, Reason: "10 attempts in a row failed",
		Since: w.now, OpenedAt: w.now.Add(-time.Minute), ProbeAt: w.now.Add(time.Second), Failures: 10, Probes: 3,
	}
	ramp := hook.Circuit{Destination: w.other.destination, Project: w.other.project, State: hook.CircuitRamp, Since: w.now}
	w.must(w.store.SaveCircuit(ctx, open))
	w.must(w.store.SaveCircuit(ctx, ramp))
	open.State, open.Reason = hook.CircuitHalfOpen, "11 attempts in a row failed"
	w.must(w.store.SaveCircuit(ctx, open))
	w.crash()
	if diff := cmp.Diff([]hook.Circuit{open, ramp}, w.circuits()); diff != "" {
		w.Error(diff)
	}
	w.must(w.store.SaveCircuit(ctx, hook.Circuit{Destination: w.home.destination, Project: w.home.project}))
	if diff := cmp.Diff([]hook.Circuit{ramp}, w.circuits()); diff != "" {
		w.Errorf("after one that never opened:\n%s", diff)
	}
}

func circuitGone(w *world) {
	ctx := w.Context()
	open := hook.Circuit{Destination: w.home.destination, Project: w.home.project, State: hook.CircuitOpen, Since: w.now}
	w.must(w.store.SaveCircuit(ctx, open))
	w.must(w.store.Connections().Delete(ctx, w.home.project, "orders"))
	w.must(w.store.Destinations().Delete(ctx, w.home.project, "erp"))
	w.must(w.store.SaveCircuit(ctx, open)) // The engine may be late.
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
	return walkBoth(w, func(req page.Request) page.Page[hook.AuditEntry] {
		query.Page = req
		p, err := w.store.ListAudit(w.Context(), query)
		w.must(err)
		return p
	}, func(e hook.AuditEntry) int64 { return int64(e.ID) })
}

func (w *world) record(p place, action, subject string) hook.AuditEntry {
	w.Helper()
	e := hook.AuditEntry{ID: hook.AuditID(w.ids.Next(w.now)), Project: p.project, Actor: "ops", Action: action, Subject: subject}
	w.must(w.store.Record(w.Context(), &e))
	return e
}

func auditRoundTrip(w *world) {
	full := hook.AuditEntry{
		Project: w.home.project, Token: 77, Actor: "ops", Action: "destination.pause", Subject: "dst_1", Remote: "192.0.2.1:99",
		Detail: []byte(`{"reason":"…"}`),
	}
	w.must(w.store.Record(w.Context(), &full))
	if full.ID == 0 || !full.At.Equal(full.ID.Time()) {
		w.Errorf("filled as %+v", full)
	}
	small := w.record(w.other, "replay.stop", "")
	if !small.At.Equal(w.now) {
		w.Errorf("an entry with an id is of %v, want %v", small.At, w.now)
	}
	w.crash()
	if diff := cmp.Diff([]hook.AuditEntry{full}, w.audit(store.AuditQuery{Project: w.home.project})); diff != "" {
		w.Error(diff)
	}
	if diff := cmp.Diff([]hook.AuditEntry{small}, w.audit(store.AuditQuery{Project: w.other.project})); diff != "" {
		w.Error(diff)
	}
}

func auditFinds(w *world) {
	var all []hook.AuditEntry
	for i := range 30 {
		subject := []string{"dst_1", "dst_2", "con_1"}[i%3]
		action := []string{"destination.pause", "destination.resume"}[i%2]
		all = append([]hook.AuditEntry{w.record(w.home, action, subject)}, all...)
		w.record(w.other, action, subject)
		w.tick(time.Minute)
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
		"a time": {store.AuditQuery{After: noon.Add(5 * time.Minute), Before: noon.Add(9 * time.Minute), Action: "*"}, func(e *hook.AuditEntry) bool {
			return !e.At.Before(noon.Add(5*time.Minute)) && e.At.Before(noon.Add(9*time.Minute))
		}},
		"nothing": {store.AuditQuery{Action: "token.create"}, func(*hook.AuditEntry) bool { return false }},
	} {
		test.query.Project = w.home.project
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
	rare := w.record(w.home, "token.create", "tok_1")
	parallel(w, store.ScanLimit+10, func(int) {
		if err := w.store.Record(w.Context(), &hook.AuditEntry{Project: w.home.project, At: w.now.Add(time.Hour), Actor: "ops", Action: "event.send"}); err != nil {
			w.Error(err)
		}
	})
	query := store.AuditQuery{Project: w.home.project, Action: "token.create"}
	short, err := w.store.ListAudit(w.Context(), query)
	w.must(err)
	if len(short.Items) != 0 || short.Done || short.Last == 0 {
		w.Fatalf("the first page has %d items, done: %v, last: %d; want a search that goes on", len(short.Items), short.Done, short.Last)
	}
	query.Page.From = short.Last
	rest, err := w.store.ListAudit(w.Context(), query)
	w.must(err)
	if len(rest.Items) != 1 || rest.Items[0].ID != rare.ID || !rest.Done {
		w.Errorf("the second page has %+v, done: %v", rest.Items, rest.Done)
	}
}

func auditPruned(w *world) {
	w.record(w.home, "destination.pause", "")
	w.record(w.other, "destination.pause", "")
	w.tick(399 * day)
	young := w.record(w.home, "destination.resume", "")
	if pruned := w.prune(); pruned.Audit != 0 {
		w.Errorf("%d entries went before their time", pruned.Audit)
	}
	w.tick(2 * day)
	if pruned := w.prune(); pruned.Audit != 2 {
		w.Errorf("%d entries went, want the two that are old", pruned.Audit)
	}
	if list := w.audit(store.AuditQuery{Project: w.home.project}); len(list) != 1 || list[0].ID != young.ID {
		w.Errorf("%+v stayed, want the young one", list)
	}
	w.record(w.other, "project.delete", "")
	w.must(w.store.Connections().Delete(w.Context(), w.other.project, "orders"))
	w.must(w.store.Sources().Delete(w.Context(), w.other.project, "shop"))
	w.must(w.store.Destinations().Delete(w.Context(), w.other.project, "erp"))
	w.must(w.store.Projects().Delete(w.Context(), 0, "other"))
	if pruned := w.prune(); pruned.Audit != 1 {
		w.Errorf("%d entries went, want that of the deleted project", pruned.Audit)
	}
}
