package deliver

import (
	"context"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// probe is how far a half-open lane is with the one delivery that shows whether the
// destination works again.
type probe struct {
	wanted   bool            // one has to be claimed
	open     bool            // nothing waits in the store, so the next new delivery is the one …
	promised bool            // … and has been promised to ingest
	last     hook.DeliveryID // the last one claimed: they take turns, lest one that no receiver takes keeps a circuit open
	vain     int             // claimed in a row that came to no attempt
}

// maxVain is how many deliveries are claimed in a row that come to no attempt, because
// they have expired or the like, before the lane takes a break.
const maxVain = 64

// vainBreak is how long that break is: what has expired is canceled by and by, and does
// not keep the destination waiting for it.
const vainBreak = 100 * time.Millisecond

// probeDueLocked makes an open circuit half-open when it is time for that and the
// destination may be used at all.
func (e *Engine) probeDueLocked(l *lane, now time.Time) {
	if l.circuit.State != hook.CircuitOpen || now.Before(l.circuit.ProbeAt) {
		return
	}
	if l.destination == nil {
		e.refreshLocked(l, now)
	}
	if l.destination == nil || l.destination.Paused || l.suspending || now.Before(l.stoppedUntilLocked(now)) {
		return
	}
	e.turnLocked(l, l.circuit.Probing(now), now)
}

// reserveProbeLocked reports whether a new delivery is the probe that a half-open lane
// waits for.
func (l *lane) reserveProbeLocked() bool {
	if l.circuit.State != hook.CircuitHalfOpen || !l.probe.open || l.probe.promised {
		return false
	}
	l.probe.promised = true
	return true
}

// claimProbe looks in the store for a delivery to probe with. The lane is marked as
// claiming.
func (e *Engine) claimProbe(ctx context.Context, l *lane, after hook.DeliveryID) {
	started := time.Now()
	until := started.Add(lease)
	job, err := e.options.Holder.Probe(ctx, store.Claim{
		Destination: l.id, Owner: e.options.Owner, Until: until, Now: started, Limit: 1,
	}, after)
	if err != nil && ctx.Err() == nil {
		e.options.Logger.WarnContext(ctx, "no delivery to probe with could be claimed; trying again soon", "destination", l.id.String(), "error", err)
	}
	l.mu.Lock()
	now := time.Now()
	l.claiming = false
	start := 0
	var back []*item
	switch {
	case err != nil:
		l.claimAfter = now.Add(claimBackoff)
	case job == nil:
		l.probe.wanted, l.probe.open, l.look = false, true, false
	case e.stopped.Load() || l.circuit.State == hook.CircuitOpen:
		back = []*item{{job: job}}
	default:
		job.Probe = true
		l.probe.wanted, l.probe.last = false, job.Delivery.ID
		e.enqueueLocked(l, job, until)
		start = e.startLocked(l, now, 1)
	}
	e.planLocked(l, now)
	reason := l.circuit.Reason
	l.mu.Unlock()
	e.begin(l, start)
	e.keepBack(l, reason, back...)
}

// vainProbe notes that a probe came to no attempt: another one is needed.
func (e *Engine) vainProbe(l *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.circuit.State != hook.CircuitHalfOpen {
		return
	}
	now := time.Now()
	l.probe.wanted = true
	l.probe.vain++
	if l.probe.vain >= maxVain {
		l.probe.vain = 0
		l.claimAfter = now.Add(vainBreak)
	}
	e.planLocked(l, now)
}
