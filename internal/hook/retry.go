package hook

import (
	"fmt"
	"time"
)

// Outcome is what became of an attempt, decided from the destination's answer.
type Outcome string

// The outcomes. The set is closed: it labels metrics and roll-ups.
const (
	OutcomeSuccess   Outcome = "success"   // 2xx
	OutcomeThrottled Outcome = "throttled" // 429 or 503: slow down
	OutcomeRejected  Outcome = "rejected"  // another status that may pass later
	OutcomeGone      Outcome = "gone"      // 410: never again
	OutcomeRefused   Outcome = "refused"   // a status that no repetition will change
	OutcomeRedirect  Outcome = "redirect"  // 3xx, which is never followed
	OutcomeTimeout   Outcome = "timeout"   // no answer in time
	OutcomeNetwork   Outcome = "network"   // no connection, or it broke
	OutcomeBlocked   Outcome = "blocked"   // the address guard said no
	OutcomeConfig    Outcome = "config"    // the destination cannot be used as it is set up
)

// DefaultSchedule is the one that the Standard Webhooks specification suggests:
// ten attempts over 75 hours and a half.
func DefaultSchedule() []Duration {
	return []Duration{
		Duration(5 * time.Second), Duration(5 * time.Minute), Duration(30 * time.Minute), Duration(2 * time.Hour),
		Duration(5 * time.Hour), Duration(10 * time.Hour), Duration(14 * time.Hour), Duration(20 * time.Hour), Duration(24 * time.Hour),
	}
}

const defaultJitter = 0.2

// maxRetryAfter bounds how long a destination may make us wait by Retry-After.
const maxRetryAfter = 24 * time.Hour

// Try is one attempt's result as the retry rules see it.
type Try struct {
	Number     int // of the attempt among those that use up the schedule, from 1; what follows a manual one is manual, too
	Outcome    Outcome
	Status     int           // 0: no answer
	Detail     string        // what happened, in words
	RetryAfter time.Duration // what the destination asked for; 0: nothing
	Manual     bool          // a person asked for it: no automatic retry follows
	Probe      bool          // it was made to see whether the destination works again
}

// Decision is what happens to a delivery after an attempt.
type Decision struct {
	State  State
	Cause  Cause // for StateHeld
	Reason string
	Next   time.Time // for StatePending
}

// Decide says what becomes of a delivery after try. It is pure: random, from 0 to
// 1, spreads the retries.
func (p *RetryPolicy) Decide(try Try, now time.Time, random float64) Decision {
	switch try.Outcome {
	case OutcomeSuccess:
		return Decision{State: StateSucceeded}
	case OutcomeGone, OutcomeRefused:
		return Decision{State: StateFailed, Reason: try.Detail}
	case OutcomeThrottled, OutcomeRejected, OutcomeRedirect, OutcomeTimeout, OutcomeNetwork:
	case OutcomeBlocked, OutcomeConfig:
		// What the operator set up can be mended. A server that was started without an
		// --allow-private of the day before must not end everything that waits.
	}
	schedule := p.waits()
	if try.Manual {
		return Decision{State: StateFailed, Reason: try.Detail + "; it was sent by hand, so no retry follows"}
	}
	if try.Number > len(schedule) {
		return Decision{State: StateFailed, Reason: fmt.Sprintf("%s; all %d attempts are used up", try.Detail, try.Number)}
	}
	return Decision{State: StatePending, Reason: try.Detail, Next: p.next(&try, schedule[try.Number-1], now, random)}
}

// waits returns the schedule in force.
func (p *RetryPolicy) waits() []Duration {
	switch {
	case p.Off:
		return nil
	case len(p.Schedule) == 0:
		return DefaultSchedule()
	default:
		return p.Schedule
	}
}

// next returns when to try again after a wait, or after what the destination asked for
// if that is longer.
func (p *RetryPolicy) next(try *Try, wait Duration, now time.Time, random float64) time.Time {
	return now.Add(max(p.spread(time.Duration(wait), random), min(try.RetryAfter, maxRetryAfter)))
}

// spread moves wait by up to the jitter's share, half of it either way.
func (p *RetryPolicy) spread(wait time.Duration, random float64) time.Duration {
	jitter := defaultJitter
	if p.Jitter != nil {
		jitter = *p.Jitter
	}
	return wait + time.Duration(float64(wait)*jitter*(random-0.5))
}
