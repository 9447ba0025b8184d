package hook

import (
	"fmt"
	"time"
)

// Connection leads the events of a source to a destination.
type Connection struct {
	ID          ConnectionID  `json:"id"`
	Project     ProjectID     `json:"project"`
	Name        string        `json:"name"` // unique in the project
	Source      SourceID      `json:"source"`
	Destination DestinationID `json:"destination"`
	Version     int64         `json:"version"`
	CreatedAt   time.Time     `json:"createdAt"`
	UpdatedAt   time.Time     `json:"updatedAt"`
	ConnectionSpec
}

// ConnectionSpec is what a person sets on a connection besides its two ends.
type ConnectionSpec struct {
	Types    []string    `json:"types,omitempty"`  // patterns of event types, "*" matching any run; empty: every type
	Filter   string      `json:"filter,omitempty"` // CEL over data, event, headers; empty: every event
	Retry    RetryPolicy `json:"retry,omitzero"`
	Order    *Order      `json:"order,omitempty"`
	Delay    Duration    `json:"delay,omitempty"`    // from acceptance to the first attempt
	TTL      Duration    `json:"ttl,omitempty"`      // a delivery that was not made so long after acceptance is canceled; 0: never
	Quiet    *Quiet      `json:"quiet,omitempty"`    // hours in which nothing is delivered over it
	Disabled bool        `json:"disabled,omitempty"` // matches nothing
	Paused   bool        `json:"paused,omitempty"`   // matches, and holds its deliveries
}

// RetryPolicy says when a failed delivery is tried again. The zero value is the
// schedule that the Standard Webhooks specification suggests.
type RetryPolicy struct {
	Schedule []Duration `json:"schedule,omitempty"` // waits before the 2nd, 3rd, … attempt
	Off      bool       `json:"off,omitempty"`      // one attempt only
	Jitter   *float64   `json:"jitter,omitempty"`   // share of each wait that is random, 0 to 1; default 0.2
}

// Expired reports whether a delivery of an event that was received then is not to be
// made any more, with the reason.
func (s *ConnectionSpec) Expired(received, now time.Time) (reason string, expired bool) {
	if s.TTL <= 0 || now.Before(received.Add(time.Duration(s.TTL))) {
		return "", false
	}
	return fmt.Sprintf("it expired: it was not delivered within %s", s.TTL), true
}
