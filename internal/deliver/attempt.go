package deliver

import (
	"context"
	"math/rand/v2"
	"time"

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
	defer l.mu.Unlock()
	now := time.Now()
	if known {
		l.configureLocked(dst)
	}
	// A delivery that will be held takes no place under the rate.
	free := !known || dst.Paused
	if e.stopped.Load() || now.Before(l.coolUntil) || l.suspending || l.running > l.concurrency ||
		l.queue.count == 0 || !free && !l.passLocked(now) {
		l.running--
		e.planLocked(l, now)
		return nil
	}
	it := l.queue.pop()
	l.usedAt = now
	if l.limiter != nil && l.queue.count > 0 {
		l.prepayLocked(now)
		e.agenda.at(l, l.tokenAt)
	}
	if l.look || l.backlog {
		e.planLocked(l, now)
	}
	return it
}

// attempt attempts one delivery, or settles it without where that is no longer wanted.
func (e *Engine) attempt(ctx context.Context, l *lane, it *item) {
	route, ok := e.options.Catalogue.Route(it.job.Delivery.Connection)
	if settlement, settled := standing(it.job, route, ok); settled {
		e.release(l, it)
		e.settle(l, settlement)
		return
	}
	shared := e.acquire(l, route.Destination)
	defer e.releaseSender(l, shared)
	if shared.err != nil {
		e.refuse(l, it, route, shared.err)
		return
	}
	if !e.leased(ctx, l, it, shared.sender.Timeout()) {
		e.release(l, it)
		e.giveBack(l, it)
		return
	}
	job := it.job
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
	e.conclude(ctx, l, it, route, result{attempt, try})
}

// standing returns the settlement of a delivery that is not to be attempted as things
// are set up now.
func standing(job *hook.Job, route Route, ok bool) (hook.Settlement, bool) {
	settlement := hook.Settlement{Job: job}
	switch {
	case !ok:
		settlement.State, settlement.Reason = hook.StateCanceled, "its connection was deleted"
	case job.Event == nil:
		settlement.State, settlement.Reason = hook.StateCanceled, "its event is no longer kept"
	case route.Destination.Paused:
		settlement.State, settlement.Reason = hook.StateHeld, "the destination is paused"
		if route.Destination.PauseReason != "" {
			settlement.Reason += ": " + route.Destination.PauseReason
		}
	case route.Connection.Paused:
		settlement.State, settlement.Reason = hook.StateHeld, "the connection is paused"
	default:
		return settlement, false
	}
	return settlement, true
}

// refuse ends an attempt before it is made: the destination cannot be used as it is set up.
func (e *Engine) refuse(l *lane, it *item, route Route, err error) {
	now := time.Now()
	outcome, text := destination.Describe(err)
	attempt := &hook.Attempt{
		Delivery: it.job.Delivery.ID, Number: it.job.Delivery.Attempts + 1, Manual: it.job.Manual,
		StartedAt: now, Outcome: hook.OutcomeConfig, Error: text,
	}
	if outcome != hook.OutcomeConfig {
		attempt.Error = "the destination cannot be used: " + text
	}
	try := hook.Try{Number: attempt.Number, Manual: attempt.Manual, Outcome: hook.OutcomeConfig, Detail: attempt.Error}
	e.finish(l, it, route, result{attempt, try})
}

// result is what an attempt came to.
type result struct {
	attempt *hook.Attempt
	try     hook.Try
}

// conclude draws the consequences of an attempt: for its delivery, and for the lane
// where the destination asked for that.
func (e *Engine) conclude(ctx context.Context, l *lane, it *item, route Route, got result) {
	var shed []*item
	suspend := false
	l.mu.Lock()
	now := time.Now()
	changed := l.observeLocked(time.Duration(got.attempt.Duration), got.try.Outcome == hook.OutcomeSuccess)
	switch {
	case got.try.Outcome == hook.OutcomeThrottled:
		coolDown := min(max(got.try.RetryAfter, minCoolDown), maxCoolDown)
		if until := now.Add(coolDown); until.After(l.coolUntil) {
			l.coolUntil = until
		}
		if coolDown >= longCoolDown {
			shed = e.shedLocked(l, 0)
		}
	case got.try.Outcome == hook.OutcomeGone && !l.suspending:
		suspend, l.suspending = true, true
	default:
		if capacity := l.capacityLocked(e.options.MaxLane); l.queue.count > 2*capacity {
			shed = e.shedLocked(l, capacity)
		}
	}
	l.mu.Unlock()

	e.finish(l, it, route, got)
	for _, other := range shed {
		e.giveBack(l, other)
	}
	if changed {
		e.report(ctx, route.Destination, got.try)
	}
	if suspend {
		e.suspend(ctx, l, route.Destination, got.try)
	}
}

// finish decides what becomes of a delivery after an attempt and hands it to the store.
func (e *Engine) finish(l *lane, it *item, route Route, got result) {
	decision := route.Connection.Retry.Decide(got.try, time.Now(), rand.Float64())
	got.attempt.ID = hook.AttemptID(e.options.IDs.Next(got.attempt.StartedAt))
	e.release(l, it)
	e.metrics.attempted(got.try.Outcome, time.Duration(got.attempt.Duration))
	e.settle(l, hook.Settlement{
		Job: it.job, Attempt: got.attempt, State: decision.State, Reason: decision.Reason, Next: decision.Next,
	})
	if decision.State != hook.StateFailed {
		return
	}
	logger := e.options.Logger
	if got.try.Status == 0 {
		logger = logger.With("reason", decision.Reason)
	} else {
		logger = logger.With("status", got.try.Status) // the reason quotes the answer, which is no matter for a log
	}
	logger.Warn("a delivery failed", "delivery", it.job.Delivery.ID.String(), "event", it.job.Delivery.Event.String(),
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
	for l.queue.count > keep {
		it := l.queue.popLast()
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
	if err := e.options.Suspend(ctx, dst.ID, try.Detail); err != nil {
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
