package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
)

// step is one thing that happens in a model run.
type step struct {
	Do    action
	Which int  // of what the action is about
	Half  bool // the process does not get to the second part of it
	Wait  time.Duration
}

type action int

const (
	acceptNew action = iota
	acceptAgain
	prepare // ingest matches an event, and stores it only at …
	commit  // … this moment
	loseDispatch
	pauseDestination
	resumeDestination
	pauseConnection
	resumeConnection
	retry
	cancel
	deleteConnection
	crash
	restart
	breakDown // the receiver fails whatever comes …
	mend      // … until this
	closeCircuit
	probeNow
	replay
	pause
	actions
)

func (a action) String() string {
	return [...]string{
		"accept", "accept-again", "prepare", "commit", "lose-dispatch", "pause-destination", "resume-destination",
		"pause-connection", "resume-connection", "retry", "cancel", "delete-connection", "crash", "restart",
		"break-down", "mend", "close-circuit", "probe-now", "replay", "pause",
	}[a]
}

// TestModel does random things in random order to an engine over a real store, in
// virtual time, crashes included, and compares what comes of it with a model: what was
// acknowledged is never lost, no delivery is attempted twice at once, none before those
// of its key that came earlier, every one ends in a state with a reason, attempts are
// counted right, and the counters are exact.
func TestModel(t *testing.T) {
	one := rapid.Custom(func(t *rapid.T) step {
		return step{
			Do:    action(rapid.IntRange(0, 3*int(actions)).Draw(t, "do")),
			Which: rapid.IntRange(0, 1000).Draw(t, "which"),
			Half:  rapid.IntRange(0, 3).Draw(t, "half") == 0,
			Wait:  rapid.SampledFrom([]time.Duration{0, 0, 10 * time.Millisecond, time.Second, 20 * time.Second}).Draw(t, "wait"),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(one, 1, 60).Draw(rt, "steps")
		chance := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "chance"), 1))
		dir := t.TempDir()
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, dir, chance)
			for i := range steps {
				m.step(&steps[i])
			}
			m.end()
			wrong = m.wrong
		})
		if len(wrong) > 0 {
			rt.Fatalf("%s", strings.Join(wrong, "\n"))
		}
	})
}

// modelRetry has few and short waits, so that deliveries are used up, too.
func modelRetry() hook.RetryPolicy {
	var policy hook.RetryPolicy
	for _, wait := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 30 * time.Second} {
		policy.Schedule = append(policy.Schedule, hook.Duration(wait))
	}
	return policy
}

// model is the engine with its store, and what has to be true of them.
type model struct {
	*durable

	root    string
	lives   int
	partner *partner
	life    *life
	rest    func() // ends what runs beside the engine

	events     map[hook.EventID]*hook.Event
	seen       map[int]hook.EventID // first event by the provider's id
	duplicates int64
	reopened   int64 // deliveries that had ended and were sent again
	canceled   map[hook.DeliveryID]bool
	deleted    map[hook.ConnectionID]bool
	routes     []hook.ConnectionID
	waiting    *prepared // not stored yet
	replayed   map[hook.DeliveryID]bool
	wrong      []string
}

// prepared is what ingest knows before an event is stored.
type prepared struct {
	*hook.Acceptance

	reserved []bool // by target: there is room for it
}

