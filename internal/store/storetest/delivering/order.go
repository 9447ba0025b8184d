package delivering

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/storetest/stage"
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
	t := w.Target(p)
	t.OrderKey = key
	return t
}

// acceptOrdered accepts an event with one ordered delivery. Its job is nil when the
// delivery waits in the store.
func (w *world) acceptOrdered(p place, key string) (hook.DeliveryID, *hook.Job) {
	w.Helper()
	w.Tick(time.Millisecond)
	a := w.Event(p, w.ordered(p, key))
	w.Accept(a)
	t := &a.Event.Targets[0]
	if t.Deferred {
		return t.Delivery, nil
	}
	job := stage.InlineJob(&a.Event, 0)
	job.Delivery.OrderKey = key
	return t.Delivery, job
}

// far is later than any clock that a store could have by itself.
func far() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }

// due claims everything that is or will be due at the place, and returns it by id.
func (w *world) due(p place) map[hook.DeliveryID]*hook.Job {
	w.Helper()
	jobs, err := w.Store.Claim(w.Context(), store.Claim{
		Destination: p.Destination, Owner: "node-1", Until: far().Add(time.Hour), Now: far(), Limit: 256,
	})
	w.Must(err)
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
	w.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.Now})
}

func orderAccept(w *world) {
	first, job := w.acceptOrdered(w.Home, "a")
	if job == nil {
		w.Fatal("the first of its key waits")
	}
	second, waits := w.acceptOrdered(w.Home, "a")
	third, waitsToo := w.acceptOrdered(w.Home, "a")
	if waits != nil || waitsToo != nil {
		w.Fatal("two of one key are in hand")
	}
	_, other := w.acceptOrdered(w.Home, "b")
	elsewhere := w.AddDestination(w.Home, "elsewhere")
	_, same := w.acceptOrdered(elsewhere, "a")
	if other == nil || same == nil {
		w.Error("another key, or another connection, waits")
	}
	for id, state := range map[hook.DeliveryID]hook.State{first: hook.StateSending, second: hook.StatePending, third: hook.StatePending} {
		if d := w.InState(w.Home, id, state); d.OrderKey != "a" || d.NextAttemptAt != nil {
			w.Errorf("delivery %+v", d)
		}
	}
	w.wantNoneDue(w.Home)
	w.WantBacklog(w.Home, "pending=2 sending=2")
	w.Tick(time.Second)
	w.Succeed(job)
	if d := w.InState(w.Home, second, hook.StatePending); d.NextAttemptAt == nil {
		w.Error("the next one is not due when the head has ended")
	}
	w.Tick(time.Second)
	jobs := w.Claim(w.Home, 10)
	if len(jobs) != 1 || jobs[0].Delivery.ID != second || jobs[0].Delivery.OrderKey != "a" || jobs[0].Inline {
		w.Fatalf("claimed %+v", jobs)
	}
	if _, waits := w.acceptOrdered(w.Home, "a"); waits != nil {
		w.Error("one of a key is in hand beside its head")
	}
	w.Succeed(jobs[0])
	w.Succeed(w.wantDue(w.Home, third))
	w.WantBacklog(w.Home, "pending=1 sending=1")
}

