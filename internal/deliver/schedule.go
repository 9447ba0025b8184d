package deliver

import (
	"context"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// schedule looks after the agenda until ctx ends: it starts workers, with the context
// of attempts, and claimers, and looks at lanes whose time has come.
func (e *Engine) schedule(ctx, attempts context.Context, helpers, workers *sync.WaitGroup) {
	claimers, shifters := make(chan struct{}, maxClaimers), make(chan struct{}, maxShifters)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.agenda.kick:
		case <-timer.C:
		}
		now := time.Now()
		round := e.agenda.round(now)
		for _, l := range round.starts {
			workers.Go(func() { e.work(attempts, l) })
		}
		for _, l := range round.due {
			e.tend(l, now)
		}
		e.help(helpers, claimers, round.claims, func() { e.claimAll(ctx) })
		e.help(helpers, shifters, round.shifts, func() { e.shiftAll(ctx) })
		timer.Reset(round.wait)
	}
}

// help starts up to so many helpers, as far as there are places for them.
func (e *Engine) help(helpers *sync.WaitGroup, places chan struct{}, count int, task func()) {
	for range count {
		select {
		case places <- struct{}{}:
			helpers.Go(func() {
				task()
				<-places
				e.agenda.recheck() // for what came while the place was still taken
			})
		default:
			return
		}
	}
}

// tend looks at a lane whose time has come.
func (e *Engine) tend(l *lane, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forgotten {
		return
	}
	e.refreshLocked(l, now)
	due, sweep := l.due.take(now), l.sweepLocked(now)
	l.look = l.look || due || sweep
	e.agenda.start(l, e.startLocked(l, now, l.concurrency))
	e.planLocked(l, now)
}

// claimAll claims for the lanes that wait for it, until there are none.
func (e *Engine) claimAll(ctx context.Context) {
	for ctx.Err() == nil {
		l := e.agenda.nextClaim()
		if l == nil {
			return
		}
		e.claim(ctx, l)
	}
}

// claim fills a lane from the store. The lane is marked as claiming.
func (e *Engine) claim(ctx context.Context, l *lane) {
	l.mu.Lock()
	limit := min(e.roomLocked(l), maxClaim)
	probing, after := l.circuit.State == hook.CircuitHalfOpen, l.probe.last
	l.mu.Unlock()
	if probing {
		e.claimProbe(ctx, l, after)
		return
	}

	started := time.Now()
	until := started.Add(lease)
	var jobs []*hook.Job
	var err error
	if limit > 0 {
		jobs, err = e.options.Queue.Claim(ctx, store.Claim{
			Destination: l.id, Owner: e.options.Owner, Until: until, Now: started, Limit: limit,
		})
	}
	if err != nil && ctx.Err() == nil {
		e.options.Logger.WarnContext(ctx, "deliveries could not be claimed; trying again soon", "destination", l.id.String(), "error", err)
	}

	l.mu.Lock()
	now := time.Now()
	l.claiming = false
	switch {
	case err != nil:
		l.claimAfter = now.Add(claimBackoff)
	case limit > 0 && len(jobs) < limit:
		e.caughtUpLocked(l, now)
	}
	stopped, holds, reason := e.stopped.Load(), l.circuit.Holds(), l.circuit.Reason
	if !stopped && !holds {
		e.takeInLocked(ctx, l, jobs, until)
		jobs = nil
	}
	e.finishRampLocked(l, now)
	l.usedAt = now
	start := e.startLocked(l, now, l.concurrency)
	e.planLocked(l, now)
	l.mu.Unlock()
	e.begin(l, start)
	for _, job := range jobs {
		if stopped {
			e.giveBack(nil, &item{job: job})
		} else {
			e.keepBack(l, reason, &item{job: job})
		}
	}
}

// takeInLocked takes claimed deliveries in hand.
func (e *Engine) takeInLocked(ctx context.Context, l *lane, jobs []*hook.Job, until time.Time) {
	for _, job := range jobs {
		if !e.enqueueLocked(l, job, until) {
			e.options.Logger.ErrorContext(ctx, "the store handed out a delivery that is in hand; it is attempted once",
				"delivery", job.Delivery.ID.String())
		}
	}
}

// caughtUpLocked notes that the store held nothing more that was due. While a release
// is under way there will soon be more.
func (e *Engine) caughtUpLocked(l *lane, now time.Time) {
	if l.shift.to == release {
		l.backlog, l.claimAfter = true, now.Add(releaseGap)
		return
	}
	l.look, l.backlog = false, false
	if _, planned := l.due.next(); l.due.partial && !planned {
		e.askReview()
	}
}

