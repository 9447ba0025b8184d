package deliver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"malote.dev/malote/internal/hook"
)

// Engine carries deliveries to their destinations. It is safe for concurrent use.
type Engine struct {
	options Options
	agenda  *agenda
	clerk   *clerk
	shares  *shares // deliveries in hand, in all lanes
	metrics *metrics
	handoff chan *lane    // to a worker that has nothing to do
	review  chan struct{} // has room for one: ask the store what is due
	done    chan struct{} // closed when no further attempt begins

	stopped atomic.Bool

	progress atomic.Int64 // when an attempt last ended, or the lanes were last empty; Unix milliseconds

	mu    sync.RWMutex
	lanes map[hook.DestinationID]*lane
}

// errShutdown is the cause of the end of attempts that the shutdown breaks off.
var errShutdown = errors.New("the server stops")

// New returns an engine. It does nothing but queue until Run.
func New(options Options) *Engine {
	options = options.withDefaults()
	engine := &Engine{
		options: options,
		agenda:  newAgenda(),
		clerk:   newClerk(),
		shares:  newShares(options.MaxJobs, options.MaxBytes),
		handoff: make(chan *lane),
		review:  make(chan struct{}, 1),
		done:    make(chan struct{}),
		lanes:   make(map[hook.DestinationID]*lane),
	}
	engine.metrics = newMetrics(engine)
	return engine
}

// lock returns the lane of a destination, locked. It makes the lane if there is none.
func (e *Engine) lock(id hook.DestinationID) *lane {
	for {
		e.mu.RLock()
		l := e.lanes[id]
		e.mu.RUnlock()
		if l == nil {
			e.mu.Lock()
			if l = e.lanes[id]; l == nil {
				l = newLane(id, time.Now())
				e.lanes[id] = l
			}
			e.mu.Unlock()
		}
		l.mu.Lock()
		if !l.forgotten {
			return l
		}
		l.mu.Unlock()
	}
}

// all returns the lanes that there are.
func (e *Engine) all() []*lane {
	e.mu.RLock()
	defer e.mu.RUnlock()
	lanes := make([]*lane, 0, len(e.lanes))
	for _, l := range e.lanes {
		lanes = append(lanes, l)
	}
	return lanes
}

// Reserve says how a delivery to a destination begins. Inline promises room in memory,
// and the caller ends the promise with Dispatch or Release. With a cause the delivery
// has to be stored as held, with the reason; otherwise as deferred, and the lane finds
// it in the store.
func (e *Engine) Reserve(id hook.DestinationID) hook.Admission {
	l := e.lock(id)
	defer l.mu.Unlock()
	if l.destination == nil {
		e.refreshLocked(l, time.Now())
	}
	if l.circuit.Holds() {
		return e.reserveHeldLocked(l)
	}
	stopped := e.stopped.Load()
	quiet := l.hours != nil && l.quietLocked(time.Now())
	if !stopped && !quiet && !l.backlog && e.roomLocked(l) > 0 {
		l.reserved++
		return hook.Admission{Inline: true}
	}
	now := time.Now()
	l.deferLocked(now)
	e.metrics.deferred.Inc()
	if next, ok := l.nextLookLocked(now); ok && !stopped {
		e.agenda.at(l, next)
	}
	return hook.Admission{}
}

// reserveHeldLocked is Reserve for a lane whose circuit holds deliveries.
func (e *Engine) reserveHeldLocked(l *lane) hook.Admission {
	e.refreshLocked(l, time.Now())
	switch {
	case !l.circuit.Holds(): // it was switched off
		l.deferLocked(time.Now())
		e.planLocked(l, time.Now())
		return hook.Admission{}
	case !e.stopped.Load() && l.reserveProbeLocked():
		l.reserved++
		return hook.Admission{Inline: true}
	default:
		return hook.Admission{Cause: hook.CauseCircuit, Reason: l.circuit.Reason}
	}
}

// Release ends a promise that is not needed.
func (e *Engine) Release(id hook.DestinationID) {
	l := e.lock(id)
	defer l.mu.Unlock()
	l.reserved = max(0, l.reserved-1)
	l.probe.promised = false
	e.planLocked(l, time.Now())
}

