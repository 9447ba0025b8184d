// Package stage sets up what the conformance suites of stores play on: a store with a few
// nouns in two projects, a clock, and what a test does again and again.
package stage

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
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

// Noon is when the suite takes place: all ids, and what follows from them, come from
// it and not from the clock.
func Noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// World is a store with one connection set up in the project "default" and another
// one, of the same names, in the project "other".
type World struct {
	*testing.T

	Harness Harness
	Store   store.Store
	IDs     *hook.IDs
	Now     time.Time
	Home    Place
	Other   Place
}

// Place is a project with one noun of each kind.
type Place struct {
	Project     hook.ProjectID
	Source      hook.SourceID
	Destination hook.DestinationID
	Connection  hook.ConnectionID
}

// New opens a store and sets the world up in it.
func New(t *testing.T, h Harness) *World {
	t.Helper()
	w := &World{T: t, Harness: h, Store: h.Open(t), IDs: hook.NewIDs(7), Now: Noon()}
	project, err := w.Store.Projects().Get(t.Context(), 0, "default")
	w.Must(err)
	w.Home = w.build(project.ID)
	second := hook.Project{Name: "other"}
	w.Must(w.Store.Projects().Create(t.Context(), &second))
	w.Other = w.build(second.ID)
	_, err = w.Store.Reclaim(t.Context(), w.Now)
	w.Must(err)
	return w
}

func (w *World) build(project hook.ProjectID) Place {
	w.Helper()
	source := hook.Source{Project: project, Name: "shop"}
	w.Must(w.Store.Sources().Create(w.Context(), &source))
	destination := hook.Destination{Project: project, Name: "erp"}
	w.Must(w.Store.Destinations().Create(w.Context(), &destination))
	p := Place{Project: project, Source: source.ID, Destination: destination.ID}
	p.Connection = w.Connect(p, "orders")
	return p
}

// Connect creates one more connection between the ends of a place.
func (w *World) Connect(p Place, name string) hook.ConnectionID {
	w.Helper()
	connection := hook.Connection{Project: p.Project, Name: name, Source: p.Source, Destination: p.Destination}
	w.Must(w.Store.Connections().Create(w.Context(), &connection))
	return connection.ID
}

// AddDestination creates one more destination and a connection to it.
func (w *World) AddDestination(p Place, name string) Place {
	w.Helper()
	destination := hook.Destination{Project: p.Project, Name: name}
	w.Must(w.Store.Destinations().Create(w.Context(), &destination))
	p.Destination = destination.ID
	p.Connection = w.Connect(p, "to-"+name)
	return p
}

// AddSource creates one more source and a connection from it.
func (w *World) AddSource(p Place, name string) Place {
	w.Helper()
	source := hook.Source{Project: p.Project, Name: name}
	w.Must(w.Store.Sources().Create(w.Context(), &source))
	p.Source = source.ID
	p.Connection = w.Connect(p, "from-"+name)
	return p
}

// Must fails at once when there is an error.
func (w *World) Must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// Wants fails unless err is a hook.Error of the kind.
func (w *World) Wants(kind hook.Kind, err error) {
	w.Helper()
	if err == nil || hook.KindOf(err) != kind {
		w.Errorf("error %v, want one of kind %v", err, kind)
	}
}

// Tick moves the world's clock.
func (w *World) Tick(d time.Duration) { w.Now = w.Now.Add(d) }

// Target returns a target over the place's connection.
func (w *World) Target(p Place) hook.Target {
	return hook.Target{Delivery: hook.DeliveryID(w.IDs.Next(w.Now)), Connection: p.Connection, Destination: p.Destination}
}

// Event returns an event of the Place, received now, with the given targets.
func (w *World) Event(p Place, targets ...hook.Target) *hook.Acceptance {
	return &hook.Acceptance{Event: hook.Event{
		ID: hook.EventID(w.IDs.Next(w.Now)), Project: p.Project, Source: p.Source, Type: "orders/create", Method: "POST",
		Payload: []byte(`{"id":1}`), ReceivedAt: w.Now, Targets: targets, Verdict: hook.Verdict{Scheme: "none"},
	}}
}

// Accept accepts an event that is no duplicate, and returns it.
func (w *World) Accept(a *hook.Acceptance) hook.Event {
	w.Helper()
	receipt, err := w.Store.Accept(w.Context(), a)
	w.Must(err)
	if receipt.Duplicate || receipt.Event != a.Event.ID {
		w.Fatalf("receipt %+v, want the event %v itself", receipt, a.Event.ID)
	}
	return a.Event
}

// Inline accepts an event with one inline delivery and returns its job.
func (w *World) Inline(p Place) *hook.Job {
	w.Helper()
	ev := w.Accept(w.Event(p, w.Target(p)))
	return InlineJob(&ev, 0)
}