func (m *model) bad(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

// newModel starts an engine with two destinations, the first of which has two
// connections.
func newModel(t *testing.T, root string, chance *rand.Rand) *model {
	t.Helper()
	m := &model{
		durable: &durable{bench: newBench(t, nil)}, root: root,
		partner: &partner{chance: chance, flying: map[string]bool{}, tallies: map[string]*tally{}},
		events:  map[hook.EventID]*hook.Event{}, seen: map[int]hook.EventID{},
		canceled: map[hook.DeliveryID]bool{}, deleted: map[hook.ConnectionID]bool{}, replayed: map[hook.DeliveryID]bool{},
	}
	m.partner.keys = newKeys(m)
	m.dir = m.folder()
	m.open()
	project, err := m.store.Projects().Get(t.Context(), 0, sqlite.DefaultProject)
	m.must(err)
	m.project = project.ID
	source := hook.Source{Project: m.project, Name: "shop"}
	m.must(m.store.Sources().Create(t.Context(), &source))
	m.source = source.ID
	clear(m.catalogue.destinations)
	clear(m.catalogue.connections)
	for n, connections := range []int{2, 1} {
		dst := hook.Destination{Project: m.project, Name: fmt.Sprintf("erp-%d", n), DestinationSpec: hook.DestinationSpec{
			HTTP:        &hook.HTTPTarget{URL: "https://erp.example.com/", Sign: &hook.Sign{None: true}, Timeout: hook.Duration(5 * time.Second)},
			Concurrency: 1 + chance.IntN(4),
			Circuit:     &hook.CircuitPolicy{Failures: 2 + chance.IntN(6), MaxProbe: hook.Duration(20 * time.Second), Off: chance.IntN(5) == 0},
		}}
		if chance.IntN(3) == 0 {
			dst.Rate = hook.Rate{Count: 2, Per: time.Second}
		}
		m.must(m.store.Destinations().Create(t.Context(), &dst))
		m.catalogue.destinations[dst.ID] = &dst
		for range connections {
			connection := hook.Connection{
				Project: m.project, Name: fmt.Sprintf("way-%d", len(m.routes)), Source: m.source, Destination: dst.ID,
				ConnectionSpec: hook.ConnectionSpec{Retry: modelRetry()},
			}
			if len(m.routes) != 1 {
				stuck := []string{"block", "skip after 2", "skip after 6", "park"}[chance.IntN(4)]
				connection.Order = &hook.Order{Key: "data.customer", Stuck: stuck}
			}
			if chance.IntN(3) == 0 {
				connection.Delay = hook.Duration(3 * time.Second)
			}
			m.must(m.store.Connections().Create(t.Context(), &connection))
			m.catalogue.connections[connection.ID] = connection
			m.routes = append(m.routes, connection.ID)
		}
	}
	m.begin()
	return m
}

// folder names the data folder of the next life.
func (m *model) folder() string {
	m.lives++
	return filepath.Join(m.root, fmt.Sprint(m.lives))
}

// begin starts the engine of a new life.
func (m *model) begin() {
	m.life = &life{partner: m.partner, over: make(chan struct{})}
	guard, err := egress.NewGuard(nil)
	m.must(err)
	m.options.Senders = webhook.NewFactory(webhook.Options{Guard: guard, Transport: m.life, Logger: quiet()}).Open
	m.options.MaxLane, m.options.MaxJobs, m.options.IDs = 6, 10, m.ids
	m.start()
	engine, held := m.engine, m.store
	resumer := deliver.NewResumer(deliver.ResumerOptions{Store: held, Routes: m.catalogue.routes, Wake: engine.Wake, Resume: engine.Resume, Logger: quiet()})
	ended := make(chan struct{})
	ctx, end := context.WithCancel(m.t.Context())
	go func() {
		defer close(ended)
		m.must(resumer.Run(ctx))
	}()
	m.rest = func() {
		end()
		<-ended
	}
	synctest.Wait()
}

// routes yields all ways.
func (c *catalogue) routes() iter.Seq[deliver.Route] {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []deliver.Route
	for _, connection := range c.connections {
		all = append(all, deliver.Route{Connection: &connection, Destination: c.destinations[connection.Destination]})
	}
	return func(yield func(deliver.Route) bool) {
		for _, route := range all {
			if !yield(route) {
				return
			}
		}
	}
}

// changeConnection replaces a connection that is still there.
func (c *catalogue) changeConnection(id hook.ConnectionID, change func(*hook.Connection)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	connection, ok := c.connections[id]
	if ok {
		change(&connection)
		c.connections[id] = connection
	}
	return ok
}

// partner is the receiver of all lives. It answers anything at any time.
type partner struct {
	mu      sync.Mutex
	chance  *rand.Rand
	calm    bool
	down    bool // whatever comes fails
	keys    *keys
	flying  map[string]bool
	tallies map[string]*tally
	twice   int
}

// tally is what the receiver knows of a delivery.
type tally struct {
	took    int // answered 2xx, whether or not the answer arrived
	ended   int // attempts that ended while their process lived
	unclear int // attempts that ended while their process stopped
}

// life is the partner as one process meets it.
type life struct {
	*partner

	over     chan struct{} // closed when the process crashes
	stopping bool
}

var errCrashed = errors.New("the process is no more")

// RoundTrip implements http.RoundTripper.
func (l *life) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	select {
	case <-l.over:
		return nil, errCrashed
	default:
	}
	id := req.Header.Get("Webhook-Id")
	l.keys.begin(req.Context(), id)
	defer l.keys.end(id)
	status, latency := l.arrive(id)
	timer := time.NewTimer(latency)
	defer timer.Stop()
	var err error
	select {
	case <-timer.C:
	case <-req.Context().Done():
		err = req.Context().Err()
	case <-l.over:
		err = errCrashed
	}
	l.leave(id, err)
	switch {
	case err != nil:
		return nil, err
	case status == 0:
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func (l *life) arrive(id string) (status int, latency time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flying[id] {
		l.twice++
	}
	l.flying[id] = true
	if l.tallies[id] == nil {
		l.tallies[id] = &tally{}
	}
	latency = time.Duration(l.chance.Int64N(int64(3 * time.Second)))
	status = http.StatusOK
	switch at := l.chance.IntN(20); {
	case l.calm:
		latency = 0
	case l.down:
		status = http.StatusInternalServerError
	case at < 6:
		status = http.StatusInternalServerError
	case at < 7:
		status = http.StatusServiceUnavailable
	case at < 8:
		status = http.StatusBadRequest
	case at < 9:
		status = 0
	case at < 10:
		latency = time.Hour
	case at < 11:
		status = http.StatusGone
	}
	if status == http.StatusOK {
		l.tallies[id].took++
	}
	return status, latency
}

func (l *life) leave(id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying[id] = false
	switch {
	case errors.Is(err, errCrashed):
	case err != nil && l.stopping:
		l.tallies[id].unclear++
	default:
		l.tallies[id].ended++
	}
}

// step does one thing and lets time pass.
func (m *model) step(s *step) {
	do := s.Do
	if do >= actions {
		do = acceptNew // the most frequent one
	}
	id := m.routes[s.Which%len(m.routes)]
	to := m.catalogue.connections[id].Destination
	switch do {
	case acceptNew:
		m.accept(m.prepare(0))
	case acceptAgain:
		m.accept(m.prepare(1 + s.Which%5))
	case prepare:
		if m.waiting == nil {
			m.waiting = m.prepare(0)
		}
	case commit:
		if m.waiting != nil {
			m.accept(m.waiting)
			m.waiting = nil
		}
	case loseDispatch:
		// The process ends between the commit and the hand-over to the engine.
		m.keep(m.prepare(0))
		m.crash()
	case pauseDestination, resumeDestination:
		if to != 0 {
			m.turnDestination(to, do == pauseDestination, s.Half)
		}
	case pauseConnection, resumeConnection:
		m.turnConnection(id, do == pauseConnection, s.Half)
	case retry, cancel:
		m.byHand(do, s.Which)
	case deleteConnection:
		if len(m.deleted) < len(m.routes)-1 && !m.deleted[id] {
			m.delete(id)
		}
	case crash:
		m.crash()
	case restart:
		m.restart()
	case breakDown, mend:
		m.partner.mu.Lock()
		m.partner.down = do == breakDown
		m.partner.mu.Unlock()
	case closeCircuit:
		m.must(m.engine.CloseCircuit(m.t.Context(), to))
	case probeNow:
		m.engine.ProbeNow(to)
	case replay:
		m.replay(id, s.Which)
	case pause, actions:
	}
	pass(s.Wait)
}

// prepare does what ingest does before it stores an event: it matches, and reserves.
// The provider's id is known; 0 is none.
func (m *model) prepare(provider int) *prepared {
	now := time.Now()
	a := &prepared{Acceptance: &hook.Acceptance{Event: hook.Event{
		ID: hook.EventID(m.ids.Next(now)), Project: m.project, Source: m.source, Type: "order.created", Method: http.MethodPost,
		Payload: []byte("{}"), PayloadSize: 2, ReceivedAt: now,
	}}}
	if provider > 0 {
		a.Dedupe, a.Window = hook.DedupeHash{byte(provider)}, 1000*time.Hour
	}
	key := []string{"", "a", "b"}[int64(a.Event.ID)%3]
	for route := range m.catalogue.routes() {
		t := hook.Target{
			Delivery: hook.DeliveryID(m.ids.Next(now)), Connection: route.Connection.ID, Destination: route.Destination.ID,
			Held: route.Connection.Paused || route.Destination.Paused,
		}
		if route.Connection.Order != nil {
			t.OrderKey = key
		}
		admission := hook.Admission{}
		switch {
		case t.Held:
			t.Cause, t.Reason = hook.CausePaused, "it was paused when the event came"
		case route.Connection.Delay > 0:
			t.Deferred, t.Due = true, now.Add(time.Duration(route.Connection.Delay))
		default:
			admission = m.engine.Reserve(t.Destination)
			t.Cause, t.Reason = admission.Cause, admission.Reason
			t.Held, t.Deferred = t.Cause != hook.CauseNone, t.Cause == hook.CauseNone && !admission.Inline
		}
		a.Event.Targets = append(a.Event.Targets, t)
		a.reserved = append(a.reserved, admission.Inline)
		m.partner.keys.add(&t)
	}
	return a
}

// keep stores an event and reports whether it is a new one.
func (m *model) keep(a *prepared) bool {
	receipt, err := m.store.Accept(m.t.Context(), a.Acceptance)
	m.must(err)
	provider := int(a.Dedupe[0])
	first, known := m.seen[provider]
	known = known && provider != 0
	if receipt.Duplicate != known || known && receipt.Event != first {
		m.bad("event %v of the provider's id %d is answered %+v; the first one was %v", a.Event.ID, provider, receipt, first)
	}
	if receipt.Duplicate {
		m.duplicates++
		return false
	}
	if provider != 0 {
		m.seen[provider] = a.Event.ID
	}
	m.events[a.Event.ID] = &a.Event
	m.partner.keys.stored(a.Event.Targets)
	return true
}

// accept does what ingest does with a prepared event.
func (m *model) accept(a *prepared) {
	fresh := m.keep(a)
	for i, t := range a.Event.Targets {
		switch {
		case !a.reserved[i]:
			if fresh && !t.Due.IsZero() {
				m.engine.Expect(t.Destination, t.Due)
			}
		case !fresh || t.Deferred: // a duplicate, or it waits for its key
			m.engine.Release(t.Destination)
		default:
			m.engine.Dispatch(&hook.Job{Event: &a.Event, Inline: true, Delivery: hook.Delivery{
				ID: t.Delivery, Project: m.project, Event: a.Event.ID, Connection: t.Connection, Destination: t.Destination,
				OrderKey: t.OrderKey, State: hook.StateSending, CreatedAt: a.Event.ReceivedAt,
			}})
		}
	}
}

// replay delivers an event once more over a connection, to its own or to another destination.
func (m *model) replay(over hook.ConnectionID, which int) {
	connection, there := m.catalogue.connections[over]
	events := slices.Sorted(maps.Keys(m.events))
	if len(events) == 0 || !there {
		return
	}
	now := time.Now()
	to := slices.Sorted(maps.Keys(m.catalogue.destinations))[which%len(m.catalogue.destinations)]
	run := hook.Replay{Project: m.project, State: hook.ReplayRunning, CreatedBy: "test"}
	m.must(m.store.CreateReplay(m.t.Context(), &run))
	target := hook.Target{Delivery: hook.DeliveryID(m.ids.Next(now)), Connection: over, Destination: to, Replay: run.ID}
	event := events[which%len(events)]
	if connection.Order != nil {
		target.OrderKey = []string{"", "a", "b"}[int64(event)%3]
	}
	m.partner.keys.add(&target)
	done, err := m.store.AdvanceReplay(m.t.Context(), store.ReplayStep{
		Replay: run.ID, Project: m.project, Cursor: int64(event), Looked: 1, Selected: 1, Now: now,
		Targets: []store.ReplayTarget{{Event: event, Target: target}},
	})
	m.must(err)
	if done.Made != 1 {
		m.bad("a replay of %v made %+v", event, done)
		return
	}
	m.replayed[target.Delivery] = true
	m.partner.keys.stored([]hook.Target{target})
	for _, id := range done.Destinations {
		m.engine.Wake(id)
	}
}

// turnDestination pauses or resumes a destination as the API does.
func (m *model) turnDestination(id hook.DestinationID, paused, half bool) {
	m.catalogue.change(id, func(d *hook.Destination) { d.Paused = paused })
	if half {
		return
	}
	if paused {
		_, err := m.store.Hold(m.t.Context(), store.Scope{Project: m.project, Destination: id}, "the destination is paused")
		m.must(err)
		return
	}
	for route := range m.catalogue.routes() {
		if route.Destination.ID == id && !route.Connection.Paused {
			_, err := m.store.Release(m.t.Context(), store.Scope{Project: m.project, Connection: route.Connection.ID}, time.Now())
			m.must(err)
		}
	}
	m.engine.Wake(id)
}

func (m *model) turnConnection(id hook.ConnectionID, paused, half bool) {
	if !m.catalogue.changeConnection(id, func(c *hook.Connection) { c.Paused = paused }) || half {
		return
	}
	route, _ := m.catalogue.Route(id, m.catalogue.connections[id].Destination)
	scope := store.Scope{Project: m.project, Connection: id}
	var err error
	switch {
	case paused:
		_, err = m.store.Hold(m.t.Context(), scope, "the connection is paused")
	case !route.Destination.Paused:
		_, err = m.store.Release(m.t.Context(), scope, time.Now())
		m.engine.Wake(route.Destination.ID)
	}
	m.must(err)
}

// byHand retries or cancels one delivery.
func (m *model) byHand(do action, which int) {
	synctest.Wait()
	all := m.deliveries()
	if len(all) == 0 {
		return
	}
	d := all[which%len(all)]
	var n int
	var err error
	if do == cancel {
		n, err = m.store.Cancel(m.t.Context(), m.project, []hook.DeliveryID{d.ID}, "no longer wanted")
		if n == 1 {
			m.canceled[d.ID] = true
		}
		if may := d.State == hook.StatePending || d.State == hook.StateHeld; (n == 1) != may {
			m.bad("canceling %v, which is %v, changed %d", d.ID, d.State, n)
		}
	} else {
		n, err = m.store.Retry(m.t.Context(), m.project, []hook.DeliveryID{d.ID}, time.Now())
		if n == 1 && d.State.Final() {
			m.reopened++
		}
		if n == 1 {
			m.partner.keys.reenter(d.ID)
		}
		m.engine.Wake(d.Destination)
	}
	m.must(err)
}

func (m *model) delete(id hook.ConnectionID) {
	m.deleted[id] = true
	m.must(m.store.Connections().Delete(m.t.Context(), m.project, id.String()))
	m.catalogue.mu.Lock()
	defer m.catalogue.mu.Unlock()
	delete(m.catalogue.connections, id)
}

// crash ends the process as a power cut does, and begins the next one on what is on
// the disk.
func (m *model) crash() {
	synctest.Wait()
	before := m.dir
	m.dir = m.folder()
	m.must(os.Mkdir(m.dir, 0o700))
	files, err := os.ReadDir(before)
	m.must(err)
	for _, file := range files {
		if strings.HasSuffix(file.Name(), "-shm") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(before, file.Name()))
		m.must(err)
		m.must(os.WriteFile(filepath.Join(m.dir, file.Name()), data, 0o600))
	}
	close(m.life.over)
	m.finish()
	m.must(os.RemoveAll(before))
	m.open()
	m.begin()
}

// restart ends the process as an operator does.
func (m *model) restart() {
	synctest.Wait()
	m.partner.mu.Lock()
	m.life.stopping = true
	m.partner.mu.Unlock()
	m.finish()
	m.open()
	m.begin()
}

// finish ends a life. What a sender was not answered is not acknowledged.
func (m *model) finish() {
	m.waiting = nil
	m.rest()
	m.stop()
	m.must(m.store.Close())
}

// deliveries returns all that the log lists.
func (m *model) deliveries() []hook.Delivery {
	m.t.Helper()
	var all []hook.Delivery
	req := page.Request{Limit: page.MaxLimit}
	for {
		got, err := m.store.Deliveries(m.t.Context(), store.DeliveryQuery{Project: m.project, Page: req})
		m.must(err)
		all = append(all, got.Items...)
		if got.Done || len(got.Items) == 0 {
			return all
		}
		req.From = got.Last
	}
}
