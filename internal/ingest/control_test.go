package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/hooktest"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// byCustomer is a catalogue whose deliveries are ordered by the payload's customer.
func byCustomer() hook.Catalogue {
	catalogue := withConnection(source(10, "shop"))
	catalogue.Connections[0].Order = &hook.Order{Key: "data.customer"}
	return catalogue
}

// deferring is a store that defers each target with the order key "late".
type deferring struct{ *fakeStore }

func (s deferring) Accept(ctx context.Context, acceptance *hook.Acceptance) (hook.Receipt, error) {
	for i := range acceptance.Event.Targets {
		if target := &acceptance.Event.Targets[i]; target.OrderKey == "late" {
			target.Deferred = true
		}
	}
	return s.fakeStore.Accept(ctx, acceptance)
}

func TestWhatTheStoreDefersGivesItsRoomBack(t *testing.T) {
	fake := &fakeStore{seen: map[hook.DedupeHash]hook.EventID{}}
	w := newWorld(t, byCustomer(), func(o *Options) { o.Store = deferring{fake} })
	for _, body := range []string{`{"customer":"late"}`, `{"customer":"first"}`, `{}`} {
		if answer := w.post("/in/shop", body); answer.Code != http.StatusOK {
			t.Fatalf("%d %s", answer.Code, answer.Body)
		}
	}
	keys := make([]string, 0, 2)
	for _, job := range w.lanes.jobs {
		keys = append(keys, job.Delivery.OrderKey)
	}
	if diff := cmp.Diff([]string{"first", ""}, keys); diff != "" || !w.lanes.balanced() {
		t.Errorf("attempted at once: %s; balanced: %v", diff, w.lanes.balanced())
	}
	if n := w.counted(t, "malote_ingest_keyless_total"); n != 1 {
		t.Errorf("%v deliveries without a key are counted", n)
	}
	fake.err = errors.New("full")
	if answer := w.post("/in/shop", `{"customer":"late"}`); answer.Code != http.StatusServiceUnavailable || !w.lanes.balanced() {
		t.Errorf("%d; balanced: %v", answer.Code, w.lanes.balanced())
	}
}

func TestDuplicatesOfWhatIsDeferredGiveTheirRoomBack(t *testing.T) {
	catalogue := byCustomer()
	catalogue.Sources[0].Dedupe = &hook.Dedupe{Field: hook.Field{Path: "id"}}
	fake := &fakeStore{seen: map[hook.DedupeHash]hook.EventID{}}
	w := newWorld(t, catalogue, func(o *Options) { o.Store = deferring{fake} })
	for range 2 {
		w.post("/in/shop", `{"customer":"late","id":"1"}`)
	}
	if len(fake.events()) != 1 || !w.lanes.balanced() {
		t.Errorf("%d events; balanced: %v", len(fake.events()), w.lanes.balanced())
	}
}

func TestLanesMayHold(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop")))
	w.lanes.held = hook.Admission{Cause: hook.CauseCircuit, Reason: "10 attempts in a row failed"}
	w.post("/in/shop", `{}`)
	target := w.store.accepted[0].Event.Targets[0]
	if !target.Held || target.Deferred || target.Cause != hook.CauseCircuit || target.Reason != "10 attempts in a row failed" || len(w.lanes.jobs) != 0 {
		t.Errorf("%+v", target)
	}
}

func TestWhatIsDueLaterAsksNoLane(t *testing.T) {
	now := time.Date(2026, 11, 23, 23, 0, 0, 5e5, time.UTC)
	for name, test := range map[string]struct {
		change func(*hook.Catalogue)
		want   time.Time
	}{
		"a delay":                 {func(c *hook.Catalogue) { c.Connections[0].Delay = hook.Duration(time.Minute) }, now.Add(time.Minute)},
		"quiet hours":             {func(c *hook.Catalogue) { c.Connections[0].Quiet = &hook.Quiet{From: "22:00", To: "06:00"} }, now.Add(7 * time.Hour)},
		"those of where it leads": {func(c *hook.Catalogue) { c.Destinations[0].Quiet = &hook.Quiet{From: "22:00", To: "00:00"} }, now.Add(time.Hour)},
	} {
		catalogue := withConnection(source(10, "shop"))
		test.change(&catalogue)
		w := newWorld(t, catalogue, func(o *Options) { o.Now = func() time.Time { return now } })
		w.lanes.held = hook.Admission{Cause: hook.CauseCircuit} // would be seen
		w.post("/in/shop", `{}`)
		target := w.store.accepted[0].Event.Targets[0]
		if !target.Deferred || target.Held || !target.Due.Equal(stamp(test.want)) || len(w.lanes.jobs) != 0 {
			t.Errorf("%s: %+v", name, target)
		}
		if got := w.lanes.expected; len(got) != 1 || got[0].Destination != target.Destination || !got[0].Due.Equal(target.Due) {
			t.Errorf("%s: the lanes expect %+v", name, got)
		}
	}
}