// InlineJob returns the job of an event's target that its caller attempts.
func InlineJob(ev *hook.Event, target int) *hook.Job {
	t := &ev.Targets[target]
	return &hook.Job{
		Inline: true, Event: ev,
		Delivery: hook.Delivery{
			ID: t.Delivery, Project: ev.Project, Event: ev.ID, Connection: t.Connection, Destination: t.Destination,
			State: hook.StateSending, CreatedAt: ev.ReceivedAt, UpdatedAt: ev.ReceivedAt,
		},
	}
}

// Waiting accepts an event whose delivery waits in the store, and returns its id.
func (w *World) Waiting(p Place) hook.DeliveryID {
	w.Helper()
	t := w.Target(p)
	t.Deferred = true
	w.Accept(w.Event(p, t))
	return t.Delivery
}

// Claim claims up to limit due deliveries of the place's destination.
func (w *World) Claim(p Place, limit int) []*hook.Job {
	w.Helper()
	jobs, err := w.Store.Claim(w.Context(), store.Claim{
		Destination: p.Destination, Owner: "node-1", Until: w.Now.Add(time.Minute), Now: w.Now, Limit: limit,
	})
	w.Must(err)
	return jobs
}

// Attempt returns an attempt that began now.
func (w *World) Attempt(outcome hook.Outcome, status int) *hook.Attempt {
	return &hook.Attempt{
		ID: hook.AttemptID(w.IDs.Next(w.Now)), StartedAt: w.Now, Duration: hook.Duration(30 * time.Millisecond), Outcome: outcome,
		Method: "POST", URL: "https://erp.example.com/orders", ResponseStatus: status,
	}
}

// Settle settles a job and waits for the commit.
func (w *World) Settle(s hook.Settlement) {
	w.Helper()
	done := make(chan error, 1)
	w.Store.Settle(s, func(err error) { done <- err })
	w.Must(<-done)
}

// Succeed settles a job as delivered.
func (w *World) Succeed(job *hook.Job) {
	w.Helper()
	w.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded, Attempt: w.Attempt(hook.OutcomeSuccess, 200)})
}

// EndFailed settles a job as failed for good.
func (w *World) EndFailed(job *hook.Job) {
	w.Helper()
	w.Settle(hook.Settlement{Job: job, State: hook.StateFailed, Reason: "it said no", Attempt: w.Attempt(hook.OutcomeRefused, 400)})
}

// Delivery returns a delivery as it is stored.
func (w *World) Delivery(p Place, id hook.DeliveryID) hook.Delivery {
	w.Helper()
	d, err := w.Store.Delivery(w.Context(), p.Project, id)
	w.Must(err)
	return d
}

// InState fails unless the delivery is in the state.
func (w *World) InState(p Place, id hook.DeliveryID, state hook.State) hook.Delivery {
	w.Helper()
	d := w.Delivery(p, id)
	if d.State != state {
		w.Errorf("delivery %v is %v (%s), want %v", id, d.State, d.Reason, state)
	}
	return d
}

// Crash ends the store as a power cut would, and opens it again.
func (w *World) Crash() { w.Store = w.Harness.Crash(w.T, w.Store) }

// Restart closes the store and opens it again.
func (w *World) Restart() { w.Store = w.Harness.Restart(w.T, w.Store) }

// Reclaim makes due what the process before had in hand, and returns how many that were.
func (w *World) Reclaim() int {
	w.Helper()
	n, err := w.Store.Reclaim(w.Context(), w.Now)
	w.Must(err)
	return n
}

// Backlog returns the backlog of the place's destination.
func (w *World) Backlog(p Place) map[hook.State]int64 {
	w.Helper()
	backlog, err := w.Store.Backlog(w.Context(), p.Project)
	w.Must(err)
	return backlog[p.Destination]
}

