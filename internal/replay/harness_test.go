package replay_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/replay"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store with a source, two destinations and a connection to each, a router
// over it and an engine of replays. It is made for a bubble of virtual time.
type world struct {
	t       *testing.T
	store   *sqlite.Store
	replays store.Replays // the store, unless a test puts something before it
	router  *route.Router
	engine  *replay.Engine
	project hook.ProjectID
	shop    hook.Source
	erp     hook.Destination
	archive hook.Destination
	orders  hook.Connection // to erp
	copies  hook.Connection // to archive

	mu      sync.Mutex
	woken   map[hook.DestinationID]int
	notices []hook.Notice
	circuit map[hook.DestinationID]hook.Circuit
}

// newWorld makes a world; change, if not nil, sets up the connections before they are
// stored.
func newWorld(t *testing.T, change func(w *world)) *world {
	t.Helper()
	pass(time.Until(time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC))) // virtual time begins before ids do
	w := &world{t: t, store: sqlitetest.Open(t), woken: map[hook.DestinationID]int{}, circuit: map[hook.DestinationID]hook.Circuit{}}
	ctx := t.Context()
	if _, err := w.store.Reclaim(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	project, err := w.store.Projects().Get(ctx, 0, sqlite.DefaultProject)
	w.must(err)
	w.project = project.ID
	w.shop = hook.Source{Project: w.project, Name: "shop", SourceSpec: hook.SourceSpec{Verify: &hook.Verify{None: true}}}
	w.must(w.store.Sources().Create(ctx, &w.shop))
	http := &hook.HTTPTarget{URL: "https://erp.example.com/"}
	w.erp = hook.Destination{Project: w.project, Name: "erp", DestinationSpec: hook.DestinationSpec{HTTP: http}}
	w.archive = hook.Destination{Project: w.project, Name: "archive", DestinationSpec: hook.DestinationSpec{HTTP: http}}
	w.orders = hook.Connection{Project: w.project, Name: "orders", ConnectionSpec: hook.ConnectionSpec{Types: []string{"order.*"}}}
	w.copies = hook.Connection{Project: w.project, Name: "copies"}
	if change != nil {
		change(w)
	}
	w.must(w.store.Destinations().Create(ctx, &w.erp))
	w.must(w.store.Destinations().Create(ctx, &w.archive))
	w.orders.Source, w.orders.Destination = w.shop.ID, w.erp.ID
	w.copies.Source, w.copies.Destination = w.shop.ID, w.archive.ID
	w.must(w.store.Connections().Create(ctx, &w.orders))
	w.must(w.store.Connections().Create(ctx, &w.copies))
	w.router = route.New(route.Options{Load: w.store.Catalogue})
	w.reload()
	w.replays = w.store
	w.build()
	return w
}

// build makes an engine, as a start of the program does.
func (w *world) build() {
	w.engine = replay.New(replay.Options{
		Replays: w.replays, Log: w.store, Catalogue: w.router.Current,
		Circuit: func(id hook.DestinationID) hook.Circuit { return w.circuit[id] },
		Wake: func(id hook.DestinationID) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.woken[id]++
		},
		Notify: func(n hook.Notice) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notices = append(w.notices, n)
		},
	})
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reload() {
	w.t.Helper()
	w.must(w.router.Reload(w.t.Context()))
}

// close closes the store before the bubble ends.
func (w *world) close() { w.must(w.store.Close()) }

// way is a delivery that an event caused, and the state that it came to.
type way struct {
	connection *hook.Connection
	state      hook.State
}

// event stores an event with deliveries that came to a state, a second after the one before.
func (w *world) event(eventType, payload string, ways ...way) hook.Event {
	w.t.Helper()
	pass(time.Second)
	acceptance := &hook.Acceptance{Event: hook.Event{
		Project: w.project, Source: w.shop.ID, Type: eventType, Method: "POST", Payload: []byte(payload),
		Verdict: hook.Verdict{Scheme: "hmac", Verified: true}, ReceivedAt: time.Now(),
	}}
	event := &acceptance.Event
	for _, way := range ways {
		event.Targets = append(event.Targets, hook.Target{
			Connection: way.connection.ID, Destination: way.connection.Destination, Deferred: way.state == hook.StatePending,
		})
	}
	if _, err := w.store.Accept(w.t.Context(), acceptance); err != nil {
		w.t.Fatal(err)
	}
	for i, target := range event.Targets {
		if target.Deferred {
			continue
		}
		job := &hook.Job{Event: event, Inline: true, Delivery: hook.Delivery{
			ID: target.Delivery, Project: w.project, Event: event.ID, Connection: target.Connection, Destination: target.Destination,
			State: hook.StateSending, CreatedAt: event.ReceivedAt, UpdatedAt: event.ReceivedAt,
		}}
		w.settle(job, ways[i].state)
	}
	return *event
}

