package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"malote.dev/malote/internal/account"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/ingest"
	"malote.dev/malote/internal/replay"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// harness is the API over a real store, router and ingest. Deliveries are made by
// nobody: they wait in the store.
type harness struct {
	*server

	t        testing.TB
	handler  *rest.Server
	sqlite   *sqlite.Store
	accounts *account.Accounts
	door     http.Handler // /in/…
	lanes    *lanes
	log      *syncBuffer
	schemas  *schemas
	tokens   map[hook.Role]string // of the default project
}

// lanes have room for nothing, and remember who was woken and probed.
type lanes struct {
	mu       sync.Mutex
	woken    []hook.DestinationID
	probed   []hook.DestinationID
	circuits map[hook.DestinationID]hook.Circuit
	status   deliver.LaneStatus
}

func (*lanes) Reserve(hook.DestinationID) hook.Admission { return hook.Admission{} }
func (*lanes) Expect(hook.DestinationID, time.Time)      {}
func (*lanes) Release(hook.DestinationID)                {}
func (*lanes) Dispatch(*hook.Job)                        {}

func (l *lanes) Circuit(id hook.DestinationID) hook.Circuit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.circuits[id]
}

func (l *lanes) turn(id hook.DestinationID, circuit hook.Circuit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.circuits[id] = circuit
}

func (l *lanes) CloseCircuit(_ context.Context, id hook.DestinationID) error {
	l.turn(id, l.Circuit(id).Closed(time.Now()))
	return nil
}

func (l *lanes) ProbeNow(id hook.DestinationID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.probed = append(l.probed, id)
}

func (l *lanes) Lane(hook.DestinationID) deliver.LaneStatus { return l.status }

func (l *lanes) Wake(id hook.DestinationID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = append(l.woken, id)
}

func (l *lanes) wokenOnce(id hook.DestinationID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.woken, id)
}

// syncBuffer is a log that tests read.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(text)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// fakeDriver answers every delivery with 200.
type fakeDriver struct{ sent []*destination.Message }

func (d *fakeDriver) Send(_ context.Context, m *destination.Message) (*destination.Answer, error) {
	d.sent = append(d.sent, m)
	return &destination.Answer{Method: http.MethodPost, URL: "https://erp.example.com/", Status: http.StatusOK, Body: []byte("thanks")}, nil
}

func (*fakeDriver) Close() error { return nil }

func newHarness(t testing.TB) *harness {
	t.Helper()
	store := sqlitetest.Open(t)
	if _, err := store.Reclaim(t.Context(), time.Now()); err != nil { // a key has no head before
		t.Fatal(err)
	}
	h := &harness{t: t, sqlite: store, lanes: &lanes{circuits: map[hook.DestinationID]hook.Circuit{}}, log: &syncBuffer{}, tokens: map[hook.Role]string{}}
	logger := slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	gallery, err := signature.NewGallery()
	if err != nil {
		t.Fatal(err)
	}
	guard, err := egress.NewGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	compile := func(spec *hook.SourceSpec) (*signature.Verifier, error) {
		return signature.Compile(spec, gallery, sampleKeys{})
	}
	router := route.New(route.Options{Load: store.Catalogue, Compile: compile, Logger: logger})
	if err := router.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	door, err := ingest.New(ingest.Options{Catalogue: router, Store: store, Lanes: h.lanes, IDs: hook.NewIDs(1), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	h.accounts = account.New(store, time.Now)
	h.server, err = newServer(t.Context(), Options{
		Store: store, Accounts: h.accounts, Router: router, Gallery: gallery, Ingest: door, Deliver: h.lanes,
		Replayer: replay.New(replay.Options{Replays: store, Log: store, Catalogue: router.Current, Circuit: h.lanes.Circuit, Wake: h.lanes.Wake, Logger: logger}),
		Rules: flow.Rules{
			Source:      func(spec *hook.SourceSpec) error { _, err := compile(spec); return err },
			Destination: webhook.NewFactory(webhook.Options{Guard: guard, Logger: logger}).Check,
		},
		Senders: func(*hook.Destination) (*destination.Sender, error) {
			return destination.NewSender(&fakeDriver{}, destination.Options{Logger: logger}), nil
		},
		Live: NewLive(), Version: "test", Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.handler, err = h.server.handler(); err != nil {
		t.Fatal(err)
	}
	h.door = door
	for _, role := range []hook.Role{hook.RoleViewer, hook.RoleOperator, hook.RoleAdmin} {
		h.tokens[role] = h.token(h.home.ID, "test-"+string(role), role)
	}
	h.schemas = newSchemas(t, h)
	return h
}

func (h *harness) token(project hook.ProjectID, name string, role hook.Role) string {
	h.t.Helper()
	text, _, err := h.accounts.Create(h.t.Context(), hook.Token{Project: project, Name: name, Role: role})
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// reply is an answer of the API.
type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   string
}

// call makes a request with the admin token of the default project, unless headers
// say otherwise, and holds the answer to the description.
func (h *harness) call(method, path, body string, headers ...string) *reply {
	h.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(h.t.Context(), method, "/api/v1"+path, reader)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+h.tokens[hook.RoleAdmin])
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	got := &reply{t: h.t, what: method + " " + path, status: w.Code, header: w.Header(), body: w.Body.String()}
	h.schemas.check(h.t, r, got)
	return got
}

func (h *harness) as(role hook.Role) []string {
	return []string{"Authorization", "Bearer " + h.tokens[role]}
}

// want fails unless the answer has the status.
func (r *reply) want(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: status %d, want %d: %s", r.what, r.status, status, r.body)
	}
	return r
}

// has fails unless the body contains every text.
func (r *reply) has(texts ...string) *reply {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.body, text) {
			r.t.Errorf("%s: %q is not in %s", r.what, text, r.body)
		}
	}
	return r
}