// recording notes in which order and how far side by side events are stored.
type recording struct {
	*fakeStore

	mu     sync.Mutex
	active map[string]bool // keys of what is being stored
	order  map[string][]string
	beside bool // two of one key were
}

func (s *recording) Accept(ctx context.Context, acceptance *hook.Acceptance) (hook.Receipt, error) {
	key := acceptance.Event.Targets[0].OrderKey
	s.mu.Lock()
	s.beside = s.beside || s.active[key]
	s.active[key] = true
	s.order[key] = append(s.order[key], string(acceptance.Event.Payload))
	s.mu.Unlock()
	receipt, err := s.fakeStore.Accept(ctx, acceptance)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active[key] = false
	return receipt, err
}

func TestBatchesKeepTheOrderOfTheirKeys(t *testing.T) {
	record := &recording{fakeStore: &fakeStore{seen: map[hook.DedupeHash]hook.EventID{}}, active: map[string]bool{}, order: map[string][]string{}}
	w := newWorld(t, byCustomer(), func(o *Options) { o.Store = record })
	var elements []string
	want := map[string][]string{}
	for n := range 200 {
		key := fmt.Sprint(n * n % 7)
		element := fmt.Sprintf(`{"customer":%q,"n":%d}`, key, n)
		elements, want[key] = append(elements, element), append(want[key], element)
	}
	answer := w.post("/in/shop", "["+strings.Join(elements, ",")+"]", "Content-Type", cloudEventsBatch)
	if answer.Code != http.StatusOK || record.beside || !w.lanes.balanced() {
		t.Fatalf("%d; of one key side by side: %v", answer.Code, record.beside)
	}
	if diff := cmp.Diff(want, record.order); diff != "" {
		t.Error(diff)
	}
	last := hook.EventID(0)
	for _, acceptance := range record.events() {
		event := &acceptance.Event
		if string(event.Payload) == elements[0] && !strings.Contains(answer.Body.String(), event.ID.String()) {
			t.Errorf("the answer %s does not name the first event %s", answer.Body, event.ID)
		}
		if event.Targets[0].OrderKey != "0" {
			continue
		}
		if event.ID < last {
			t.Fatal("the ids are not in the order of the batch")
		}
		last = event.ID
	}
}

// courier takes deliveries and checks that no two of one key are under way.
type courier struct {
	t    *testing.T
	jobs chan *hook.Job

	mu     sync.Mutex
	active map[string]bool
	came   map[string][]string // payloads by key
	inline int
}

func (c *courier) Reserve(hook.DestinationID) hook.Admission { return hook.Admission{Inline: true} }
func (c *courier) Release(hook.DestinationID)                {}
func (c *courier) Expect(hook.DestinationID, time.Time)      {}

func (c *courier) Dispatch(job *hook.Job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := job.Delivery.OrderKey
	if c.active[key] {
		c.t.Errorf("two deliveries of the key %q are under way", key)
	}
	if job.Inline {
		c.inline++
	}
	c.active[key] = true
	c.came[key] = append(c.came[key], string(job.Event.Payload))
	c.jobs <- job
}

func (c *courier) done(job *hook.Job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active[job.Delivery.OrderKey] = false
}

// Events of many customers, each of which sends one after another, through the real
// store: each customer's arrive in the order in which they were sent, and one at a time.
func TestOrderByKeyWithTheRealStore(t *testing.T) {
	ctx := t.Context()
	db := sqlitetest.Open(t)
	project, err := db.Projects().Get(ctx, 0, route.DefaultProject)
	must(t, err)
	shop := hooktest.Source(project.ID, "shop")
	erp := hooktest.Destination(project.ID, "erp", "https://erp.example.com/")
	must(t, db.Sources().Create(ctx, &shop))
	must(t, db.Destinations().Create(ctx, &erp))
	link := hooktest.Connection(&shop, &erp, func(c *hook.Connection) { c.Order = &hook.Order{Key: "data.customer"} })
	must(t, db.Connections().Create(ctx, &link))
	_, err = db.Reclaim(ctx, time.Now())
	must(t, err)
	router := route.New(route.Options{
		Load:    db.Catalogue,
		Compile: func(spec *hook.SourceSpec) (*signature.Verifier, error) { return signature.Compile(spec, nil, nil) },
	})
	must(t, router.Reload(ctx))

	const customers, each = 4, 15
	c := &courier{t: t, jobs: make(chan *hook.Job, customers*each), active: map[string]bool{}, came: map[string][]string{}}
	handler, err := New(Options{Catalogue: router, Store: db, Lanes: c, IDs: hook.NewIDs(3)})
	must(t, err)
	want := map[string][]string{}
	var senders sync.WaitGroup
	for customer := range customers {
		key := fmt.Sprint("customer-", customer)
		for n := range each {
			want[key] = append(want[key], fmt.Sprintf(`{"customer":%q,"n":%d}`, key, n))
		}
		bodies := want[key]
		senders.Go(func() {
			for _, body := range bodies {
				answer := httptest.NewRecorder()
				handler.ServeHTTP(answer, request(http.MethodPost, "/in/shop", body))
				if answer.Code != http.StatusOK {
					t.Errorf("%s is answered %d", body, answer.Code)
				}
			}
		})
	}
	ids := hook.NewIDs(4)
	for range customers * each {
		job := <-c.jobs
		c.done(job)
		settled := make(chan error, 1)
		db.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded, Attempt: &hook.Attempt{
			ID: hook.AttemptID(ids.Next(time.Now())), Delivery: job.Delivery.ID, Number: 1, StartedAt: time.Now(), Outcome: hook.OutcomeSuccess,
		}}, func(err error) { settled <- err })
		must(t, <-settled)
		claimed, err := db.Claim(ctx, store.Claim{Destination: erp.ID, Owner: "test", Until: time.Now().Add(time.Minute), Now: time.Now(), Limit: 10})
		must(t, err)
		for _, job := range claimed {
			c.Dispatch(job)
		}
	}
	senders.Wait()
	if diff := cmp.Diff(want, c.came); diff != "" {
		t.Error(diff)
	}
	if c.inline == 0 {
		t.Error("every delivery took the way over the store")
	}
}