// WantBacklog fails unless the destination's backlog is as given, in the form
// "pending=1 failed=2", states without deliveries left out.
func (w *World) WantBacklog(p Place, want string) {
	w.Helper()
	var got strings.Builder
	backlog := w.Backlog(p)
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

// Deliveries walks over all pages of a list, two at a time, back and forth, and
// returns what it has.
func (w *World) Deliveries(query store.DeliveryQuery) []hook.Delivery {
	w.Helper()
	return WalkBoth(w, func(req page.Request) page.Page[hook.Delivery] {
		query.Page = req
		p, err := w.Store.Deliveries(w.Context(), query)
		w.Must(err)
		return p
	}, func(d hook.Delivery) int64 { return int64(d.ID) })
}

// Events walks over all pages of a list like Deliveries.
func (w *World) Events(query store.EventQuery) []hook.Event {
	w.Helper()
	return WalkBoth(w, func(req page.Request) page.Page[hook.Event] {
		query.Page = req
		p, err := w.Store.Events(w.Context(), query)
		w.Must(err)
		return p
	}, func(ev hook.Event) int64 { return int64(ev.ID) })
}

// WalkBoth walks a list to its end and back to its start, checks that both ways show
// the same, newest first and each item once, and returns the items.
func WalkBoth[T any](w *World, get func(page.Request) page.Page[T], id func(T) int64) []T {
	w.Helper()
	var there, back []T
	req := page.Request{Limit: 2}
	for range 10_000 {
		p := get(req)
		w.checkPage(len(p.Items), p.Items == nil, 2)
		there = append(there, p.Items...)
		if p.Done {
			break
		}
		req.From = p.Last
	}
	req = page.Request{Limit: 3, Back: true}
	for range 10_000 {
		p := get(req)
		w.checkPage(len(p.Items), p.Items == nil, 3)
		back = append(slices.Clone(p.Items), back...)
		if p.Done {
			break
		}
		req.From = p.First
	}
	if diff := cmp.Diff(there, back); diff != "" {
		w.Errorf("the list differs by the way it is walked:\n%s", diff)
	}
	for i := 1; i < len(there); i++ {
		if id(there[i-1]) <= id(there[i]) {
			w.Errorf("item %d is not older than item %d", i, i-1)
		}
	}
	return there
}

func (w *World) checkPage(items int, isNil bool, limit int) {
	w.Helper()
	if items > limit || (items == 0) != isNil {
		w.Errorf("a page has %d items of at most %d (nil: %v)", items, limit, isNil)
	}
}

// Refusal returns a refused request of the place.
func (w *World) Refusal(p Place) *hook.Refusal {
	return &hook.Refusal{
		ID: hook.RefusalID(w.IDs.Next(w.Now)), Project: p.Project, Source: p.Source, Reason: "signature", Explanation: []string{"wrong secret", "or not"},
		Method: "POST", Path: "/x", Query: "a=b", Remote: "192.0.2.1", Headers: hook.Headers{{Name: "X", Value: "y"}}, Payload: []byte("\x00{"),
		Truncated: true, ReceivedAt: w.Now,
	}
}

// Each returns a delivery in each state, by state.
func (w *World) Each(p Place) map[hook.State]hook.DeliveryID {
	w.Helper()
	ids := map[hook.State]hook.DeliveryID{}
	for _, state := range []hook.State{hook.StateSucceeded, hook.StateFailed, hook.StateHeld, hook.StateCanceled, hook.StatePending} {
		job := w.Inline(p)
		ids[state] = job.Delivery.ID
		s := hook.Settlement{Job: job, State: state, Reason: "because", Next: w.Now.Add(time.Hour)}
		if state != hook.StateHeld && state != hook.StateCanceled {
			s.Attempt = w.Attempt(hook.OutcomeRejected, 500)
		}
		w.Settle(s)
	}
	ids[hook.StateSending] = w.Inline(p).Delivery.ID
	return ids
}

// Totals returns the sums of all roll-ups of a scope, by noun.
func (w *World) Totals(p Place, scope store.NumbersScope) map[int64]hook.Numbers {
	w.Helper()
	totals, err := w.Store.Totals(w.Context(), store.NumbersQuery{Project: p.Project, Scope: scope})
	w.Must(err)
	return totals
}

// Retain sets how long a project keeps its log.
func (w *World) Retain(name string, keep hook.Retention) {
	w.Helper()
	p, err := w.Store.Projects().Get(w.Context(), 0, name)
	w.Must(err)
	p.Retention = keep
	w.Must(w.Store.Projects().Update(w.Context(), &p))
}

// Prune removes what is too old now.
func (w *World) Prune() store.Pruned {
	w.Helper()
	pruned, err := w.Store.Prune(w.Context(), w.Now)
	w.Must(err)
	return pruned
}

// Parallel does something n times, from a few goroutines, so that commits are shared.
func Parallel(w *World, n int, do func(i int)) {
	w.Helper()
	var group sync.WaitGroup
	next := make(chan int)
	for range 32 {
		group.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}

// Settled returns when what was handed over before is committed.
func (w *World) Settled() {
	w.Helper()
	w.Accept(w.Event(w.Home))
}

// QueryOf selects all deliveries of a place's project.
func QueryOf(p Place) store.DeliveryQuery { return store.DeliveryQuery{Project: p.Project} }

// ByConnection selects what waits for a place's connection.
func ByConnection(p Place) store.Scope {
	return store.Scope{Project: p.Project, Connection: p.Connection}
}

// ByDestination selects what waits for a place's destination.
func ByDestination(p Place) store.Scope {
	return store.Scope{Project: p.Project, Destination: p.Destination}
}
