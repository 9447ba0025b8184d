package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

func claimTests() map[string]func(*world) {
	return map[string]func(*world){
		"a claim brings the delivery and its event":   claimBrings,
		"of a connection the longest due comes first": claimOrder,
		"connections take turns":                      claimTurns,
		"a claim of one goes round, too":              claimOneByOne,
		"a claim finds what is due among what is not": claimFar,
		"what is not due is left":                     claimNotDue,
		"a claim keeps to its destination and limit":  claimLimits,
		"each delivery is claimed once":               claimOnce,
		"an expired lease is reclaimed":               leaseExpires,
		"a renewed lease goes on":                     leaseRenewed,
		"due tells when each destination is due":      dueTimes,
	}
}

func claimBrings(w *world) {
	w.tick(3 * time.Millisecond)
	first, second := w.target(w.home), w.target(w.home)
	first.Deferred, second.Deferred = true, true
	a := w.event(w.home, first, second)
	a.Event.Headers = hook.Headers{{Name: "A", Value: "b"}}
	ev := w.accept(a)
	created := w.now
	w.tick(time.Second)
	jobs := w.claim(w.home, 10)
	if len(jobs) != 2 {
		w.Fatalf("%d jobs, want 2", len(jobs))
	}
	want := hook.Delivery{
		ID: first.Delivery, Project: w.home.project, Event: ev.ID, Connection: w.home.connection, Destination: w.home.destination,
		State: hook.StateSending, CreatedAt: created, UpdatedAt: w.now,
	}
	if diff := cmp.Diff(want, jobs[0].Delivery); diff != "" {
		w.Errorf("delivery:\n%s", diff)
	}
	if diff := cmp.Diff(ev, *jobs[0].Event); diff != "" {
		w.Errorf("event:\n%s", diff)
	}
	if jobs[0].Inline || jobs[0].Manual {
		w.Errorf("job %+v", jobs[0])
	}
	if diff := cmp.Diff(want, w.delivery(w.home, first.Delivery)); diff != "" {
		w.Errorf("stored:\n%s", diff)
	}
	w.wantBacklog(w.home, "sending=2")
}

