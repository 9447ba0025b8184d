package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/api/stats"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect returns a client of a server that answers with handler.
func connect(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := New(Options{Server: server.URL + "/", Token: "mlt_x", TokenHint: "ask an admin", Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// eventsServer has events numbered from firstEvent, and answers lists of them as the API does.
type eventsServer struct{ count atomic.Int64 }

// firstEvent is the id of the oldest event; 1 is less than every id that occurs.
const firstEvent = 2

func (s *eventsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	iterator, back := strings.CutPrefix(r.URL.Query().Get("iterator"), "-")
	end := hook.EventID(firstEvent + s.count.Load())
	from := end
	if iterator != "" {
		if err := from.UnmarshalText([]byte(iterator)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	page := api.List[hook.Event]{Data: []hook.Event{}, Done: true}
	if back {
		for id := from + 1; id < end && len(page.Data) < limit; id++ {
			page.Data = append([]hook.Event{{ID: id}}, page.Data...)
		}
	} else {
		for id := from - 1; id >= firstEvent && len(page.Data) < limit; id-- {
			page.Data = append(page.Data, hook.Event{ID: id})
		}
		page.Done = len(page.Data) < limit || page.Data[len(page.Data)-1].ID == firstEvent
	}
	if len(page.Data) > 0 {
		first, last := "-"+page.Data[0].ID.String(), page.Data[len(page.Data)-1].ID.String()
		page.PrevIterator, page.Iterator = &first, &last
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(page); err != nil {
		panic(err)
	}
}

func TestListWalksPages(t *testing.T) {
	server := &eventsServer{}
	server.count.Store(600)
	requests := 0
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.URL.Path != "/api/v1/event" || r.URL.Query().Get("type") != "a/*" || r.Header.Get("Authorization") != "Bearer mlt_x" {
			t.Errorf("got %s %v", r.URL, r.Header)
		}
		server.ServeHTTP(w, r)
	})
	for _, test := range []struct{ limit, want, requests int }{{0, 600, 3}, {10, 10, 1}, {300, 300, 2}, {1000, 600, 3}} {
		requests = 0
		var got []int64
		for event, err := range c.Events(t.Context(), &EventFilter{Type: "a/*"}, test.limit) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, int64(event.ID))
		}
		if len(got) != test.want || requests != test.requests {
			t.Errorf("limit %d: %d items in %d requests, want %d in %d", test.limit, len(got), requests, test.want, test.requests)
		}
		for i := range got {
			if got[i] != int64(firstEvent+599-i) {
				t.Fatalf("limit %d: item %d is %d", test.limit, i, got[i])
			}
		}
	}
}

func TestListEndsAtAnError(t *testing.T) {
	c := connect(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"code":"unavailable","detail":"the storage takes no more data"}`)
	})
	seen := 0
	for _, err := range c.Events(t.Context(), &EventFilter{}, 0) {
		seen++
		if hook.KindOf(err) != hook.KindUnavailable || err.Error() != "the storage takes no more data" {
			t.Errorf("got %v", err)
		}
	}
	if seen != 1 {
		t.Errorf("the list went on %d times", seen)
	}
}

// handlerTransport answers requests without a network, so that time can be virtual.
type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

func TestFollow(t *testing.T) {
	for _, test := range []struct {
		name       string
		count      int64
		last       int
		first, max int64
	}{
		{"some before", 5, 2, firstEvent + 3, firstEvent + 1004},
		{"none shown before", 5, 0, firstEvent + 5, firstEvent + 1004},
		{"nothing there yet", 0, 3, firstEvent, firstEvent + 999},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &eventsServer{}
				server.count.Store(test.count)
				c, err := New(Options{Server: "http://malote.test", Transport: handlerTransport{server}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(3*time.Second, func() { server.count.Add(1000) }) // more than a page at once
				next := test.first
				for event, err := range c.FollowEvents(ctx, &EventFilter{}, test.last) {
					if err != nil {
						t.Fatal(err)
					}
					if int64(event.ID) != next {
						t.Fatalf("got %d, want %d", event.ID, next)
					}
					if next == test.max {
						cancel()
						break
					}
					next++
				}
				if next != test.max {
					t.Errorf("the last was %d, want %d", next, test.max)
				}
				cancel()
			})
		})
	}
}

func TestFollowEndsQuietly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{Server: "http://malote.test", Transport: handlerTransport{&eventsServer{}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for event, err := range c.FollowEvents(ctx, &EventFilter{}, 1) {
			t.Errorf("got %v, %v", event, err)
		}
	})
}

func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		body   string
		kind   hook.Kind
		want   string
	}{
		{"conflict", 409, nil, `{"code":"conflict","detail":"it has version 3 now"}`, hook.KindConflict, "it has version 3 now"},
		{"not found", 404, nil, `{"code":"not_found","detail":"no event \"evt_x\" in this project"}`, hook.KindNotFound, `no event "evt_x" in this project`},
		{"another server", 404, nil, `<html>`, hook.KindNotFound, "SERVER/api/v1/event/evt_x answered 404 Not Found: is --server the address of a malote server?"},
		{"unauthorized", 401, nil, `{"code":"authentication_failed","detail":"no"}`, hook.KindUnauthorized, "the server does not accept the API token: pass one as MALOTE_TOKEN or --token; ask an admin"},
		{"forbidden", 403, nil, `{"code":"insufficient_access","detail":"viewers may not"}`, hook.KindForbidden, "viewers may not: use a token with a higher role (malote token create --role)"},
		{"internal", 500, http.Header{"X-Request-Id": {"req-1"}}, `{"code":"server_error","detail":"something went wrong"}`, hook.KindInternal, "something went wrong (request req-1)"},
		{"gateway", 502, nil, `bad gateway`, hook.KindUnavailable, "SERVER/api/v1/event/evt_x answered 502 Bad Gateway"},
		{"too large", 413, nil, `{"code":"payload_too_large","detail":"too long"}`, hook.KindTooLarge, "too long"},
		{"redirect", 302, http.Header{"Location": {"http://elsewhere"}}, ``, hook.KindInternal, "SERVER/api/v1/event/evt_x answered 302 Found"},
		{"invalid as a whole", 422, nil, `{"detail":[{"loc":["body"],"msg":"The signature does not fit.","type":"value_error"}]}`, hook.KindInvalid, "the server refuses it: The signature does not fit."},
		{"invalid", 422, nil, `{"detail":[{"loc":["body","state","destinations","a.b","http","url"],"msg":"a private address","type":"value_error"},{"loc":["query","limit"],"msg":"too high","type":"value_error"}]}`, hook.KindInvalid, "the server refuses it: destinations.a.b.http.url: a private address; limit: too high"},
		{"no json", 200, nil, `hello`, hook.KindInternal, "SERVER/ did not answer as a malote server does: invalid character 'h' looking for beginning of value; is --server right?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := connect(t, func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), test.header)
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			})
			_, err := c.Event(t.Context(), "evt_x")
			if err == nil || hook.KindOf(err) != test.kind {
				t.Fatalf("got %v of kind %v", err, hook.KindOf(err))
			}
			if got, want := err.Error(), strings.ReplaceAll(test.want, "SERVER", c.base.String()); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestNoToken(t *testing.T) {
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a token was sent")
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
	c.options.Token = ""
	_, err := c.Delivery(t.Context(), "x")
	if err == nil || !strings.HasPrefix(err.Error(), "the server asks for an API token: ") {
		t.Errorf("got %v", err)
	}
}

func TestAServerWithAForeignCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	defer server.Close()
	c, err := New(Options{Server: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), server.URL+" is not trusted here (x509: ") || !strings.Contains(err.Error(), "SSL_CERT_FILE") {
		t.Errorf("got %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	listener.Close()
	c, err := New(Options{Server: address})
	if err != nil {
		t.Fatal(err)
	}
	want := "no malote server answers at " + address + ` (connection refused): start one with "malote serve", or name another one with --server or MALOTE_SERVER`
	if err := c.Ready(t.Context()); !errors.Is(err, ErrUnreachable) || err.Error() != want {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Ready(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"", "localhost:8420", "http://", "::"} {
		if _, err := New(Options{Server: bad}); err == nil {
			t.Errorf("%q is taken for the address of a server", bad)
		}
	}
}

// Every call goes to its route, with its body, and reads its answer.
func TestCalls(t *testing.T) {
	var got string
	reply := ""
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
		fmt.Fprint(w, reply)
	})
	ctx := t.Context()
	const delivery = `{"id":"dlv_0000000000009","state":"failed"}`
	for _, test := range []struct {
		want, reply string
		call        func() (any, error)
		answer      any
	}{
		{"GET /api/v1/delivery/a%2Fb", delivery, func() (any, error) { return c.Delivery(ctx, "a/b") }, api.DeliveryOut{Delivery: hook.Delivery{ID: 9, State: hook.StateFailed}}},
		{"GET /api/v1/delivery/d/attempt", `{"data":[{"number":1}],"done":true}`, func() (any, error) { return c.Attempts(ctx, "d") }, []hook.Attempt{{Number: 1}}},
		{"POST /api/v1/delivery/d/retry", delivery, func() (any, error) { return c.Retry(ctx, "d") }, api.DeliveryOut{Delivery: hook.Delivery{ID: 9, State: hook.StateFailed}}},
		{`POST /api/v1/delivery/retry {"ids":["d"]}`, `{"selected":1,"retried":1}`, func() (any, error) { return c.RetryMany(ctx, &api.RetryIn{IDs: []string{"d"}}) }, api.RetryOut{Selected: 1, Retried: 1}},
		{`POST /api/v1/delivery/d/cancel {"reason":"r"}`, delivery, func() (any, error) { return c.Cancel(ctx, "d", "r") }, api.DeliveryOut{Delivery: hook.Delivery{ID: 9, State: hook.StateFailed}}},
		{"GET /api/v1/refused/r", `{"reason":"signature"}`, func() (any, error) { return c.Refusal(ctx, "r") }, hook.Refusal{Reason: "signature"}},
		{"POST /api/v1/refused/r/admit", `{"id":"evt_0000000000007"}`, func() (any, error) { return c.Admit(ctx, "r") }, api.ReceiptOut{ID: 7}},
		{`POST /api/v1/event {"source":"shop","payload":{"a":1}}`, `{"id":"evt_0000000000007","duplicate":true}`, func() (any, error) {
			return c.Publish(ctx, &api.EventIn{Source: "shop", Payload: json.RawMessage(`{"a":1}`)})
		}, api.ReceiptOut{ID: 7, Duplicate: true}},
		{`POST /api/v1/token {"name":"ci","role":"viewer"}`, `{"name":"ci","token":"mlt_y"}`, func() (any, error) {
			return c.CreateToken(ctx, api.TokenIn{Name: "ci", Role: hook.RoleViewer})
		}, api.TokenOut{Token: hook.Token{Name: "ci"}, Text: "mlt_y"}},
		{"DELETE /api/v1/token/t", "", func() (any, error) { return nil, c.RevokeToken(ctx, "t") }, nil},
		{`POST /api/v1/flow/plan {"state":{"sources":{"a":{"secret":"s"}}},"prune":true}`, `{"changes":[{"op":"create","noun":"source","name":"a"}],"revision":4,"applied":false,"text":"x"}`, func() (any, error) {
			return c.Plan(ctx, flow.Request{State: flow.State{Sources: map[string]hook.SourceSpec{"a": {Secret: "s"}}}, Prune: true})
		}, flow.Plan{Items: []flow.Item{{Op: hook.OpCreate, Noun: "source", Name: "a"}}, Revision: 4}},
		{`POST /api/v1/flow/apply {"state":{}}`, `{"changes":[]}`, func() (any, error) { return c.Apply(ctx, flow.Request{}) }, flow.Plan{Items: []flow.Item{}}},
		{"GET /api/v1/destination/erp/secret", `{"secret":"whsec_x","secrets":["whsec_x"]}`, func() (any, error) { return c.SigningSecret(ctx, "erp") }, api.SecretOut{Secret: "whsec_x", Secrets: []string{"whsec_x"}}},
		{"GET /api/v1/stats/health?from=2026-01-02T03%3A04%3A05Z&limit=7", `{"data":[{"name":"erp"}],"done":true}`, func() (any, error) {
			return c.Worst(ctx, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 7)
		}, stats.HealthList{Data: []stats.DestinationHealth{{Name: "erp"}}, Done: true}},
		{"GET /api/v1/destination/a%2Fb/health", `{"name":"erp","lane":{"limit":4}}`, func() (any, error) { return c.Health(ctx, "a/b", time.Time{}) }, stats.DestinationHealthDetail{DestinationHealth: stats.DestinationHealth{Name: "erp"}, Lane: stats.LaneOut{Limit: 4}}},
		{"POST /api/v1/destination/erp/circuit/close", `{"state":"closed"}`, func() (any, error) { return c.CloseCircuit(ctx, "erp") }, hook.Circuit{}},
		{"POST /api/v1/destination/erp/circuit/probe", `{"state":"open"}`, func() (any, error) { return c.ProbeCircuit(ctx, "erp") }, hook.Circuit{State: hook.CircuitOpen}},
		{`POST /api/v1/connection/o/key/release {"key":"c-7"}`, `{"key":"c-7","deliveries":1}`, func() (any, error) { return c.ReleaseKey(ctx, "o", "c-7") }, control.KeyOut{Key: "c-7", Deliveries: 1}},
		{`POST /api/v1/connection/o/key/skip {"key":"c-7"}`, `{"deliveries":1}`, func() (any, error) { return c.SkipKey(ctx, "o", control.EndKeyIn{Key: "c-7"}) }, control.KeyOut{Deliveries: 1}},
		{`POST /api/v1/connection/o/key/drop {"key":"c-7","reason":"r"}`, `{"deliveries":3}`, func() (any, error) {
			return c.DropKey(ctx, "o", control.EndKeyIn{Key: "c-7", Reason: "r"})
		}, control.KeyOut{Deliveries: 3}},
		{"GET /api/v1/key?limit=5&parked=true", `{"data":[{"key":"c-7"}],"done":true}`, func() (any, error) { return all(c.Keys(ctx, "", false, 5)) }, []hook.OrderedKey{{Key: "c-7"}}},
		{"GET /api/v1/connection/o/key?limit=5", `{"data":[{"key":"c-7"}],"done":true}`, func() (any, error) { return all(c.Keys(ctx, "o", false, 5)) }, []hook.OrderedKey{{Key: "c-7"}}},
		{"GET /api/v1/audit?action=a.%2A&limit=5&subject=dst_1", `{"data":[{"actor":"ci"}],"done":true}`, func() (any, error) {
			return all(c.Audit(ctx, &AuditFilter{Action: "a.*", Subject: "dst_1"}, 5))
		}, []hook.AuditEntry{{Actor: "ci"}}},
		{"GET /readyz", "ready", func() (any, error) { return nil, c.Ready(ctx) }, nil},
		{"GET /api/v1/flow/export", "# flow", func() (any, error) { return copied(func(w io.Writer) error { return c.Export(ctx, w) }) }, "# flow"},
		{"GET /api/v1/event/e/payload", "\x00\xff", func() (any, error) { return copied(func(w io.Writer) error { return c.Payload(ctx, "e", w) }) }, "\x00\xff"},
		{"GET /api/v1/refused/e/payload", "{", func() (any, error) { return copied(func(w io.Writer) error { return c.RefusedPayload(ctx, "e", w) }) }, "{"},
	} {
		reply = test.reply
		answer, err := test.call()
		if err != nil {
			t.Errorf("%s: %v", test.want, err)
			continue
		}
		if got != test.want {
			t.Errorf("sent %s\nwant %s", got, test.want)
		}
		if diff := cmp.Diff(test.answer, answer); diff != "" {
			t.Errorf("%s: %s", test.want, diff)
		}
	}
}

// all returns the items of a list.
func all[T any](items iter.Seq2[T, error]) (found []T, err error) {
	for item, err := range items {
		if err != nil {
			return found, err
		}
		found = append(found, item)
	}
	return found, nil
}

func copied(write func(io.Writer) error) (string, error) {
	var b bytes.Buffer
	err := write(&b)
	return b.String(), err
}

func TestFilters(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	events := (&EventFilter{Source: "s", Type: "t", Key: "k", Text: "x", After: at, Before: at.Add(time.Millisecond)}).query()
	if got, want := events, (url.Values{
		"source": {"s"}, "type": {"t"}, "key": {"k"}, "text": {"x"}, "after": {"2026-01-02T02:04:05Z"}, "before": {"2026-01-02T02:04:05.001Z"},
	}); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	deliveries := (&DeliveryFilter{State: "failed", Event: "e", Connection: "c", Destination: "d"}).query()
	if got, want := deliveries.Encode(), "connection=c&destination=d&event=e&state=failed"; got != want {
		t.Errorf("got %s", got)
	}
	if got := (&EventFilter{}).query(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestNames(t *testing.T) {
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		kind := strings.TrimPrefix(r.URL.Path, "/api/v1/")
		ids := map[string]string{"source": "src_0000000000001", "destination": "dst_0000000000002", "connection": "con_0000000000003"}
		fmt.Fprintf(w, `{"data":[{"id":%q,"name":%q,"path":"/in/x"}],"done":true,"iterator":%q,"prevIterator":null}`, ids[kind], "my-"+kind, ids[kind])
	})
	names, err := c.Names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if names.Sources[1] != "my-source" || names.Destinations[2] != "my-destination" || names.Connections[3] != "my-connection" {
		t.Errorf("got %+v", names)
	}
}

// A request to a source is what a stranger would send: it carries no token.
func TestSend(t *testing.T) {
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/in/my%2Fshop" || r.Header.Get("Authorization") != "" || r.Header.Get("X-Topic") != "orders" {
			t.Errorf("got %s %v", r.URL.EscapedPath(), r.Header)
		}
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, "no")
	})
	status, body, err := c.Send(t.Context(), &Incoming{Source: "my/shop", Header: http.Header{"X-Topic": {"orders"}}, Body: []byte("{}")})
	if err != nil || status != http.StatusUnauthorized || string(body) != "no" {
		t.Errorf("got %d %q %v", status, body, err)
	}
}
