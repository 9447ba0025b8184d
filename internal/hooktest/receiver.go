// Package hooktest helps tests: a receiver of webhooks that remembers what came and
// misbehaves on command, and builders for the nouns of the domain. Only tests import it.
package hooktest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// Request is one request that a Receiver got.
type Request struct {
	Number  int // from 1, in the order of arrival
	At      time.Time
	Method  string
	Path    string
	Query   string
	Headers http.Header
	Body    []byte
	ID      string // the webhook-id header
	Bad     error  // why its signature is wrong; nil when it is right or nothing is trusted
}

// Receiver is a destination of webhooks. It is an http.Handler that a server can
// serve, and an http.RoundTripper that answers without any network, as a bubble of
// testing/synctest needs. The zero Receiver answers 200 to everything.
type Receiver struct {
	mu       sync.Mutex
	requests []*Request
	behavior Behavior
	secrets  []string
	changed  chan struct{} // closed and replaced whenever a request came
	closing  chan struct{} // closed when hanging requests are to end
	url      string
}

// NewReceiver returns a receiver that listens on a loopback port until the test ends.
func NewReceiver(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{closing: make(chan struct{})}
	server := httptest.NewServer(r)
	r.url = server.URL
	t.Cleanup(func() {
		close(r.closing)
		server.Close()
	})
	return r
}

// URL returns where the receiver listens; "" when it has no server.
func (r *Receiver) URL() string { return r.url }

// Behave makes the receiver react by behavior from the next request on; nil makes it
// answer 200 again.
func (r *Receiver) Behave(behavior Behavior) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behavior = behavior
}

// Trust makes the receiver verify the Standard Webhooks signature of every request
// against the secrets (whsec_… or whpk_…). One that does not fit is answered 401 and
// kept with its Bad set.
func (r *Receiver) Trust(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets = secrets
}

// Requests returns what came so far, in the order of arrival.
func (r *Receiver) Requests() []*Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Count returns how many requests came.
func (r *Receiver) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

// IDs returns how often each webhook-id came.
func (r *Receiver) IDs() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	times := map[string]int{}
	for _, request := range r.requests {
		times[request.ID]++
	}
	return times
}

// Duplicates returns the webhook-ids that came more than once, with how often.
func (r *Receiver) Duplicates() map[string]int {
	times := r.IDs()
	maps.DeleteFunc(times, func(_ string, n int) bool { return n < 2 })
	return times
}

// BadSignatures returns the requests whose signature was wrong.
func (r *Receiver) BadSignatures() []*Request {
	return slices.DeleteFunc(r.Requests(), func(request *Request) bool { return request.Bad == nil })
}

// Wait returns when at least n requests came, or with an error when ctx ends first.
func (r *Receiver) Wait(ctx context.Context, n int) error {
	return r.WaitFor(ctx, func(requests []*Request) bool { return len(requests) >= n })
}

// WaitFor returns when enough says so of what came so far, or with an error when ctx
// ends first. It asks again after every request.
func (r *Receiver) WaitFor(ctx context.Context, enough func([]*Request) bool) error {
	for {
		r.mu.Lock()
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed, requests := r.changed, slices.Clone(r.requests)
		r.mu.Unlock()
		if enough(requests) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for deliveries, %d came: %w", len(requests), ctx.Err())
		}
	}
}

// take remembers a request and decides how to react.
func (r *Receiver) take(req *http.Request) (Reaction, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return Reaction{}, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	request := &Request{
		Number: len(r.requests) + 1, At: time.Now(), Method: req.Method,
		Path: req.URL.Path, Query: req.URL.RawQuery, Headers: req.Header.Clone(),
		Body: body, ID: req.Header.Get("webhook-id"),
	}
	if len(r.secrets) > 0 {
		request.Bad = VerifyStandard(request.Headers, body, r.secrets)
	}
	r.requests = append(r.requests, request)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	switch {
	case request.Bad != nil:
		return Reaction{Status: http.StatusUnauthorized, Body: []byte(request.Bad.Error())}, nil
	case r.behavior != nil:
		return r.behavior(request), nil
	default:
		return Reaction{}, nil
	}
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	reaction, err := r.take(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !reaction.wait(req.Context(), r.closing) || reaction.Drop {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	maps.Copy(w.Header(), reaction.Headers)
	w.WriteHeader(reaction.status())
	_, _ = io.Copy(w, reaction.body())
}

// RoundTrip implements http.RoundTripper.
func (r *Receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	reaction, err := r.take(req)
	if err != nil {
		return nil, err
	}
	if !reaction.wait(req.Context(), r.closing) {
		return nil, req.Context().Err()
	}
	if reaction.Drop {
		return nil, io.ErrUnexpectedEOF
	}
	headers := reaction.Headers.Clone()
	if headers == nil {
		headers = http.Header{}
	}
	status := reaction.status()
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: headers, Body: io.NopCloser(reaction.body()), ContentLength: -1, Request: req,
	}, nil
}

// body returns the answer's body, an endless one made as it is read.
func (a *Reaction) body() io.Reader {
	if a.Huge > 0 {
		return io.LimitReader(noise{}, a.Huge)
	}
	return bytes.NewReader(a.Body)
}

// noise is an endless reader.
type noise struct{}

func (noise) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
