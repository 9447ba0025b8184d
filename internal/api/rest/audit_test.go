package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
)

// asked is the body of the routes of tests.
type asked struct {
	Name   string      `json:"name"`
	Secret hook.Secret `json:"secret"`
}

// notebook records in memory.
type notebook struct {
	entries []hook.AuditEntry
	err     error
}

func (n *notebook) Record(_ context.Context, entry *hook.AuditEntry) error {
	if n.err == nil {
		n.entries = append(n.entries, *entry)
	}
	return n.err
}

// serving returns a server of routes that do what their names say, and its log.
func serving(t *testing.T, book *notebook) (http.Handler, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	act := func(ctx context.Context, in *OneBody) (*Out[string], error) {
		switch in.ID {
		case "conflict":
			return nil, hook.Errorf(hook.KindConflict, "no")
		case "named":
			Acted(ctx, logger, "acted", hook.SourceID(7))
		case "planned":
			Looked(ctx)
		}
		return Answer(string(in.RawBody)), nil
	}
	look := func(context.Context, *One) (*Out[string], error) { return Answer("seen"), nil }
	role := hook.RoleOperator
	server, err := New(Options{
		Title: "Test", Logger: logger, Audit: book, Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
		Routes: []*Route{
			{Method: http.MethodPost, Path: "/act/{id}", ID: "act", Role: role, In: asked{}, Empty: true, Bind: Handle(act)},
			{Method: http.MethodPost, Path: "/plan/{id}", ID: "plan", Role: role, In: asked{}, Unaudited: "it changes nothing", Bind: Handle(act)},
			{Method: http.MethodGet, Path: "/look/{id}", ID: "look", Role: role, Bind: Handle(look)},
			{Method: http.MethodGet, Path: "/reveal/{id}", ID: "reveal", Role: role, Reveals: true, Bind: Handle(look)},
		},
		Authenticate: func(context.Context, string) (hook.Token, error) {
			return hook.Token{ID: 5, Project: 3, Name: "ci", Role: hook.RoleAdmin}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return server, log
}

func ask(t *testing.T, server http.Handler, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	var reader io.Reader = http.NoBody
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(t.Context(), method, Prefix+path, reader)
	r.Header.Set("Authorization", "Bearer x")
	r.Header.Set("Idempotency-Key", "one key per path")
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	return w
}

func TestWhatSucceededIsAudited(t *testing.T) {
	book := &notebook{}
	server, _ := serving(t, book)
	for _, call := range []struct{ method, path, body string }{
		{"POST", "/act/named", `{"name":"a","secret":"hunter2"}`},
		{"POST", "/act/named", `{"name":"a","secret":"hunter2"}`}, // a repetition: it gets the first answer
		{"POST", "/act/other", ""},
		{"POST", "/act/conflict", `{"name":"a"}`},
		{"POST", "/act/planned", `{"name":"a"}`},
		{"POST", "/plan/named", `{"name":"a"}`},
		{"GET", "/look/named", ""},
		{"GET", "/reveal/named", ""},
	} {
		ask(t, server, call.method, call.path, call.body)
	}
	entry := hook.AuditEntry{
		Project: 3, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Token: 5, Actor: "ci", Action: "act",
		Subject: "src_0000000000007", Detail: []byte(`{"name":"a","secret":"[secret]"}`), Remote: "192.0.2.1",
	}
	other, reveal := entry, entry
	other.Subject, other.Detail = "other", nil
	reveal.Action, reveal.Subject, reveal.Detail = "reveal", "named", nil
	if diff := cmp.Diff([]hook.AuditEntry{entry, other, reveal}, book.entries); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeRecordedIsDoneAllTheSame(t *testing.T) {
	server, log := serving(t, &notebook{err: errors.New("the disk is full")})
	w := ask(t, server, "POST", "/act/named", `{"secret":"hunter2"}`)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if text := log.String(); !strings.Contains(text, "the disk is full") || !strings.Contains(text, "src_0000000000007") || strings.Contains(text, "hunter2") {
		t.Errorf("log: %s", text)
	}
}

func TestLongBodiesAreReadWhole(t *testing.T) {
	book := &notebook{}
	server, _ := serving(t, book)
	long := `{"name":"` + strings.Repeat("n", 100_000) + `"}`
	if w := ask(t, server, "POST", "/act/x", long); !strings.Contains(w.Body.String(), strings.Repeat("n", 100_000)) {
		t.Error("the handler did not get the whole body")
	}
	if len(book.entries) != 1 || len(book.entries[0].Detail) > maxDetail || len(book.entries[0].Detail) < maxDetail/3 {
		t.Errorf("%d entries: %s", len(book.entries), book.entries)
	}
}