func TestTheSystemSource(t *testing.T) {
	system := source(11, hook.SystemSource, func(s *hook.Source) { s.SourceSpec = hook.SourceSpec{System: true} })
	catalogue := withConnection(source(10, "shop"), system)
	pager := hooktest.Destination(projectID, "pager", "https://pager.example.com/")
	pager.ID = 31
	catalogue.Destinations = append(catalogue.Destinations, pager)
	second := hooktest.Connection(&catalogue.Sources[1], &pager)
	second.ID, second.Version = 110, 1
	catalogue.Connections = append(catalogue.Connections, second)
	w := newWorld(t, catalogue)

	for _, path := range []string{"/in/malote", "/in/" + hook.SourceID(11).String()} {
		if answer := w.post(path, `{}`); answer.Code != http.StatusNotFound || len(w.store.accepted) != 0 {
			t.Errorf("%s is answered %d", path, answer.Code)
		}
	}
	notice := &hook.Event{Type: hook.NoticeCircuitOpened, Key: erpID.String(), Payload: []byte(`{"name":"erp"}`)}
	malote, _ := w.router.Current().SystemSource(projectID)
	if _, err := w.Publish(t.Context(), malote, notice); hook.KindOf(err) != hook.KindConflict {
		t.Errorf("published: %v", err)
	}
	destinations := func(except hook.DestinationID) (ids []hook.DestinationID) {
		must(t, w.Announce(t.Context(), projectID, notice, except))
		event := w.store.accepted[len(w.store.accepted)-1].Event
		if event.Source != 11 || event.Type != hook.NoticeCircuitOpened || event.Key != erpID.String() || event.Verdict.Scheme != SchemeSystem {
			t.Errorf("%+v", event)
		}
		for i := range event.Targets {
			ids = append(ids, event.Targets[i].Destination)
		}
		return ids
	}
	if diff := cmp.Diff([]hook.DestinationID{31}, destinations(erpID)); diff != "" {
		t.Errorf("a notice about a destination goes there: %s", diff)
	}
	if diff := cmp.Diff([]hook.DestinationID{erpID, 31}, destinations(0)); diff != "" {
		t.Error(diff)
	}
	if len(w.lanes.jobs) != 3 || !w.lanes.balanced() {
		t.Errorf("%d deliveries begin; balanced: %v", len(w.lanes.jobs), w.lanes.balanced())
	}
	if err := w.Announce(t.Context(), projectID+1, notice, 0); hook.KindOf(err) != hook.KindNotFound {
		t.Errorf("of a project that there is not: %v", err)
	}
}

func TestAnEventHasABoundedNumberOfTargets(t *testing.T) {
	catalogue := withConnection(source(10, "shop"))
	one := catalogue.Connections[0]
	for n := range maxTargets {
		one.ID = hook.ConnectionID(1000 + n)
		catalogue.Connections = append(catalogue.Connections, one)
	}
	w := newWorld(t, catalogue, func(o *Options) { o.Logger = nil })
	answer := w.post("/in/shop", `{}`)
	if answer.Code != http.StatusServiceUnavailable || len(w.store.accepted) != 0 || len(w.store.refusals) != 1 {
		t.Fatalf("%d, %d refusals", answer.Code, len(w.store.refusals))
	}
	kept := w.store.refusals[0]
	if kept.Reason != ReasonTargets || !strings.Contains(kept.Explanation[0], "more than 10000 connections") {
		t.Errorf("%+v", kept)
	}
	if _, err := w.Readmit(t.Context(), kept); hook.KindOf(err) != hook.KindConflict {
		t.Errorf("re-admitted: %v", err)
	}
	w.catalogue.Connections = w.catalogue.Connections[1:]
	must(t, w.router.Reload(t.Context()))
	if _, err := w.Readmit(t.Context(), kept); err != nil || len(w.store.accepted[0].Event.Targets) != maxTargets {
		t.Errorf("re-admitted with fewer: %v", err)
	}
}