// Dispatch hands over an accepted delivery for which there was room. It never waits.
func (e *Engine) Dispatch(job *hook.Job) {
	l := e.lock(job.Delivery.Destination)
	l.reserved = max(0, l.reserved-1)
	if e.stopped.Load() {
		l.mu.Unlock()
		e.giveBack(nil, &item{job: job})
		return
	}
	if l.circuit.Holds() {
		if !l.probe.promised {
			reason := l.circuit.Reason
			l.mu.Unlock()
			e.keepBack(l, reason, &item{job: job})
			return
		}
		l.probe = probe{last: job.Delivery.ID}
		job.Probe = true
	}
	now := time.Now()
	e.enqueueLocked(l, job, now.Add(lease))
	start := e.startLocked(l, now, 1)
	if l.running == 0 {
		e.planLocked(l, now)
	}
	l.mu.Unlock()
	e.begin(l, start)
}

// Expect tells the engine of a delivery in the store that is due later than now.
func (e *Engine) Expect(id hook.DestinationID, at time.Time) { e.noteDue(id, at) }

// Wake makes the engine look in the store for deliveries to a destination now, after
// somebody made some due or resumed it.
func (e *Engine) Wake(id hook.DestinationID) {
	now := time.Now()
	l := e.lock(id)
	defer l.mu.Unlock()
	e.refreshLocked(l, now)
	if !l.suspending {
		l.coolUntil = time.Time{}
	}
	l.look = true
	l.due.partial = true // what was released may be due later, too
	e.planLocked(l, now)
}

// roomLocked is how many more deliveries a lane may take in hand.
func (e *Engine) roomLocked(l *lane) int {
	most := l.capacityLocked(e.options.MaxLane)
	if l.share != nil && e.shares.scarce(l.share) {
		most = min(most, l.floorLocked())
	}
	return most - l.usedLocked()
}

// enqueueLocked takes a delivery in hand. It reports false when it was already.
func (e *Engine) enqueueLocked(l *lane, job *hook.Job, until time.Time) bool {
	if _, ok := l.hand[job.Delivery.ID]; ok {
		return false
	}
	if l.share == nil { // its destination was deleted
		l.share = e.shares.of(job.Delivery.Project)
	}
	it := &item{job: job, until: until}
	l.hand[job.Delivery.ID] = it
	l.queue.Push(job.Delivery.Connection, it)
	size := it.size()
	l.bytes += size
	if e.shares.take(l.share, size) {
		e.progress.Store(time.Now().UnixMilli())
	}
	return true
}

// dropLocked lets a delivery go out of hand.
func (e *Engine) dropLocked(l *lane, it *item) {
	delete(l.hand, it.job.Delivery.ID)
	size := it.size()
	l.bytes -= size
	e.shares.give(l.share, size)
	if it.begun && it.ticket < l.heeded && l.stale > 0 {
		l.stale--
	}
}

// startLocked counts up to most further workers for a lane and returns how many to
// begin.
func (e *Engine) startLocked(l *lane, now time.Time, most int) int {
	if l.waitsLocked(now) {
		return 0
	}
	count := min(most, l.queue.Len(), l.limitLocked()-l.running)
	if l.limiter != nil {
		// The first one says when the next may begin.
		count = min(count, 1)
	}
	count = max(count, 0)
	l.running += count
	return count
}

// begin starts workers that startLocked counted. The lane is not locked.
func (e *Engine) begin(l *lane, count int) {
	for ; count > 0; count-- {
		select {
		case e.handoff <- l:
		default:
			e.agenda.start(l, count)
			return
		}
	}
}

// planLocked puts the lane on the agenda for what it has to do next: at once if it can
// be done at once, otherwise at its time.
func (e *Engine) planLocked(l *lane, now time.Time) {
	if e.stopped.Load() {
		return
	}
	e.probeDueLocked(l, now)
	if l.look && l.circuit.State == hook.CircuitOpen {
		l.look = false
		e.shiftLocked(l, hold, now) // what came to be due since the circuit opened
	}
	if e.claimableLocked(l, now) {
		l.claiming = true
		e.agenda.claim(l)
	}
	if next, ok := l.nextLookLocked(now); ok {
		e.agenda.at(l, next)
	}
}

// claimableLocked reports whether it is time to claim: there is something to claim,
// and enough room to make it worth a commit.
func (e *Engine) claimableLocked(l *lane, now time.Time) bool {
	if l.claiming || l.suspending || now.Before(l.claimAfter) || now.Before(l.stoppedUntilLocked(now)) {
		return false
	}
	switch l.circuit.State {
	case hook.CircuitOpen:
		return false
	case hook.CircuitHalfOpen:
		// What became due since nothing waited does, too.
		return l.probe.wanted || l.probe.open && l.look && !l.probe.promised
	case hook.CircuitClosed, hook.CircuitRamp:
	}
	if !l.look && !l.backlog {
		return false
	}
	room := e.roomLocked(l)
	return room > 0 && (l.queue.Len() == 0 || room >= l.capacityLocked(e.options.MaxLane)/4)
}

