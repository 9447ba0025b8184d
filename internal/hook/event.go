package hook

import "time"

// Event is one immutable thing that happened, with the bytes as they came.
type Event struct {
	ID          EventID   `json:"id"`
	Project     ProjectID `json:"project"`
	Source      SourceID  `json:"source"`
	Type        string    `json:"type"`
	Key         string    `json:"key,omitempty"`        // business key, if the source reads one
	ProviderID  string    `json:"providerId,omitempty"` // the provider's delivery id, what duplicates are known by
	Method      string    `json:"method"`
	Path        string    `json:"path,omitempty"` // what follows /in/{source}
	Query       string    `json:"query,omitempty"`
	Remote      string    `json:"remote,omitempty"` // the sender's address
	Headers     Headers   `json:"headers"`
	Payload     []byte    `json:"-"` // raw; read through its own path
	Verdict     Verdict   `json:"verdict"`
	ReceivedAt  time.Time `json:"receivedAt"`
	Targets     []Target  `json:"targets"`              // the deliveries that it caused
	Unmatched   []Miss    `json:"unmatched,omitempty"`  // connections whose filter failed with an error
	Duplicates  int       `json:"duplicates,omitempty"` // how often it came again
	PayloadSize int       `json:"payloadSize"`
	Parent      EventID   `json:"parent,omitempty"` // the event that it was made from
	Replay      ReplayID  `json:"replay,omitempty"` // the replay that made it, with an edited payload
}

// Verdict is what the verification of a request said.
type Verdict struct {
	Scheme   string `json:"scheme"`             // name of the scheme, such as "hmac"; "none" when nothing is checked
	Verified bool   `json:"verified"`           // false only where nothing is checked, or an operator re-admitted it
	Secret   int    `json:"secret,omitempty"`   // which of several secrets fitted, from 1; 0 when it does not apply
	Admitted bool   `json:"admitted,omitempty"` // it was refused first and re-admitted by a person
}

// Target is one delivery of an event at the moment of its acceptance.
type Target struct {
	Delivery    DeliveryID    `json:"delivery"`
	Connection  ConnectionID  `json:"connection"`
	Destination DestinationID `json:"destination"`
	OrderKey    string        `json:"-"` // one at a time among those of its connection with this key; "": no order
	Deferred    bool          `json:"-"` // the delivery waits in the store: no room in memory, or not its turn
	Due         time.Time     `json:"-"` // when it is due, where it is deferred to later than now
	Held        bool          `json:"-"` // the delivery is kept as held
	Cause       Cause         `json:"-"` // why it is held; goes to the delivery …
	Reason      string        `json:"-"` // … with this sentence
	Replay      ReplayID      `json:"-"` // the replay that makes it
}

// Miss is a connection that did not match because its filter failed with an error.
type Miss struct {
	Connection ConnectionID `json:"connection"`
	Error      string       `json:"error"`
}

// DedupeHash identifies a provider's id within its source: a truncated SHA-256 of
// both, wide enough that two ids never meet by chance.
type DedupeHash [16]byte

// Acceptance asks for an event and its deliveries to be made durable together.
type Acceptance struct {
	Event  Event
	Dedupe DedupeHash    // zero: the event is never a duplicate
	Window time.Duration // how long Dedupe is remembered
}

// Receipt is the answer to an Acceptance after its commit.
type Receipt struct {
	Event     EventID // the new event, or the one that it duplicates
	Duplicate bool
}

// Refusal is a request that was not accepted, kept for a while so that a person can
// see why and re-admit it once the source is mended.
type Refusal struct {
	ID          RefusalID `json:"id"`
	Project     ProjectID `json:"project"`
	Source      SourceID  `json:"source"`
	Reason      string    `json:"reason"` // a closed set: see package ingest
	Explanation []string  `json:"explanation"`
	Method      string    `json:"method"`
	Path        string    `json:"path,omitempty"`
	Query       string    `json:"query,omitempty"`
	Remote      string    `json:"remote,omitempty"`
	Headers     Headers   `json:"headers"`
	Payload     []byte    `json:"-"`
	Truncated   bool      `json:"truncated,omitempty"` // the body was too long to keep, so it cannot be re-admitted
	ReceivedAt  time.Time `json:"receivedAt"`
	Admitted    EventID   `json:"admitted,omitempty"` // the event that it became
}
