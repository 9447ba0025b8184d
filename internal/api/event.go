package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/lookup"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// EventIn is an event that is published to a source.
type EventIn struct {
	Source  string            `json:"source" doc:"The source that it belongs to: id or name"`
	Type    string            `json:"type,omitempty" doc:"The event type; without it, it is read where the source says"`
	Key     string            `json:"key,omitempty" doc:"The business key; without it, it is read where the source says"`
	ID      string            `json:"id,omitempty" doc:"Your own id of the event: a second one with the same id is a duplicate"`
	Headers map[string]string `json:"headers,omitempty" doc:"Headers for filters and destinations to see"`
	Payload json.RawMessage   `json:"payload,omitempty" doc:"Any JSON value, which becomes the payload byte for byte"`
	Text    string            `json:"text,omitempty" doc:"A payload that is not JSON, in place of payload"`
}

// ReceiptOut says what an accepted event became.
type ReceiptOut struct {
	ID        hook.EventID `json:"id"`
	Duplicate bool         `json:"duplicate,omitempty" doc:"It was known already: the id is that of the first"`
}

// maxPublish is how long the body of a published event may be, in bytes; the source's
// own limit comes after it.
const maxPublish = 32 << 20

// maxHeaders is how many headers a published event may have.
const maxHeaders = 64

func (s *server) eventRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/event", ID: "event.list", Role: hook.RoleViewer,
			Summary: "List events, the newest first",
			More:    "A search by type, key or text looks at 20,000 events for a page; a page may be short and not the last.",
			Bind:    rest.Handle(s.listEvents),
		},
		{
			Method: http.MethodPost, Path: "/event", ID: "event.create", Role: hook.RoleOperator, Status: http.StatusAccepted,
			Summary: "Publish an event to a source", More: "It is durable when this is answered.",
			In: EventIn{}, MaxBody: maxPublish, Bind: rest.Handle(s.publishEvent),
			Unaudited: "the event is the record, and there may be thousands a second",
		},
		{
			Method: http.MethodGet, Path: "/event/{id}", ID: "event.get", Role: hook.RoleViewer,
			Summary: "Get an event", Bind: rest.Handle(s.getEvent),
		},
		{
			Method: http.MethodGet, Path: "/event/{id}/payload", ID: "event.payload", Role: hook.RoleViewer,
			Summary: "Get the payload of an event as it came", Answers: "application/octet-stream",
			Bind: rest.Raw[rest.One](s.eventPayload),
		},
	}
}

type listEventsIn struct {
	Source string `query:"source" doc:"Of this source: id or name"`
	Type   string `query:"type" doc:"Of this type; * stands for any run of characters"`
	Key    string `query:"key" doc:"With exactly this business key"`
	Text   string `query:"text" doc:"With this text in the payload"`
	rest.TimeRange
	rest.Paging
}

func (s *server) listEvents(ctx context.Context, in *listEventsIn) (*rest.Out[rest.List[hook.Event]], error) {
	req, err := rest.PageOf(in.Paging, hook.ParseID[hook.EventID])
	if err != nil {
		return nil, err
	}
	query := store.EventQuery{
		Project: rest.ProjectOf(ctx), Type: in.Type, Key: in.Key, Text: in.Text, After: in.After, Before: in.Before, Page: req,
	}
	if query.Source, err = lookup.Source(ctx, s.Store, query.Project, in.Source); err != nil {
		return nil, rest.UnknownRef("source", err)
	}
	found, err := s.Store.Events(ctx, query)
	if err != nil {
		return nil, err
	}
	return rest.ListOf[hook.EventID](found, s.showEvent), nil
}

// showEvent masks the places where the source's requests carry a secret. They were
// masked when the event was stored, by the rule that the source had then.
func (s *server) showEvent(event *hook.Event) hook.Event {
	shown := *event
	shown.Headers, shown.Query = s.maskRequest(event.Source, event.Headers, event.Query)
	if shown.Headers == nil {
		shown.Headers = hook.Headers{}
	}
	if shown.Targets == nil {
		shown.Targets = []hook.Target{}
	}
	shown.Payload = nil
	return shown
}

