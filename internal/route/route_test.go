package route

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

// shelf is a catalogue that tests change.
type shelf struct {
	mu        sync.Mutex
	catalogue hook.Catalogue
	err       error
	loads     int
}

func (s *shelf) load(context.Context) (hook.Catalogue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	copied := s.catalogue
	copied.Sources = slices.Clone(copied.Sources)
	copied.Destinations = slices.Clone(copied.Destinations)
	copied.Connections = slices.Clone(copied.Connections)
	return copied, s.err
}

func openSource(id hook.SourceID, project hook.ProjectID, name string) hook.Source {
	return hook.Source{ID: id, Project: project, Name: name, Version: 1, SourceSpec: hook.SourceSpec{Verify: &hook.Verify{None: true}}}
}

func connection(id hook.ConnectionID, source hook.SourceID, spec hook.ConnectionSpec) hook.Connection {
	return hook.Connection{ID: id, Project: 1, Source: source, Destination: 30, Version: 1, Name: fmt.Sprint("c", int64(id)), ConnectionSpec: spec}
}

func newShelf(connections ...hook.Connection) *shelf {
	return &shelf{catalogue: hook.Catalogue{
		Revision: 1, Projects: []hook.Project{{ID: 1, Name: DefaultProject}, {ID: 2, Name: "other"}},
		Sources:      []hook.Source{openSource(10, 1, "shop"), openSource(11, 2, "shop"), openSource(12, 2, "hidden")},
		Destinations: []hook.Destination{{ID: 30, Project: 1, Name: "erp"}},
		Connections:  connections,
	}}
}