func orderAcceptTogether(w *world) {
	const count = 60
	acceptances := make([]*hook.Acceptance, count)
	for i := range acceptances {
		acceptances[i] = w.Event(w.Home, w.ordered(w.Home, "a"), w.ordered(w.Home, "b"))
	}
	stage.Parallel(w.World, count, func(i int) {
		if _, err := w.Store.Accept(w.Context(), acceptances[i]); err != nil {
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
	w.wantNoneDue(w.Home)
}

func orderEnds(w *world) {
	_, job := w.acceptOrdered(w.Home, "a")
	var ids []hook.DeliveryID
	for range 3 {
		id, _ := w.acceptOrdered(w.Home, "a")
		ids = append(ids, id)
	}
	w.EndFailed(job)
	job = w.wantDue(w.Home, ids[0])
	w.Settle(hook.Settlement{Job: job, State: hook.StateCanceled, Reason: "it expired"})
	job = w.wantDue(w.Home, ids[1])
	w.Succeed(job)
	w.Succeed(w.wantDue(w.Home, ids[2]))
	if _, job := w.acceptOrdered(w.Home, "a"); job == nil {
		w.Error("a key of which nothing is open keeps a new one waiting")
	}
	w.WantBacklog(w.Home, "sending=1 failed=1")
}

func orderRetriedHead(w *world) {
	first, job := w.acceptOrdered(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	for range 2 {
		w.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.Now.Add(time.Hour), Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
		if d := w.Delivery(w.Home, second); d.NextAttemptAt != nil {
			w.Error("the next one is due while the head waits to be retried")
		}
		if n, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{first}, w.Now); n != 1 || err != nil {
			w.Errorf("a head that waits is not made due now: %d, %v", n, err)
		}
		job = w.wantDue(w.Home, first)
		w.giveBack(job)
		job = w.wantDue(w.Home, first)
	}
	w.Succeed(job)
	w.wantDue(w.Home, second)
}

func orderHeld(w *world) {
	first, job := w.acceptOrdered(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	w.Settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseCircuit, Reason: "it is down"})
	w.wantNoneDue(w.Home)
	held := w.ordered(w.Home, "a")
	held.Held, held.Cause = true, hook.CausePaused
	w.Accept(w.Event(w.Home, held))
	third, waits := w.acceptOrdered(w.Home, "a")
	if waits != nil {
		w.Error("a new one overtakes a held head")
	}
	circuit, paused := stage.ByDestination(w.Home), stage.ByDestination(w.Home)
	circuit.Cause = hook.CauseCircuit
	_, err := w.Store.Hold(w.Context(), circuit, "it is down")
	w.Must(err)
	w.WantBacklog(w.Home, "held=4")
	n, err := w.Store.Release(w.Context(), circuit, w.Now)
	w.Must(err)
	if n != 3 {
		w.Errorf("%d released, want those that the circuit held", n)
	}
	for _, id := range []hook.DeliveryID{first, second} {
		w.Succeed(w.wantDue(w.Home, id))
	}
	w.wantNoneDue(w.Home) // The paused one is next.
	_, err = w.Store.Release(w.Context(), paused, w.Now)
	w.Must(err)
	w.Succeed(w.wantDue(w.Home, held.Delivery))
	w.Succeed(w.wantDue(w.Home, third))
	w.WantBacklog(w.Home, "")
}

func orderRetry(w *world) {
	first, job := w.acceptOrdered(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	third, _ := w.acceptOrdered(w.Home, "a")
	w.EndFailed(job)
	job = w.wantDue(w.Home, second)
	n, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{first}, w.Now)
	w.Must(err)
	if d := w.InState(w.Home, first, hook.StatePending); n != 1 || d.NextAttemptAt != nil {
		w.Errorf("retried beside a head in hand: %d, %+v", n, d)
	}
	w.wantNoneDue(w.Home)
	w.Succeed(job)
	again := w.wantDue(w.Home, first)
	if !again.Manual {
		w.Error("the retried one is not sent by hand any more")
	}
	w.Succeed(again)
	w.Succeed(w.wantDue(w.Home, third))
	n, err = w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{third, first}, w.Now)
	w.Must(err)
	if n != 2 {
		w.Errorf("%d of two were retried", n)
	}
	w.Succeed(w.wantDue(w.Home, third)) // It was alone when it was retried.
	w.Succeed(w.wantDue(w.Home, first))
}

func orderRetryWaiting(w *world) {
	_, job := w.acceptOrdered(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	n, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{second}, w.Now)
	w.Must(err)
	if n != 0 {
		w.Error("what waits for its turn was retried")
	}
	w.wantNoneDue(w.Home)
	w.Succeed(job)
	if w.wantDue(w.Home, second).Manual {
		w.Error("it is sent by hand, although the retry changed nothing")
	}
}

func orderCancel(w *world) {
	first, job := w.acceptOrdered(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	third, _ := w.acceptOrdered(w.Home, "a")
	fourth, _ := w.acceptOrdered(w.Home, "a")
	cancel := func(id hook.DeliveryID) {
		n, err := w.Store.Cancel(w.Context(), w.Home.Project, []hook.DeliveryID{id}, "not wanted")
		w.Must(err)
		if n != 1 {
			w.Errorf("%d canceled, want 1", n)
		}
	}
	cancel(third)
	w.wantNoneDue(w.Home)
	w.giveBack(job)
	cancel(first)
	job = w.wantDue(w.Home, second)
	w.Settle(hook.Settlement{Job: job, State: hook.StateHeld, Cause: hook.CauseParked, Reason: "it fails"})
	w.wantNoneDue(w.Home)
	cancel(second)
	w.Succeed(w.wantDue(w.Home, fourth))
}

func orderCrash(w *world) {
	first, _ := w.acceptOrdered(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	third, _ := w.acceptOrdered(w.Home, "a")
	w.Crash()
	w.wantNoneDue(w.Home) // The head is lost until the reclaim.
	list := w.Deliveries(store.DeliveryQuery{Project: w.Home.Project, Event: w.Delivery(w.Home, second).Event})
	if len(list) != 1 || list[0].OrderKey != "a" {
		w.Errorf("before the reclaim: %+v", list)
	}
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the head", n)
	}
	w.wantDue(w.Home, first) // Claimed, and lost again.
	w.Restart()
	w.wantNoneDue(w.Home)
	if n := w.Reclaim(); n != 1 {
		w.Errorf("%d reclaimed, want the one that was claimed", n)
	}
	w.Succeed(w.wantDue(w.Home, first))
	w.Crash()
	w.Reclaim()
	for _, id := range []hook.DeliveryID{second, third} {
		job := w.wantDue(w.Home, id)
		if job.Delivery.OrderKey != "a" {
			w.Errorf("after the crash: %+v", job.Delivery)
		}
		w.Succeed(job)
	}
	w.WantBacklog(w.Home, "")
}

func orderBeforeReclaim(w *world) {
	first, _ := w.acceptOrdered(w.Home, "a")
	w.Crash()
	second, waits := w.acceptOrdered(w.Home, "a")
	other, waitsToo := w.acceptOrdered(w.Home, "b")
	if waits != nil || waitsToo != nil {
		w.Fatal("something ordered is in hand before it is known what was lost")
	}
	w.wantNoneDue(w.Home)
	n, err := w.Store.Cancel(w.Context(), w.Home.Project, []hook.DeliveryID{second}, "x")
	w.Must(err)
	m, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{second}, w.Now)
	w.Must(err)
	if n != 1 || m != 1 {
		w.Errorf("%d canceled, %d retried", n, m)
	}
	w.wantNoneDue(w.Home)
	w.Reclaim()
	due := w.due(w.Home)
	if len(due) != 2 || due[first] == nil || due[other] == nil {
		w.Fatalf("%d are due after the reclaim, want the lost head and the other key's", len(due))
	}
	w.Succeed(due[first])
	w.wantDue(w.Home, second)
}

func orderLate(w *world) {
	first, job := w.acceptOrdered(w.Home, "a")
	w.EndFailed(job)
	second, _ := w.acceptOrdered(w.Home, "a")
	w.Crash() // Its place in memory is lost, as the lease of another node's would be.
	w.Reclaim()
	late := w.wantDue(w.Home, second)
	w.Crash()
	w.Reclaim()
	w.Settle(hook.Settlement{Job: w.wantDue(w.Home, second), State: hook.StateHeld, Cause: hook.CauseParked})
	_, err := w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{first}, w.Now)
	w.Must(err)
	_, err = w.Store.Retry(w.Context(), w.Home.Project, []hook.DeliveryID{second}, w.Now)
	w.Must(err)
	w.Settle(hook.Settlement{Job: late, State: hook.StatePending, Next: w.Now, Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	w.Succeed(w.wantDue(w.Home, first))
	w.Succeed(w.wantDue(w.Home, second))
}

func orderDeleted(w *world) {
	_, job := w.acceptOrdered(w.Home, "a")
	second, _ := w.acceptOrdered(w.Home, "a")
	w.Must(w.Store.Connections().Delete(w.Context(), w.Home.Project, w.Home.Connection.String()))
	w.InState(w.Home, second, hook.StateCanceled)
	w.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: w.Now, Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	third, _ := w.acceptOrdered(w.Home, "a")
	w.wantNoneDue(w.Home)
	w.InState(w.Home, job.Delivery.ID, hook.StateCanceled)
	if d := w.Delivery(w.Home, third); d.State != hook.StateCanceled && d.State != hook.StateSending {
		w.Errorf("a delivery of a deleted connection is %+v", d)
	}
}

func orderDeferred(w *world) {
	t := w.ordered(w.Home, "a")
	t.Deferred, t.Due = true, w.Now.Add(10*time.Minute)
	w.Accept(w.Event(w.Home, t))
	second, waits := w.acceptOrdered(w.Home, "a")
	if waits != nil {
		w.Fatal("a delayed head is overtaken")
	}
	plain := w.Target(w.Home)
	plain.Deferred, plain.Due = true, w.Now.Add(time.Hour)
	w.Accept(w.Event(w.Home, plain))
	if jobs := w.Claim(w.Home, 10); jobs != nil {
		w.Error("claimed before it was due")
	}
	w.Tick(10 * time.Minute)
	jobs := w.Claim(w.Home, 10)
	if len(jobs) != 1 || jobs[0].Delivery.ID != t.Delivery {
		w.Fatalf("%d jobs after the delay", len(jobs))
	}
	w.Succeed(jobs[0])
	w.Tick(time.Second)
	if jobs := w.Claim(w.Home, 10); len(jobs) != 1 || jobs[0].Delivery.ID != second {
		w.Errorf("%d jobs after the head", len(jobs))
	}
	w.Tick(time.Hour)
	if jobs := w.Claim(w.Home, 10); len(jobs) != 1 || jobs[0].Delivery.ID != plain.Delivery {
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
	m.Tick(time.Millisecond)
	where := stage.ByDestination(m.Home)
	where.Cause = []hook.Cause{hook.CausePaused, hook.CauseCircuit}[m.random.IntN(2)]
	key := store.Key{Project: m.Home.Project, Connection: m.Home.Connection, Key: fmt.Sprint(m.random.IntN(3))}
	var err error
	switch action := m.random.IntN(20); {
	case action < 6:
		m.last = "accept"
		id, job := m.acceptOrdered(m.Home, key.Key)
		m.all = append(m.all, id)
		if job != nil {
			m.hands[id] = job
		}
	case action < 9:
		m.last = "claim"
		jobs, claimErr := m.Store.Claim(m.Context(), store.Claim{
			Destination: m.Home.Destination, Owner: "node-1", Until: far().Add(time.Hour), Now: far(), Limit: 1 + m.random.IntN(3),
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
		_, err = m.Store.Hold(m.Context(), where, "because")
	case action == 14:
		m.last = "release"
		_, err = m.Store.Release(m.Context(), where, m.Now)
	case action == 15 && len(m.all) > 0:
		m.last = "retry"
		_, err = m.Store.Retry(m.Context(), m.Home.Project, []hook.DeliveryID{m.all[m.random.IntN(len(m.all))]}, m.Now)
	case action == 16 && len(m.all) > 0:
		m.last = "cancel"
		_, err = m.Store.Cancel(m.Context(), m.Home.Project, []hook.DeliveryID{m.all[m.random.IntN(len(m.all))]}, "because")
	case action == 17:
		m.last = "crash"
		m.Crash()
		m.Reclaim()
		clear(m.hands)
	case action == 18:
		m.last = "keys"
		err = m.decideKey(key)
	}
	m.Must(err)
	m.check()
}

func (m *orderWorld) settleOne() {
	m.Helper()
	for id, job := range m.hands {
		delete(m.hands, id)
		s := hook.Settlement{Job: job, Reason: "because", Next: m.Now, Attempt: m.Attempt(hook.OutcomeTimeout, 0)}
		s.State = []hook.State{hook.StateSucceeded, hook.StateFailed, hook.StatePending, hook.StateHeld, hook.StateCanceled}[m.random.IntN(5)]
		if s.State == hook.StateHeld {
			s.Cause, s.Free = hook.Cause(1+m.random.IntN(3)), true
		}
		m.Settle(s)
		return
	}
}

func (m *orderWorld) decideKey(key store.Key) error {
	var err error
	switch m.random.IntN(3) {
	case 0:
		err = m.Store.ReleaseKey(m.Context(), key, m.Now)
	case 1:
		err = m.Store.SkipKey(m.Context(), key, "skipped")
	case 2:
		_, err = m.Store.DropKey(m.Context(), key, "dropped")
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
	query := store.DeliveryQuery{Project: m.Home.Project, Page: page.Request{Limit: page.MaxLimit}}
	for _, state := range []hook.State{hook.StatePending, hook.StateSending, hook.StateHeld} {
		query.State = state
		for _, d := range m.Deliveries(query) {
			open[d.OrderKey] = append(open[d.OrderKey], d)
			counts[state]++
		}
	}
	for state, count := range counts {
		if got := m.Backlog(m.Home)[state]; got != count {
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
