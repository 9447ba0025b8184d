package notice

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"malote.dev/malote/internal/hook"
)

// Payload is the JSON of the events that an Announcer publishes. It only ever grows.
//
// The event's type is Type, its business key is Key, and its provider id is made of both
// and the time, so that what is told twice is one event.
type Payload struct {
	Type        string         `json:"type"` // one of the hook.Notice… types
	At          time.Time      `json:"at"`   // when it happened; the last time, where Count is above 1
	Project     hook.ProjectID `json:"project"`
	Key         string         `json:"key,omitempty"`         // id of what it is about
	Destination *Destination   `json:"destination,omitempty"` // the one that it is about, if any
	Count       int            `json:"count"`                 // how often it happened since Since; nearly always 1
	Since       time.Time      `json:"since"`                 // when it happened first
	Data        any            `json:"data,omitempty"`        // by type, of the last time
	Examples    []any          `json:"examples,omitempty"`    // Data of the first MaxExamples times, where Count is above 1
}

// Destination names the destination that an event is about.
type Destination struct {
	ID   hook.DestinationID `json:"id"`
	Name string             `json:"name,omitempty"` // absent when it was deleted meanwhile
}

// MaxExamples is how many of the notices that became one event are shown in it.
const MaxExamples = 5

// event returns what is published for an item.
func (it *item) event(name func(hook.DestinationID) string) (*hook.Event, error) {
	notice := &it.notice
	payload := Payload{
		Type: notice.Type, At: stamp(notice.At), Project: notice.Project, Key: notice.Key,
		Count: it.count, Since: stamp(it.since), Data: notice.Data,
	}
	if it.count > 1 {
		payload.Examples = it.examples
	}
	if notice.Destination != 0 {
		payload.Destination = &Destination{ID: notice.Destination, Name: name(notice.Destination)}
	}
	text, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("write the notice %s about %s: %w", notice.Type, notice.Key, err)
	}
	return &hook.Event{
		Type: notice.Type, Key: notice.Key, Method: http.MethodPost,
		ProviderID:  notice.Type + "/" + notice.Key + "/" + strconv.FormatInt(it.since.UnixMilli(), 10),
		Headers:     hook.Headers{{Name: "Content-Type", Value: "application/json"}},
		Payload:     text,
		PayloadSize: len(text),
	}, nil
}

// stamp makes a time one as the store keeps it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