func newRouter(tb testing.TB, s *shelf, change ...func(*Options)) *Router {
	tb.Helper()
	options := Options{
		Load:    s.load,
		Compile: func(spec *hook.SourceSpec) (*signature.Verifier, error) { return signature.Compile(spec, nil, nil) },
	}
	for _, f := range change {
		f(&options)
	}
	router := New(options)
	if err := router.Reload(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return router
}

func matches(source *Source, eventType, payload string) (ids []hook.ConnectionID, misses []hook.Miss) {
	connections, misses := source.Match(filter.NewInput(&hook.Event{Type: eventType, Payload: []byte(payload)}), eventType)
	for _, c := range connections {
		ids = append(ids, c.ID)
	}
	return ids, misses
}

func TestSourcesAreFoundByIdAndByNameInTheDefaultProject(t *testing.T) {
	snapshot := newRouter(t, newShelf()).Current()
	for ref, want := range map[string]hook.SourceID{
		"shop": 10, hook.SourceID(10).String(): 10, hook.SourceID(11).String(): 11, "hidden": 0, "": 0, "src_": 0, "nope": 0,
		hook.SourceID(99).String(): 0, hook.ConnectionID(10).String(): 0,
	} {
		source, ok := snapshot.Source(ref)
		if ok != (want != 0) || ok && source.ID != want {
			t.Errorf("%q: %v, %v", ref, source, ok)
		}
	}
	for id, want := range map[hook.SourceID]string{10: "/in/shop", 11: "/in/" + hook.SourceID(11).String()} {
		if source, _ := snapshot.SourceByID(id); source.Path != want {
			t.Errorf("the path of %s is %q, want %q", id, source.Path, want)
		}
	}
	if _, ok := snapshot.Destination(30); !ok {
		t.Error("the destination is not there")
	}
	if snapshot.Revision() != 1 {
		t.Errorf("revision %d", snapshot.Revision())
	}
}

func TestAnEmptyRouterKnowsNothing(t *testing.T) {
	router := New(Options{})
	if _, ok := router.Current().Source("shop"); ok || router.Current().Revision() != 0 {
		t.Error("it knows something")
	}
}

func TestMatch(t *testing.T) {
	router := newRouter(t, newShelf(
		connection(104, 10, hook.ConnectionSpec{Types: []string{"orders/*"}}),
		connection(101, 10, hook.ConnectionSpec{}),
		connection(102, 10, hook.ConnectionSpec{Types: []string{"orders/paid", "orders/create"}}),
		connection(103, 10, hook.ConnectionSpec{Types: []string{"refunds/create"}}),
		connection(105, 10, hook.ConnectionSpec{Filter: `data.total > 10`}),
		connection(106, 10, hook.ConnectionSpec{Types: []string{"orders/paid"}, Filter: `data.total > 10`}),
		connection(107, 10, hook.ConnectionSpec{Disabled: true}),
		connection(108, 10, hook.ConnectionSpec{Paused: true}),
		connection(109, 10, hook.ConnectionSpec{Filter: `dta.total > 10`}),
		connection(110, 11, hook.ConnectionSpec{}),
	))
	source, _ := router.Current().Source("shop")
	for _, c := range []struct {
		eventType, payload string
		want               []hook.ConnectionID
		misses             []hook.ConnectionID
	}{
		{"orders/paid", `{"total":11}`, []hook.ConnectionID{101, 102, 104, 105, 106, 108}, []hook.ConnectionID{109}},
		{"orders/paid", `{"total":9}`, []hook.ConnectionID{101, 102, 104, 108}, []hook.ConnectionID{109}},
		{"orders/create", `{}`, []hook.ConnectionID{101, 102, 104, 108}, []hook.ConnectionID{105, 109}},
		{"refunds/create", `{"total":11}`, []hook.ConnectionID{101, 103, 105, 108}, []hook.ConnectionID{109}},
		{"event", `broken`, []hook.ConnectionID{101, 108}, []hook.ConnectionID{105, 109}},
	} {
		got, misses := matches(source, c.eventType, c.payload)
		var missed []hook.ConnectionID
		for _, miss := range misses {
			missed = append(missed, miss.Connection)
			if miss.Error == "" {
				t.Error("a miss does not say why")
			}
		}
		if !slices.Equal(got, c.want) || !slices.Equal(missed, c.misses) {
			t.Errorf("%s %s: %v, missed %v; want %v and %v", c.eventType, c.payload, got, missed, c.want, c.misses)
		}
	}
	for id, want := range map[hook.ConnectionID]struct {
		held    string
		problem bool
	}{101: {}, 107: {}, 108: {held: "the connection is paused"}, 109: {problem: true}} {
		c, ok := router.Current().Connection(id)
		if !ok {
			t.Fatalf("no connection %d", id)
		}
		if cause, reason := c.Held(); reason != want.held || (cause == hook.CausePaused) != (want.held != "") || (c.Problem != nil) != want.problem || c.To == nil {
			t.Errorf("connection %d: %+v, %v", id, c, ok)
		}
	}
}

// Matching through the index is matching one by one.
func TestTheIndexFindsWhatALoopFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShelf()
		n := rapid.IntRange(0, 30).Draw(t, "connections")
		for i := range n {
			types := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "a*", "*c", "*", "b*c", "bc"}), 0, 3).Draw(t, "types")
			s.catalogue.Connections = append(s.catalogue.Connections, connection(hook.ConnectionID(200-i), 10, hook.ConnectionSpec{Types: types}))
		}
		router := New(Options{Load: s.load})
		if err := router.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		source, _ := router.Current().Source("shop")
		for _, eventType := range []string{"a", "b", "c", "bc", "abc", ""} {
			var want []hook.ConnectionID
			for i := n - 1; i >= 0; i-- {
				if filter.CompileTypes(s.catalogue.Connections[i].Types).Match(eventType) {
					want = append(want, s.catalogue.Connections[i].ID)
				}
			}
			if got, _ := matches(source, eventType, ""); !slices.Equal(got, want) {
				t.Fatalf("%q: got %v, want %v", eventType, got, want)
			}
		}
	})
}

func TestFieldsOfASource(t *testing.T) {
	s := newShelf()
	s.catalogue.Sources[0].SourceSpec = hook.SourceSpec{
		Verify: &hook.Verify{None: true},
		Type:   &hook.Field{Path: "type"}, Key: &hook.Field{Expr: `string(data.id) + "-" + data.type`},
		Dedupe: &hook.Dedupe{Field: hook.Field{Header: "X-Id"}},
	}
	source, _ := newRouter(t, s).Current().Source("shop")
	in := filter.NewInput(&hook.Event{Payload: []byte(`{"type":"t","id":7}`), Headers: hook.Headers{{Name: "x-id", Value: "d"}}})
	if got := [3]string{source.EventType(in), source.EventKey(in), source.ProviderID(in)}; got != [3]string{"t", "7-t", "d"} {
		t.Errorf("%v", got)
	}
	in = filter.NewInput(&hook.Event{})
	if got := [3]string{source.EventType(in), source.EventKey(in), source.ProviderID(in)}; got != [3]string{signature.DefaultType, "", ""} {
		t.Errorf("%v", got)
	}
	if source.BodyLimit() != hook.DefaultMaxBody || source.DedupeWindow() != 24*60*60*1e9 {
		t.Errorf("%d %s", source.BodyLimit(), source.DedupeWindow())
	}
}

