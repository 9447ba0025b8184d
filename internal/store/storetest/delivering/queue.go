package delivering

import (
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/storetest/stage"
)

func claimTests() map[string]func(*world) {
	return map[string]func(*world){
		"a claim brings the delivery and its event":   claimBrings,
		"of a connection the longest due comes first": claimOrder,
		"connections take turns":                      claimTurns,
		"what is left over goes round, too":           claimRemainder,
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
	w.Tick(3 * time.Millisecond)
	first, second := w.Target(w.Home), w.Target(w.Home)
	first.Deferred, second.Deferred = true, true
	a := w.Event(w.Home, first, second)
	a.Event.Headers = hook.Headers{{Name: "A", Value: "b"}}
	ev := w.Accept(a)
	created := w.Now
	w.Tick(time.Second)
	jobs := w.Claim(w.Home, 10)
	if len(jobs) != 2 {
		w.Fatalf("%d jobs, want 2", len(jobs))
	}
	want := hook.Delivery{
		ID: first.Delivery, Project: w.Home.Project, Event: ev.ID, Connection: w.Home.Connection, Destination: w.Home.Destination,
		State: hook.StateSending, CreatedAt: created, UpdatedAt: w.Now,
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
	if diff := cmp.Diff(want, w.Delivery(w.Home, first.Delivery)); diff != "" {
		w.Errorf("stored:\n%s", diff)
	}
	w.WantBacklog(w.Home, "sending=2")
}

func claimOrder(w *world) {
	var want []hook.DeliveryID
	for range 5 {
		want = append(want, w.Waiting(w.Home))
		w.Tick(time.Millisecond)
	}
	late := w.Inline(w.Home) // Accepted last, due before all others.
	w.Settle(hook.Settlement{Job: late, State: hook.StatePending, Next: stage.Noon().Add(-time.Second), Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	want = append([]hook.DeliveryID{late.Delivery.ID}, want...)
	var got []hook.DeliveryID
	for _, limit := range []int{1, 2, 10} {
		for _, job := range w.Claim(w.Home, limit) {
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
		next.Connection = w.Connect(p, fmt.Sprint("more-", i))
		places = append(places, next)
	}
	return places
}

// shares claims, and counts what each connection got.
func (w *world) shares(p place, limit int) map[hook.ConnectionID]int {
	w.Helper()
	shares := map[hook.ConnectionID]int{}
	for _, job := range w.Claim(p, limit) {
		shares[job.Delivery.Connection]++
	}
	return shares
}

func claimTurns(w *world) {
	places := w.connections(w.Home, 3)
	for range 50 {
		w.Waiting(places[0])
	}
	w.Tick(time.Hour) // The others have waited for a much shorter time.
	for range 4 {
		w.Waiting(places[1])
	}
	w.Waiting(places[2])
	first := w.shares(w.Home, 6)
	if first[places[0].Connection] < 2 || first[places[1].Connection] < 2 || first[places[2].Connection] != 1 {
		w.Errorf("shares of six: %v", first)
	}
	second := w.shares(w.Home, 6)
	if first[places[1].Connection]+second[places[1].Connection] != 4 || len(second) != 2 {
		w.Errorf("shares of six more: %v", second)
	}
	if rest := w.shares(w.Home, 256); len(rest) != 1 || rest[places[0].Connection] != 55-12 {
		w.Errorf("the rest: %v", rest)
	}
}

func claimOneByOne(w *world) {
	places := w.connections(w.Home, 3)
	for _, p := range places {
		for range 4 {
			w.Waiting(p)
		}
	}
	for range 4 {
		seen := map[hook.ConnectionID]int{}
		for range places {
			for connection, n := range w.shares(w.Home, 1) {
				seen[connection] += n
			}
		}
		if len(seen) != len(places) {
			w.Errorf("three claims of one served %v", seen)
		}
	}
}

// What is left over after the shares does not always go to the same one.
func claimRemainder(w *world) {
	places := w.connections(w.Home, 2)
	for _, p := range places {
		for range 9 {
			w.Waiting(p)
		}
	}
	total := map[hook.ConnectionID]int{}
	for range 4 {
		for connection, n := range w.shares(w.Home, 3) {
			total[connection] += n
		}
	}
	for connection, n := range total {
		if n != 6 {
			w.Errorf("of four claims of three, %v got %d, want 6", connection, n)
		}
	}
}

func claimFar(w *world) {
	places := w.connections(w.Home, 150)
	last := places[len(places)-1]
	for _, p := range places[1:] {
		t := w.Target(p)
		t.Deferred, t.Due = true, w.Now.Add(time.Hour)
		w.Accept(w.Event(p, t))
	}
	first := w.Waiting(w.Home)
	id := w.Waiting(last)
	jobs := w.Claim(w.Home, 2)
	if len(jobs) != 2 || jobs[0].Delivery.ID != first || jobs[1].Delivery.ID != id {
		w.Fatalf("%d claimed, want the two that are due", len(jobs))
	}
	w.Tick(time.Hour)
	seen := map[hook.ConnectionID]int{}
	for range 10 {
		for connection, n := range w.shares(w.Home, 15) {
			seen[connection] += n
		}
	}
	if len(seen) != len(places)-1 || seen[last.Connection] != 1 {
		w.Errorf("%d connections were served, want each of %d once", len(seen), len(places)-1)
	}
}

func claimNotDue(w *world) {
	job := w.Inline(w.Home)
	w.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.Now.Add(time.Minute), Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	w.Tick(time.Minute - time.Millisecond)
	if jobs := w.Claim(w.Home, 10); jobs != nil {
		w.Error("claimed before it was due")
	}
	w.Tick(time.Millisecond)
	if jobs := w.Claim(w.Home, 10); len(jobs) != 1 || jobs[0].Delivery.Attempts != 1 {
		w.Errorf("%d jobs when it was due", len(jobs))
	}
}

func claimLimits(w *world) {
	second := w.AddDestination(w.Home, "second")
	for range 3 {
		w.Waiting(w.Home)
		w.Waiting(second)
	}
	if jobs := w.Claim(second, 2); len(jobs) != 2 || jobs[0].Delivery.Destination != second.Destination {
		w.Errorf("%d jobs, want 2 of the second destination", len(jobs))
	}
	if jobs := w.Claim(second, 0); jobs != nil {
		w.Errorf("%d jobs with a limit of 0", len(jobs))
	}
	if jobs := w.Claim(second, 9); len(jobs) != 1 {
		w.Errorf("%d jobs, want the last one", len(jobs))
	}
	w.WantBacklog(w.Home, "pending=3")
	w.WantBacklog(second, "sending=3")
}

func claimOnce(w *world) {
	const claimers, deliveries = 8, 60
	for range deliveries {
		w.Waiting(w.Home)
	}
	var mu sync.Mutex
	seen := map[hook.DeliveryID]int{}
	var group sync.WaitGroup
	for range claimers {
		group.Go(func() {
			for {
				jobs, err := w.Store.Claim(w.Context(), store.Claim{
					Destination: w.Home.Destination, Owner: "x", Until: w.Now.Add(time.Minute), Now: w.Now, Limit: 7,
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
	id := w.Waiting(w.Home)
	w.Claim(w.Home, 1)
	w.Tick(time.Minute - time.Millisecond)
	if n := w.Reclaim(); n != 0 {
		w.Errorf("%d reclaimed before the lease was over", n)
	}
	w.Tick(time.Millisecond)
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed when the lease was over, want 1", n)
	}
	if d := w.InState(w.Home, id, hook.StatePending); d.NextAttemptAt == nil || d.NextAttemptAt.After(w.Now) || d.Attempts != 0 {
		w.Errorf("reclaimed as %+v", d)
	}
	w.WantBacklog(w.Home, "pending=1")
	if jobs := w.Claim(w.Home, 10); len(jobs) != 1 {
		w.Error("what was reclaimed cannot be claimed")
	}
}

func leaseRenewed(w *world) {
	first, second := w.Waiting(w.Home), w.Waiting(w.Home)
	w.Claim(w.Home, 2)
	w.Tick(30 * time.Second)
	w.Must(w.Store.Renew(w.Context(), "node-1", []hook.DeliveryID{first}, w.Now.Add(time.Minute)))
	w.Must(w.Store.Renew(w.Context(), "stranger", []hook.DeliveryID{second}, w.Now.Add(time.Hour)))
	w.Must(w.Store.Renew(w.Context(), "node-1", nil, w.Now.Add(time.Hour)))
	w.Tick(30 * time.Second)
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the one that was not renewed by its owner", n)
	}
	w.InState(w.Home, first, hook.StateSending)
	w.InState(w.Home, second, hook.StatePending)
	w.Tick(30 * time.Second)
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed at the end of the renewed lease, want 1", n)
	}
}

func dueTimes(w *world) {
	due := func() map[hook.DestinationID]time.Time {
		list, err := w.Store.Due(w.Context())
		w.Must(err)
		times := map[hook.DestinationID]time.Time{}
		for _, d := range list {
			times[d.Destination] = d.At
		}
		if len(times) != len(list) {
			w.Errorf("a destination is listed twice: %v", list)
		}
		return times
	}
	if list, err := w.Store.Due(w.Context()); err != nil || list != nil {
		w.Errorf("due of nothing: %v, %v", list, err)
	}
	w.Inline(w.Home)
	if len(due()) != 0 {
		w.Error("a delivery in hand is due")
	}
	w.Waiting(w.Home)
	first := w.Now
	w.Tick(time.Second)
	w.Waiting(w.Home)
	w.Waiting(w.Other)
	want := map[hook.DestinationID]time.Time{w.Home.Destination: first, w.Other.Destination: w.Now}
	if diff := cmp.Diff(want, due()); diff != "" {
		w.Error(diff)
	}
	w.Claim(w.Home, 1)
	w.Claim(w.Other, 1)
	want = map[hook.DestinationID]time.Time{w.Home.Destination: w.Now}
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
	job := w.Inline(w.Home)
	w.Tick(5 * time.Millisecond)
	a := w.Attempt(hook.OutcomeRejected, 500)
	a.RequestHeaders = hook.Headers{{Name: "webhook-id", Value: "evt_1"}, {Name: "X", Value: ""}}
	a.ResponseHeaders = hook.Headers{{Name: "Date", Value: "today"}}
	a.ResponseBody, a.Error, a.Manual = []byte("oops\x00"), "it broke", true
	next := w.Now.Add(time.Minute)
	w.Settle(hook.Settlement{Job: job, State: hook.StatePending, Reason: "it answered 500", Next: next, Attempt: a})
	d := w.Delivery(w.Home, job.Delivery.ID)
	want := job.Delivery
	want.State, want.Reason, want.Attempts, want.NextAttemptAt = hook.StatePending, "it answered 500", 1, &next
	want.UpdatedAt = w.Now.Add(30 * time.Millisecond)
	if diff := cmp.Diff(want, d); diff != "" {
		w.Errorf("delivery:\n%s", diff)
	}
	got, err := w.Store.Attempts(w.Context(), w.Home.Project, job.Delivery.ID)
	w.Must(err)
	wantAttempt := *a
	wantAttempt.Delivery, wantAttempt.Number = job.Delivery.ID, 1
	if diff := cmp.Diff([]hook.Attempt{wantAttempt}, got); diff != "" {
		w.Errorf("attempts:\n%s", diff)
	}
	w.WantBacklog(w.Home, "pending=1")
	_, err = w.Store.Attempts(w.Context(), w.Other.Project, job.Delivery.ID)
	w.Wants(hook.KindNotFound, err)
}

func settleLater(w *world) {
	id := w.Waiting(w.Home)
	if got, err := w.Store.Attempts(w.Context(), w.Home.Project, id); err != nil || got != nil {
		w.Errorf("attempts before the first: %v, %v", got, err)
	}
	for number := 1; number <= 4; number++ {
		w.Tick(time.Second)
		jobs := w.Claim(w.Home, 1)
		if len(jobs) != 1 || jobs[0].Delivery.Attempts != number-1 {
			w.Fatalf("before attempt %d: %+v", number, jobs)
		}
		a := w.Attempt(hook.OutcomeRejected, 500+number)
		state := hook.StatePending
		if number == 4 {
			a, state = w.Attempt(hook.OutcomeSuccess, 204), hook.StateSucceeded
		}
		w.Settle(hook.Settlement{Job: jobs[0], State: state, Next: w.Now, Attempt: a})
	}
	if d := w.InState(w.Home, id, hook.StateSucceeded); d.Attempts != 4 || d.NextAttemptAt != nil || d.Reason != "" {
		w.Errorf("after four attempts: %+v", d)
	}
	got, err := w.Store.Attempts(w.Context(), w.Home.Project, id)
	w.Must(err)
	for i := range got {
		wantStatus := []int{501, 502, 503, 204}[i]
		if got[i].Number != i+1 || got[i].ResponseStatus != wantStatus || got[i].Delivery != id {
			w.Errorf("attempt %d: %+v", i+1, got[i])
		}
	}
	if len(got) != 4 {
		w.Errorf("%d attempts, want 4", len(got))
	}
	w.WantBacklog(w.Home, "")
}

func settleGivenBack(w *world) {
	inline := w.Inline(w.Home)
	w.Settle(hook.Settlement{Job: inline, State: hook.StatePending, Next: w.Now})
	d := w.InState(w.Home, inline.Delivery.ID, hook.StatePending)
	if d.Attempts != 0 || d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(w.Now) {
		w.Errorf("given back as %+v", d)
	}
	jobs := w.Claim(w.Home, 1)
	if len(jobs) != 1 {
		w.Fatal("what was given back cannot be claimed")
	}
	w.Settle(hook.Settlement{Job: jobs[0], State: hook.StateHeld, Reason: "the circuit is open"})
	if d := w.InState(w.Home, inline.Delivery.ID, hook.StateHeld); d.Reason != "the circuit is open" || d.Attempts != 0 {
		w.Errorf("held as %+v", d)
	}
	if got, err := w.Store.Attempts(w.Context(), w.Home.Project, inline.Delivery.ID); err != nil || got != nil {
		w.Errorf("attempts of what was never attempted: %v, %v", got, err)
	}
}

func settleDurable(w *world) {
	job := w.Inline(w.Home)
	w.Succeed(job)
	claimed := w.Waiting(w.Home)
	w.EndFailed(w.Claim(w.Home, 1)[0])
	w.Crash()
	w.Reclaim()
	w.InState(w.Home, job.Delivery.ID, hook.StateSucceeded)
	w.InState(w.Home, claimed, hook.StateFailed)
	w.WantBacklog(w.Home, "failed=1")
}

func settleNothing(w *world) {
	ghost := &hook.Job{Delivery: hook.Delivery{ID: 12345, Project: w.Home.Project, Event: 1}}
	w.Settle(hook.Settlement{Job: ghost, State: hook.StateSucceeded, Attempt: w.Attempt(hook.OutcomeSuccess, 200)})
	_, err := w.Store.Delivery(w.Context(), w.Home.Project, 12345)
	w.Wants(hook.KindNotFound, err)
	w.Store.Settle(hook.Settlement{Job: w.Inline(w.Home), State: hook.StateSucceeded}, nil)
}

func settleImpossible(w *world) {
	job := w.Inline(w.Home)
	for _, state := range []hook.State{0, hook.StateSending} {
		done := make(chan error, 1)
		w.Store.Settle(hook.Settlement{Job: job, State: state}, func(err error) { done <- err })
		if err := <-done; err == nil {
			w.Errorf("a delivery was settled as %v", state)
		}
	}
	w.Succeed(job)
}

func settleLateSuccess(w *world) {
	id := w.Waiting(w.Home)
	job := w.Claim(w.Home, 1)[0]
	w.Tick(time.Hour)
	w.Reclaim()
	w.InState(w.Home, id, hook.StatePending)
	w.Succeed(job)
	w.InState(w.Home, id, hook.StateSucceeded)
	if jobs := w.Claim(w.Home, 1); jobs != nil {
		w.Error("what was delivered is delivered again")
	}
	w.WantBacklog(w.Home, "")
}

func settleLateFailure(w *world) {
	id := w.Waiting(w.Home)
	first := w.Claim(w.Home, 1)[0]
	w.Tick(time.Hour)
	w.Reclaim()
	second := w.Claim(w.Home, 1)[0]
	w.Succeed(second)
	w.Settle(hook.Settlement{Job: first, State: hook.StatePending, Next: w.Now, Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	if d := w.InState(w.Home, id, hook.StateSucceeded); d.Attempts != 2 {
		w.Errorf("%d attempts are counted, want both", d.Attempts)
	}
	got, err := w.Store.Attempts(w.Context(), w.Home.Project, id)
	w.Must(err)
	if len(got) != 2 || got[1].Outcome != hook.OutcomeTimeout {
		w.Errorf("attempts %+v", got)
	}
	w.WantBacklog(w.Home, "")
}

func settleMany(w *world) {
	const deliveries = 100
	jobs := make([]*hook.Job, deliveries)
	for i := range jobs {
		jobs[i] = w.Inline(w.Home)
	}
	attempt := w.Attempt(hook.OutcomeSuccess, 200)
	var group sync.WaitGroup
	for _, job := range jobs {
		group.Add(1)
		w.Store.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded, Attempt: attempt}, func(err error) {
			if err != nil {
				w.Error(err)
			}
			group.Done()
		})
	}
	group.Wait()
	w.Crash()
	if n := w.Reclaim(); n != 0 {
		w.Errorf("%d settled deliveries were reclaimed", n)
	}
	for _, job := range jobs {
		w.InState(w.Home, job.Delivery.ID, hook.StateSucceeded)
	}
}
