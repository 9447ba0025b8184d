package deliver

import (
	"context"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// direction is where a shift leads what waits in the store because of a circuit.
type direction uint8

const (
	stay    direction = iota
	hold              // to held: the circuit opened
	release           // to pending: it works again
)

// shift is the work of holding or releasing what a destination has in the store. There
// may be a million of it, so it is done in parts that take turns with those of other
// lanes, beside everything else. A circuit that changes meanwhile turns it round.
type shift struct {
	to     direction          // what is left to do; stay: nothing
	queued bool               // it is in line, or a part of it is being made
	again  bool               // there may be more behind what is being looked at
	at     time.Time          // when what is released is due
	span   time.Duration      // how long the next part may take; zero: shiftSpan
	stop   context.CancelFunc // ends the part that is being made; nil: none is
}

// Timings of shifts.
const (
	maxShifters = 4                      // parts that are made at the same time
	shiftSpan   = 250 * time.Millisecond // how long a part may take before the next lane's turn, if it got anywhere
	releaseGap  = 50 * time.Millisecond  // between claims that find nothing while a release is under way
)

// wantedLocked reports whether anything is left to do.
func (s *shift) wantedLocked() bool { return s.to != stay || s.queued }

// shiftLocked asks for a shift in place of the one under way.
func (e *Engine) shiftLocked(l *lane, to direction, now time.Time) {
	if e.options.Holder == nil || e.stopped.Load() {
		return
	}
	s := &l.shift
	if s.to == to {
		s.again = true
		return
	}
	s.to, s.at, s.again = to, now, false
	if s.stop != nil {
		s.stop()
	}
	if !s.queued {
		s.queued = true
		e.agenda.shift(l)
	}
}

// shiftAll makes parts of shifts until none waits.
func (e *Engine) shiftAll(ctx context.Context) {
	for ctx.Err() == nil {
		l := e.agenda.nextShift()
		if l == nil {
			return
		}
		e.shiftPart(ctx, l)
	}
}

// shiftPart makes a part of a lane's shift, and puts the lane in line again where more
// is left to do.
func (e *Engine) shiftPart(ctx context.Context, l *lane) {
	l.mu.Lock()
	to, at, circuit := l.shift.to, l.shift.at, l.circuit
	span := max(l.shift.span, shiftSpan)
	part, stop := context.WithTimeout(ctx, span)
	defer stop()
	l.shift.stop, l.shift.again = stop, false
	l.mu.Unlock()

	scope := store.Scope{Project: circuit.Project, Destination: l.id, Cause: hook.CauseCircuit}
	count := 0
	var err error
	switch to {
	case hold:
		count, err = e.options.Holder.Hold(part, scope, circuit.Reason)
	case release:
		count, err = e.options.Holder.Release(part, scope, at)
	case stay:
	}
	if err != nil && part.Err() == nil {
		e.options.Logger.WarnContext(ctx, "what waits for a destination could not be held or released; trying again soon",
			"destination", l.id.String(), "error", err)
		pause(ctx, claimBackoff)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.shift
	s.stop, s.span = nil, 0
	if count == 0 {
		s.span = 2 * span // it begins with what it has to leave alone
	}
	if err == nil && s.to == to && !s.again {
		*s = shift{}
	} else {
		e.agenda.shift(l)
	}
	if to == release {
		l.look = true
		e.planLocked(l, time.Now())
	}
}

// Resume releases what is still held because of a destination's circuit although that
// does not hold anything any more. It returns at once.
func (e *Engine) Resume(id hook.DestinationID) {
	now := time.Now()
	l := e.lock(id)
	defer l.mu.Unlock()
	e.refreshLocked(l, now)
	if l.destination != nil && !l.circuit.Holds() {
		e.shiftLocked(l, release, now)
	}
}