func TestProblemsAreCarriedAndLogged(t *testing.T) {
	var log bytes.Buffer
	s := newShelf(
		connection(101, 10, hook.ConnectionSpec{Filter: `dta.x`}),
		hook.Connection{ID: 102, Project: 1, Source: 10, Destination: 99, Version: 1},
		hook.Connection{ID: 103, Project: 1, Source: 98, Destination: 30, Version: 1},
	)
	s.catalogue.Sources[0].SourceSpec = hook.SourceSpec{Verify: &hook.Verify{None: true}, Key: &hook.Field{Expr: "dta.x"}}
	s.catalogue.Sources[1].SourceSpec = hook.SourceSpec{Verify: &hook.Verify{HMAC: &hook.HMACRule{}}}
	router := newRouter(t, s, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for id, want := range map[hook.SourceID]string{10: "key: the field cannot be used: expr: column 1: there is no dta", 11: ""} {
		source, _ := router.Current().SourceByID(id)
		if source.Problem == nil || source.Verifier != nil || !strings.Contains(source.Problem.Error(), want) {
			t.Errorf("%d: %v", id, source.Problem)
		}
	}
	for id, want := range map[hook.ConnectionID]string{101: "there is no dta", 102: "destination is gone", 103: "source or destination is gone"} {
		c, _ := router.Current().Connection(id)
		if c.Problem == nil || !strings.Contains(c.Problem.Error(), want) {
			t.Errorf("%d: %v", id, c.Problem)
		}
	}
	if n := strings.Count(log.String(), "cannot be used as it is set up"); n != 5 {
		t.Errorf("%d warnings: %s", n, &log)
	}
	log.Reset()
	if err := router.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("what is known is told again: %s", &log)
	}
}

func TestReloadKeepsWhatDidNotChange(t *testing.T) {
	s := newShelf(connection(101, 10, hook.ConnectionSpec{Filter: `data.a == 1`}))
	compiled := 0
	router := newRouter(t, s, func(o *Options) {
		o.Compile = func(spec *hook.SourceSpec) (*signature.Verifier, error) {
			compiled++
			return signature.Compile(spec, nil, nil)
		}
	})
	before := router.Current()
	old, _ := before.Source("shop")
	first := compiled

	s.catalogue.Connections[0].Version, s.catalogue.Connections[0].Filter = 2, `data.a == 2`
	s.catalogue.Destinations[0].Paused = true
	s.catalogue.Revision = 2
	if err := router.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh, _ := router.Current().Source("shop")
	if compiled != first || fresh.Verifier != old.Verifier {
		t.Error("a source that did not change is compiled again")
	}
	if ids, _ := matches(fresh, "x", `{"a":2}`); !slices.Equal(ids, []hook.ConnectionID{101}) {
		t.Errorf("the new filter does not count: %v", ids)
	}
	c, _ := router.Current().Connection(101)
	if cause, reason := c.Held(); cause != hook.CausePaused || reason != "the destination is paused" {
		t.Errorf("the pause of the destination is not seen: %q", reason)
	}
	if ids, _ := matches(old, "x", `{"a":1}`); !slices.Equal(ids, []hook.ConnectionID{101}) || before.Revision() != 1 {
		t.Error("the old snapshot changed")
	}
	s.catalogue.Sources[0].Version = 2
	s.catalogue.Sources[0].Name = "store"
	if err := router.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := router.Current().Source("shop"); ok || compiled != first+1 {
		t.Errorf("%d compiled", compiled-first)
	}
}

func TestAFailedReloadKeepsTheSnapshot(t *testing.T) {
	s := newShelf()
	router := newRouter(t, s)
	before := router.Current()
	s.err = errors.New("no database")
	if err := router.Reload(t.Context()); !errors.Is(err, s.err) || router.Current() != before {
		t.Errorf("%v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	router.turn <- struct{}{}
	if err := router.Reload(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("a reload that waits for another does not end with its context: %v", err)
	}
}

// Whoever changes the catalogue and reloads sees the change afterwards, whatever others
// do at the same time.
func TestReadYourWrites(t *testing.T) {
	s := newShelf()
	router := newRouter(t, s)
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			name := fmt.Sprint("source-", i)
			s.mu.Lock()
			s.catalogue.Sources = append(s.catalogue.Sources, openSource(hook.SourceID(1000+i), 1, name))
			s.catalogue.Revision++
			s.mu.Unlock()
			if err := router.Reload(t.Context()); err != nil {
				t.Error(err)
			}
			if _, ok := router.Current().Source(name); !ok {
				t.Errorf("%s is not there after its reload", name)
			}
		})
	}
	wait.Wait()
}

