package deliver

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"malote.dev/malote/internal/deliver/pace"
	"malote.dev/malote/internal/deliver/turns"
	"malote.dev/malote/internal/hook"
)

// lane is the deliveries of one destination: those in hand, and what is known of those
// in the store.
type lane struct {
	id hook.DestinationID

	// The agenda's lock guards these.
	when    time.Time
	planned int // index among the planned lanes; -1: not planned

	mu          sync.Mutex
	destination *hook.Destination // its settings; nil until they were looked up
	share       *share            // of its project
	concurrency int
	limiter     *rate.Limiter // nil: no limit
	tokenAt     time.Time     // when the next attempt may begin under the limit …
	prepaid     bool          // … if this is so: the limiter has been charged for it
	pace        pace.Pace
	begunAt     time.Time   // when the last attempt began
	hours       *hook.Hours // nil: never quiet
	quietUntil  time.Time   // no attempt before this, because of these
	sender      *sharedSender

	queue    turns.Queue[hook.ConnectionID, *item]
	hand     map[hook.DeliveryID]*item // all in hand: in the queue and in attempts
	bytes    int64                     // size of those in hand
	reserved int                       // promised to ingest
	running  int                       // workers
	average  time.Duration             // of attempts, recent ones counting more

	backlog      bool // the store holds deliveries that come before new ones
	look         bool // the store holds deliveries that are due
	claiming     bool
	claimAfter   time.Time // not before this, because a claim failed, or what is released is on its way
	lastDeferred time.Time
	sweepAt      time.Time // when to look for deferred deliveries; zero: there are none
	due          dueTimes
	coolUntil    time.Time // no attempt before this
	failing      bool      // the last attempt was no success
	suspending   bool      // it answered 410, and is being paused
	usedAt       time.Time
	forgotten    bool // no longer the engine's lane of this destination

	circuit hook.Circuit
	heeded  uint64          // the tickets of attempts that began before the circuit opened are below this …
	stale   int             // … and so many of these are under way
	blamed  hook.DeliveryID // the last one that failed in a way that counts against the destination
	probe   probe
	shift   shift
}

// firstAverage is how long attempts are thought to take before there were any.
const firstAverage = 50 * time.Millisecond

func newLane(id hook.DestinationID, now time.Time) *lane {
	return &lane{
		id: id, planned: -1, concurrency: hook.DefaultConcurrency, pace: pace.New(hook.DefaultConcurrency, true),
		average: firstAverage, hand: make(map[hook.DeliveryID]*item), usedAt: now, circuit: hook.Circuit{Destination: id},
	}
}

// burstSpan is how much of a rate may be used at once unless the destination says
// otherwise. It is short, so that no second ever sees noticeably more than the rate,
// wherever it begins.
const burstSpan = 10 * time.Millisecond

// configureLocked follows a change of the destination's settings.
func (l *lane) configureLocked(dst *hook.Destination) {
	if l.destination == dst {
		return
	}
	l.destination = dst
	l.concurrency = dst.Concurrency
	if l.concurrency <= 0 {
		l.concurrency = hook.DefaultConcurrency
	}
	l.pace.Configure(l.concurrency, l.adaptive())
	l.hours, l.quietUntil = nil, time.Time{}
	if dst.Quiet != nil {
		l.hours, _ = dst.Quiet.Hours() // what is stored was checked, and nil is never quiet
	}
	perSecond := rate.Limit(dst.Rate.PerSecond())
	burst := dst.Burst
	if burst <= 0 {
		burst = max(1, int(float64(perSecond)*burstSpan.Seconds()))
	}
	switch {
	case perSecond <= 0:
		l.limiter, l.prepaid, l.tokenAt = nil, false, time.Time{}
	case l.limiter == nil || l.limiter.Limit() != perSecond || l.limiter.Burst() != burst:
		l.limiter, l.prepaid, l.tokenAt = rate.NewLimiter(perSecond, burst), false, time.Time{}
	}
}

// adaptive reports whether the destination's pace follows what becomes of attempts.
func (l *lane) adaptive() bool {
	return l.destination == nil || l.destination.Adaptive == nil || *l.destination.Adaptive
}

// prepayLocked charges the limiter for the next attempt, which settles when that may
// begin.
func (l *lane) prepayLocked(now time.Time) {
	if l.limiter != nil && !l.prepaid {
		l.tokenAt = now.Add(l.limiter.ReserveN(now, 1).DelayFrom(now))
		l.prepaid = true
	}
}

// passLocked reports whether an attempt may begin now under the limit, and takes its
// place if so.
func (l *lane) passLocked(now time.Time) bool {
	l.prepayLocked(now)
	if now.Before(l.tokenAt) {
		return false
	}
	l.prepaid = false
	return true
}

// limitLocked is how many attempts there may be at once. Those that hang since before
// the circuit opened do not keep it from recovering.
func (l *lane) limitLocked() int {
	limit := l.circuit.Limit(l.concurrency)
	switch l.circuit.State {
	case hook.CircuitOpen:
		return 0
	case hook.CircuitHalfOpen:
	case hook.CircuitClosed, hook.CircuitRamp:
		limit = min(limit, l.pace.Limit())
	}
	return min(limit+l.stale, l.concurrency)
}

