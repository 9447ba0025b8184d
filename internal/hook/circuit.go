package hook

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// CircuitState is how a destination is used after what became of the attempts.
type CircuitState uint8

// The states of a circuit.
const (
	CircuitClosed   CircuitState = iota // it works: everything is attempted
	CircuitOpen                         // it fails: nothing is attempted, everything is held
	CircuitHalfOpen                     // one delivery at a time shows whether it works again
	CircuitRamp                         // it works again, and gets more and more of what waits
)

var circuitNames = [...]string{"closed", "open", "half-open", "ramp"} //nolint:gochecknoglobals // a constant table

// String returns the state's word as used everywhere.
func (s CircuitState) String() string {
	if int(s) < len(circuitNames) {
		return circuitNames[s]
	}
	return fmt.Sprintf("circuit(%d)", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s CircuitState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *CircuitState) UnmarshalText(text []byte) error {
	for i, name := range circuitNames {
		if name == string(text) {
			*s = CircuitState(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a state of a circuit: use closed, open, half-open or ramp", text)
}

// Circuit is what attempts showed of a destination. It is kept across restarts. The
// zero value is closed.
type Circuit struct {
	Destination DestinationID `json:"destination"`
	Project     ProjectID     `json:"project"`
	State       CircuitState  `json:"state"`
	Reason      string        `json:"reason,omitempty"`  // why it opened: a sentence
	Since       time.Time     `json:"since,omitzero"`    // when it came into its state; the zero time: it never opened
	OpenedAt    time.Time     `json:"openedAt,omitzero"` // when it last opened from being closed
	ProbeAt     time.Time     `json:"probeAt,omitzero"`  // while open: when the next probe is made
	Failures    int           `json:"failures"`          // in a row that count against the destination
	Probes      int           `json:"probes,omitempty"`  // that failed, in a row

	FailingSince time.Time `json:"failingSince,omitzero"` // when the first of Failures was
	Pace         int       `json:"pace,omitempty"`        // in the ramp: how many may be in flight
	Round        int       `json:"-"`                     // in the ramp: how many showed life at this pace
}

// CircuitPolicy says when a destination's circuit opens, and how it is probed.
type CircuitPolicy struct {
	Off      bool     `json:"off,omitempty"`      // it never opens
	Failures int      `json:"failures,omitempty"` // in a row that open it; default DefaultCircuitFailures
	Probe    Duration `json:"probe,omitempty"`    // until the first probe, doubled after each that fails; default DefaultProbe
	MaxProbe Duration `json:"maxProbe,omitempty"` // the longest time between probes; default DefaultMaxProbe
}

// Defaults of a CircuitPolicy.
const (
	DefaultCircuitFailures = 10
	DefaultProbe           = Duration(time.Second)
	DefaultMaxProbe        = Duration(5 * time.Minute)
)

// rampFailures is how many failures in a row end a ramp, whatever its pace.
const rampFailures = 3

// probeJitter is how far the time of a probe may lie from the plan, as a share of its
// wait, so that many circuits that opened together do not probe together.
const probeJitter = 0.2

// Holds reports whether deliveries are kept rather than made.
func (c Circuit) Holds() bool { return c.State == CircuitOpen || c.State == CircuitHalfOpen }

// Limit returns how many deliveries may be in flight at a destination that takes so
// many at once.
func (c Circuit) Limit(concurrency int) int {
	switch c.State {
	case CircuitOpen:
		return 0
	case CircuitHalfOpen:
		return 1
	case CircuitRamp:
		return min(max(c.Pace, 1), concurrency)
	default:
		return concurrency
	}
}

// Observe returns the circuit after an attempt at its destination. It is pure: random,
// from 0 to 1, spreads the probes. While the circuit is open or half-open only a probe
// changes it: what else ends then began before.
func (c Circuit) Observe(spec *DestinationSpec, try Try, now time.Time, random float64) Circuit {
	policy := spec.Circuit.complete()
	now = stamp(now)
	switch {
	case policy.Off && c.State != CircuitClosed:
		return c.Closed(now)
	case policy.Off || c.State == CircuitOpen || c.State == CircuitHalfOpen && !try.Probe:
		return c
	case try.Counts():
		return c.failed(&policy, &try, now, random)
	}
	c.Failures, c.FailingSince = 0, time.Time{}
	switch c.State {
	case CircuitHalfOpen:
		c.State, c.Since, c.Pace, c.Round = CircuitRamp, now, 1, 0
	case CircuitRamp:
		return c.ramped(spec, try.Outcome, now)
	case CircuitClosed, CircuitOpen:
	}
	return c
}

// Probing returns an open circuit as it is while its probe is made.
func (c Circuit) Probing(now time.Time) Circuit {
	c.State, c.Since, c.ProbeAt = CircuitHalfOpen, stamp(now), time.Time{}
	return c
}

// Closed returns the circuit of a destination that works, or that a person says works.
func (c Circuit) Closed(now time.Time) Circuit {
	return Circuit{Destination: c.Destination, Project: c.Project, Since: stamp(now), OpenedAt: c.OpenedAt}
}

// stamp makes a time one as it is kept: UTC, to the millisecond.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// failed returns the circuit after an attempt that counts against the destination.
func (c Circuit) failed(policy *CircuitPolicy, try *Try, now time.Time, random float64) Circuit {
	if c.FailingSince.IsZero() {
		c.FailingSince = now
	}
	c.Failures++
	enough := c.Failures >= policy.Failures
	switch c.State {
	case CircuitHalfOpen:
		c.Probes++
		enough = true
	case CircuitRamp:
		enough = c.Failures >= rampFailures || c.Pace <= 1
		c.Pace, c.Round = c.Pace/2, 0
	case CircuitClosed, CircuitOpen:
	}
	if enough {
		return c.open(policy, try, now, random)
	}
	return c
}

// ramped returns the circuit after an attempt that went well enough in its ramp. The
// pace doubles with each full round of these; being told to slow down is none.
func (c Circuit) ramped(spec *DestinationSpec, outcome Outcome, now time.Time) Circuit {
	if outcome == OutcomeThrottled {
		return c
	}
	c.Round++
	if c.Round < c.Pace {
		return c
	}
	c.Pace, c.Round = 2*max(c.Pace, 1), 0
	if c.Pace >= cmp.Or(spec.Concurrency, DefaultConcurrency) {
		return c.Closed(now)
	}
	return c
}

// open returns the circuit opened by a try. Failed probes of an outage count on when
// the ramp after it fails, so that the next probe waits as long as the one before.
func (c Circuit) open(policy *CircuitPolicy, try *Try, now time.Time, random float64) Circuit {
	c.Reason = c.sentence(try, now)
	if c.State == CircuitClosed {
		c.OpenedAt, c.Probes = now, 0
	}
	wait := policy.wait(c.Probes)
	wait += time.Duration(float64(wait) * probeJitter * (2*random - 1))
	wait = max(wait, min(try.RetryAfter, time.Duration(policy.MaxProbe)))
	c.State, c.Since, c.ProbeAt = CircuitOpen, now, stamp(now.Add(wait))
	c.Pace, c.Round = 0, 0
	return c
}

// maxQuoted is how much of a failure's words the reason of a circuit repeats, in bytes:
// it is kept with every delivery that the circuit holds.
const maxQuoted = 240

// sentence says for people why a circuit opens.
func (c Circuit) sentence(try *Try, now time.Time) string {
	since := c.FailingSince.UTC()
	layout := "15:04:05 MST"
	if !sameDay(since, now) {
		layout = "2006-01-02 15:04:05 MST"
	}
	text := fmt.Sprintf("%d attempts in a row failed since %s; the last: ", c.Failures, since.Format(layout))
	if c.Failures == 1 {
		text = "an attempt failed at " + since.Format(layout) + ": "
	}
	if c.State == CircuitRamp {
		text = "it failed again when it got more: " + text
	}
	return text + Cut(try.Detail, maxQuoted)
}

func sameDay(a, b time.Time) bool { return a.YearDay() == b.YearDay() && a.Year() == b.Year() }

// complete returns the policy with its defaults; nil is all defaults.
func (p *CircuitPolicy) complete() CircuitPolicy {
	var policy CircuitPolicy
	if p != nil {
		policy = *p
	}
	policy.Failures = cmp.Or(policy.Failures, DefaultCircuitFailures)
	policy.Probe = cmp.Or(policy.Probe, DefaultProbe)
	policy.MaxProbe = max(cmp.Or(policy.MaxProbe, DefaultMaxProbe), policy.Probe)
	return policy
}

// wait returns how long to wait for the next probe after so many that failed.
func (p *CircuitPolicy) wait(failed int) time.Duration {
	wait := p.Probe
	for range failed {
		if wait >= p.MaxProbe/2 {
			return time.Duration(p.MaxProbe)
		}
		wait *= 2
	}
	return time.Duration(wait)
}

// Counts reports whether an attempt speaks against its destination as a whole: it
// cannot be reached, does not answer in time, fails by its own account, or knows
// neither us nor the address. What complains of one delivery, or asks to slow down,
// shows that the destination lives.
func (t *Try) Counts() bool {
	switch t.Outcome {
	case OutcomeTimeout, OutcomeNetwork, OutcomeBlocked, OutcomeConfig, OutcomeRedirect:
		return true
	case OutcomeThrottled:
		return t.Status == statusUnavailable
	case OutcomeRejected:
		return t.Status >= statusServerError || slices.Contains(unwelcome[:], t.Status)
	case OutcomeSuccess, OutcomeGone, OutcomeRefused:
		return false
	default:
		return false
	}
}

// Statuses of HTTP that say something of the destination.
const (
	statusServerError = 500 // and above
	statusUnavailable = 503
)

// unwelcome are the client errors that concern every delivery: credentials, address and
// method are the destination's, not the delivery's.
var unwelcome = [...]int{401, 403, 404, 405, 407, 421} //nolint:gochecknoglobals // a constant table
