package deliver

import (
	"context"
	"math/rand/v2"
	"time"

	"malote.dev/malote/internal/deliver/pace"
	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
)

// work is a worker: it makes attempts for a lane until that has none to make, then
// waits a while for another lane, because a goroutine whose stack has grown is worth
// keeping.
func (e *Engine) work(ctx context.Context, l *lane) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		for it := e.next(l); it != nil; it = e.next(l) {
			e.attempt(ctx, l, it)
		}
		idle.Reset(workerIdle)
		select {
		case l = <-e.handoff:
		case <-idle.C:
			return
		case <-e.done:
			return
		}
	}
}

// next takes the next delivery of a lane to attempt. With nil the worker is no longer
// counted.
func (e *Engine) next(l *lane) *item {
	dst, known := e.options.Catalogue.Destination(l.id)
	l.mu.Lock()
	now := time.Now()
	if known {
		e.configureLocked(l, dst)
	}
	// A delivery that will be held takes no place under the rate.
	free := !known || dst.Paused
	if e.stopped.Load() || !l.mayBeginLocked(now, free) {
		e.retireLocked(l, now)
		return nil
	}
	defer l.mu.Unlock()
	it, _ := l.queue.Pop()
	it.ticket, it.begun = l.pace.Begin(), true
	l.usedAt, l.begunAt = now, now
	if l.limiter != nil && l.queue.Len() > 0 {
		l.prepayLocked(now)
		e.agenda.at(l, l.tokenAt)
	}
	if l.look || l.backlog {
		e.planLocked(l, now)
	}
	return it
}

// retireLocked ends a worker's use of a lane, which it unlocks. What would wait there
// for long goes back to the store.
func (e *Engine) retireLocked(l *lane, now time.Time) {
	var shed []*item
	if l.stoppedUntilLocked(now).Sub(now) >= longCoolDown {
		shed = e.shedLocked(l, 0)
	}
	l.running--
	e.planLocked(l, now)
	l.mu.Unlock()
	for _, it := range shed {
		e.giveBack(l, it)
	}
}

// attempt attempts one delivery, or settles it without where that is no longer wanted.
func (e *Engine) attempt(ctx context.Context, l *lane, it *item) {
	job := it.job
	route, ok := e.options.Catalogue.Route(job.Delivery.Connection, l.id)
	if settlement, settled := standing(job, &route, ok, time.Now()); settled {
		e.release(l, it)
		e.settle(l, settlement)
		e.endVain(l, it)
		return
	}
	shared := e.acquire(l, route.Destination)
	defer e.releaseSender(l, shared)
	if shared.err != nil {
		e.refuse(ctx, l, it, &route, shared.err)
		return
	}
	if !e.leased(ctx, l, it, shared.sender.Timeout()) {
		e.release(l, it)
		e.giveBack(l, it)
		e.endVain(l, it)
		return
	}
	message := destination.Message{
		Delivery: job.Delivery.ID, Attempt: job.Delivery.Attempts + 1, Manual: job.Manual, Time: time.Now(),
		Event: job.Event, Source: route.Source, Body: job.Event.Payload,
	}
	e.metrics.inFlight.Inc()
	attempt, try := shared.sender.Send(ctx, &message)
	e.metrics.inFlight.Dec()
	if ctx.Err() != nil && try.Status == 0 && try.Outcome != hook.OutcomeSuccess {
		// The shutdown broke it off: that says nothing of the destination.
		e.release(l, it)
		e.giveBack(nil, it)
		return
	}
	e.conclude(ctx, l, it, &route, result{attempt, try})
}

// endVain looks for another probe where one came to no attempt.
func (e *Engine) endVain(l *lane, it *item) {
	if it.job.Probe {
		e.vainProbe(l)
	}
}

// standing returns the settlement of a delivery that is not to be attempted as things
// are set up now.
func standing(job *hook.Job, route *Route, ok bool, now time.Time) (hook.Settlement, bool) {
	settlement := hook.Settlement{Job: job}
	switch {
	case !ok:
		settlement.State, settlement.Reason = hook.StateCanceled, "its connection was deleted"
	case job.Event == nil:
		settlement.State, settlement.Reason = hook.StateCanceled, "its event is no longer kept"
	case route.Destination.Paused:
		settlement.State, settlement.Cause, settlement.Reason = hook.StateHeld, hook.CausePaused, "the destination is paused"
		if route.Destination.PauseReason != "" {
			settlement.Reason += ": " + route.Destination.PauseReason
		}
	case route.Connection.Paused:
		settlement.State, settlement.Cause, settlement.Reason = hook.StateHeld, hook.CausePaused, "the connection is paused"
	default:
		return untimely(job, route, now)
	}
	return settlement, true
}

