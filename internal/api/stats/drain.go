package stats

import (
	"fmt"
	"math"
	"time"

	"malote.dev/malote/internal/hook"
)

// longestDrain is the longest time to drain that is said: what takes longer depends on
// more than some minutes show.
const longestDrain = 30 * 24 * time.Hour

// underWay is how long what leaves now may have waited without being a backlog: where
// things come and go steadily, some always are on their way.
const underWay = 5 * time.Second

// perSecond returns how many there are in a second, to the thousandth.
func perSecond(count int64, span time.Duration) float64 {
	if span <= 0 {
		return 0
	}
	const thousand = 1000
	return math.Round(float64(count)/span.Seconds()*thousand) / thousand
}

// drain returns how long it takes until nothing waits for a destination, if things go
// on as they do, or why that cannot be said.
func drain(d *hook.Destination, health *DestinationHealth, now time.Time) (left *hook.Duration, stalled string) {
	if health.Waiting == 0 {
		return new(hook.Duration), ""
	}
	if why := stopped(d, &health.Circuit, now); why != "" {
		return nil, why
	}
	becomesLess := health.Leaving - health.Arriving
	if waiting := float64(health.Waiting); waiting <= health.Leaving*underWay.Seconds() {
		becomesLess = max(becomesLess, health.Leaving)
	}
	switch {
	case health.Circuit.State == hook.CircuitClosed && health.States[hook.StateHeld.String()] == health.Waiting:
		return nil, "all of it is held: its connections are paused, or keys are parked"
	case health.Leaving == 0:
		return nil, "nothing left in the last minutes"
	case becomesLess <= 0:
		return nil, fmt.Sprintf("it grows: %s arrive in a second, and %s leave", rate(health.Arriving), rate(health.Leaving))
	}
	seconds := float64(health.Waiting) / becomesLess
	if seconds > longestDrain.Seconds() {
		return nil, fmt.Sprintf("it takes more than 30 days as it goes: %s arrive in a second, and %s leave", rate(health.Arriving), rate(health.Leaving))
	}
	span := hook.Duration(time.Duration(math.Ceil(seconds)) * time.Second)
	return &span, ""
}

// stopped says why nothing leaves for a destination; "" when something may.
func stopped(d *hook.Destination, circuit *hook.Circuit, now time.Time) string {
	if d.Paused {
		return "it is paused"
	}
	switch circuit.State {
	case hook.CircuitOpen:
		if circuit.ProbeAt.IsZero() {
			return "its circuit is open"
		}
		return "its circuit is open: the next probe is made at " + clock(circuit.ProbeAt)
	case hook.CircuitHalfOpen:
		return "its circuit is half-open: a probe shows whether it works again"
	case hook.CircuitClosed, hook.CircuitRamp:
	}
	if d.Quiet != nil {
		if until, quiet := d.Quiet.Until(now); quiet {
			return "its quiet hours last until " + clock(until)
		}
	}
	return ""
}

// clock writes a time for people.
func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// rate writes a number of deliveries in a second for people.
func rate(perSecond float64) string {
	const many = 10
	if perSecond >= many {
		return fmt.Sprintf("%.0f", perSecond)
	}
	return fmt.Sprintf("%.2g", perSecond)
}

// trouble says how bad it is at a destination: more is worse.
func trouble(health *DestinationHealth) int {
	const (
		fine = iota
		paused
		ramping
		growing
		open
	)
	switch {
	case health.Circuit.State == hook.CircuitOpen, health.Circuit.State == hook.CircuitHalfOpen:
		return open
	case health.Paused && health.Waiting > 0:
		return paused
	case health.Waiting > 0 && health.Stalled != "":
		return growing
	case health.Circuit.State == hook.CircuitRamp:
		return ramping
	default:
		return fine
	}
}
