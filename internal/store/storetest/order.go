package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

func orderTests() map[string]func(*world) {
	return map[string]func(*world){
		"the head of a key is in hand, the others wait":      orderAccept,
		"of many at once one is the head":                    orderAcceptTogether,
		"any end of the head gives the turn to the next":     orderEnds,
		"a head that is to be retried keeps its turn":        orderRetriedHead,
		"a held head keeps its key waiting":                  orderHeld,
		"a retried delivery enters its key by its id":        orderRetry,
		"what waits for its turn cannot be retried":          orderRetryWaiting,
		"a canceled delivery gives its turn away":            orderCancel,
		"a crash keeps the order":                            orderCrash,
		"before the reclaim everything ordered waits":        orderBeforeReclaim,
		"a late result takes the turn from nobody":           orderLate,
		"a deleted connection keeps nothing waiting":         orderDeleted,
		"a deferred head is due when it is said to be":       orderDeferred,
		"whatever happens, a key has one turn and one taker": orderModel,
	}
}

// ordered returns a target of the place with an order key.
func (w *world) ordered(p place, key string) hook.Target {
	t := w.target(p)
	t.OrderKey = key
	return t
}

// acceptOrdered accepts an event with one ordered delivery. Its job is nil when the
// delivery waits in the store.
func (w *world) acceptOrdered(p place, key string) (hook.DeliveryID, *hook.Job) {
	w.Helper()
	w.tick(time.Millisecond)
	a := w.event(p, w.ordered(p, key))
	w.accept(a)
	t := &a.Event.Targets[0]
	if t.Deferred {
		return t.Delivery, nil
	}
	job := inlineJob(&a.Event, 0)
	job.Delivery.OrderKey = key
	return t.Delivery, job
}

// far is later than any clock that a store could have by itself.
var far = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// due claims everything that is or will be due at the place, and returns it by id.
func (w *world) due(p place) map[hook.DeliveryID]*hook.Job {
	w.Helper()
	jobs, err := w.store.Claim(w.Context(), store.Claim{
		Destination: p.destination, Owner: "node-1", Until: far.Add(time.Hour), Now: far, Limit: 256,
	})
	w.must(err)
	found := map[hook.DeliveryID]*hook.Job{}
	for _, job := range jobs {
		found[job.Delivery.ID] = job
	}
	return found
}

// wantDue fails unless exactly the given delivery is due, and returns its job.
func (w *world) wantDue(p place, id hook.DeliveryID) *hook.Job {
	w.Helper()
	due := w.due(p)
	if len(due) != 1 || due[id] == nil {
		w.Fatalf("%d are due, want %v alone", len(due), id)
	}
	return due[id]
}

func (w *world) wantNoneDue(p place) {
	w.Helper()
	if due := w.due(p); len(due) != 0 {
		w.Fatalf("%d are due, want none", len(due))
	}
}

// giveBack settles a job without an attempt: it is due again.
func (w *world) giveBack(job *hook.Job) {
	w.Helper()
	w.settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.now})
}

func orderAccept(w *world) {
	first, job := w.acceptOrdered(w.home, "a")
	if job == nil {
		w.Fatal("the first of its key waits")
	}
	second, waits := w.acceptOrdered(w.home, "a")
	third, waitsToo := w.acceptOrdered(w.home, "a")
	if waits != nil || waitsToo != nil {
		w.Fatal("two of one key are in hand")
	}
	_, other := w.acceptOrdered(w.home, "b")
	elsewhere := w.addDestination(w.home, "elsewhere")
	_, same := w.acceptOrdered(elsewhere, "a")
	if other == nil || same == nil {
		w.Error("another key, or another connection, waits")
	}
	for id, state := range map[hook.DeliveryID]hook.State{first: hook.StateSending, second: hook.StatePending, third: hook.StatePending} {
		if d := w.inState(w.home, id, state); d.OrderKey != "a" || d.NextAttemptAt != nil {
			w.Errorf("delivery %+v", d)
		}
	}
	w.wantNoneDue(w.home)
	w.wantBacklog(w.home, "pending=2 sending=2")
	w.tick(time.Second)
	w.succeed(job)
	if d := w.inState(w.home, second, hook.StatePending); d.NextAttemptAt == nil {
		w.Error("the next one is not due when the head has ended")
	}
	w.tick(time.Second)
	jobs := w.claim(w.home, 10)
	if len(jobs) != 1 || jobs[0].Delivery.ID != second || jobs[0].Delivery.OrderKey != "a" || jobs[0].Inline {
		w.Fatalf("claimed %+v", jobs)
	}
	if _, waits := w.acceptOrdered(w.home, "a"); waits != nil {
		w.Error("one of a key is in hand beside its head")
	}
	w.succeed(jobs[0])
	w.succeed(w.wantDue(w.home, third))
	w.wantBacklog(w.home, "pending=1 sending=1")
}

