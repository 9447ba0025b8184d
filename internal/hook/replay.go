package hook

import (
	"encoding/json"
	"fmt"
	"time"
)

// Replay is a controlled re-delivery of a chosen set: it is planned, runs at a rate,
// shows its progress, and stops by itself when too much of it fails.
type Replay struct {
	ID        ReplayID    `json:"id"`
	Project   ProjectID   `json:"project"`
	State     ReplayState `json:"state"`
	Reason    string      `json:"reason,omitempty"` // why it stopped, was canceled or failed: a sentence
	CreatedBy string      `json:"createdBy"`        // name of the token
	CreatedAt time.Time   `json:"createdAt"`
	UpdatedAt time.Time   `json:"updatedAt"`
	EndedAt   *time.Time  `json:"endedAt,omitempty"`
	ReplaySpec

	Cursor   int64          `json:"-"` // id of the last event, or delivery, that it looked at
	Until    int64          `json:"-"` // id of the last one that belongs to it
	Progress ReplayProgress `json:"progress"`
}

// ReplayState is where a replay stands.
type ReplayState string

// The states of a replay.
const (
	ReplayRunning   ReplayState = "running"   // it makes deliveries, or those that it made have not all ended
	ReplayCompleted ReplayState = "completed" // everything that it made has ended
	ReplayStopped   ReplayState = "stopped"   // its stop rule, or an error, ended it
	ReplayCanceled  ReplayState = "canceled"  // a person ended it
)

// Final reports whether the replay has ended.
func (s ReplayState) Final() bool { return s != ReplayRunning }

// ReplaySpec is what a person asks for.
type ReplaySpec struct {
	// Mode is "deliver" (default): each chosen event is delivered anew, with new ids; or
	// "retry": the chosen deliveries themselves are retried, with their ids.
	Mode ReplayMode `json:"mode,omitempty"`
	// Select chooses what is replayed, from the oldest to the newest.
	Select ReplaySelection `json:"select"`
	// Rules says over which connections: those that matched then (default), or those
	// that match now, with the filters of now. Not with "retry".
	Rules ReplayRules `json:"rules,omitempty"`
	// To is another destination, in place of those of the connections; each event goes
	// there once. Not with "retry".
	To DestinationID `json:"to,omitempty"`
	// Edit is a JSON merge patch (RFC 7396) of every payload: new events are made, which
	// name the old ones as their parents. Not with "retry".
	Edit json.RawMessage `json:"edit,omitempty"`
	// Rate is how many deliveries are begun; default DefaultReplayRate.
	Rate Rate `json:"rate,omitzero"`
	// Stop ends the replay when too many attempts fail; nil: it goes on.
	Stop *StopRule `json:"stop,omitempty"`
}

// DefaultReplayRate is how fast a replay goes unless it says otherwise.
func DefaultReplayRate() Rate { return Rate{Count: 50, Per: time.Second} }

// ReplayMode is what a replay does with what it chose.
type ReplayMode string

// The modes of a replay.
const (
	ReplayDeliver ReplayMode = "deliver"
	ReplayRetry   ReplayMode = "retry"
)

// ReplayRules is whose rules a replay follows.
type ReplayRules string

// The rules of a replay.
const (
	ReplayThen ReplayRules = "then"
	ReplayNow  ReplayRules = "now"
)

// ReplaySelection chooses deliveries, and by them events, or events alone. The fields
// that are set must all be met. Events that an edit made are chosen by their ids, or by
// the state of their deliveries.
type ReplaySelection struct {
	Source      SourceID      `json:"source,omitempty"`
	Type        string        `json:"type,omitempty"`   // exact, or a pattern with "*"
	Key         string        `json:"key,omitempty"`    // the event's business key
	Text        string        `json:"text,omitempty"`   // found in the payload
	Filter      string        `json:"filter,omitempty"` // CEL, as on a connection
	After       time.Time     `json:"after,omitzero"`   // received at or after
	Before      time.Time     `json:"before,omitzero"`
	Connection  ConnectionID  `json:"connection,omitempty"`  // only deliveries over it
	Destination DestinationID `json:"destination,omitempty"` // only deliveries to it
	State       State         `json:"state,omitempty"`       // only deliveries that are in it
	Events      []EventID     `json:"events,omitempty"`      // exactly these; at most MaxReplayIDs
	Deliveries  []DeliveryID  `json:"deliveries,omitempty"`  // exactly these; at most MaxReplayIDs
}

// MaxReplayIDs bounds how many events or deliveries are chosen by their ids.
const MaxReplayIDs = 1000

// StopRule ends a replay by itself.
type StopRule struct {
	ErrorPercent float64 `json:"errorPercent"`    // share of its attempts that fail
	After        int     `json:"after,omitempty"` // attempts before it is looked at; default 20
}

// ReplayProgress counts what a replay did.
type ReplayProgress struct {
	Looked    int64 `json:"looked"`    // events or deliveries that it looked at
	Selected  int64 `json:"selected"`  // of these, chosen
	Skipped   int64 `json:"skipped"`   // of these, those that nothing could be made of
	Made      int64 `json:"made"`      // deliveries that it made or retried
	Succeeded int64 `json:"succeeded"` // of these
	Failed    int64 `json:"failed"`
	Canceled  int64 `json:"canceled"`
	Attempts  int64 `json:"attempts"`
	Errors    int64 `json:"errors"` // attempts that were no success
}

// Open is how many of its deliveries have not ended.
func (p *ReplayProgress) Open() int64 { return p.Made - p.Succeeded - p.Failed - p.Canceled }

// Exceeded reports whether the rule ends a replay of this progress, with the reason.
func (r *StopRule) Exceeded(p *ReplayProgress) (reason string, exceeded bool) {
	const defaultAfter = 20
	after := int64(r.After)
	if after <= 0 {
		after = defaultAfter
	}
	if p.Attempts < after || float64(p.Errors)*100 <= r.ErrorPercent*float64(p.Attempts) {
		return "", false
	}
	return fmt.Sprintf("%d of %d attempts failed, more than %g %%", p.Errors, p.Attempts, r.ErrorPercent), true
}