// hasNot fails when the body contains any of the texts.
func (r *reply) hasNot(texts ...string) *reply {
	r.t.Helper()
	for _, text := range texts {
		if strings.Contains(r.body, text) {
			r.t.Errorf("%s: %q is in %s", r.what, text, r.body)
		}
	}
	return r
}

// into reads the body.
func (r *reply) into(v any) *reply {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		r.t.Fatalf("%s: %v: %s", r.what, err, r.body)
	}
	return r
}

// id returns the id in the body.
func (r *reply) id() string {
	r.t.Helper()
	var noun struct{ ID string }
	r.into(&noun)
	if noun.ID == "" {
		r.t.Fatalf("%s: no id in %s", r.what, r.body)
	}
	return noun.ID
}

// The bodies that most tests create nouns from.
const (
	shopBody  = `{"name":"shop","verify":{"token":{"header":"x-token"}},"secret":"shop-secret","type":{"header":"x-type"},"key":{"path":"order"}}`
	erpBody   = `{"name":"erp","http":{"url":"https://erp.example.com/orders"}}`
	routeBody = `{"name":"orders","source":"shop","destination":"erp"}`
)

// flow creates a source, a destination and a connection.
func (h *harness) wire() {
	h.t.Helper()
	h.call("POST", "/source", shopBody).want(http.StatusCreated)
	h.call("POST", "/destination", erpBody).want(http.StatusCreated)
	h.call("POST", "/connection", routeBody).want(http.StatusCreated)
}

// publish publishes an event to the shop and returns its id.
func (h *harness) publish(payload string) string {
	h.t.Helper()
	return h.call("POST", "/event", `{"source":"shop","type":"order","payload":`+payload+`}`).want(http.StatusAccepted).id()
}

// knock sends a request to the shop's own door.
func (h *harness) knock(token, body string) int {
	h.t.Helper()
	r := httptest.NewRequestWithContext(h.t.Context(), "POST", "/in/shop", strings.NewReader(body))
	r.Header.Set("X-Token", token)
	r.Header.Set("X-Type", "order")
	w := httptest.NewRecorder()
	h.door.ServeHTTP(w, r)
	return w.Code
}

// schemas holds answers to the description that the server gives of itself.
type schemas struct {
	mu       sync.Mutex
	server   *rest.Server
	document map[string]any
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
}

const documentURL = "https://malote.test/openapi.json"

func newSchemas(t testing.TB, h *harness) *schemas {
	t.Helper()
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/openapi.json", http.NoBody))
	parsed, err := jsonschema.UnmarshalJSON(w.Body)
	if err != nil {
		t.Fatalf("the description is not JSON: %v", err)
	}
	document, ok := parsed.(map[string]any)
	if !ok {
		t.Fatal("the description is not an object")
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(documentURL, parsed); err != nil {
		t.Fatal(err)
	}
	return &schemas{server: h.handler, document: document, compiler: compiler, compiled: map[string]*jsonschema.Schema{}}
}

// check fails when an answer has a status that is not documented for its route, or
// another shape than the documented one.
func (s *schemas) check(t testing.TB, r *http.Request, got *reply) {
	t.Helper()
	pattern := s.server.Pattern(r)
	method, path, ok := strings.Cut(pattern, " ")
	if !ok || !strings.HasPrefix(path, rest.Prefix) {
		return
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace
	item, ok := s.document["paths"].(map[string]any)[path].(map[string]any)
	if !ok {
		return // a route of the test's own; TestDescriptionHasEveryRoute knows those of the API
	}
	operation := item[strings.ToLower(method)].(map[string]any)
	status := http.StatusText(got.status)
	response, ok := operation["responses"].(map[string]any)[strconv.Itoa(got.status)].(map[string]any)
	if !ok {
		t.Errorf("%s: the status %d %s is not documented", got.what, got.status, status)
		return
	}
	if got.header.Get("Content-Type") != "application/json" {
		return
	}
	if response["content"] == nil {
		t.Errorf("%s: the answer %d has a body, and none is documented: %s", got.what, got.status, got.body)
		return
	}
	schema := s.schema(t, documentURL+"#/paths/"+escape(path)+"/"+strings.ToLower(method)+"/responses/"+strconv.Itoa(got.status)+"/content/application~1json/schema")
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(got.body))
	if err != nil {
		t.Errorf("%s: %v: %s", got.what, err, got.body)
		return
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s: the answer is not as documented: %v\n%s", got.what, err, got.body)
	}
}

func (s *schemas) schema(t testing.TB, url string) *jsonschema.Schema {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if schema, ok := s.compiled[url]; ok {
		return schema
	}
	schema, err := s.compiler.Compile(url)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	s.compiled[url] = schema
	return schema
}