// untimely returns the settlement of a delivery for which it is too late or too early.
// What a person sends again does not expire.
func untimely(job *hook.Job, route *Route, now time.Time) (hook.Settlement, bool) {
	if reason, expired := route.Connection.Expired(job.Delivery.CreatedAt, now); expired && !job.Manual {
		return hook.Settlement{Job: job, State: hook.StateCanceled, Reason: reason}, true
	}
	if route.Timing == nil {
		return hook.Settlement{}, false
	}
	due := route.Timing.DueAt(job.Event.ReceivedAt, now)
	if !due.After(now) {
		return hook.Settlement{}, false
	}
	return hook.Settlement{Job: job, State: hook.StatePending, Reason: job.Delivery.Reason, Next: due}, true
}

// refuse ends an attempt before it is made: the destination cannot be used as it is set up.
func (e *Engine) refuse(ctx context.Context, l *lane, it *item, route *Route, err error) {
	now := time.Now()
	outcome, text := destination.Describe(err)
	attempt := &hook.Attempt{
		Delivery: it.job.Delivery.ID, Number: it.job.Delivery.Attempts + 1, Manual: it.job.Manual,
		StartedAt: now, Outcome: hook.OutcomeConfig, Error: text,
	}
	if outcome != hook.OutcomeConfig {
		attempt.Error = "the destination cannot be used: " + text
	}
	try := hook.Try{Manual: attempt.Manual, Outcome: hook.OutcomeConfig, Detail: attempt.Error}
	e.conclude(ctx, l, it, route, result{attempt, try})
}

// result is what an attempt came to.
type result struct {
	attempt *hook.Attempt
	try     hook.Try
}

// conclude draws the consequences of an attempt: for its delivery, and for the lane.
func (e *Engine) conclude(ctx context.Context, l *lane, it *item, route *Route, got result) {
	job := it.job
	got.attempt.Probe, got.try.Probe = job.Probe, job.Probe
	got.try.Number = got.attempt.Number - job.Delivery.Probes
	took := time.Duration(got.attempt.Duration)

	l.mu.Lock()
	now := time.Now()
	e.dropLocked(l, it)
	before := l.limitLocked()
	changed := l.observeLocked(took, got.try.Outcome == hook.OutcomeSuccess)
	l.pace.Done(it.ticket, verdict(got.try.Outcome), took)
	turned := e.judgeLocked(l, it, &got.try, now)
	turned = e.finishRampLocked(l, now) || turned
	back := e.reactLocked(l, &got.try, now)
	suspend := got.try.Outcome == hook.OutcomeGone && !l.suspending
	l.suspending = l.suspending || suspend
	start := 0
	if turned || l.limitLocked() > before {
		start = e.startLocked(l, now, l.limitLocked())
		e.planLocked(l, now)
	}
	holds, reason := l.circuit.Holds(), l.circuit.Reason
	l.mu.Unlock()

	e.begin(l, start)
	settlement := decide(route, job, got, now)
	if holds {
		settlement = heldAfter(settlement, &got.try, reason)
	}
	e.finish(l, settlement, route, got)
	for _, other := range back {
		if holds {
			e.keepBack(l, reason, other)
		} else {
			e.giveBack(l, other)
		}
	}
	if changed {
		e.report(ctx, route.Destination, got.try)
	}
	if suspend {
		e.suspend(ctx, l, route.Destination, got.try)
	}
}

// verdict is what an outcome says of how much the destination can take.
func verdict(outcome hook.Outcome) pace.Verdict {
	switch outcome {
	case hook.OutcomeSuccess:
		return pace.Fine
	case hook.OutcomeThrottled:
		return pace.Throttled
	case hook.OutcomeTimeout:
		return pace.Late
	case hook.OutcomeRejected, hook.OutcomeGone, hook.OutcomeRefused, hook.OutcomeRedirect, hook.OutcomeNetwork, hook.OutcomeBlocked, hook.OutcomeConfig:
		return pace.None
	default:
		return pace.None
	}
}

// reactLocked does to the lane what an attempt's result asks for. It returns what goes
// back to the store, because it would wait here for too long.
func (e *Engine) reactLocked(l *lane, try *hook.Try, now time.Time) []*item {
	if try.Outcome == hook.OutcomeThrottled && (try.RetryAfter > 0 || !l.adaptive()) {
		coolDown := min(max(try.RetryAfter, minCoolDown), maxCoolDown)
		if until := now.Add(coolDown); until.After(l.coolUntil) {
			l.coolUntil = until
		}
		if coolDown >= longCoolDown {
			return e.shedLocked(l, 0)
		}
	}
	if l.circuit.Holds() {
		return e.shedLocked(l, 0)
	}
	if capacity := l.capacityLocked(e.options.MaxLane); l.queue.Len() > 2*capacity {
		return e.shedLocked(l, capacity)
	}
	return nil
}

// decide says what becomes of a delivery after an attempt.
func decide(route *Route, job *hook.Job, got result, now time.Time) hook.Settlement {
	retry, order := &route.Connection.Retry, route.Connection.Order
	var decision hook.Decision
	if order != nil && job.Delivery.OrderKey != "" {
		decision = order.Rule().Decide(retry, got.try, now, rand.Float64())
	} else {
		decision = retry.Decide(got.try, now, rand.Float64())
	}
	return hook.Settlement{
		Job: job, Attempt: got.attempt, State: decision.State, Cause: decision.Cause, Reason: decision.Reason, Next: decision.Next,
	}
}