func orderAcceptTogether(w *world) {
	const count = 60
	acceptances := make([]*hook.Acceptance, count)
	for i := range acceptances {
		acceptances[i] = w.event(w.home, w.ordered(w.home, "a"), w.ordered(w.home, "b"))
	}
	parallel(w, count, func(i int) {
		if _, err := w.store.Accept(w.Context(), acceptances[i]); err != nil {
			w.Error(err)
		}
	})
	heads := map[string]int{}
	for _, a := range acceptances {
		for _, t := range a.Event.Targets {
			if !t.Deferred {
				heads[t.OrderKey]++
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 1}, heads); diff != "" {
		w.Errorf("heads in hand:\n%s", diff)
	}
	w.wantNoneDue(w.home)
}

func orderEnds(w *world) {
	_, job := w.acceptOrdered(w.home, "a")
	var ids []hook.DeliveryID
	for range 3 {
		id, _ := w.acceptOrdered(w.home, "a")
		ids = append(ids, id)
	}
	w.fail(job)
	job = w.wantDue(w.home, ids[0])
	w.settle(hook.Settlement{Job: job, State: hook.StateCanceled, Reason: "it expired"})
	job = w.wantDue(w.home, ids[1])
	w.succeed(job)
	w.succeed(w.wantDue(w.home, ids[2]))
	if _, job := w.acceptOrdered(w.home, "a"); job == nil {
		w.Error("a key of which nothing is open keeps a new one waiting")
	}
	w.wantBacklog(w.home, "sending=1 failed=1")
}

func orderRetriedHead(w *world) {
	first, job := w.acceptOrdered(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	for range 2 {
		w.settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.now.Add(time.Hour), Attempt: w.attempt(hook.OutcomeTimeout, 0)})
		if d := w.delivery(w.home, second); d.NextAttemptAt != nil {
			w.Error("the next one is due while the head waits to be retried")
		}
		if n, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{first}, w.now); n != 1 || err != nil {
			w.Errorf("a head that waits is not made due now: %d, %v", n, err)
		}
		job = w.wantDue(w.home, first)
		w.giveBack(job)
		job = w.wantDue(w.home, first)
	}
	w.succeed(job)
	w.wantDue(w.home, second)
}

func orderHeld(w *world) {
	first, job := w.acceptOrdered(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	w.settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit, Reason: "it is down"})
	w.wantNoneDue(w.home)
	held := w.ordered(w.home, "a")
	held.Held, held.Cause = true, hook.CausePaused
	w.accept(w.event(w.home, held))
	third, waits := w.acceptOrdered(w.home, "a")
	if waits != nil {
		w.Error("a new one overtakes a held head")
	}
	circuit, paused := holdAll(w.home), holdAll(w.home)
	circuit.Cause = hook.CauseCircuit
	_, err := w.store.Hold(w.Context(), circuit, "it is down")
	w.must(err)
	w.wantBacklog(w.home, "held=4")
	n, err := w.store.Release(w.Context(), circuit, w.now)
	w.must(err)
	if n != 3 {
		w.Errorf("%d released, want those that the circuit held", n)
	}
	for _, id := range []hook.DeliveryID{first, second} {
		w.succeed(w.wantDue(w.home, id))
	}
	w.wantNoneDue(w.home) // The paused one is next.
	_, err = w.store.Release(w.Context(), paused, w.now)
	w.must(err)
	w.succeed(w.wantDue(w.home, held.Delivery))
	w.succeed(w.wantDue(w.home, third))
	w.wantBacklog(w.home, "")
}