// settle brings a delivery to a state by an attempt.
func (w *world) settle(job *hook.Job, state hook.State) {
	w.t.Helper()
	outcome := hook.OutcomeSuccess
	if state != hook.StateSucceeded {
		outcome = hook.OutcomeRejected
	}
	done := make(chan error, 1)
	w.store.Settle(hook.Settlement{
		Job: job, State: state, Reason: "because",
		Attempt: &hook.Attempt{Delivery: job.Delivery.ID, Number: job.Delivery.Attempts + 1, StartedAt: time.Now(), Outcome: outcome, ResponseStatus: 500},
	}, func(err error) { done <- err })
	w.must(<-done)
}

// run runs the engine until the function returned is called.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.engine.Run(ctx) }()
	return func() {
		cancel()
		w.must(<-done)
	}
}

// attempt is one that the sender below made.
type attempt struct {
	job *hook.Job
	at  time.Time
}

// send makes attempts of what is due, as the delivery engine does, until the function
// returned is called; that returns them in their order.
func (w *world) send(becomes func(*hook.Job) hook.State) (stop func() []attempt) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan []attempt, 1)
	go func() {
		var attempts []attempt
		defer func() { done <- attempts }()
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			for _, id := range []hook.DestinationID{w.erp.ID, w.archive.ID} {
				jobs, err := w.store.Claim(ctx, store.Claim{Destination: id, Owner: "test", Now: time.Now(), Until: time.Now().Add(time.Minute), Limit: 256})
				if err != nil && ctx.Err() == nil {
					w.t.Error(err)
				}
				for _, job := range jobs {
					attempts = append(attempts, attempt{job, time.Now()})
					w.settle(job, becomes(job))
				}
			}
		}
	}()
	return func() []attempt {
		cancel()
		return <-done
	}
}

func succeeds(*hook.Job) hook.State { return hook.StateSucceeded }

func (w *world) start(spec hook.ReplaySpec) hook.Replay {
	w.t.Helper()
	started, err := w.engine.Start(w.t.Context(), w.project, "ana", spec)
	w.must(err)
	return started
}

func (w *world) replay(id hook.ReplayID) hook.Replay {
	w.t.Helper()
	found, err := w.store.Replay(w.t.Context(), w.project, id)
	w.must(err)
	return found
}

// ended waits until a replay has ended, for an hour at the most.
func (w *world) ended(id hook.ReplayID) hook.Replay {
	w.t.Helper()
	for deadline := time.Now().Add(time.Hour); time.Now().Before(deadline); pass(100 * time.Millisecond) {
		if found := w.replay(id); found.State.Final() {
			return found
		}
	}
	w.t.Fatalf("the replay has not ended: %+v", w.replay(id))
	return hook.Replay{}
}

// deliveries returns all deliveries, the oldest first.
func (w *world) deliveries(query store.DeliveryQuery) []hook.Delivery {
	w.t.Helper()
	query.Project, query.Page = w.project, page.Request{Limit: page.MaxLimit}
	var all []hook.Delivery
	for {
		found, err := w.store.Deliveries(w.t.Context(), query)
		w.must(err)
		for i := range found.Items {
			all = append([]hook.Delivery{found.Items[i]}, all...)
		}
		if found.Done {
			return all
		}
		query.Page.From = found.Last
	}
}

func (w *world) plan(spec hook.ReplaySpec) *replay.Plan {
	w.t.Helper()
	plan, err := w.engine.Plan(w.t.Context(), w.project, spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return plan
}

// counts are the numbers of a plan in short.
func counts(p *replay.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d looked, %d selected, %d skipped, %d deliveries:", p.Looked, p.Selected, p.Skipped, p.Deliveries)
	for _, d := range p.Destinations {
		fmt.Fprintf(&b, " %s %d", d.Name, d.Deliveries)
	}
	return b.String()
}