// heldAfter is the settlement of a delivery whose destination's circuit holds, after an
// attempt: what would be tried again later waits for the circuit, and a probe that
// speaks against the destination has used up nothing.
func heldAfter(settlement hook.Settlement, try *hook.Try, reason string) hook.Settlement {
	free := try.Probe && try.Counts()
	if !free && settlement.State != hook.StatePending {
		return settlement
	}
	return hook.Settlement{
		Job: settlement.Job, Attempt: settlement.Attempt, State: hook.StateHeld, Cause: hook.CauseCircuit, Reason: reason, Free: free,
	}
}

// finish hands the result of an attempt to the store, and tells whoever should know.
func (e *Engine) finish(l *lane, settlement hook.Settlement, route *Route, got result) {
	got.attempt.ID = hook.AttemptID(e.options.IDs.Next(got.attempt.StartedAt))
	e.metrics.attempted(got.try.Outcome, time.Duration(got.attempt.Duration))
	e.settle(l, settlement)
	if settlement.Cause == hook.CauseParked {
		e.notifyDelivery(hook.NoticeKeyParked, &settlement, route)
	}
	if settlement.State != hook.StateFailed {
		return
	}
	e.notifyDelivery(hook.NoticeDeliveryExhausted, &settlement, route)
	logger := e.options.Logger
	if got.try.Status == 0 {
		logger = logger.With("reason", settlement.Reason)
	} else {
		logger = logger.With("status", got.try.Status) // the reason quotes the answer, which is no matter for a log
	}
	delivery := &settlement.Job.Delivery
	logger.Warn("a delivery failed", "delivery", delivery.ID.String(), "event", delivery.Event.String(),
		"destination", l.id.String(), "name", route.Destination.Name, "outcome", string(got.try.Outcome), "attempts", got.attempt.Number)
}

// release lets a delivery go out of hand before its result goes to the store, which
// may hand it out again at once.
func (e *Engine) release(l *lane, it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.dropLocked(l, it)
}

// shedLocked takes what came last out of a lane's queue until it holds no more than
// keep. The caller gives it back to the store.
func (e *Engine) shedLocked(l *lane, keep int) []*item {
	var shed []*item
	for l.queue.Len() > keep {
		it, _ := l.queue.PopLast()
		e.dropLocked(l, it)
		shed = append(shed, it)
	}
	if len(shed) > 0 {
		l.backlog = true
	}
	return shed
}

// report logs that a destination began or ceased to fail: one line for each change,
// however many deliveries it concerns.
func (e *Engine) report(ctx context.Context, dst *hook.Destination, try hook.Try) {
	if try.Outcome == hook.OutcomeSuccess {
		e.options.Logger.InfoContext(ctx, "a destination works again", "destination", dst.ID.String(), "name", dst.Name)
		return
	}
	e.options.Logger.WarnContext(ctx, "a destination fails", "destination", dst.ID.String(), "name", dst.Name,
		"outcome", string(try.Outcome), "status", try.Status)
}

// suspend pauses a destination that wants no more deliveries. What it has in hand is
// held from then on.
func (e *Engine) suspend(ctx context.Context, l *lane, dst *hook.Destination, try hook.Try) {
	err := e.options.Suspend(ctx, dst.ID, try.Detail)
	if err == nil {
		e.options.Notify(hook.Notice{
			Project: dst.Project, Type: hook.NoticeDestinationPaused, Key: dst.ID.String(), At: time.Now(), Destination: dst.ID,
			Data: PausedNotice{Destination: dst.ID, Name: dst.Name, Reason: try.Detail},
		})
	} else {
		e.options.Logger.ErrorContext(ctx, "a destination that answered 410 could not be paused",
			"destination", dst.ID.String(), "name", dst.Name, "error", err)
	}
	l.mu.Lock()
	l.suspending = false
	now := time.Now()
	start := e.startLocked(l, now, l.concurrency)
	e.planLocked(l, now)
	l.mu.Unlock()
	e.begin(l, start)
}

// leased makes sure that the delivery's lease outlives an attempt of the given
// duration.
func (e *Engine) leased(ctx context.Context, l *lane, it *item, timeout time.Duration) bool {
	l.mu.Lock()
	until := it.until
	l.mu.Unlock()
	now := time.Now()
	if until.Sub(now) >= timeout+leaseMargin {
		return true
	}
	until = now.Add(lease)
	if err := e.options.Queue.Renew(ctx, e.options.Owner, []hook.DeliveryID{it.job.Delivery.ID}, until); err != nil {
		e.options.Logger.WarnContext(ctx, "a lease could not be renewed, so the delivery goes back to the store",
			"delivery", it.job.Delivery.ID.String(), "error", err)
		return false
	}
	l.mu.Lock()
	it.until = until
	l.mu.Unlock()
	return true
}
