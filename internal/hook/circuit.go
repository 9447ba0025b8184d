package hook

import (
	"fmt"
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