func TestReply(t *testing.T) {
	id := hook.EventID(4242)
	for name, c := range map[string]struct {
		reply   *hook.Reply
		status  int
		headers hook.Headers
		body    string
	}{
		"none":  {nil, 200, hook.Headers{{Name: "Content-Type", Value: "application/json"}}, `{"id":"` + id.String() + `"}`},
		"empty": {&hook.Reply{Empty: true}, 200, nil, ""},
		"204":   {&hook.Reply{Status: 204, Body: "x"}, 204, nil, ""},
		"text":  {&hook.Reply{Body: "OK"}, 200, hook.Headers{{Name: "Content-Type", Value: "text/plain; charset=utf-8"}}, "OK"},
		"twice": {&hook.Reply{Status: 202, Body: "{event} {event}", Headers: map[string]string{"content-type": "a/b", "X": "1"}}, 202, hook.Headers{{Name: "X", Value: "1"}, {Name: "content-type", Value: "a/b"}}, id.String() + " " + id.String()},
	} {
		t.Run(name, func(t *testing.T) {
			reply := compileReply(c.reply)
			if reply.Status != c.status || string(reply.AppendBody(nil, id)) != c.body {
				t.Errorf("%d %q", reply.Status, reply.AppendBody(nil, id))
			}
			if diff := cmp.Diff(c.headers, reply.Headers); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfidential(t *testing.T) {
	c := newConfidential(&hook.Verify{AnyOf: []hook.Verify{
		{Token: &hook.TokenRule{Header: "X-Token"}},
		{AllOf: []hook.Verify{{Token: &hook.TokenRule{Query: "key"}}, {JWT: &hook.JWTRule{Header: "X-Jwt"}}}},
	}})
	headers := hook.Headers{{Name: "x-token", Value: "1"}, {Name: "X-JWT", Value: "2"}, {Name: "Cookie", Value: "3"}, {Name: "Other", Value: "4"}}
	masked := c.MaskHeaders(headers)
	if masked[0].Value != "[secret]" || masked[1].Value != "[secret]" || masked[2].Value != "[secret]" || masked[3].Value != "4" || headers[0].Value != "1" {
		t.Errorf("%v, and the original %v", masked, headers)
	}
	if got := c.MaskQuery("a=1&key=secret&b&key=2"); got != "a=1&key=[secret]&b&key=[secret]" {
		t.Errorf("%q", got)
	}
	token := newConfidential(&hook.Verify{JWT: &hook.JWTRule{Query: "jwt"}})
	if got := token.MaskQuery("jwt=eyJ&%6awt=eyJ&jwt"); got != "jwt=[secret]&%6awt=[secret]&jwt" {
		t.Errorf("a token of the query, however its name is written: %q", got)
	}
	plain := newConfidential(nil)
	if same := plain.MaskHeaders(headers[3:]); &same[0] != &headers[3] || plain.MaskQuery("key=1") != "key=1" {
		t.Error("what has nothing to hide is copied")
	}
}

// BenchmarkMatch is one event against very many connections of its source.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		for kind, typesOf := range map[string]func(int) []string{
			"exact":   func(i int) []string { return []string{fmt.Sprint("type-", i)} },
			"pattern": func(i int) []string { return []string{fmt.Sprint("type-", i, ".*")} },
		} {
			b.Run(fmt.Sprint(kind, "-", n), func(b *testing.B) {
				s := newShelf()
				for i := range n {
					s.catalogue.Connections = append(s.catalogue.Connections, connection(hook.ConnectionID(1000+i), 10, hook.ConnectionSpec{Types: typesOf(i)}))
				}
				source, _ := newRouter(b, s).Current().Source("shop")
				in := filter.NewInput(&hook.Event{})
				b.ReportAllocs()
				for b.Loop() {
					source.Match(in, "type-7")
				}
			})
		}
	}
}

// BenchmarkReload is a change in a large catalogue.
func BenchmarkReload(b *testing.B) {
	s := newShelf()
	for i := range 10_000 {
		s.catalogue.Connections = append(s.catalogue.Connections,
			connection(hook.ConnectionID(1000+i), 10, hook.ConnectionSpec{Types: []string{fmt.Sprint("type-", i)}, Filter: `data.a == 1`}))
	}
	router := newRouter(b, s)
	b.ReportAllocs()
	for b.Loop() {
		if err := router.Reload(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