func orderRetry(w *world) {
	first, job := w.acceptOrdered(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	third, _ := w.acceptOrdered(w.home, "a")
	w.fail(job)
	job = w.wantDue(w.home, second)
	n, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{first}, w.now)
	w.must(err)
	if d := w.inState(w.home, first, hook.StatePending); n != 1 || d.NextAttemptAt != nil {
		w.Errorf("retried beside a head in hand: %d, %+v", n, d)
	}
	w.wantNoneDue(w.home)
	w.succeed(job)
	again := w.wantDue(w.home, first)
	if !again.Manual {
		w.Error("the retried one is not sent by hand any more")
	}
	w.succeed(again)
	w.succeed(w.wantDue(w.home, third))
	n, err = w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{third, first}, w.now)
	w.must(err)
	if n != 2 {
		w.Errorf("%d of two were retried", n)
	}
	w.succeed(w.wantDue(w.home, third)) // It was alone when it was retried.
	w.succeed(w.wantDue(w.home, first))
}

func orderRetryWaiting(w *world) {
	_, job := w.acceptOrdered(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	n, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{second}, w.now)
	w.must(err)
	if n != 0 {
		w.Error("what waits for its turn was retried")
	}
	w.wantNoneDue(w.home)
	w.succeed(job)
	if w.wantDue(w.home, second).Manual {
		w.Error("it is sent by hand, although the retry changed nothing")
	}
}

func orderCancel(w *world) {
	first, job := w.acceptOrdered(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	third, _ := w.acceptOrdered(w.home, "a")
	fourth, _ := w.acceptOrdered(w.home, "a")
	cancel := func(id hook.DeliveryID) {
		n, err := w.store.Cancel(w.Context(), w.home.project, []hook.DeliveryID{id}, "not wanted")
		w.must(err)
		if n != 1 {
			w.Errorf("%d canceled, want 1", n)
		}
	}
	cancel(third)
	w.wantNoneDue(w.home)
	w.giveBack(job)
	cancel(first)
	job = w.wantDue(w.home, second)
	w.settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseParked, Reason: "it fails"})
	w.wantNoneDue(w.home)
	cancel(second)
	w.succeed(w.wantDue(w.home, fourth))
}

func orderCrash(w *world) {
	first, _ := w.acceptOrdered(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	third, _ := w.acceptOrdered(w.home, "a")
	w.crash()
	w.wantNoneDue(w.home) // The head is lost until the reclaim.
	list := w.deliveries(store.DeliveryQuery{Project: w.home.project, Event: w.delivery(w.home, second).Event})
	if len(list) != 1 || list[0].OrderKey != "a" {
		w.Errorf("before the reclaim: %+v", list)
	}
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the head", n)
	}
	w.wantDue(w.home, first) // Claimed, and lost again.
	w.restart()
	w.wantNoneDue(w.home)
	if n := w.reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the one that was claimed", n)
	}
	w.succeed(w.wantDue(w.home, first))
	w.crash()
	w.reclaim()
	for _, id := range []hook.DeliveryID{second, third} {
		job := w.wantDue(w.home, id)
		if job.Delivery.OrderKey != "a" {
			w.Errorf("after the crash: %+v", job.Delivery)
		}
		w.succeed(job)
	}
	w.wantBacklog(w.home, "")
}

func orderBeforeReclaim(w *world) {
	first, _ := w.acceptOrdered(w.home, "a")
	w.crash()
	second, waits := w.acceptOrdered(w.home, "a")
	other, waitsToo := w.acceptOrdered(w.home, "b")
	if waits != nil || waitsToo != nil {
		w.Fatal("something ordered is in hand before it is known what was lost")
	}
	w.wantNoneDue(w.home)
	n, err := w.store.Cancel(w.Context(), w.home.project, []hook.DeliveryID{second}, "x")
	w.must(err)
	m, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{second}, w.now)
	w.must(err)
	if n != 1 || m != 1 {
		w.Errorf("%d canceled, %d retried", n, m)
	}
	w.wantNoneDue(w.home)
	w.reclaim()
	due := w.due(w.home)
	if len(due) != 2 || due[first] == nil || due[other] == nil {
		w.Fatalf("%d are due after the reclaim, want the lost head and the other key's", len(due))
	}
	w.succeed(due[first])
	w.wantDue(w.home, second)
}

