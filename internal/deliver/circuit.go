package deliver

import (
	"context"
	"math/rand/v2"
	"time"

	"malote.dev/malote/internal/hook"
)

// judgeLocked lets the circuit learn from an attempt, and reports whether that brought
// it into another state. What began before it opened says nothing new, and neither does
// a delivery that fails again and again by itself: that may be its own fault.
func (e *Engine) judgeLocked(l *lane, it *item, try *hook.Try, now time.Time) bool {
	before, counts := &l.circuit, try.Counts()
	if before.State == hook.CircuitClosed && before.Failures == 0 && !counts {
		return false // nearly always
	}
	if e.options.Holder == nil || l.destination == nil || it.ticket < l.heeded {
		return false
	}
	if counts {
		again := l.blamed == it.job.Delivery.ID
		if l.blamed = it.job.Delivery.ID; again && !try.Probe {
			return false
		}
	}
	return e.turnLocked(l, before.Observe(&l.destination.DestinationSpec, *try, now, rand.Float64()), now)
}

// finishRampLocked closes the circuit of a destination that works again and has got
// all that waited: there is nothing left to be careful with.
func (e *Engine) finishRampLocked(l *lane, now time.Time) bool {
	if l.circuit.State != hook.CircuitRamp || l.circuit.Failures > 0 || len(l.hand) > 0 || l.look || l.backlog || l.shift.wantedLocked() {
		return false
	}
	return e.turnLocked(l, l.circuit.Closed(now), now)
}

// turnLocked brings a lane's circuit into another state, with all that follows from it
// inside the lane, and reports whether it is another one. The caller takes what waits
// in a lane that holds out of it, with shedLocked, once the lane is unlocked.
func (e *Engine) turnLocked(l *lane, to hook.Circuit, now time.Time) bool {
	before := l.circuit
	l.circuit = to
	if before.State == to.State {
		return false
	}
	e.settleInLocked(l, before.Holds(), now)
	e.clerk.keep(to)
	e.announceCircuit(l, &to)
	return true
}

// settleInLocked makes a lane follow its circuit.
func (e *Engine) settleInLocked(l *lane, held bool, now time.Time) {
	switch l.circuit.State {
	case hook.CircuitOpen:
		l.heeded = l.pace.Reset()
		l.stale = len(l.hand) - l.queue.Len()
		l.probe = probe{last: l.probe.last}
		l.due = dueTimes{partial: true} // none of it will be due
		e.shiftLocked(l, hold, now)
		e.planLocked(l, now)
	case hook.CircuitHalfOpen:
		l.probe.wanted = true
	case hook.CircuitRamp, hook.CircuitClosed:
		if held {
			l.pace.Reset()
			l.probe = probe{last: l.probe.last}
			l.coolUntil = time.Time{}
			l.backlog, l.look = true, true
		}
		e.shiftLocked(l, release, now)
	}
}

// announceCircuit tells of a circuit's new state, in the log and to whoever wants to know.
func (e *Engine) announceCircuit(l *lane, circuit *hook.Circuit) {
	tell := e.options.Logger.Info
	if circuit.State == hook.CircuitOpen && circuit.Probes == 0 {
		tell = e.options.Logger.Warn
	}
	tell("the circuit of a destination is "+circuit.State.String(),
		"destination", l.id.String(), "name", l.nameLocked(), "failures", circuit.Failures)
	e.notifyCircuit(circuit, l.nameLocked())
}

// nameLocked returns the name of the destination, if it is known.
func (l *lane) nameLocked() string {
	if l.destination == nil {
		return ""
	}
	return l.destination.Name
}

// refreshLocked looks up the destination's settings. A circuit that is switched off
// closes, and that of a destination that was deleted is forgotten.
func (e *Engine) refreshLocked(l *lane, now time.Time) {
	dst, known := e.options.Catalogue.Destination(l.id)
	if known {
		e.configureLocked(l, dst)
	}
	switch {
	case l.circuit.State == hook.CircuitClosed:
	case !known:
		l.circuit = hook.Circuit{Destination: l.id, Project: l.circuit.Project}
		l.probe, l.look = probe{}, true
		e.clerk.keep(l.circuit)
	case dst.Circuit != nil && dst.Circuit.Off:
		e.turnLocked(l, l.circuit.Closed(now), now)
	}
}

// configureLocked follows a change of the destination's settings.
func (e *Engine) configureLocked(l *lane, dst *hook.Destination) {
	l.configureLocked(dst)
	if l.share == nil {
		l.share = e.shares.of(dst.Project)
	}
	l.circuit.Destination, l.circuit.Project = dst.ID, dst.Project
}

// keepBack gives deliveries that were not attempted to the store, where they are held
// until the circuit of their destination lets them go.
func (e *Engine) keepBack(l *lane, reason string, items ...*item) {
	for _, it := range items {
		e.settle(l, hook.Settlement{Job: it.job, State: hook.StateHeld, Cause: hook.CauseCircuit, Reason: reason})
	}
}

// restore takes up the circuits of the last run.
func (e *Engine) restore(ctx context.Context) {
	if e.options.Holder == nil {
		return
	}
	circuits, err := e.options.Holder.Circuits(ctx)
	for err != nil && pause(ctx, claimBackoff) {
		e.options.Logger.ErrorContext(ctx, "the circuits of destinations could not be read; trying again soon", "error", err)
		circuits, err = e.options.Holder.Circuits(ctx)
	}
	for i := range circuits {
		e.restoreOne(circuits[i])
	}
}

func (e *Engine) restoreOne(circuit hook.Circuit) {
	now := time.Now()
	l := e.lock(circuit.Destination)
	l.circuit = circuit
	var back []*item
	if circuit.State != hook.CircuitClosed {
		e.refreshLocked(l, now)
		e.settleInLocked(l, true, now)
		if l.circuit.Holds() {
			back = e.shedLocked(l, 0)
			e.shiftLocked(l, hold, now) // what was taken up from the last run
		}
		e.planLocked(l, now)
	}
	reason := l.circuit.Reason
	l.mu.Unlock()
	e.keepBack(l, reason, back...)
}

// CloseCircuit closes the circuit of a destination because a person says so: what is
// held goes on its way at once. It returns after that is stored. A circuit that is
// closed stays as it is.
func (e *Engine) CloseCircuit(ctx context.Context, id hook.DestinationID) error {
	now := time.Now()
	l := e.lock(id)
	e.refreshLocked(l, now)
	if l.circuit.State == hook.CircuitClosed {
		l.mu.Unlock()
		return nil
	}
	e.turnLocked(l, l.circuit.Closed(now), now)
	e.planLocked(l, now)
	circuit := l.circuit
	l.mu.Unlock()
	return e.options.Holder.SaveCircuit(ctx, circuit)
}

// ProbeNow makes the next probe of an open circuit without waiting for its time.
func (e *Engine) ProbeNow(id hook.DestinationID) {
	now := time.Now()
	l := e.lock(id)
	defer l.mu.Unlock()
	if l.circuit.State == hook.CircuitOpen {
		l.circuit.ProbeAt = now
	}
	e.refreshLocked(l, now)
	e.planLocked(l, now)
}