// maskRequest hides the credentials in the headers and query of a request to a source.
// Of a source that is gone nobody knows where they are, so that every value is hidden.
func (s *server) maskRequest(id hook.SourceID, headers hook.Headers, query string) (hook.Headers, string) {
	if source, ok := s.Router.Current().SourceByID(id); ok {
		return source.Confidential.MaskHeaders(headers), source.Confidential.MaskQuery(query)
	}
	hidden := make(hook.Headers, len(headers))
	for i := range headers {
		hidden[i] = hook.Header{Name: headers[i].Name, Value: hiddenValue}
	}
	if query != "" {
		query = hiddenValue
	}
	return hidden, query
}

// hiddenValue stands where a value may be a secret.
const hiddenValue = "[hidden]"

func (s *server) findEvent(ctx context.Context, ref string) (hook.Event, error) {
	id, err := hook.ParseID[hook.EventID](ref)
	if err != nil {
		return hook.Event{}, hook.NotFound("event", ref)
	}
	return s.Store.Event(ctx, rest.ProjectOf(ctx), id)
}

func (s *server) getEvent(ctx context.Context, in *rest.One) (*rest.Out[hook.Event], error) {
	event, err := s.findEvent(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.Answer(s.showEvent(&event)), nil
}

func (s *server) eventPayload(w http.ResponseWriter, r *http.Request) error {
	event, err := s.findEvent(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	writePayload(w, event.ID, event.Payload)
	return nil
}

// writePayload sends foreign bytes so that no browser does more than save them: as an
// attachment of no type, next to the headers that every answer has (nosniff, sandbox).
func writePayload(w http.ResponseWriter, id fmt.Stringer, payload []byte) {
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", id.String()+".bin"))
	header.Set("Content-Length", strconv.Itoa(len(payload)))
	_, _ = w.Write(payload) // when it fails, the caller has gone
}

func (s *server) publishEvent(ctx context.Context, in *rest.BodyOnly) (*rest.Out[ReceiptOut], error) {
	var given EventIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	if err := given.check(); err != nil {
		return nil, err
	}
	noun, err := s.Store.Sources().Get(ctx, rest.ProjectOf(ctx), given.Source)
	if hook.KindOf(err) == hook.KindNotFound {
		return nil, hook.Invalid("the event cannot be published", []hook.Problem{{Path: "source", Message: err.Error()}})
	}
	if err != nil {
		return nil, err
	}
	source, ok := s.Router.Current().SourceByID(noun.ID)
	if !ok {
		return nil, hook.Errorf(hook.KindUnavailable, "the source %q is not in force yet: try again", noun.Name)
	}
	receipt, err := s.Ingest.Publish(ctx, source, given.event())
	if err != nil {
		return nil, err
	}
	return rest.Answer(ReceiptOut{ID: receipt.Event, Duplicate: receipt.Duplicate}), nil
}

func (e *EventIn) check() error {
	var problems []hook.Problem
	fail := func(path, message string) { problems = append(problems, hook.Problem{Path: path, Message: message}) }
	if e.Source == "" {
		fail("source", "a source is needed: write its id or name")
	}
	if (len(e.Payload) == 0) == (e.Text == "") {
		fail("payload", "give either payload, a JSON value, or text")
	}
	if len(e.Headers) > maxHeaders {
		fail("headers", fmt.Sprintf("there are %d headers: %d is the most", len(e.Headers), maxHeaders))
	}
	return hook.Invalid("the event cannot be published", problems)
}

// event returns the event that the body describes.
func (e *EventIn) event() *hook.Event {
	event := &hook.Event{Type: e.Type, Key: e.Key, ProviderID: e.ID, Method: http.MethodPost, Payload: e.Payload}
	kind := "application/json"
	if e.Text != "" {
		event.Payload, kind = []byte(e.Text), "text/plain; charset=utf-8"
	}
	for _, name := range sortedKeys(e.Headers) {
		event.Headers = append(event.Headers, hook.Header{Name: name, Value: e.Headers[name]})
	}
	if event.Headers.Get("Content-Type") == "" {
		event.Headers = append(event.Headers, hook.Header{Name: "Content-Type", Value: kind})
	}
	event.PayloadSize = len(event.Payload)
	return event
}
