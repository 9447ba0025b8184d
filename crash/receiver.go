package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// loopback is an address with a free port.
const loopback = "127.0.0.1:0"

// receiver is where all deliveries go. Each of its paths has a temper of its own.
type receiver struct {
	url    string
	server *http.Server
	life   atomic.Int64 // of the program: whose connections are accepted now
	healed atomic.Bool  // everything is taken from now on
	dead   atomic.Bool  // the path /dead breaks every connection

	mu       sync.Mutex
	chance   *rand.Rand
	requests int
	overlaps map[string]int
	flying   map[string]*flight // by webhook-id
	taken    map[string]int     // how often each webhook-id was answered 200
}

// flight is a request that is being answered.
type flight struct {
	ctx  context.Context //nolint:containedctx // tells whether the sender still waits
	life int64
}

// lifeKey is where a request's context holds the life of the program that sent it.
type lifeKey struct{}

// newReceiver starts a receiver on a loopback port.
func newReceiver(ctx context.Context, chance *rand.Rand) (*receiver, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", loopback)
	if err != nil {
		return nil, fmt.Errorf("starting the receiver: %w", err)
	}
	r := &receiver{
		url: "http://" + listener.Addr().String(), chance: chance,
		overlaps: map[string]int{}, flying: map[string]*flight{}, taken: map[string]int{},
	}
	r.server = &http.Server{
		Handler: r, ReadHeaderTimeout: startTime,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, lifeKey{}, r.life.Load())
		},
	}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// reaction is what the receiver does with one request.
type reaction struct {
	delay  time.Duration
	status int // 0: no answer, the connection ends
	reset  bool
}

// react decides about a request. The lock is held.
func (r *receiver) react(path string) reaction {
	answer := reaction{status: http.StatusOK}
	switch {
	case r.healed.Load():
		return answer
	case path == "/slow":
		answer.delay = between(r.chance, 30*time.Millisecond, 400*time.Millisecond)
	case path == "/dead" && r.dead.Load():
		return reaction{reset: true}
	case path == "/limited", path == "/dead":
		return answer
	}
	switch at := r.chance.IntN(1000); {
	case at < 100:
		answer.status = http.StatusInternalServerError
	case at < 105:
		answer.status = http.StatusServiceUnavailable
	case at < 145:
		answer.status = 0
	case at < 175:
		answer = reaction{reset: true}
	case at < 180:
		answer.delay = time.Minute // longer than anybody waits
	case at < 240:
		answer.delay = between(r.chance, 50*time.Millisecond, time.Second)
	}
	return answer
}

// ServeHTTP takes one delivery, or does not.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	id := req.Header.Get("Webhook-Id")
	_, _ = io.Copy(io.Discard, req.Body)
	life, _ := req.Context().Value(lifeKey{}).(int64)
	mine := &flight{ctx: req.Context(), life: life}
	reaction := r.begin(id, req.URL.Path, mine)
	waited := reaction.delay == 0 || pause(req.Context(), reaction.delay)
	r.end(id, mine, waited && reaction.status == http.StatusOK)
	switch {
	case reaction.reset:
		reset(w)
	case !waited || reaction.status == 0:
		panic(http.ErrAbortHandler) // closes the connection without an answer
	case reaction.status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(reaction.status)
	default:
		w.WriteHeader(reaction.status)
	}
}

// begin notes a request. It overlaps with another one of its delivery when one process
// made both and still waits for the first.
func (r *receiver) begin(id, path string, mine *flight) reaction {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	if before := r.flying[id]; before != nil && before.life == mine.life && before.ctx.Err() == nil {
		r.overlaps[id]++
	}
	r.flying[id] = mine
	return r.react(path)
}

func (r *receiver) end(id string, mine *flight, took bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flying[id] == mine {
		delete(r.flying, id)
	}
	if took {
		r.taken[id]++
	}
}

// reset breaks a connection as a crashed host does.
func reset(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(errors.New("the connection cannot be taken over"))
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