// keep renews leases and asks the store what is due, from time to time and when
// somebody asks for it, until ctx ends.
func (e *Engine) keep(ctx context.Context) {
	e.reclaim(ctx, time.Now())
	e.askReview()
	review, renew := time.NewTicker(reviewEvery), time.NewTicker(renewEvery)
	defer review.Stop()
	defer renew.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-renew.C:
			e.renew(ctx, now)
			e.reclaim(ctx, now)
			e.forget(now)
			e.revisit(now)
			continue
		case <-review.C:
		case <-e.review:
			if !pause(ctx, reviewGap-time.Since(last)) {
				return
			}
		}
		last = time.Now()
		e.reviewDue(ctx)
	}
}

// reclaim makes due what a process had in hand that is no more.
func (e *Engine) reclaim(ctx context.Context, now time.Time) {
	count, err := e.options.Queue.Reclaim(ctx, now)
	switch {
	case err != nil && ctx.Err() == nil:
		e.options.Logger.ErrorContext(ctx, "deliveries that were in hand of an earlier run could not be taken up; trying again soon", "error", err)
	case count > 0:
		e.options.Logger.InfoContext(ctx, "deliveries that were in hand of an earlier run are due again", "count", count)
		e.askReview()
	}
}

// pause waits and reports whether the context still lasts.
func pause(ctx context.Context, wait time.Duration) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// reviewDue asks the store what is due and tells the lanes.
func (e *Engine) reviewDue(ctx context.Context) {
	dues, err := e.options.Queue.Due(ctx)
	if err != nil {
		if ctx.Err() == nil {
			e.options.Logger.WarnContext(ctx, "the store did not say what is due", "error", err)
			e.askReview()
		}
		return
	}
	waiting := make(map[hook.DestinationID]struct{}, len(dues))
	now := time.Now()
	for _, due := range dues {
		waiting[due.Destination] = struct{}{}
		l := e.lock(due.Destination)
		e.refreshLocked(l, now)
		l.due.partial = true // this is the first; there may be more behind it
		if due.At.After(now) {
			l.due.add(due.At)
		} else {
			l.look = true
		}
		e.planLocked(l, now)
		l.mu.Unlock()
	}
	for _, l := range e.all() {
		if _, ok := waiting[l.id]; !ok {
			l.mu.Lock()
			l.due.partial = l.due.dropped != 0
			l.mu.Unlock()
		}
	}
}

// forget drops lanes that had nothing to do for long, and closes their senders.
func (e *Engine) forget(now time.Time) {
	for _, l := range e.all() {
		e.mu.Lock()
		l.mu.Lock()
		var sender *sharedSender
		if l.idleLocked(now) {
			l.forgotten = true
			sender, l.sender = l.sender, nil
			delete(e.lanes, l.id)
		}
		l.mu.Unlock()
		e.mu.Unlock()
		if sender == nil {
			continue
		}
		if err := sender.close(); err != nil {
			e.options.Logger.Warn("a sender could not be closed", "destination", l.id.String(), "error", err)
		}
	}
}

// revisit looks at the circuits that are not closed, in case the settings of their
// destinations have changed.
func (e *Engine) revisit(now time.Time) {
	for _, l := range e.all() {
		l.mu.Lock()
		if l.circuit.State != hook.CircuitClosed && !l.forgotten {
			e.refreshLocked(l, now)
			e.planLocked(l, now)
		}
		l.mu.Unlock()
	}
}

// renew moves the leases of everything that has been in hand for a while.
func (e *Engine) renew(ctx context.Context, now time.Time) {
	until := now.Add(lease)
	for _, l := range e.all() {
		l.mu.Lock()
		ids := make([]hook.DeliveryID, 0, len(l.hand))
		for id, it := range l.hand {
			if it.until.Sub(now) < lease-renewEvery/2 {
				ids = append(ids, id)
			}
		}
		l.mu.Unlock()
		if len(ids) == 0 {
			continue
		}
		if err := e.options.Queue.Renew(ctx, e.options.Owner, ids, until); err != nil {
			e.options.Logger.WarnContext(ctx, "leases could not be renewed; trying again soon", "destination", l.id.String(), "error", err)
			continue
		}
		l.mu.Lock()
		for _, id := range ids {
			if it, ok := l.hand[id]; ok {
				it.until = until
			}
		}
		l.mu.Unlock()
	}
}