// askReview makes the keeper ask the store what is due.
func (e *Engine) askReview() {
	select {
	case e.review <- struct{}{}:
	default:
	}
}

// giveBack returns a delivery that was not attempted to the store, due as it was, and
// tells the lane, if any, once the store has it. A probe is held, as it was.
func (e *Engine) giveBack(l *lane, it *item) {
	if it.job.Probe {
		e.settle(l, hook.Settlement{Job: it.job, State: hook.StateHeld, Cause: hook.CauseCircuit, Reason: it.job.Delivery.Reason})
		return
	}
	due := it.job.Delivery.CreatedAt
	if at := it.job.Delivery.NextAttemptAt; at != nil {
		due = *at
	}
	if due.IsZero() {
		due = time.Now()
	}
	e.settle(l, hook.Settlement{Job: it.job, State: hook.StatePending, Reason: it.job.Delivery.Reason, Next: due})
}

// settle hands a result to the store. Its lane, if any, learns what follows from it
// once the store knows it.
func (e *Engine) settle(l *lane, settlement hook.Settlement) {
	e.metrics.settled(settlement.State)
	e.progress.Store(time.Now().UnixMilli())
	delivery := &settlement.Job.Delivery
	id, ordered := delivery.ID, delivery.OrderKey != ""
	state, cause, next := settlement.State, settlement.Cause, settlement.Next
	e.options.Queue.Settle(settlement, func(err error) {
		if err != nil {
			e.options.Logger.Error("the result of an attempt could not be stored; the delivery will be attempted again",
				"delivery", id.String(), "error", err)
			return
		}
		switch {
		case l == nil:
		case state == hook.StatePending:
			e.noteDue(l.id, next)
		case ordered && state.Final():
			e.noteDue(l.id, time.Time{}) // the next one of the key, if any
		case cause == hook.CauseCircuit:
			e.noteHeld(l.id)
		}
	})
}

// noteDue tells a lane that the store has a delivery for it, due at a time; the zero
// time is now.
func (e *Engine) noteDue(id hook.DestinationID, at time.Time) {
	l := e.lock(id)
	defer l.mu.Unlock()
	if at.IsZero() {
		l.look = true
	} else {
		l.due.add(at)
	}
	e.planLocked(l, time.Now())
}

// noteHeld tells a lane that the store holds a delivery because of its circuit. That
// may have let go what it held meanwhile.
func (e *Engine) noteHeld(id hook.DestinationID) {
	l := e.lock(id)
	defer l.mu.Unlock()
	if !l.circuit.Holds() {
		e.shiftLocked(l, release, time.Now())
	}
}

// Run works until the context ends, then lets attempts in flight finish for the grace
// of the options, breaks off what is left, and gives back to the store what was not
// attempted. It returns when nothing of the engine runs any more.
func (e *Engine) Run(ctx context.Context) error {
	attempts, breakOff := context.WithCancelCause(context.WithoutCancel(ctx))
	defer breakOff(errShutdown)

	e.restore(ctx)
	var helpers, workers sync.WaitGroup
	helpers.Go(func() { e.keep(ctx) })
	helpers.Go(func() { e.write(ctx) })
	e.schedule(ctx, attempts, &helpers, &workers)

	e.stopped.Store(true)
	close(e.done)
	e.unwind()
	grace := time.AfterFunc(e.options.Grace, func() { breakOff(errShutdown) })
	defer grace.Stop()
	helpers.Wait()
	workers.Wait()
	e.unwind()
	e.farewell(ctx)
	return e.close()
}

// unwind gives back to the store what waits in the lanes.
func (e *Engine) unwind() {
	for _, l := range e.all() {
		l.mu.Lock()
		var waiting []*item
		for it, ok := l.queue.Pop(); ok; it, ok = l.queue.Pop() {
			e.dropLocked(l, it)
			waiting = append(waiting, it)
		}
		l.mu.Unlock()
		for _, it := range waiting {
			e.giveBack(nil, it)
		}
	}
}

// close closes the senders. No worker runs any more.
func (e *Engine) close() error {
	var errs []error
	for _, l := range e.all() {
		l.mu.Lock()
		sender := l.sender
		l.sender = nil
		l.mu.Unlock()
		if sender != nil {
			errs = append(errs, sender.close())
		}
	}
	return errors.Join(errs...)
}
