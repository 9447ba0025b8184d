package ingest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/hooktest"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature"
)

// fakeStore keeps in memory what it is given, and recognises duplicates.
type fakeStore struct {
	mu       sync.Mutex
	err      error // what Accept fails with
	accepted []*hook.Acceptance
	seen     map[hook.DedupeHash]hook.EventID
	refusals []*hook.Refusal
	admitted map[hook.RefusalID]hook.EventID
}

func (s *fakeStore) Accept(_ context.Context, acceptance *hook.Acceptance) (hook.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return hook.Receipt{}, s.err
	}
	if acceptance.Dedupe != (hook.DedupeHash{}) {
		if first, ok := s.seen[acceptance.Dedupe]; ok {
			return hook.Receipt{Event: first, Duplicate: true}, nil
		}
		s.seen[acceptance.Dedupe] = acceptance.Event.ID
	}
	s.accepted = append(s.accepted, acceptance)
	return hook.Receipt{Event: acceptance.Event.ID}, nil
}

func (s *fakeStore) Refuse(_ context.Context, refusal *hook.Refusal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = append(s.refusals, refusal)
	return nil
}

func (s *fakeStore) Admitted(_ context.Context, id hook.RefusalID, event hook.EventID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admitted[id] = event
	return nil
}

func (s *fakeStore) events() []*hook.Acceptance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// fakeLanes have room for so many deliveries of each destination.
type fakeLanes struct {
	mu       sync.Mutex
	room     int
	held     hook.Admission // what is answered in place of room, if it says that it is held
	reserved map[hook.DestinationID]int
	jobs     []*hook.Job
	expected []hook.Target // what is due later, where and when
}

func (l *fakeLanes) Reserve(id hook.DestinationID) hook.Admission {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held.Cause != hook.CauseNone || l.reserved[id] >= l.room {
		return l.held
	}
	l.reserved[id]++
	return hook.Admission{Inline: true}
}

func (l *fakeLanes) Release(id hook.DestinationID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved[id]--
}

func (l *fakeLanes) Expect(id hook.DestinationID, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expected = append(l.expected, hook.Target{Destination: id, Due: at})
}

func (l *fakeLanes) Dispatch(job *hook.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved[job.Delivery.Destination]--
	l.jobs = append(l.jobs, job)
}

// balanced reports whether every reservation was used up or given back.
func (l *fakeLanes) balanced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.reserved {
		if n != 0 {
			return false
		}
	}
	return true
}

// keyFile is a KeyFetcher that answers from memory.
type keyFile map[string]string

func (k keyFile) Fetch(_ context.Context, address string) ([]byte, error) {
	text, ok := k[address]
	if !ok {
		return nil, errors.New("no answer from " + address)
	}
	return []byte(text), nil
}

// world is a Handler with fakes around it.
type world struct {
	*Handler

	catalogue hook.Catalogue
	router    *route.Router
	store     *fakeStore
	lanes     *fakeLanes
	registry  *prometheus.Registry
}

const (
	projectID = hook.ProjectID(1)
	erpID     = hook.DestinationID(30)
)

// source returns a source of the default project that checks nothing.
func source(id hook.SourceID, name string, change ...func(*hook.Source)) hook.Source {
	s := hooktest.Source(projectID, name, change...)
	s.ID, s.Version = id, 1
	return s
}

// withConnection is a catalogue in which every event of every source goes to one destination.
func withConnection(sources ...hook.Source) hook.Catalogue {
	erp := hooktest.Destination(projectID, "erp", "https://erp.example.com/")
	erp.ID = erpID
	catalogue := hook.Catalogue{
		Revision: 1, Projects: []hook.Project{{ID: projectID, Name: route.DefaultProject}},
		Sources: sources, Destinations: []hook.Destination{erp},
	}
	for i := range sources {
		connection := hooktest.Connection(&sources[i], &erp)
		connection.ID, connection.Version = hook.ConnectionID(100+i), 1
		catalogue.Connections = append(catalogue.Connections, connection)
	}
	return catalogue
}

func newWorld(tb testing.TB, catalogue hook.Catalogue, change ...func(*Options)) *world {
	tb.Helper()
	return newWorldWithKeys(tb, catalogue, nil, change...)
}

func newWorldWithKeys(tb testing.TB, catalogue hook.Catalogue, keys signature.KeyFetcher, change ...func(*Options)) *world {
	tb.Helper()
	gallery := profilesOf(tb)
	w := &world{
		catalogue: catalogue,
		store:     &fakeStore{seen: map[hook.DedupeHash]hook.EventID{}, admitted: map[hook.RefusalID]hook.EventID{}},
		lanes:     &fakeLanes{room: 1000, reserved: map[hook.DestinationID]int{}},
		registry:  prometheus.NewRegistry(),
	}
	w.router = route.New(route.Options{
		Load: func(context.Context) (hook.Catalogue, error) { return w.catalogue, nil },
		Compile: func(spec *hook.SourceSpec) (*signature.Verifier, error) {
			return signature.Compile(spec, gallery, keys)
		},
	})
	if err := w.router.Reload(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	options := Options{Catalogue: w.router, Store: w.store, Lanes: w.lanes, IDs: hook.NewIDs(0), Metrics: w.registry}
	for _, f := range change {
		f(&options)
	}
	var err error
	if w.Handler, err = New(options); err != nil {
		tb.Fatal(err)
	}
	return w
}

// change replaces the first source of the catalogue and reloads it.
func (w *world) change(tb testing.TB, f func(*hook.Source)) {
	tb.Helper()
	f(&w.catalogue.Sources[0])
	w.catalogue.Sources[0].Version++
	w.catalogue.Revision++
	if err := w.router.Reload(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

func (w *world) send(r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	w.ServeHTTP(recorder, r)
	return recorder
}

func (w *world) post(path, body string, headers ...string) *httptest.ResponseRecorder {
	return w.send(request(http.MethodPost, path, body, headers...))
}

// request returns a request with headers given as pairs of name and value.
func request(method, path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://malote.example"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// counted returns the sum of a counter over all its labels.
func (w *world) counted(tb testing.TB, name string) float64 {
	tb.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// endless is a body of unknown length.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.n)
	for i := range n {
		p[i] = 'x'
	}
	e.n -= n
	return n, nil
}

// slowStore takes its time, and notes whether its caller gave up meanwhile.
type slowStore struct {
	*fakeStore

	wait time.Duration
	err  error
}

func (s *slowStore) Accept(ctx context.Context, acceptance *hook.Acceptance) (hook.Receipt, error) {
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.fakeStore.Accept(ctx, acceptance)
	case <-ctx.Done():
		s.err = ctx.Err()
		return hook.Receipt{}, s.err
	}
}

var profilesOnce = sync.OnceValues(func() (*signature.Gallery, error) { return signature.NewGallery() })

// profilesOf returns the built-in profiles, read once for all tests.
func profilesOf(tb testing.TB) *signature.Gallery {
	tb.Helper()
	gallery, err := profilesOnce()
	if err != nil {
		tb.Fatal(err)
	}
	return gallery
}

func builtIn(tb testing.TB, name string) *signature.Profile {
	tb.Helper()
	profile, ok := profilesOf(tb).Profile(name)
	if !ok {
		tb.Fatalf("there is no profile %s", name)
	}
	return profile
}
