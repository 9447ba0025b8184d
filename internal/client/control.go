package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"time"

	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/api/stats"
	"malote.dev/malote/internal/hook"
)

// Worst returns the health of the destinations, the worst first, at most limit of them,
// over the time since; the zero time leaves that to the server.
func (c *Client) Worst(ctx context.Context, since time.Time, limit int) (worst stats.HealthList, err error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	setTime(query, "from", since)
	err = c.get(ctx, "/stats/health", query, &worst)
	return worst, err
}

// Health returns the health of one destination over the time since.
func (c *Client) Health(ctx context.Context, destination string, since time.Time) (health stats.DestinationHealthDetail, err error) {
	query := url.Values{}
	setTime(query, "from", since)
	err = c.get(ctx, "/destination/"+segment(destination)+"/health", query, &health)
	return health, err
}

// CloseCircuit closes the circuit of a destination.
func (c *Client) CloseCircuit(ctx context.Context, destination string) (circuit hook.Circuit, err error) {
	err = c.post(ctx, "/destination/"+segment(destination)+"/circuit/close", nil, &circuit)
	return circuit, err
}

// ProbeCircuit probes a destination whose circuit is open.
func (c *Client) ProbeCircuit(ctx context.Context, destination string) (circuit hook.Circuit, err error) {
	err = c.post(ctx, "/destination/"+segment(destination)+"/circuit/probe", nil, &circuit)
	return circuit, err
}

// Keys lists the keys of a connection for which deliveries wait, or only those that are
// parked; without a connection the parked ones of all, at most limit of them.
func (c *Client) Keys(ctx context.Context, connection string, parked bool, limit int) iter.Seq2[hook.OrderedKey, error] {
	path, query := "/key", url.Values{}
	if connection != "" {
		path = "/connection/" + segment(connection) + "/key"
	}
	if parked || connection == "" {
		query.Set("parked", "true")
	}
	return list[hook.OrderedKey](ctx, c, path, query, limit)
}

// ReleaseKey makes the parked head of a key due now.
func (c *Client) ReleaseKey(ctx context.Context, connection, key string) (done control.KeyOut, err error) {
	err = c.post(ctx, "/connection/"+segment(connection)+"/key/release", control.KeyIn{Key: key}, &done)
	return done, err
}

// SkipKey cancels the head of a key.
func (c *Client) SkipKey(ctx context.Context, connection string, which control.EndKeyIn) (done control.KeyOut, err error) {
	err = c.post(ctx, "/connection/"+segment(connection)+"/key/skip", which, &done)
	return done, err
}

// DropKey cancels everything that waits for a key.
func (c *Client) DropKey(ctx context.Context, connection string, which control.EndKeyIn) (done control.KeyOut, err error) {
	err = c.post(ctx, "/connection/"+segment(connection)+"/key/drop", which, &done)
	return done, err
}

// AuditFilter selects what was done; zero fields select all.
type AuditFilter struct {
	Action, Subject string
	After, Before   time.Time
}

// Audit lists who did what, the newest first, at most limit of it.
func (c *Client) Audit(ctx context.Context, filter *AuditFilter, limit int) iter.Seq2[hook.AuditEntry, error] {
	query := url.Values{}
	set(query, "action", filter.Action)
	set(query, "subject", filter.Subject)
	setTime(query, "after", filter.After)
	setTime(query, "before", filter.Before)
	return list[hook.AuditEntry](ctx, c, "/audit", query, limit)
}