func claimOrder(w *world) {
	var want []hook.DeliveryID
	for range 5 {
		want = append(want, w.waiting(w.home))
		w.tick(time.Millisecond)
	}
	late := w.inline(w.home) // Accepted last, due before all others.
	w.settle(hook.Settlement{Job: late, State: hook.StatePending, Next: noon.Add(-time.Second), Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	want = append([]hook.DeliveryID{late.Delivery.ID}, want...)
	var got []hook.DeliveryID
	for _, limit := range []int{1, 2, 10} {
		for _, job := range w.claim(w.home, limit) {
			got = append(got, job.Delivery.ID)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
}

// connections returns the place itself and count-1 more connections to its destination.
func (w *world) connections(p place, count int) []place {
	w.Helper()
	places := []place{p}
	for i := range count - 1 {
		next := p
		next.connection = w.connect(p, fmt.Sprint("more-", i))
		places = append(places, next)
	}
	return places
}

// shares claims, and counts what each connection got.
func (w *world) shares(p place, limit int) map[hook.ConnectionID]int {
	w.Helper()
	shares := map[hook.ConnectionID]int{}
	for _, job := range w.claim(p, limit) {
		shares[job.Delivery.Connection]++
	}
	return shares
}

func claimTurns(w *world) {
	places := w.connections(w.home, 3)
	for range 50 {
		w.waiting(places[0])
	}
	w.tick(time.Hour) // The others have waited for a much shorter time.
	for range 4 {
		w.waiting(places[1])
	}
	w.waiting(places[2])
	first := w.shares(w.home, 6)
	if first[places[0].connection] < 2 || first[places[1].connection] < 2 || first[places[2].connection] != 1 {
		w.Errorf("shares of six: %v", first)
	}
	second := w.shares(w.home, 6)
	if first[places[1].connection]+second[places[1].connection] != 4 || len(second) != 2 {
		w.Errorf("shares of six more: %v", second)
	}
	if rest := w.shares(w.home, 256); len(rest) != 1 || rest[places[0].connection] != 55-12 {
		w.Errorf("the rest: %v", rest)
	}
}

func claimOneByOne(w *world) {
	places := w.connections(w.home, 3)
	for _, p := range places {
		for range 4 {
			w.waiting(p)
		}
	}
	for range 4 {
		seen := map[hook.ConnectionID]int{}
		for range places {
			for connection, n := range w.shares(w.home, 1) {
				seen[connection] += n
			}
		}
		if len(seen) != len(places) {
			w.Errorf("three claims of one served %v", seen)
		}
	}
}

func claimFar(w *world) {
	places := w.connections(w.home, 150)
	last := places[len(places)-1]
	for _, p := range places[1:] {
		t := w.target(p)
		t.Deferred, t.Due = true, w.now.Add(time.Hour)
		w.accept(w.event(p, t))
	}
	first := w.waiting(w.home)
	id := w.waiting(last)
	jobs := w.claim(w.home, 2)
	if len(jobs) != 2 || jobs[0].Delivery.ID != first || jobs[1].Delivery.ID != id {
		w.Fatalf("%d claimed, want the two that are due", len(jobs))
	}
	w.tick(time.Hour)
	seen := map[hook.ConnectionID]int{}
	for range 10 {
		for connection, n := range w.shares(w.home, 15) {
			seen[connection] += n
		}
	}
	if len(seen) != len(places)-1 || seen[last.connection] != 1 {
		w.Errorf("%d connections were served, want each of %d once", len(seen), len(places)-1)
	}
}

func claimNotDue(w *world) {
	job := w.inline(w.home)
	w.settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.now.Add(time.Minute), Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	w.tick(time.Minute - time.Millisecond)
	if jobs := w.claim(w.home, 10); jobs != nil {
		w.Error("claimed before it was due")
	}
	w.tick(time.Millisecond)
	if jobs := w.claim(w.home, 10); len(jobs) != 1 || jobs[0].Delivery.Attempts != 1 {
		w.Errorf("%d jobs when it was due", len(jobs))
	}
}

func claimLimits(w *world) {
	second := w.addDestination(w.home, "second")
	for range 3 {
		w.waiting(w.home)
		w.waiting(second)
	}
	if jobs := w.claim(second, 2); len(jobs) != 2 || jobs[0].Delivery.Destination != second.destination {
		w.Errorf("%d jobs, want 2 of the second destination", len(jobs))
	}
	if jobs := w.claim(second, 0); jobs != nil {
		w.Errorf("%d jobs with a limit of 0", len(jobs))
	}
	if jobs := w.claim(second, 9); len(jobs) != 1 {
		w.Errorf("%d jobs, want the last one", len(jobs))
	}
	w.wantBacklog(w.home, "pending=3")
	w.wantBacklog(second, "sending=3")
}

func claimOnce(w *world) {
	const claimers, deliveries = 8, 60
	for range deliveries {
		w.waiting(w.home)
	}
	var mu sync.Mutex
	seen := map[hook.DeliveryID]int{}
	var group sync.WaitGroup
	for range claimers {
		group.Go(func() {
			for {
				jobs, err := w.store.Claim(w.Context(), store.Claim{
					Destination: w.home.destination, Owner: "x", Until: w.now.Add(time.Minute), Now: w.now, Limit: 7,
				})
				if err != nil || len(jobs) == 0 {
					if err != nil {
						w.Error(err)
					}
					return
				}
				mu.Lock()
				for _, job := range jobs {
					seen[job.Delivery.ID]++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if len(seen) != deliveries {
		w.Errorf("%d of %d deliveries were claimed", len(seen), deliveries)
	}
	for id, times := range seen {
		if times != 1 {
			w.Errorf("%v was claimed %d times", id, times)
		}
	}
}

func leaseExpires(w *world) {
	id := w.waiting(w.home)
	w.claim(w.home, 1)
	w.tick(time.Minute - time.Millisecond)
	if n := w.reclaim(); n != 0 {
		w.Errorf("%d reclaimed before the lease was over", n)
	}
	w.tick(time.Millisecond)
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed when the lease was over, want 1", n)
	}
	if d := w.inState(w.home, id, hook.StatePending); d.NextAttemptAt == nil || d.NextAttemptAt.After(w.now) || d.Attempts != 0 {
		w.Errorf("reclaimed as %+v", d)
	}
	w.wantBacklog(w.home, "pending=1")
	if jobs := w.claim(w.home, 10); len(jobs) != 1 {
		w.Error("what was reclaimed cannot be claimed")
	}
}

func leaseRenewed(w *world) {
	first, second := w.waiting(w.home), w.waiting(w.home)
	w.claim(w.home, 2)
	w.tick(30 * time.Second)
	w.must(w.store.Renew(w.Context(), "node-1", []hook.DeliveryID{first}, w.now.Add(time.Minute)))
	w.must(w.store.Renew(w.Context(), "stranger", []hook.DeliveryID{second}, w.now.Add(time.Hour)))
	w.must(w.store.Renew(w.Context(), "node-1", nil, w.now.Add(time.Hour)))
	w.tick(30 * time.Second)
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the one that was not renewed by its owner", n)
	}
	w.inState(w.home, first, hook.StateSending)
	w.inState(w.home, second, hook.StatePending)
	w.tick(30 * time.Second)
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed at the end of the renewed lease, want 1", n)
	}
}

func dueTimes(w *world) {
	due := func() map[hook.DestinationID]time.Time {
		list, err := w.store.Due(w.Context())
		w.must(err)
		times := map[hook.DestinationID]time.Time{}
		for _, d := range list {
			times[d.Destination] = d.At
		}
		if len(times) != len(list) {
			w.Errorf("a destination is listed twice: %v", list)
		}
		return times
	}
	if list, err := w.store.Due(w.Context()); err != nil || list != nil {
		w.Errorf("due of nothing: %v, %v", list, err)
	}
	w.inline(w.home)
	if len(due()) != 0 {
		w.Error("a delivery in hand is due")
	}
	w.waiting(w.home)
	first := w.now
	w.tick(time.Second)
	w.waiting(w.home)
	w.waiting(w.other)
	want := map[hook.DestinationID]time.Time{w.home.destination: first, w.other.destination: w.now}
	if diff := cmp.Diff(want, due()); diff != "" {
		w.Error(diff)
	}
	w.claim(w.home, 1)
	w.claim(w.other, 1)
	want = map[hook.DestinationID]time.Time{w.home.destination: w.now}
	if diff := cmp.Diff(want, due()); diff != "" {
		w.Errorf("after claims:\n%s", diff)
	}
}

func settleTests() map[string]func(*world) {
	return map[string]func(*world){
		"the first attempt is kept in full":            settleFirst,
		"later attempts, too":                          settleLater,
		"what is given back is due and not counted":    settleGivenBack,
		"a settled delivery is durable":                settleDurable,
		"no settlement without a delivery is an error": settleNothing,
		"an impossible state is refused":               settleImpossible,
		"a late success counts":                        settleLateSuccess,
		"a late failure does not undo an end":          settleLateFailure,
		"many at once are all kept":                    settleMany,
	}
}

func settleFirst(w *world) {
	job := w.inline(w.home)
	w.tick(5 * time.Millisecond)
	a := w.attempt(hook.OutcomeRejected, 500)
	a.RequestHeaders = hook.Headers{{Name: "webhook-id", Value: "evt_1"}, {Name: "X", Value: ""}}
	a.ResponseHeaders = hook.Headers{{Name: "Date", Value: "today"}}
	a.ResponseBody, a.Error, a.Manual = []byte("oops\x00"), "it broke", true
	next := w.now.Add(time.Minute)
	w.settle(hook.Settlement{Job: job, State: hook.StatePending, Reason: "it answered 500", Next: next, Attempt: a})
	d := w.delivery(w.home, job.Delivery.ID)
	want := job.Delivery
	want.State, want.Reason, want.Attempts, want.NextAttemptAt = hook.StatePending, "it answered 500", 1, &next
	want.UpdatedAt = w.now.Add(30 * time.Millisecond)
	if diff := cmp.Diff(want, d); diff != "" {
		w.Errorf("delivery:\n%s", diff)
	}
	got, err := w.store.Attempts(w.Context(), w.home.project, job.Delivery.ID)
	w.must(err)
	wantAttempt := *a
	wantAttempt.Delivery, wantAttempt.Number = job.Delivery.ID, 1
	if diff := cmp.Diff([]hook.Attempt{wantAttempt}, got); diff != "" {
		w.Errorf("attempts:\n%s", diff)
	}
	w.wantBacklog(w.home, "pending=1")
	_, err = w.store.Attempts(w.Context(), w.other.project, job.Delivery.ID)
	w.wants(hook.KindNotFound, err)
}

func settleLater(w *world) {
	id := w.waiting(w.home)
	if got, err := w.store.Attempts(w.Context(), w.home.project, id); err != nil || got != nil {
		w.Errorf("attempts before the first: %v, %v", got, err)
	}
	for number := 1; number <= 4; number++ {
		w.tick(time.Second)
		jobs := w.claim(w.home, 1)
		if len(jobs) != 1 || jobs[0].Delivery.Attempts != number-1 {
			w.Fatalf("before attempt %d: %+v", number, jobs)
		}
		a := w.attempt(hook.OutcomeRejected, 500+number)
		state := hook.StatePending
		if number == 4 {
			a, state = w.attempt(hook.OutcomeSuccess, 204), hook.StateSucceeded
		}
		w.settle(hook.Settlement{Job: jobs[0], State: state, Next: w.now, Attempt: a})
	}
	if d := w.inState(w.home, id, hook.StateSucceeded); d.Attempts != 4 || d.NextAttemptAt != nil || d.Reason != "" {
		w.Errorf("after four attempts: %+v", d)
	}
	got, err := w.store.Attempts(w.Context(), w.home.project, id)
	w.must(err)
	for i := range got {
		wantStatus := []int{501, 502, 503, 204}[i]
		if got[i].Number != i+1 || got[i].ResponseStatus != wantStatus || got[i].Delivery != id {
			w.Errorf("attempt %d: %+v", i+1, got[i])
		}
	}
	if len(got) != 4 {
		w.Errorf("%d attempts, want 4", len(got))
	}
	w.wantBacklog(w.home, "")
}

func settleGivenBack(w *world) {
	inline := w.inline(w.home)
	w.settle(hook.Settlement{Job: inline, State: hook.StatePending, Next: w.now})
	d := w.inState(w.home, inline.Delivery.ID, hook.StatePending)
	if d.Attempts != 0 || d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(w.now) {
		w.Errorf("given back as %+v", d)
	}
	jobs := w.claim(w.home, 1)
	if len(jobs) != 1 {
		w.Fatal("what was given back cannot be claimed")
	}
	w.settle(hook.Settlement{Job: jobs[0], State: hook.StateHeld, Reason: "the circuit is open"})
	if d := w.inState(w.home, inline.Delivery.ID, hook.StateHeld); d.Reason != "the circuit is open" || d.Attempts != 0 {
		w.Errorf("held as %+v", d)
	}
	if got, err := w.store.Attempts(w.Context(), w.home.project, inline.Delivery.ID); err != nil || got != nil {
		w.Errorf("attempts of what was never attempted: %v, %v", got, err)
	}
}

func settleDurable(w *world) {
	job := w.inline(w.home)
	w.succeed(job)
	claimed := w.waiting(w.home)
	w.fail(w.claim(w.home, 1)[0])
	w.crash()
	w.reclaim()
	w.inState(w.home, job.Delivery.ID, hook.StateSucceeded)
	w.inState(w.home, claimed, hook.StateFailed)
	w.wantBacklog(w.home, "failed=1")
}

func settleNothing(w *world) {
	ghost := &hook.Job{Delivery: hook.Delivery{ID: 12345, Project: w.home.project, Event: 1}}
	w.settle(hook.Settlement{Job: ghost, State: hook.StateSucceeded, Attempt: w.attempt(hook.OutcomeSuccess, 200)})
	_, err := w.store.Delivery(w.Context(), w.home.project, 12345)
	w.wants(hook.KindNotFound, err)
	w.store.Settle(hook.Settlement{Job: w.inline(w.home), State: hook.StateSucceeded}, nil)
}

func settleImpossible(w *world) {
	job := w.inline(w.home)
	for _, state := range []hook.State{0, hook.StateSending} {
		done := make(chan error, 1)
		w.store.Settle(hook.Settlement{Job: job, State: state}, func(err error) { done <- err })
		if err := <-done; err == nil {
			w.Errorf("a delivery was settled as %v", state)
		}
	}
	w.succeed(job)
}

func settleLateSuccess(w *world) {
	id := w.waiting(w.home)
	job := w.claim(w.home, 1)[0]
	w.tick(time.Hour)
	w.reclaim()
	w.inState(w.home, id, hook.StatePending)
	w.succeed(job)
	w.inState(w.home, id, hook.StateSucceeded)
	if jobs := w.claim(w.home, 1); jobs != nil {
		w.Error("what was delivered is delivered again")
	}
	w.wantBacklog(w.home, "")
}

func settleLateFailure(w *world) {
	id := w.waiting(w.home)
	first := w.claim(w.home, 1)[0]
	w.tick(time.Hour)
	w.reclaim()
	second := w.claim(w.home, 1)[0]
	w.succeed(second)
	w.settle(hook.Settlement{Job: first, State: hook.StatePending, Next: w.now, Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	if d := w.inState(w.home, id, hook.StateSucceeded); d.Attempts != 2 {
		w.Errorf("%d attempts are counted, want both", d.Attempts)
	}
	got, err := w.store.Attempts(w.Context(), w.home.project, id)
	w.must(err)
	if len(got) != 2 || got[1].Outcome != hook.OutcomeTimeout {
		w.Errorf("attempts %+v", got)
	}
	w.wantBacklog(w.home, "")
}

func settleMany(w *world) {
	const deliveries = 100
	jobs := make([]*hook.Job, deliveries)
	for i := range jobs {
		jobs[i] = w.inline(w.home)
	}
	attempt := w.attempt(hook.OutcomeSuccess, 200)
	var group sync.WaitGroup
	for _, job := range jobs {
		group.Add(1)
		w.store.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded, Attempt: attempt}, func(err error) {
			if err != nil {
				w.Error(err)
			}
			group.Done()
		})
	}
	group.Wait()
	w.crash()
	if n := w.reclaim(); n != 0 {
		w.Errorf("%d settled deliveries were reclaimed", n)
	}
	for _, job := range jobs {
		w.inState(w.home, job.Delivery.ID, hook.StateSucceeded)
	}
}
