// Package storetest holds a backend of package store to what the contract promises.
// A backend's own test calls Run with a Harness; whatever passes may stand behind the
// engines.
package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// Harness opens the stores under test.
type Harness struct {
	// Open opens a new, empty store, which has the project "default". The harness
	// closes it when the test ends.
	Open func(t *testing.T) store.Store
	// Crash ends a store as a power cut would, with what is committed and nothing
	// else, and opens another one over the same data.
	Crash func(t *testing.T, s store.Store) store.Store
	// Restart closes a store and opens another one over the same data.
	Restart func(t *testing.T, s store.Store) store.Store
}

// Run runs the whole suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, subject := range []struct {
		name  string
		tests map[string]func(*world)
	}{
		{"Catalogue", catalogueTests()},
		{"Apply", applyTests()},
		{"System", systemTests()},
		{"Tokens", tokenTests()},
		{"Accept", acceptTests()},
		{"Dedupe", dedupeTests()},
		{"Claim", claimTests()},
		{"Settle", settleTests()},
		{"Manage", manageTests()},
		{"Cause", causeTests()},
		{"Order", orderTests()},
		{"Keys", keyTests()},
		{"Probe", probeTests()},
		{"Reclaim", reclaimTests()},
		{"Events", eventTests()},
		{"Deliveries", deliveryTests()},
		{"Refusals", refusalTests()},
		{"Numbers", numbersTests()},
		{"Replays", replayTests()},
		{"Health", healthTests()},
		{"Circuits kept", circuitTests()},
		{"Audit", auditTests()},
		{"Prune", pruneTests()},
		{"Upkeep", upkeepTests()},
	} {
		t.Run(subject.name, func(t *testing.T) {
			for name, test := range subject.tests {
				t.Run(name, func(t *testing.T) { test(newWorld(t, h)) })
			}
		})
	}
}

// noon is when the suite takes place: all ids, and what follows from them, come from
// it and not from the clock.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is a store with one connection set up in the project "default" and another
// one, of the same names, in the project "other".
type world struct {
	*testing.T

	harness Harness
	store   store.Store
	ids     *hook.IDs
	now     time.Time
	home    place
	other   place
}

// place is a project with one noun of each kind.
type place struct {
	project     hook.ProjectID
	source      hook.SourceID
	destination hook.DestinationID
	connection  hook.ConnectionID
}

func newWorld(t *testing.T, h Harness) *world {
	t.Helper()
	w := &world{T: t, harness: h, store: h.Open(t), ids: hook.NewIDs(7), now: noon}
	project, err := w.store.Projects().Get(t.Context(), 0, "default")
	w.must(err)
	w.home = w.build(project.ID)
	second := hook.Project{Name: "other"}
	w.must(w.store.Projects().Create(t.Context(), &second))
	w.other = w.build(second.ID)
	_, err = w.store.Reclaim(t.Context(), w.now)
	w.must(err)
	return w
}

func (w *world) build(project hook.ProjectID) place {
	w.Helper()
	source := hook.Source{Project: project, Name: "shop"}
	w.must(w.store.Sources().Create(w.Context(), &source))
	destination := hook.Destination{Project: project, Name: "erp"}
	w.must(w.store.Destinations().Create(w.Context(), &destination))
	p := place{project: project, source: source.ID, destination: destination.ID}
	p.connection = w.connect(p, "orders")
	return p
}

func (w *world) connect(p place, name string) hook.ConnectionID {
	w.Helper()
	connection := hook.Connection{Project: p.project, Name: name, Source: p.source, Destination: p.destination}
	w.must(w.store.Connections().Create(w.Context(), &connection))
	return connection.ID
}

// addDestination creates one more destination and a connection to it.
func (w *world) addDestination(p place, name string) place {
	w.Helper()
	destination := hook.Destination{Project: p.project, Name: name}
	w.must(w.store.Destinations().Create(w.Context(), &destination))
	p.destination = destination.ID
	p.connection = w.connect(p, "to-"+name)
	return p
}

