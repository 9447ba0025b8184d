package hook

import (
	"encoding/json"
	"time"
)

// AuditEntry is one thing that somebody did. Entries are never changed.
type AuditEntry struct {
	ID      AuditID         `json:"id"`
	Project ProjectID       `json:"project"`
	At      time.Time       `json:"at"`
	Token   TokenID         `json:"token,omitempty"`   // who; zero: the server itself
	Actor   string          `json:"actor"`             // the token's name, "malote" for the server itself
	Action  string          `json:"action"`            // id of the API's operation, such as "destination.pause"
	Subject string          `json:"subject,omitempty"` // id of what it was done to
	Detail  json.RawMessage `json:"detail,omitempty"`  // what was asked for, secrets masked
	Remote  string          `json:"remote,omitempty"`  // the caller's address
}

// Notice is something that happened in the system itself. It becomes an event of the
// project's built-in source.
type Notice struct {
	Project ProjectID
	Type    string // one of the types below
	Key     string // id of what it is about; the event's business key
	At      time.Time
	// Destination is the one that it is about; the event is not delivered there.
	Destination DestinationID
	Data        any // becomes the JSON payload
}

// The types of the system's own events.
const (
	NoticeCircuitOpened     = "malote.destination.circuit.opened"
	NoticeCircuitReopened   = "malote.destination.circuit.reopened" // a probe failed, or the ramp did
	NoticeCircuitProbing    = "malote.destination.circuit.probing"  // half-open
	NoticeCircuitRamping    = "malote.destination.circuit.ramping"
	NoticeCircuitClosed     = "malote.destination.circuit.closed"
	NoticeDestinationPaused = "malote.destination.paused" // it answered 410
	NoticeBacklogGrowing    = "malote.backlog.growing"
	NoticeBacklogDrained    = "malote.backlog.drained"
	NoticeDeliveryExhausted = "malote.delivery.exhausted"
	NoticeKeyParked         = "malote.key.parked"
	NoticeSourceRefusing    = "malote.source.refusing"
	NoticeReplayStopped     = "malote.replay.stopped"
	NoticeReplayCompleted   = "malote.replay.completed"
)

// SystemSource is the name of the source that every project has from its beginning,
// and that its notices come from. Nothing is received there from outside.
const SystemSource = "malote"
