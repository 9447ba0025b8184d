package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
)

// EventFilter selects events; zero fields select all.
type EventFilter struct {
	Source, Type, Key, Text string
	After, Before           time.Time
}

func (f *EventFilter) query() url.Values {
	query := url.Values{}
	set(query, "source", f.Source)
	set(query, "type", f.Type)
	set(query, "key", f.Key)
	set(query, "text", f.Text)
	setTime(query, "after", f.After)
	setTime(query, "before", f.Before)
	return query
}

// DeliveryFilter selects deliveries; zero fields select all.
type DeliveryFilter struct {
	State, Cause, Event, Connection, Destination, Replay string
	After, Before                                        time.Time
}

func (f *DeliveryFilter) query() url.Values {
	query := url.Values{}
	set(query, "state", f.State)
	set(query, "cause", f.Cause)
	set(query, "event", f.Event)
	set(query, "connection", f.Connection)
	set(query, "destination", f.Destination)
	set(query, "replay", f.Replay)
	setTime(query, "after", f.After)
	setTime(query, "before", f.Before)
	return query
}

func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

func setTime(query url.Values, name string, at time.Time) {
	if !at.IsZero() {
		query.Set(name, at.UTC().Format(time.RFC3339Nano))
	}
}

// Events lists events, the newest first, at most limit of them.
func (c *Client) Events(ctx context.Context, filter *EventFilter, limit int) iter.Seq2[hook.Event, error] {
	return list[hook.Event](ctx, c, "/event", filter.query(), limit)
}

// FollowEvents yields the last events, the oldest first, and then new ones until ctx ends.
func (c *Client) FollowEvents(ctx context.Context, filter *EventFilter, last int) iter.Seq2[hook.Event, error] {
	return follow[hook.Event](ctx, c, feed{"/event", filter.query(), "-" + hook.EventID(1).String()}, last)
}

// Event returns one event.
func (c *Client) Event(ctx context.Context, id string) (event hook.Event, err error) {
	err = c.get(ctx, "/event/"+segment(id), nil, &event)
	return event, err
}

// Payload writes the payload of an event as it came.
func (c *Client) Payload(ctx context.Context, id string, w io.Writer) error {
	return c.copyTo(ctx, "/event/"+segment(id)+"/payload", w)
}

// Publish publishes an event to a source.
func (c *Client) Publish(ctx context.Context, event *api.EventIn) (receipt api.ReceiptOut, err error) {
	err = c.post(ctx, "/event", event, &receipt)
	return receipt, err
}

// Deliveries lists deliveries, the newest first, at most limit of them.
func (c *Client) Deliveries(ctx context.Context, filter *DeliveryFilter, limit int) iter.Seq2[api.DeliveryOut, error] {
	return list[api.DeliveryOut](ctx, c, "/delivery", filter.query(), limit)
}

// FollowDeliveries yields the last deliveries, the oldest first, and then new ones until ctx ends.
func (c *Client) FollowDeliveries(ctx context.Context, filter *DeliveryFilter, last int) iter.Seq2[api.DeliveryOut, error] {
	return follow[api.DeliveryOut](ctx, c, feed{"/delivery", filter.query(), "-" + hook.DeliveryID(1).String()}, last)
}

// Delivery returns one delivery.
func (c *Client) Delivery(ctx context.Context, id string) (delivery api.DeliveryOut, err error) {
	err = c.get(ctx, "/delivery/"+segment(id), nil, &delivery)
	return delivery, err
}

// Attempts returns the attempts of a delivery, the first one first.
func (c *Client) Attempts(ctx context.Context, delivery string) ([]hook.Attempt, error) {
	var attempts api.AttemptList
	err := c.get(ctx, "/delivery/"+segment(delivery)+"/attempt", nil, &attempts)
	return attempts.Data, err
}

// Retry sends a delivery again.
func (c *Client) Retry(ctx context.Context, id string) (delivery api.DeliveryOut, err error) {
	err = c.post(ctx, "/delivery/"+segment(id)+"/retry", nil, &delivery)
	return delivery, err
}

// RetryMany sends many deliveries again.
func (c *Client) RetryMany(ctx context.Context, which *api.RetryIn) (done api.RetryOut, err error) {
	err = c.post(ctx, "/delivery/retry", which, &done)
	return done, err
}

// Cancel ends a delivery that waits.
func (c *Client) Cancel(ctx context.Context, id, reason string) (delivery api.DeliveryOut, err error) {
	err = c.post(ctx, "/delivery/"+segment(id)+"/cancel", api.CancelIn{Reason: reason}, &delivery)
	return delivery, err
}

