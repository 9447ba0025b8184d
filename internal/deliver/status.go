package deliver

import (
	"time"

	"malote.dev/malote/internal/hook"
)

// LaneStatus is how a destination is used at this moment.
type LaneStatus struct {
	InHand      int           // deliveries in memory, being attempted or next to be
	InFlight    int           // of these, being attempted
	Limit       int           // how many may be attempted at once now
	Gap         time.Duration // between the beginnings of attempts, where even one at once is too much
	ClosedUntil time.Time     // nothing is attempted before: it is quiet, or asked for that; zero: it is open
}

// Lane returns how a destination is used now.
func (e *Engine) Lane(id hook.DestinationID) LaneStatus {
	now := time.Now()
	l := e.lock(id)
	defer l.mu.Unlock()
	e.refreshLocked(l, now)
	status := LaneStatus{
		InHand: len(l.hand), InFlight: len(l.hand) - l.queue.Len(), Limit: l.limitLocked(), Gap: l.pace.Gap(),
	}
	if until := l.stoppedUntilLocked(now); until.After(now) {
		status.ClosedUntil = until
	}
	return status
}

// Circuit returns the circuit of a destination.
func (e *Engine) Circuit(id hook.DestinationID) hook.Circuit {
	e.mu.RLock()
	l := e.lanes[id]
	e.mu.RUnlock()
	if l == nil {
		return hook.Circuit{Destination: id}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.circuit
}
