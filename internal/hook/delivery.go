package hook

import (
	"fmt"
	"time"
)

// State is where a delivery stands.
type State uint8

// The states of a delivery.
const (
	StatePending   State = iota + 1 // due now or later
	StateSending                    // an attempt is under way
	StateSucceeded                  // the destination took it
	StateFailed                     // exhausted or refused for good: the dead-letter
	StateHeld                       // kept, not lost: see Cause
	StateCanceled                   // by a person or a rule, with the reason
)

var stateNames = [...]string{"", "pending", "sending", "succeeded", "failed", "held", "canceled"} //nolint:gochecknoglobals // a constant table

// String returns the state's word as used everywhere.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if i > 0 && name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a state of a delivery: use pending, sending, succeeded, failed, held or canceled", text)
}

// Final reports whether a delivery in this state stays there unless a person acts.
func (s State) Final() bool {
	return s == StateSucceeded || s == StateFailed || s == StateCanceled
}

// May reports whether a delivery may go from s to next. It is the whole of the
// state machine; whoever changes a state asks it first.
//
//	pending ─► sending ─► succeeded ─► pending (a person sends it again)
//	   ▲ ▲        │ │
//	   │ └────────┘ └──► failed ─► pending (a person retries it)
//	   ▼
//	  held ─► pending          anything not final ─► canceled; canceled ─► pending
func (s State) May(next State) bool {
	switch s {
	case StatePending:
		return next == StateSending || next == StateHeld || next == StateCanceled
	case StateSending:
		return next == StateSucceeded || next == StatePending || next == StateFailed || next == StateHeld || next == StateCanceled
	case StateHeld:
		return next == StatePending || next == StateCanceled
	case StateSucceeded, StateFailed, StateCanceled:
		return next == StatePending
	default:
		return next == StatePending || next == StateSending || next == StateHeld
	}
}

// Cause is why a delivery is held.
type Cause uint8

// The causes. What a cause holds is released when that cause ends, and not by the end
// of another one.
const (
	CauseNone    Cause = iota
	CausePaused        // its destination or connection is paused
	CauseCircuit       // its destination's circuit is open
	CauseParked        // it is the stuck head of its key
)

var causeNames = [...]string{"", "paused", "circuit", "parked"} //nolint:gochecknoglobals // a constant table

// String returns the cause's word as used everywhere.
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

// MarshalText implements encoding.TextMarshaler.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Cause) UnmarshalText(text []byte) error {
	for i, name := range causeNames {
		if name == string(text) {
			*c = Cause(i)
			return nil
		}
	}
	return fmt.Errorf("%q does not hold deliveries: use paused, circuit or parked", text)
}

// Delivery is one event on its way over one connection.
type Delivery struct {
	ID            DeliveryID    `json:"id"`
	Project       ProjectID     `json:"project"`
	Event         EventID       `json:"event"`
	Connection    ConnectionID  `json:"connection"`
	Destination   DestinationID `json:"destination"`
	State         State         `json:"state"`
	Reason        string        `json:"reason,omitempty"`   // why it failed, is held or was canceled: a sentence
	Cause         Cause         `json:"cause,omitempty"`    // while held: why, as a word
	OrderKey      string        `json:"orderKey,omitempty"` // one at a time among those of its connection with this key
	Attempts      int           `json:"attempts"`           // how many were made
	Probes        int           `json:"probes,omitempty"`   // of these, failed probes of an open circuit: they used up nothing of the schedule
	Replay        ReplayID      `json:"replay,omitempty"`   // what made it, if a replay did
	NextAttemptAt *time.Time    `json:"nextAttemptAt,omitempty"`
	CreatedAt     time.Time     `json:"createdAt"`
	UpdatedAt     time.Time     `json:"updatedAt"`
}

// Attempt is one try of a delivery.
type Attempt struct {
	ID              AttemptID  `json:"id"`
	Delivery        DeliveryID `json:"delivery"`
	Number          int        `json:"number"`           // from 1, manual ones counted too
	Manual          bool       `json:"manual,omitempty"` // asked for by a person
	Probe           bool       `json:"probe,omitempty"`  // made to see whether the destination works again
	StartedAt       time.Time  `json:"startedAt"`
	Duration        Duration   `json:"duration"`
	Outcome         Outcome    `json:"outcome"`
	Method          string     `json:"method,omitempty"`
	URL             string     `json:"url,omitempty"`
	RequestHeaders  Headers    `json:"requestHeaders,omitempty"` // credentials masked
	ResponseStatus  int        `json:"responseStatus,omitempty"` // 0: no answer came
	ResponseHeaders Headers    `json:"responseHeaders,omitempty"`
	ResponseBody    []byte     `json:"responseBody,omitempty"` // the beginning, up to MaxKeptResponse bytes
	Error           string     `json:"error,omitempty"`        // in words, when no usable answer came
}

// MaxKeptResponse is how many bytes of a destination's answer are kept.
const MaxKeptResponse = 16 << 10

// Job is a delivery that is to be attempted now, with all that an attempt needs.
type Job struct {
	Delivery Delivery
	Event    *Event // shared between the deliveries of one event; nobody changes it
	Inline   bool   // it came straight from Accept and has no row of its own yet
	Manual   bool   // a person asked for this attempt
	Probe    bool   // it was claimed to probe an open circuit
}

// Admission is how a delivery begins, as its destination's lane is now.
type Admission struct {
	Inline bool   // there is room: it is attempted at once
	Cause  Cause  // not CauseNone: it is held …
	Reason string // … because of this; else, without room, it waits in the store
}

// Settlement is the result of an attempt to be made durable: the attempt and the
// state of the delivery after it.
type Settlement struct {
	Job     *Job
	Attempt *Attempt // nil when the state changes without an attempt
	State   State
	Cause   Cause // for StateHeld
	Reason  string
	Next    time.Time // for StatePending: when it is due
	Free    bool      // the attempt used up nothing of the schedule: a probe that failed
}