// Refused lists refused requests, the newest first, at most limit of them.
func (c *Client) Refused(ctx context.Context, source string, limit int) iter.Seq2[hook.Refusal, error] {
	query := url.Values{}
	set(query, "source", source)
	return list[hook.Refusal](ctx, c, "/refused", query, limit)
}

// Refusal returns one refused request.
func (c *Client) Refusal(ctx context.Context, id string) (refusal hook.Refusal, err error) {
	err = c.get(ctx, "/refused/"+segment(id), nil, &refusal)
	return refusal, err
}

// RefusedPayload writes the body of a refused request as it came.
func (c *Client) RefusedPayload(ctx context.Context, id string, w io.Writer) error {
	return c.copyTo(ctx, "/refused/"+segment(id)+"/payload", w)
}

// Admit accepts a refused request, as its source is set up now.
func (c *Client) Admit(ctx context.Context, id string) (receipt api.ReceiptOut, err error) {
	err = c.post(ctx, "/refused/"+segment(id)+"/admit", nil, &receipt)
	return receipt, err
}

// Tokens lists the API tokens.
func (c *Client) Tokens(ctx context.Context) iter.Seq2[hook.Token, error] {
	return list[hook.Token](ctx, c, "/token", nil, 0)
}

// CreateToken makes an API token; its text is shown this once.
func (c *Client) CreateToken(ctx context.Context, token api.TokenIn) (created api.TokenOut, err error) {
	err = c.post(ctx, "/token", token, &created)
	return created, err
}

// RevokeToken ends an API token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.exchange(ctx, &call{method: http.MethodDelete, path: prefix + "/token/" + segment(id)}, nil, nil)
}

// Plan returns what Apply would change.
func (c *Client) Plan(ctx context.Context, request flow.Request) (plan flow.Plan, err error) {
	err = c.post(ctx, "/flow/plan", request, &plan)
	return plan, err
}

// Apply makes the catalogue what a flow says, and returns what that changed.
func (c *Client) Apply(ctx context.Context, request flow.Request) (plan flow.Plan, err error) {
	err = c.post(ctx, "/flow/apply", request, &plan)
	return plan, err
}

// Export writes the catalogue as a flow file.
func (c *Client) Export(ctx context.Context, w io.Writer) error {
	return c.copyTo(ctx, "/flow/export", w)
}

// SigningSecret returns what the receivers of a destination's deliveries verify with.
func (c *Client) SigningSecret(ctx context.Context, destination string) (secret api.SecretOut, err error) {
	err = c.get(ctx, "/destination/"+segment(destination)+"/secret", nil, &secret)
	return secret, err
}

// Names are the names of the catalogue's nouns by id.
type Names struct {
	Sources      map[hook.SourceID]string
	Destinations map[hook.DestinationID]string
	Connections  map[hook.ConnectionID]string
}

// Names returns the names that lists show in the place of ids.
func (c *Client) Names(ctx context.Context) (*Names, error) {
	names := &Names{
		Sources: map[hook.SourceID]string{}, Destinations: map[hook.DestinationID]string{}, Connections: map[hook.ConnectionID]string{},
	}
	for source, err := range list[hook.Source](ctx, c, "/source", nil, 0) {
		if err != nil {
			return nil, err
		}
		names.Sources[source.ID] = source.Name
	}
	for destination, err := range list[hook.Destination](ctx, c, "/destination", nil, 0) {
		if err != nil {
			return nil, err
		}
		names.Destinations[destination.ID] = destination.Name
	}
	for connection, err := range list[hook.Connection](ctx, c, "/connection", nil, 0) {
		if err != nil {
			return nil, err
		}
		names.Connections[connection.ID] = connection.Name
	}
	return names, nil
}

// Incoming is a request to a source as its provider would send it.
type Incoming struct {
	Source string
	Header http.Header
	Body   []byte
}

// maxReply is how much of a source's answer is read.
const maxReply = 64 << 10

// Send posts a request to a source, and returns the status and the body of its
// answer, whatever they are.
func (c *Client) Send(ctx context.Context, request *Incoming) (status int, body []byte, err error) {
	target := c.SourceURL(request.Source)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(request.Body))
	if err != nil {
		return 0, nil, fmt.Errorf("make a request: %w", err)
	}
	req.Header = request.Header.Clone()
	req.Header.Set("User-Agent", "malote/"+c.options.Version)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, c.unreachable(ctx, err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxReply))
	return resp.StatusCode, body, err
}

// SourceURL returns the address that a source's requests go to.
func (c *Client) SourceURL(source string) string {
	return c.base.JoinPath("in", segment(source)).String()
}

// Ready fails when the server does not answer, or answers that it cannot work.
func (c *Client) Ready(ctx context.Context) error {
	resp, err := c.do(ctx, &call{method: http.MethodGet, path: "/readyz"})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