// nextAtLocked is when the next attempt may begin where the pace keeps a gap; the zero
// time where it keeps none.
func (l *lane) nextAtLocked() time.Time {
	if gap := l.pace.Gap(); gap > 0 {
		return l.begunAt.Add(gap)
	}
	return time.Time{}
}

// stoppedUntilLocked is until when nothing is attempted or claimed: the destination
// asked for that, or it is quiet. What is past is no stop.
func (l *lane) stoppedUntilLocked(now time.Time) time.Time {
	if l.hours != nil && l.quietLocked(now) && l.quietUntil.After(l.coolUntil) {
		return l.quietUntil
	}
	return l.coolUntil
}

// quietLocked reports whether the destination is in its quiet hours.
func (l *lane) quietLocked(now time.Time) bool {
	if !now.Before(l.quietUntil) {
		l.quietUntil, _ = l.hours.Until(now)
	}
	return now.Before(l.quietUntil)
}

// waitsLocked reports whether no attempt may begin now, whatever is in hand.
func (l *lane) waitsLocked(now time.Time) bool {
	return l.suspending || now.Before(l.stoppedUntilLocked(now)) || now.Before(l.tokenAt) || now.Before(l.nextAtLocked())
}

// mayBeginLocked reports whether one of the workers may begin an attempt now, and takes
// its place under the rate if so, unless it needs none.
func (l *lane) mayBeginLocked(now time.Time, free bool) bool {
	if l.suspending || l.queue.Len() == 0 || l.running > l.limitLocked() || now.Before(l.stoppedUntilLocked(now)) {
		return false
	}
	return free || !now.Before(l.nextAtLocked()) && l.passLocked(now)
}

// capacityLocked is how many deliveries the lane may have in hand: what it gets done
// in about a second, so that a slow destination holds little memory.
func (l *lane) capacityLocked(most int) int {
	if l.destination != nil && l.destination.InFlight > 0 {
		return min(l.destination.InFlight, most)
	}
	limit := l.limitLocked()
	perSecond := float64(limit) * float64(time.Second) / float64(max(l.average, time.Millisecond))
	if l.limiter != nil {
		perSecond = min(perSecond, float64(l.limiter.Limit()))
	}
	return min(max(int(perSecond), 2*limit), most)
}

// usedLocked is how many deliveries are in hand or promised.
func (l *lane) usedLocked() int { return len(l.hand) + l.reserved }

// floorLocked is how many deliveries the lane may have in hand however full the others
// are, so that nobody starves.
func (l *lane) floorLocked() int { return min(l.limitLocked(), 4) }

// observeLocked takes note of how long an attempt took and whether it succeeded. It
// reports whether that changed.
func (l *lane) observeLocked(took time.Duration, success bool) bool {
	const weight = 8
	l.average += (took - l.average) / weight
	changed := l.failing == success
	l.failing = !success
	return changed
}

// nextLookLocked is when the lane has to be looked at again because of the clock.
func (l *lane) nextLookLocked(now time.Time) (time.Time, bool) {
	if until := l.stoppedUntilLocked(now); until.After(now) {
		return until, true // nothing happens before, and then everything is looked at
	}
	next, ok := l.due.next()
	sooner := func(at time.Time) {
		if !ok || at.Before(next) {
			next, ok = at, true
		}
	}
	if l.circuit.State == hook.CircuitOpen && l.circuit.ProbeAt.After(now) {
		sooner(l.circuit.ProbeAt)
	}
	if !l.sweepAt.IsZero() {
		sooner(l.sweepAt)
	}
	if (l.look || l.backlog || l.probe.wanted) && l.claimAfter.After(now) {
		sooner(l.claimAfter)
	}
	if l.queue.Len() > 0 {
		if l.tokenAt.After(now) {
			sooner(l.tokenAt)
		}
		if at := l.nextAtLocked(); at.After(now) {
			sooner(at)
		}
	}
	return next, ok
}

// deferLocked notes that a delivery was deferred. Its row is written only after that,
// so the lane looks for it a few times, less and less often.
func (l *lane) deferLocked(now time.Time) {
	l.backlog = true
	l.lastDeferred = now
	if first := now.Add(sweepDelays()[0]); l.sweepAt.IsZero() || first.Before(l.sweepAt) {
		l.sweepAt = first
	}
}

// sweepLocked reports whether it is time to look for deferred deliveries, and sets the
// next time.
func (l *lane) sweepLocked(now time.Time) bool {
	if l.sweepAt.IsZero() || now.Before(l.sweepAt) {
		return false
	}
	l.sweepAt = time.Time{}
	for _, delay := range sweepDelays() {
		if at := l.lastDeferred.Add(delay); at.After(now) {
			l.sweepAt = at
			break
		}
	}
	return true
}

// idleLocked reports whether nothing keeps the lane.
func (l *lane) idleLocked(now time.Time) bool {
	_, planned := l.nextLookLocked(now)
	return l.usedLocked() == 0 && l.running == 0 && !l.claiming && !l.look && !l.backlog && !planned &&
		l.circuit == hook.Circuit{Destination: l.id, Project: l.circuit.Project} && !l.shift.wantedLocked() &&
		now.Sub(l.usedAt) >= laneIdle
}