func orderLate(w *world) {
	first, job := w.acceptOrdered(w.home, "a")
	w.fail(job)
	second, _ := w.acceptOrdered(w.home, "a")
	w.crash() // Its place in memory is lost, as the lease of another node's would be.
	w.reclaim()
	late := w.wantDue(w.home, second)
	w.crash()
	w.reclaim()
	w.settle(hook.Settlement{Job: w.wantDue(w.home, second), State: hook.StateHeld, Cause: hook.CauseParked})
	_, err := w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{first}, w.now)
	w.must(err)
	_, err = w.store.Retry(w.Context(), w.home.project, []hook.DeliveryID{second}, w.now)
	w.must(err)
	w.settle(hook.Settlement{Job: late, State: hook.StatePending, Next: w.now, Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	w.succeed(w.wantDue(w.home, first))
	w.succeed(w.wantDue(w.home, second))
}

func orderDeleted(w *world) {
	_, job := w.acceptOrdered(w.home, "a")
	second, _ := w.acceptOrdered(w.home, "a")
	w.must(w.store.Connections().Delete(w.Context(), w.home.project, w.home.connection.String()))
	w.inState(w.home, second, hook.StateCanceled)
	w.settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.now, Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	third, _ := w.acceptOrdered(w.home, "a")
	w.wantNoneDue(w.home)
	w.inState(w.home, job.Delivery.ID, hook.StateCanceled)
	if d := w.delivery(w.home, third); d.State != hook.StateCanceled && d.State != hook.StateSending {
		w.Errorf("a delivery of a deleted connection is %+v", d)
	}
}

func orderDeferred(w *world) {
	t := w.ordered(w.home, "a")
	t.Deferred, t.Due = true, w.now.Add(10*time.Minute)
	w.accept(w.event(w.home, t))
	second, waits := w.acceptOrdered(w.home, "a")
	if waits != nil {
		w.Fatal("a delayed head is overtaken")
	}
	plain := w.target(w.home)
	plain.Deferred, plain.Due = true, w.now.Add(time.Hour)
	w.accept(w.event(w.home, plain))
	if jobs := w.claim(w.home, 10); jobs != nil {
		w.Error("claimed before it was due")
	}
	w.tick(10 * time.Minute)
	jobs := w.claim(w.home, 10)
	if len(jobs) != 1 || jobs[0].Delivery.ID != t.Delivery {
		w.Fatalf("%d jobs after the delay", len(jobs))
	}
	w.succeed(jobs[0])
	w.tick(time.Second)
	if jobs := w.claim(w.home, 10); len(jobs) != 1 || jobs[0].Delivery.ID != second {
		w.Errorf("%d jobs after the head", len(jobs))
	}
	w.tick(time.Hour)
	if jobs := w.claim(w.home, 10); len(jobs) != 1 || jobs[0].Delivery.ID != plain.Delivery {
		w.Errorf("%d jobs after an hour", len(jobs))
	}
}

// orderModel does what it likes with a few keys, and looks after each step whether each
// key has a turn, when it should, and one taker.
func orderModel(w *world) {
	for seed := range uint64(3) {
		m := &orderWorld{world: w, random: rand.New(rand.NewPCG(seed, 0)), hands: map[hook.DeliveryID]*hook.Job{}}
		for step := range 120 {
			m.step()
			if w.Failed() {
				w.Fatalf("seed %d, step %d: %s", seed, step, m.last)
			}
		}
	}
}

type orderWorld struct {
	*world

	random *rand.Rand
	hands  map[hook.DeliveryID]*hook.Job
	all    []hook.DeliveryID
	last   string
}

func (m *orderWorld) step() {
	m.Helper()
	m.tick(time.Millisecond)
	where := holdAll(m.home)
	where.Cause = []hook.Cause{hook.CausePaused, hook.CauseCircuit}[m.random.IntN(2)]
	key := store.Key{Project: m.home.project, Connection: m.home.connection, Key: fmt.Sprint(m.random.IntN(3))}
	var err error
	switch action := m.random.IntN(20); {
	case action < 6:
		m.last = "accept"
		id, job := m.acceptOrdered(m.home, key.Key)
		m.all = append(m.all, id)
		if job != nil {
			m.hands[id] = job
		}
	case action < 9:
		m.last = "claim"
		jobs, claimErr := m.store.Claim(m.Context(), store.Claim{
			Destination: m.home.destination, Owner: "node-1", Until: far.Add(time.Hour), Now: far, Limit: 1 + m.random.IntN(3),
		})
		err = claimErr
		for _, job := range jobs {
			m.hands[job.Delivery.ID] = job
		}
	case action < 13:
		m.last = "settle"
		m.settleOne()
	case action == 13:
		m.last = "hold"
		_, err = m.store.Hold(m.Context(), where, "because")
	case action == 14:
		m.last = "release"
		_, err = m.store.Release(m.Context(), where, m.now)
	case action == 15 && len(m.all) > 0:
		m.last = "retry"
		_, err = m.store.Retry(m.Context(), m.home.project, []hook.DeliveryID{m.all[m.random.IntN(len(m.all))]}, m.now)
	case action == 16 && len(m.all) > 0:
		m.last = "cancel"
		_, err = m.store.Cancel(m.Context(), m.home.project, []hook.DeliveryID{m.all[m.random.IntN(len(m.all))]}, "because")
	case action == 17:
		m.last = "crash"
		m.crash()
		m.reclaim()
		clear(m.hands)
	case action == 18:
		m.last = "keys"
		err = m.decideKey(key)
	}
	m.must(err)
	m.check()
}

func (m *orderWorld) settleOne() {
	m.Helper()
	for id, job := range m.hands {
		delete(m.hands, id)
		s := hook.Settlement{Job: job, Reason: "because", Next: m.now, Attempt: m.attempt(hook.OutcomeTimeout, 0)}
		s.State = []hook.State{hook.StateSucceeded, hook.StateFailed, hook.StatePending, hook.StateHeld, hook.StateCanceled}[m.random.IntN(5)]
		if s.State == hook.StateHeld {
			s.Cause, s.Free = hook.Cause(1+m.random.IntN(3)), true
		}
		m.settle(s)
		return
	}
}

func (m *orderWorld) decideKey(key store.Key) error {
	var err error
	switch m.random.IntN(3) {
	case 0:
		err = m.store.ReleaseKey(m.Context(), key, m.now)
	case 1:
		err = m.store.SkipKey(m.Context(), key, "skipped")
	case 2:
		_, err = m.store.DropKey(m.Context(), key, "dropped")
	}
	if kind := hook.KindOf(err); kind == hook.KindNotFound || kind == hook.KindConflict {
		return nil
	}
	return err
}

// check looks at every key.
func (m *orderWorld) check() {
	m.Helper()
	open := map[string][]hook.Delivery{}
	counts := map[hook.State]int64{}
	query := store.DeliveryQuery{Project: m.home.project, Page: page.Request{Limit: page.MaxLimit}}
	for _, state := range []hook.State{hook.StatePending, hook.StateSending, hook.StateHeld} {
		query.State = state
		for _, d := range m.deliveries(query) {
			open[d.OrderKey] = append(open[d.OrderKey], d)
			counts[state]++
		}
	}
	for state, count := range counts {
		if got := m.backlog(m.home)[state]; got != count {
			m.Errorf("the backlog counts %d %v, and there are %d", got, state, count)
		}
	}
	for key, list := range open {
		slices.SortFunc(list, func(a, b hook.Delivery) int { return int(a.ID - b.ID) })
		turns := 0
		for i := range list {
			if list[i].State == hook.StateSending || list[i].NextAttemptAt != nil {
				turns++
			}
			if (list[i].State == hook.StateHeld) != (list[i].Cause != hook.CauseNone) {
				m.Errorf("%v is %v for cause %v", list[i].ID, list[i].State, list[i].Cause)
			}
		}
		if turns > 1 || turns == 0 && list[0].State != hook.StateHeld {
			m.Errorf("of key %s %d have the turn; the first of %d is %v", key, turns, len(list), list[0].State)
		}
	}
}