func (w *world) addSource(p place, name string) place {
	w.Helper()
	source := hook.Source{Project: p.project, Name: name}
	w.must(w.store.Sources().Create(w.Context(), &source))
	p.source = source.ID
	p.connection = w.connect(p, "from-"+name)
	return p
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// wants fails unless err is a hook.Error of the kind.
func (w *world) wants(kind hook.Kind, err error) {
	w.Helper()
	if err == nil || hook.KindOf(err) != kind {
		w.Errorf("error %v, want one of kind %v", err, kind)
	}
}

// tick moves the world's clock.
func (w *world) tick(d time.Duration) { w.now = w.now.Add(d) }

// target returns a target over the place's connection.
func (w *world) target(p place) hook.Target {
	return hook.Target{Delivery: hook.DeliveryID(w.ids.Next(w.now)), Connection: p.connection, Destination: p.destination}
}

// event returns an event of the place, received now, with the given targets.
func (w *world) event(p place, targets ...hook.Target) *hook.Acceptance {
	return &hook.Acceptance{Event: hook.Event{
		ID: hook.EventID(w.ids.Next(w.now)), Project: p.project, Source: p.source, Type: "orders/create", Method: "POST",
		Payload: []byte(`{"id":1}`), ReceivedAt: w.now, Targets: targets, Verdict: hook.Verdict{Scheme: "none"},
	}}
}

func (w *world) accept(a *hook.Acceptance) hook.Event {
	w.Helper()
	receipt, err := w.store.Accept(w.Context(), a)
	w.must(err)
	if receipt.Duplicate || receipt.Event != a.Event.ID {
		w.Fatalf("receipt %+v, want the event %v itself", receipt, a.Event.ID)
	}
	return a.Event
}

// inline accepts an event with one inline delivery and returns its job.
func (w *world) inline(p place) *hook.Job {
	w.Helper()
	ev := w.accept(w.event(p, w.target(p)))
	return inlineJob(&ev, 0)
}

func inlineJob(ev *hook.Event, target int) *hook.Job {
	t := &ev.Targets[target]
	return &hook.Job{
		Inline: true, Event: ev,
		Delivery: hook.Delivery{
			ID: t.Delivery, Project: ev.Project, Event: ev.ID, Connection: t.Connection, Destination: t.Destination,
			State: hook.StateSending, CreatedAt: ev.ReceivedAt, UpdatedAt: ev.ReceivedAt,
		},
	}
}

// waiting accepts an event whose delivery waits in the store, and returns its id.
func (w *world) waiting(p place) hook.DeliveryID {
	w.Helper()
	t := w.target(p)
	t.Deferred = true
	w.accept(w.event(p, t))
	return t.Delivery
}

// claim claims up to limit due deliveries of the place's destination.
func (w *world) claim(p place, limit int) []*hook.Job {
	w.Helper()
	jobs, err := w.store.Claim(w.Context(), store.Claim{
		Destination: p.destination, Owner: "node-1", Until: w.now.Add(time.Minute), Now: w.now, Limit: limit,
	})
	w.must(err)
	return jobs
}

// attempt returns an attempt that began now.
func (w *world) attempt(outcome hook.Outcome, status int) *hook.Attempt {
	return &hook.Attempt{
		ID: hook.AttemptID(w.ids.Next(w.now)), StartedAt: w.now, Duration: hook.Duration(30 * time.Millisecond), Outcome: outcome,
		Method: "POST", URL: "https://erp.example.com/orders", ResponseStatus: status,
	}
}

// settle settles a job and waits for the commit.
func (w *world) settle(s hook.Settlement) {
	w.Helper()
	done := make(chan error, 1)
	w.store.Settle(s, func(err error) { done <- err })
	w.must(<-done)
}

// succeed settles a job as delivered.
func (w *world) succeed(job *hook.Job) {
	w.Helper()
	w.settle(hook.Settlement{Job: job, State: hook.StateSucceeded, Attempt: w.attempt(hook.OutcomeSuccess, 200)})
}

// fail settles a job as failed for good.
func (w *world) fail(job *hook.Job) {
	w.Helper()
	w.settle(hook.Settlement{Job: job, State: hook.StateFailed, Reason: "it said no", Attempt: w.attempt(hook.OutcomeRefused, 400)})
}

func (w *world) delivery(p place, id hook.DeliveryID) hook.Delivery {
	w.Helper()
	d, err := w.store.Delivery(w.Context(), p.project, id)
	w.must(err)
	return d
}

// states fails unless the delivery is in the state.
func (w *world) inState(p place, id hook.DeliveryID, state hook.State) hook.Delivery {
	w.Helper()
	d := w.delivery(p, id)
	if d.State != state {
		w.Errorf("delivery %v is %v (%s), want %v", id, d.State, d.Reason, state)
	}
	return d
}

func (w *world) crash()   { w.store = w.harness.Crash(w.T, w.store) }
func (w *world) restart() { w.store = w.harness.Restart(w.T, w.store) }

func (w *world) reclaim() int {
	w.Helper()
	n, err := w.store.Reclaim(w.Context(), w.now)
	w.must(err)
	return n
}

func (w *world) backlog(p place) map[hook.State]int64 {
	w.Helper()
	backlog, err := w.store.Backlog(w.Context(), p.project)
	w.must(err)
	return backlog[p.destination]
}

// wantBacklog fails unless the destination's backlog is as given, in the form
// "pending=1 failed=2", states without deliveries left out.
func (w *world) wantBacklog(p place, want string) {
	w.Helper()
	var got strings.Builder
	backlog := w.backlog(p)
	for _, state := range []hook.State{hook.StatePending, hook.StateSending, hook.StateSucceeded, hook.StateFailed, hook.StateHeld, hook.StateCanceled} {
		if n := backlog[state]; n != 0 {
			fmt.Fprintf(&got, " %v=%d", state, n)
		}
	}
	if want != "" {
		want = " " + want
	}
	if got.String() != want {
		w.Errorf("backlog%s, want%s", got.String(), want)
	}
}
