package main

import (
	"context"
	"encoding/json"
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

	suspicions sync.WaitGroup // overlaps that are being looked into

	mu       sync.Mutex
	chance   *rand.Rand
	requests int
	overlaps map[string]int     // by webhook-id, and by key
	flying   map[string]*flight // by webhook-id, and by key
	taken    map[string]int     // how often each webhook-id was answered 200
	first    map[string]int     // in which place each webhook-id was first answered 200
	weather  map[string]*weather
}

// flight is a request that is being answered.
type flight struct {
	ctx   context.Context //nolint:containedctx // tells whether the sender still waits
	life  int64
	names []string // what there may be only one flight of: its delivery, its key
	ended bool     // answered …
	alone bool     // … after its sender had gone
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
		overlaps: map[string]int{}, flying: map[string]*flight{}, taken: map[string]int{}, first: map[string]int{},
		weather: map[string]*weather{"/flapping": {}, "/strict": {}, "/skipping": {}, "/parking": {}},
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

// forever is longer than anybody waits for an answer.
const forever = time.Minute

// weather is how a path that flaps is now, for seconds on end: well, or down in one way.
type weather struct {
	down  bool
	how   reaction
	until time.Time
}

// look returns what the weather does to a request; false: nothing.
func (w *weather) look(now time.Time, chance *rand.Rand) (reaction, bool) {
	for !now.Before(w.until) {
		if w.until.IsZero() {
			w.until = now
		}
		if w.down = !w.down && chance.IntN(2) == 0; !w.down {
			w.until = w.until.Add(between(chance, time.Second, 5*time.Second))
			continue
		}
		w.until = w.until.Add(between(chance, 500*time.Millisecond, 4*time.Second))
		w.how = [...]reaction{
			{status: http.StatusServiceUnavailable}, {status: http.StatusBadGateway}, {reset: true}, {delay: forever},
		}[chance.IntN(4)]
	}
	return w.how, w.down
}

// react decides about a request. The lock is held.
func (r *receiver) react(path string) reaction {
	answer := reaction{status: http.StatusOK}
	if r.healed.Load() {
		return answer
	}
	if w := r.weather[path]; w != nil {
		if how, down := w.look(time.Now(), r.chance); down {
			return how
		}
	}
	switch {
	case path == "/slow":
		answer.delay = between(r.chance, 30*time.Millisecond, 400*time.Millisecond)
	case path == "/dead" && r.dead.Load():
		return reaction{reset: true}
	case path == "/limited", path == "/dead", path == "/watch":
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
		answer.delay = forever
	case at < 240:
		answer.delay = between(r.chance, 50*time.Millisecond, time.Second)
	}
	return answer
}

// ServeHTTP takes one delivery, or does not.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	id := req.Header.Get("Webhook-Id")
	text, _ := io.ReadAll(req.Body)
	life, _ := req.Context().Value(lifeKey{}).(int64)
	mine := &flight{ctx: req.Context(), life: life, names: []string{id}}
	if key := keyOf(req.URL.Path, text); key != "" {
		mine.names = append(mine.names, key)
	}
	reaction := r.begin(req.URL.Path, mine)
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

// keyOf returns the key, with its connection, of a delivery that has to go alone; "": it
// does not.
func keyOf(path string, text []byte) string {
	var body struct {
		Source   string `json:"source"`
		Customer struct {
			ID string `json:"id"`
		} `json:"customer"`
	}
	if json.Unmarshal(text, &body) != nil || !isOrdered(body.Source, path) {
		return ""
	}
	return body.Source + " " + path + " " + body.Customer.ID
}

// begin notes a request. It may overlap with another one of its delivery, or of its key,
// when one process made both.
func (r *receiver) begin(path string, mine *flight) reaction {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	for _, name := range mine.names {
		if before := r.flying[name]; before != nil && before.life == mine.life && before.ctx.Err() == nil {
			r.suspicions.Go(func() { r.judge(name, before) })
		}
		r.flying[name] = mine
	}
	return r.react(path)
}

// noticeTime is how long it may take until the end of a connection is noticed.
const noticeTime = 300 * time.Millisecond

// judge looks whether a request was really under way when another one of its name began:
// its sender still waited for the answer.
func (r *receiver) judge(name string, before *flight) {
	<-time.After(noticeTime)
	r.mu.Lock()
	defer r.mu.Unlock()
	if before.ended && !before.alone || !before.ended && before.ctx.Err() == nil {
		r.overlaps[name]++
	}
}

// end notes how a request ended, before its sender can know.
func (r *receiver) end(id string, mine *flight, took bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine.ended, mine.alone = true, mine.ctx.Err() != nil
	for _, name := range mine.names {
		if r.flying[name] == mine {
			delete(r.flying, name)
		}
	}
	if !took {
		return
	}
	r.taken[id]++
	if r.taken[id] == 1 {
		r.first[id] = len(r.first) + 1
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
