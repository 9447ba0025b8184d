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
	metrics *metrics
	handoff chan *lane    // to a worker that has nothing to do
	review  chan struct{} // has room for one: ask the store what is due
	done    chan struct{} // closed when no further attempt begins

	stopped atomic.Bool
	jobs    atomic.Int64 // in hand, in all lanes
	bytes   atomic.Int64 // size of those

	progress atomic.Int64 // when an attempt last ended, or the lanes were last empty; Unix milliseconds

	mu    sync.RWMutex
	lanes map[hook.DestinationID]*lane
}

// errShutdown is the cause of the end of attempts that the shutdown breaks off.
var errShutdown = errors.New("the server stops")

// New returns an engine. It does nothing but queue until Run.
func New(options Options) *Engine {
	engine := &Engine{
		options: options.withDefaults(),
		agenda:  newAgenda(),
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

// Reserve promises room in memory for one delivery to a destination. If inline, the
// caller ends the promise with Dispatch or Release. If not, the delivery has to be
// stored as deferred, and the lane finds it there.
func (e *Engine) Reserve(id hook.DestinationID) hook.Admission {
	l := e.lock(id)
	defer l.mu.Unlock()
	if !e.stopped.Load() && !l.backlog && e.roomLocked(l) > 0 {
		l.reserved++
		return hook.Admission{Inline: true}
	}
	now := time.Now()
	l.deferLocked(now)
	e.metrics.deferred.Inc()
	if next, ok := l.nextLookLocked(now); ok && !e.stopped.Load() {
		e.agenda.at(l, next)
	}
	return hook.Admission{}
}

// Release ends a promise that is not needed.
func (e *Engine) Release(id hook.DestinationID) {
	l := e.lock(id)
	defer l.mu.Unlock()
	l.reserved = max(0, l.reserved-1)
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
	now := time.Now()
	e.enqueueLocked(l, job, now.Add(lease))
	start := e.startLocked(l, now, 1)
	if l.running == 0 {
		e.planLocked(l, now)
	}
	l.mu.Unlock()
	e.begin(l, start)
}

// Wake makes the engine look in the store for deliveries to a destination now, after
// somebody made some due or resumed it.
func (e *Engine) Wake(id hook.DestinationID) {
	now := time.Now()
	l := e.lock(id)
	defer l.mu.Unlock()
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
	if e.jobs.Load() >= int64(e.options.MaxJobs) || e.bytes.Load() >= e.options.MaxBytes {
		most = l.floorLocked()
	}
	return most - l.usedLocked()
}

// enqueueLocked takes a delivery in hand. It reports false when it was already.
func (e *Engine) enqueueLocked(l *lane, job *hook.Job, until time.Time) bool {
	if _, ok := l.hand[job.Delivery.ID]; ok {
		return false
	}
	it := &item{job: job, until: until}
	l.hand[job.Delivery.ID] = it
	l.queue.push(it)
	size := it.size()
	l.bytes += size
	if e.jobs.Add(1) == 1 {
		e.progress.Store(time.Now().UnixMilli())
	}
	e.bytes.Add(size)
	return true
}

// dropLocked lets a delivery go out of hand.
func (e *Engine) dropLocked(l *lane, it *item) {
	delete(l.hand, it.job.Delivery.ID)
	size := it.size()
	l.bytes -= size
	e.jobs.Add(-1)
	e.bytes.Add(-size)
}

// startLocked counts up to most further workers for a lane and returns how many to
// begin.
func (e *Engine) startLocked(l *lane, now time.Time, most int) int {
	if now.Before(l.coolUntil) || now.Before(l.tokenAt) || l.suspending {
		return 0
	}
	count := min(most, l.queue.count, l.concurrency-l.running)
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
	if l.claiming || l.suspending || !l.look && !l.backlog || now.Before(l.claimAfter) || now.Before(l.coolUntil) {
		return false
	}
	room := e.roomLocked(l)
	return room > 0 && (l.queue.count == 0 || room >= l.capacityLocked(e.options.MaxLane)/4)
}

// askReview makes the keeper ask the store what is due.
func (e *Engine) askReview() {
	select {
	case e.review <- struct{}{}:
	default:
	}
}

// giveBack returns a delivery that was not attempted to the store, due as it was, and
// tells the lane, if any, once the store has it.
func (e *Engine) giveBack(l *lane, it *item) {
	due := it.job.Delivery.CreatedAt
	if at := it.job.Delivery.NextAttemptAt; at != nil {
		due = *at
	}
	if due.IsZero() {
		due = time.Now()
	}
	e.settle(l, hook.Settlement{Job: it.job, State: hook.StatePending, Reason: it.job.Delivery.Reason, Next: due})
}

// settle hands a result to the store. Where the delivery stays pending, its lane learns
// of the moment once the store knows it.
func (e *Engine) settle(l *lane, settlement hook.Settlement) {
	e.metrics.settled(settlement.State)
	e.progress.Store(time.Now().UnixMilli())
	id := settlement.Job.Delivery.ID
	next := settlement.Next
	pending := settlement.State == hook.StatePending && l != nil
	e.options.Queue.Settle(settlement, func(err error) {
		if err != nil {
			e.options.Logger.Error("the result of an attempt could not be stored; the delivery will be attempted again",
				"delivery", id.String(), "error", err)
			return
		}
		if pending {
			e.noteDue(l.id, next)
		}
	})
}

// noteDue tells a lane that the store has a delivery for it, due at a time.
func (e *Engine) noteDue(id hook.DestinationID, at time.Time) {
	l := e.lock(id)
	defer l.mu.Unlock()
	l.due.add(at)
	e.planLocked(l, time.Now())
}

// Run works until the context ends, then lets attempts in flight finish for the grace
// of the options, breaks off what is left, and gives back to the store what was not
// attempted. It returns when nothing of the engine runs any more.
func (e *Engine) Run(ctx context.Context) error {
	attempts, breakOff := context.WithCancelCause(context.WithoutCancel(ctx))
	defer breakOff(errShutdown)

	var helpers, workers sync.WaitGroup
	helpers.Go(func() { e.keep(ctx) })
	e.schedule(ctx, attempts, &helpers, &workers)

	e.stopped.Store(true)
	close(e.done)
	e.unwind()
	grace := time.AfterFunc(e.options.Grace, func() { breakOff(errShutdown) })
	defer grace.Stop()
	helpers.Wait()
	workers.Wait()
	e.unwind()
	return e.close()
}

// unwind gives back to the store what waits in the lanes.
func (e *Engine) unwind() {
	for _, l := range e.all() {
		l.mu.Lock()
		var waiting []*item
		for it := l.queue.pop(); it != nil; it = l.queue.pop() {
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
