package ingest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/profiles"
)

func idOf(t *testing.T, answer *httptest.ResponseRecorder) hook.EventID {
	t.Helper()
	var body struct {
		ID hook.EventID `json:"id"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s: %v", answer.Body, err)
	}
	return body.ID
}

func TestAnEventIsStoredRoutedAndAnswered(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) {
		s.Type = &hook.Field{Header: "X-Topic"}
		s.Key = &hook.Field{Path: "order"}
	})))
	answer := w.post("/in/shop?a=b", `{"order":7}`, "X-Topic", "orders/create", "Content-Type", "application/json")
	if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", answer.Code, answer.Header(), answer.Body)
	}
	if len(w.store.accepted) != 1 || len(w.lanes.jobs) != 1 || !w.lanes.balanced() {
		t.Fatalf("%d accepted, %d jobs", len(w.store.accepted), len(w.lanes.jobs))
	}
	event := &w.store.accepted[0].Event
	if id := idOf(t, answer); id != event.ID || id == 0 {
		t.Errorf("the answer names %s, the event is %s", id, event.ID)
	}
	want := hook.Event{
		ID: event.ID, Project: projectID, Source: 10, Type: "orders/create", Key: "7", Method: "POST", Query: "a=b", Remote: "192.0.2.1",
		Headers: hook.Headers{
			{Name: "Content-Type", Value: "application/json"}, {Name: "Host", Value: "malote.example"}, {Name: "X-Topic", Value: "orders/create"},
		},
		Payload: []byte(`{"order":7}`), PayloadSize: 11, Verdict: hook.Verdict{Scheme: "none"}, ReceivedAt: event.ReceivedAt,
		Targets: []hook.Target{{Delivery: event.Targets[0].Delivery, Connection: 100, Destination: erpID}},
	}
	if diff := cmp.Diff(want, *event); diff != "" {
		t.Error(diff)
	}
	job := w.lanes.jobs[0]
	if job.Event != event || !job.Inline || job.Delivery.ID != event.Targets[0].Delivery || job.Delivery.Event != event.ID ||
		job.Delivery.Connection != 100 || job.Delivery.Destination != erpID || job.Delivery.Project != projectID {
		t.Errorf("the job is %+v", job)
	}
	if w.counted(t, "malote_ingest_accepted_total") != 1 {
		t.Error("it is not counted")
	}
}

func TestAnswers(t *testing.T) {
	token := source(11, "token", func(s *hook.Source) {
		s.Verify, s.Secret = &hook.Verify{Token: &hook.TokenRule{Header: "X-Token"}}, "right"
	})
	catalogue := withConnection(
		source(10, "open"),
		token,
		source(12, "deep", func(s *hook.Source) { s.SubPaths = true; s.Methods = []string{"POST", "PUT"} }),
		source(13, "off", func(s *hook.Source) { s.Disabled = true }),
		source(14, "small", func(s *hook.Source) { s.MaxBody = 10 }),
		source(15, "broken", func(s *hook.Source) { s.Provider = "no-such-provider"; s.Verify = nil }),
		source(16, "polite", func(s *hook.Source) {
			s.Reply = &hook.Reply{Status: 202, Headers: map[string]string{"X-Ref": "1"}, Body: "<ok>{event}</ok>"}
		}),
		source(17, "silent", func(s *hook.Source) { s.Reply = &hook.Reply{Status: 204} }),
		source(18, "empty", func(s *hook.Source) { s.Reply = &hook.Reply{Empty: true} }),
	)
	elsewhere := source(19, "elsewhere")
	elsewhere.Project = 2
	catalogue.Projects = append(catalogue.Projects, hook.Project{ID: 2, Name: "other"})
	catalogue.Sources = append(catalogue.Sources, elsewhere)
	w := newWorld(t, catalogue)

	for _, c := range []struct {
		name    string
		request *http.Request
		status  int
		body    string // part of it
		header  string // "Name: value"
		stored  int
	}{
		{"by name", request("POST", "/in/open", "x"), 200, `{"id":"evt_`, "Content-Type: application/json", 1},
		{"by id", request("POST", "/in/"+hook.SourceID(10).String(), "x"), 200, `{"id":"evt_`, "", 1},
		{"trailing slash", request("POST", "/in/open/", "x"), 200, `{"id":"evt_`, "", 1},
		{"no body", request("POST", "/in/open", ""), 200, `{"id":"evt_`, "", 1},
		{"malformed JSON", request("POST", "/in/open", `{"a":`, "Content-Type", "application/json"), 200, `{"id":"evt_`, "", 1},
		{"unknown", request("POST", "/in/nope", "x"), 404, `{"code":"not_found","detail":"there is no source here"}`, "", 0},
		{"no source", request("POST", "/in/", "x"), 404, `not_found`, "", 0},
		{"disabled", request("POST", "/in/off", "x"), 404, `{"code":"not_found","detail":"there is no source here"}`, "", 0},
		{"another project, by name", request("POST", "/in/elsewhere", "x"), 404, `not_found`, "", 0},
		{"another project, by id", request("POST", "/in/"+hook.SourceID(19).String(), "x"), 200, `{"id":"evt_`, "", 1},
		{"sub-path", request("POST", "/in/open/more", "x"), 404, `{"code":"not_found","detail":"there is no source here"}`, "", 0},
		{"sub-path that is taken", request("POST", "/in/deep/a/b", "x"), 200, `{"id":"evt_`, "", 1},
		{"method", request("GET", "/in/open", ""), 405, `"method_not_allowed"`, "Allow: POST", 0},
		{"another method", request("DELETE", "/in/deep", ""), 405, ``, "Allow: POST, PUT", 0},
		{"method that is taken", request("PUT", "/in/deep", "x"), 200, `{"id":"evt_`, "", 1},
		{"right token", request("POST", "/in/token", "x", "X-Token", "right"), 200, `{"id":"evt_`, "", 1},
		{"wrong token", request("POST", "/in/token", "x", "X-Token", "wrong"), 401, `{"code":"authentication_failed","detail":"the request could not be verified"}`, "", 0},
		{"no token", request("POST", "/in/token", "x"), 401, `authentication_failed`, "", 0},
		{"at the limit", request("POST", "/in/small", "0123456789"), 200, `{"id":"evt_`, "", 1},
		{"declared too large", request("POST", "/in/small", "01234567890"), 413, `payload_too_large`, "Connection: close", 0},
		{"misconfigured", request("POST", "/in/broken", "x"), 503, `unavailable`, "Retry-After: 10", 0},
		{"own reply", request("POST", "/in/polite", "x"), 202, `<ok>evt_`, "X-Ref: 1", 1},
		{"own reply's type", request("POST", "/in/polite", "x"), 202, `<ok>evt_`, "Content-Type: application/xml", 1},
		{"204", request("POST", "/in/silent", "x"), 204, ``, "", 1},
		{"empty reply", request("POST", "/in/empty", "x"), 200, ``, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(w.store.accepted)
			answer := w.send(c.request)
			if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.body) || c.body == "" && answer.Code < 300 && answer.Body.Len() > 0 {
				t.Errorf("got %d %s", answer.Code, answer.Body)
			}
			if name, value, ok := strings.Cut(c.header, ": "); ok && answer.Header().Get(name) != value {
				t.Errorf("%s is %q, want %q", name, answer.Header().Get(name), value)
			}
			if stored := len(w.store.accepted) - before; stored != c.stored {
				t.Errorf("%d events were stored, want %d", stored, c.stored)
			}
		})
	}
	if !w.lanes.balanced() {
		t.Error("a reservation was neither used nor given back")
	}
}

// Every sample of every built-in profile comes in by its own address and becomes an
// event with the type and id that the profile promises.
func TestEveryProfileSampleComesIn(t *testing.T) {
	for _, profile := range profilesOf(t).Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			sample := profile.Sample
			now := sample.Time
			if now.IsZero() {
				now = profiles.SampleTime()
			}
			spec := source(10, profile.Name, func(s *hook.Source) {
				s.Verify, s.Provider, s.Secret, s.Settings = nil, profile.Name, sample.Secret, maps.Clone(sample.Settings)
				if sample.URL != "" && !strings.Contains(sample.URL, route.PathPrefix) {
					s.Settings = map[string]string{settingURL: sample.URL} // the sender knows us under another address
				}
			})
			w := newWorldWithKeys(t, withConnection(spec), keyFile(sample.Keys), func(o *Options) { o.Now = func() time.Time { return now } })
			r := sampleRequest(t, profile)
			answer := w.send(r)
			if answer.Code >= 300 || len(w.store.accepted) != 1 {
				var why any
				if len(w.store.refusals) > 0 {
					why = w.store.refusals[0].Explanation
				}
				t.Fatalf("%d %s, %d events, %v", answer.Code, answer.Body, len(w.store.accepted), why)
			}
			event := &w.store.accepted[0].Event
			if sample.Type != "" && event.Type != sample.Type {
				t.Errorf("the type is %q, want %q", event.Type, sample.Type)
			}
			if sample.ID != "" && event.ProviderID != sample.ID {
				t.Errorf("the id is %q, want %q", event.ProviderID, sample.ID)
			}
			if again := w.send(sampleRequest(t, profile)); sample.ID != "" && (again.Code != answer.Code || again.Body.String() != answer.Body.String()) {
				t.Errorf("the duplicate is answered %d %s, the first was %d %s", again.Code, again.Body, answer.Code, answer.Body)
			}
		})
	}
}

func sampleRequest(t *testing.T, profile *signature.Profile) *http.Request {
	t.Helper()
	sample := profile.Sample
	method, url := sample.Method, sample.URL
	if method == "" {
		method = http.MethodPost
	}
	if url == "" {
		url = "https://hooks.example.com/in/" + profile.Name
	}
	r := httptest.NewRequest(method, url, strings.NewReader(sample.Body))
	if !strings.HasPrefix(r.URL.Path, route.PathPrefix) {
		r = httptest.NewRequest(method, "https://hooks.example.com/in/"+profile.Name+"?"+r.URL.RawQuery, strings.NewReader(sample.Body))
	}
	for name, value := range sample.Headers {
		r.Header.Set(name, value)
	}
	for rest := []byte(sample.Certificate); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if r.TLS == nil {
			r.TLS = &tls.ConnectionState{}
		}
		r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, certificate)
	}
	return r
}

func TestHandshakesComeBeforeEverythingElse(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "hub", func(s *hook.Source) {
		s.Verify, s.Secret = &hook.Verify{Token: &hook.TokenRule{Header: "X-Token"}}, "right"
		s.Handshakes = []hook.Handshake{{
			Name: "challenge", When: hook.HandshakeMatch{Methods: []string{"GET"}, Query: map[string]string{"challenge": "*"}},
			Reply: hook.HandshakeReply{Body: "{query:challenge}"},
		}}
	})))
	answer := w.send(request("GET", "/in/hub?challenge=abc", ""))
	if answer.Code != 200 || answer.Body.String() != "abc" || len(w.store.accepted)+len(w.store.refusals) != 0 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if answer := w.send(request("GET", "/in/hub", "")); answer.Code != 405 {
		t.Errorf("what is no handshake is answered %d", answer.Code)
	}
}

// Who enters another token at the provider than here reads so in the refused log.
func TestAHandshakeWithAForeignTokenIsExplained(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "hub", func(s *hook.Source) {
		s.Provider, s.Secret, s.Settings = "meta", "app-secret", map[string]string{"verifyToken": "ours"}
	})))
	ask := func(token string) *httptest.ResponseRecorder {
		return w.send(request("GET", "/in/hub?hub.mode=subscribe&hub.challenge=7&hub.verify_token="+token, ""))
	}
	if answer := ask("ours"); answer.Code != 200 || answer.Body.String() != "7" {
		t.Errorf("our token: %d %s", answer.Code, answer.Body)
	}
	if answer := ask("theirs"); answer.Code != 401 || len(w.store.refusals) != 1 {
		t.Fatalf("their token: %d %s, %d kept", answer.Code, answer.Body, len(w.store.refusals))
	}
	kept := w.store.refusals[0]
	if said := strings.Join(kept.Explanation, " "); kept.Reason != "bad_handshake" || !strings.Contains(said, "query parameter hub.verify_token (setting verifyToken)") || strings.Contains(said, "ours") {
		t.Errorf("%s: %s", kept.Reason, said)
	}
	if answer := w.send(request("GET", "/in/hub?hub.mode=other", "")); answer.Code != 405 || len(w.store.refusals) != 1 {
		t.Errorf("no handshake: %d", answer.Code)
	}
}

func TestDuplicatesAreAnsweredAsTheFirst(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) {
		s.Dedupe = &hook.Dedupe{Field: hook.Field{Header: "X-Id"}, Window: hook.Duration(time.Hour)}
	})))
	const senders = 32
	answers := make([]string, senders)
	var wait sync.WaitGroup
	for i := range senders {
		wait.Go(func() { answers[i] = w.post("/in/shop", "x", "X-Id", "d-1").Body.String() })
	}
	wait.Wait()
	for _, answer := range answers {
		if answer != answers[0] {
			t.Fatalf("%s and %s", answers[0], answer)
		}
	}
	if len(w.store.accepted) != 1 || len(w.lanes.jobs) != 1 || !w.lanes.balanced() {
		t.Errorf("%d accepted, %d jobs", len(w.store.accepted), len(w.lanes.jobs))
	}
	if got := w.store.accepted[0]; got.Window != time.Hour || got.Event.ProviderID != "d-1" || got.Dedupe == (hook.DedupeHash{}) {
		t.Errorf("%+v", got)
	}
	if n := w.counted(t, "malote_ingest_duplicates_total"); n != senders-1 {
		t.Errorf("%v duplicates are counted", n)
	}
	w.post("/in/shop", "x", "X-Id", "d-2")
	w.post("/in/shop", "x")
	w.post("/in/shop", "x")
	if len(w.store.accepted) != 4 {
		t.Errorf("%d accepted: another id, or none, is no duplicate", len(w.store.accepted))
	}
	w.change(t, func(s *hook.Source) { s.Dedupe.Off = true })
	w.post("/in/shop", "x", "X-Id", "d-1")
	if len(w.store.accepted) != 5 {
		t.Error("a duplicate is dropped although that is off")
	}
}

func TestSourcesDoNotShareIds(t *testing.T) {
	hash, again := dedupeHash(1, "x"), dedupeHash(1, "x")
	if hash != again || hash == dedupeHash(2, "x") || hash == dedupeHash(1, "y") {
		t.Error("the hash does not tell sources and ids apart")
	}
}

func TestFullLanesDefer(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop")))
	w.lanes.room = 0
	if answer := w.post("/in/shop", "x"); answer.Code != 200 {
		t.Fatal(answer.Code)
	}
	if target := w.store.accepted[0].Event.Targets[0]; !target.Deferred || target.Held || len(w.lanes.jobs) != 0 {
		t.Errorf("%+v, %d jobs", target, len(w.lanes.jobs))
	}
}

func TestPausedIsHeld(t *testing.T) {
	for reason, pause := range map[string]func(*hook.Catalogue){
		"the connection is paused":  func(c *hook.Catalogue) { c.Connections[0].Paused = true },
		"the destination is paused": func(c *hook.Catalogue) { c.Destinations[0].Paused = true },
		"the destination is paused: it answered 410": func(c *hook.Catalogue) {
			c.Connections[0].Paused = true
			c.Destinations[0].Paused, c.Destinations[0].PauseReason = true, "it answered 410"
		},
	} {
		t.Run(reason, func(t *testing.T) {
			catalogue := withConnection(source(10, "shop"))
			pause(&catalogue)
			w := newWorld(t, catalogue)
			w.post("/in/shop", "x")
			if target := w.store.accepted[0].Event.Targets[0]; !target.Held || target.Reason != reason || target.Deferred || len(w.lanes.jobs) != 0 || !w.lanes.balanced() {
				t.Errorf("%+v, %d jobs", target, len(w.lanes.jobs))
			}
		})
	}
}

func TestAFullStoreIsToldAndLanesAreReleased(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop")))
	w.store.err = hook.Errorf(hook.KindUnavailable, "the disk is full")
	answer := w.post("/in/shop", "x")
	if answer.Code != 503 || answer.Header().Get("Retry-After") == "" || strings.Contains(answer.Body.String(), "disk") {
		t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
	}
	if !w.lanes.balanced() || len(w.lanes.jobs) != 0 {
		t.Error("the lanes keep a reservation")
	}
}

func TestASenderThatLeavesIsNotAFailure(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop")))
	ctx, leave := context.WithCancel(t.Context())
	leave()
	w.store.err = ctx.Err()
	w.send(request(http.MethodPost, "/in/shop", "x").WithContext(ctx))
	if !w.lanes.balanced() || len(w.store.accepted)+len(w.store.refusals) != 0 || w.counted(t, "malote_ingest_refused_total") != 1 {
		t.Error("something of it is left")
	}
}

func TestFiltersThatFailAreNoted(t *testing.T) {
	catalogue := withConnection(source(10, "shop"))
	more := catalogue.Connections[0]
	more.ID, more.Name, more.Filter = 101, "filtered", `data.missing == 1`
	wrong := catalogue.Connections[0]
	wrong.ID, wrong.Name, wrong.Filter = 102, "broken", `dta.x`
	catalogue.Connections = append(catalogue.Connections, more, wrong)
	w := newWorld(t, catalogue)
	w.post("/in/shop", `{"a":1}`)
	event := w.store.accepted[0].Event
	if len(event.Targets) != 1 || len(event.Unmatched) != 2 || !strings.Contains(event.Unmatched[0].Error, "no such key: missing") {
		t.Errorf("%+v %+v", event.Targets, event.Unmatched)
	}
	if n := w.counted(t, "malote_ingest_filter_errors_total"); n != 2 {
		t.Errorf("%v are counted", n)
	}
}

func TestOversizedWithoutALength(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) { s.MaxBody = 200_000 })))
	for size, want := range map[int]int{199_999: 200, 200_000: 200, 200_001: 413, 50_000_000: 413} {
		r := httptest.NewRequest(http.MethodPost, "/in/shop", &endless{size})
		r.ContentLength = -1
		if answer := w.send(r); answer.Code != want {
			t.Errorf("%d bytes are answered %d, want %d", size, answer.Code, want)
		}
	}
	for _, acceptance := range w.store.accepted {
		if cap(acceptance.Event.Payload) > 300_000 {
			t.Errorf("a payload of %d bytes holds %d", len(acceptance.Event.Payload), cap(acceptance.Event.Payload))
		}
	}
	if len(w.store.refusals) != 2 || w.store.refusals[0].Reason != ReasonTooLarge || !w.store.refusals[0].Truncated ||
		len(w.store.refusals[0].Payload) > maxKeptBody {
		t.Errorf("%d refusals", len(w.store.refusals))
	}
}

// Two bodies that come after each other must not share memory, although buffers do.
func TestPayloadsAreNotOverwritten(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop")))
	for i := range 20 {
		r := request(http.MethodPost, "/in/shop", strings.Repeat(string(rune('a'+i)), 1000*(i+1)))
		if i%2 == 0 {
			r.ContentLength = -1
		}
		w.send(r)
	}
	for i, acceptance := range w.store.accepted {
		if want := strings.Repeat(string(rune('a'+i)), 1000*(i+1)); string(acceptance.Event.Payload) != want {
			t.Errorf("payload %d was overwritten", i)
		}
	}
}

// serve runs the handler behind a real listener.
func serve(t *testing.T, w *world) string {
	t.Helper()
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestSlowAndBrokenSendersAreCutOff(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop")), func(o *Options) { o.ReadTimeout = 50 * time.Millisecond })
	address := serve(t, w)
	for name, c := range map[string]struct {
		text   string
		close  bool
		status string
	}{
		"declared":     {"POST /in/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbegin", false, "408"},
		"large":        {"POST /in/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nbegin", false, "408"},
		"chunked":      {"POST /in/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n", false, "408"},
		"ends early":   {"POST /in/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbegin", true, "400"},
		"broken chunk": {"POST /in/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			connection, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			if _, err := connection.Write([]byte(c.text)); err != nil {
				t.Fatal(err)
			}
			if c.close {
				_ = connection.(*net.TCPConn).CloseWrite()
			}
			_ = connection.SetReadDeadline(time.Now().Add(20 * time.Second))
			answer := make([]byte, 4096)
			n, err := connection.Read(answer)
			if err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 "+c.status)) {
				t.Errorf("got %q, %v", answer[:n], err)
			}
			// A server that waited for the rest of the body would be held for good.
			if _, err := io.Copy(io.Discard, connection); err != nil {
				t.Errorf("the connection stayed open: %v", err)
			}
		})
	}
	if len(w.store.events()) != 0 {
		t.Error("a part of a body became an event")
	}
}

// After its body came in time, a request may wait longer than the body was allowed to
// take: the deadline of the body does not end it.
func TestTheDeadlineIsOfTheBodyAlone(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop")), func(o *Options) { o.ReadTimeout = 30 * time.Millisecond })
	slow := &slowStore{fakeStore: w.store, wait: 120 * time.Millisecond}
	w.options.Store = slow
	answer, err := http.Post("http://"+serve(t, w)+"/in/shop", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK || slow.err != nil {
		t.Errorf("%d %v", answer.StatusCode, slow.err)
	}
}

func TestBatches(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "ce", func(s *hook.Source) {
		s.Type = &hook.Field{Path: "type"}
		s.Dedupe = &hook.Dedupe{Field: hook.Field{Path: "id"}}
	})))
	const batch = "application/cloudevents-batch+json; charset=utf-8"
	answer := w.post("/in/ce", ` [{"id":"1","type":"a"}, {"id":"2","type":"b"},{"id":"1","type":"a"}]`, "Content-Type", batch)
	if answer.Code != 200 || len(w.store.accepted) != 2 || len(w.lanes.jobs) != 2 || !w.lanes.balanced() {
		t.Fatalf("%d %s, %d events", answer.Code, answer.Body, len(w.store.accepted))
	}
	types := map[string]string{}
	for _, acceptance := range w.store.accepted {
		event := &acceptance.Event
		types[event.Type] = string(event.Payload)
		if got := event.Headers.Get("Content-Type"); got != "application/cloudevents+json; charset=utf-8" {
			t.Errorf("an element is sent on as %q", got)
		}
	}
	if diff := cmp.Diff(map[string]string{"a": `{"id":"1","type":"a"}`, "b": `{"id":"2","type":"b"}`}, types); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string][2]string{
		"another array": {"application/json", `[{"id":"3"},{"id":"4"}]`},
		"not an array":  {batch, `{"id":"5"}`},
		"not objects":   {batch, `[1,2]`},
		"malformed":     {batch, `[{"id":"6"}`},
		"empty":         {batch, `[]`},
		"endless":       {batch, `[{}` + strings.Repeat(",{}", maxBatch) + `]`},
	} {
		before := len(w.store.accepted)
		if answer := w.post("/in/ce", c[1], "Content-Type", c[0]); answer.Code != 200 || len(w.store.accepted) != before+1 {
			t.Errorf("%s: %d, %d events", name, answer.Code, len(w.store.accepted)-before)
		}
	}
	w.store.err = errors.New("no")
	if answer := w.post("/in/ce", `[{"id":"8"},{"id":"9"}]`, "Content-Type", batch); answer.Code != 503 || !w.lanes.balanced() {
		t.Errorf("a batch that cannot be stored is answered %d", answer.Code)
	}
}

func TestProxiesAreBelievedOnlyWhenTrusted(t *testing.T) {
	proxy := netip.MustParsePrefix("192.0.2.0/24")
	inner := netip.MustParsePrefix("10.0.0.0/8")
	forwarded := []string{"X-Forwarded-For", "6.6.6.6, 203.0.113.9, 10.1.1.1", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "hooks.example.com, x"}
	for name, c := range map[string]struct {
		trust        []netip.Prefix
		settings     map[string]string
		path         string
		remote, url  string
		headers      []string
		remoteOfPeer string
	}{
		"not trusted":       {nil, nil, "/in/shop?a=1", "192.0.2.1", "http://malote.example/in/shop?a=1", forwarded, ""},
		"trusted":           {[]netip.Prefix{proxy, inner}, nil, "/in/shop?a=1", "203.0.113.9", "https://hooks.example.com/in/shop?a=1", forwarded, ""},
		"one hop trusted":   {[]netip.Prefix{proxy}, nil, "/in/shop", "10.1.1.1", "https://hooks.example.com/in/shop", forwarded, ""},
		"nothing forwarded": {[]netip.Prefix{proxy}, nil, "/in/shop", "192.0.2.1", "http://malote.example/in/shop", nil, ""},
		"nonsense":          {[]netip.Prefix{proxy}, nil, "/in/shop", "192.0.2.1", "http://malote.example/in/shop", []string{"X-Forwarded-For", "unknown"}, ""},
		"with ports":        {[]netip.Prefix{proxy}, nil, "/in/shop", "2001:db8::1", "http://malote.example/in/shop", []string{"X-Forwarded-For", "[2001:db8::1]:443"}, ""},
		"mapped":            {[]netip.Prefix{proxy}, nil, "/in/shop", "203.0.113.9", "https://hooks.example.com/in/shop", []string{"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "hooks.example.com"}, "[::ffff:192.0.2.1]:1234"},
		"registered":        {nil, map[string]string{"url": "https://a.example/in/shop"}, "/in/shop?a=1", "192.0.2.1", "https://a.example/in/shop?a=1", nil, ""},
		"registered query":  {nil, map[string]string{"url": "https://a.example/in/shop?b=2"}, "/in/shop?a=1", "192.0.2.1", "https://a.example/in/shop?b=2", nil, ""},
		"registered, below": {nil, map[string]string{"url": "https://a.example/in/shop/"}, "/in/shop/x/y", "192.0.2.1", "https://a.example/in/shop/x/y", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) { s.Settings, s.SubPaths = c.settings, true })),
				func(o *Options) { o.TrustProxy = c.trust })
			found, _ := w.router.Current().Source("shop")
			r := request(http.MethodPost, c.path, "", c.headers...)
			if c.remoteOfPeer != "" {
				r.RemoteAddr = c.remoteOfPeer
			}
			_, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), route.PathPrefix), "/")
			x := &exchange{intake: w.intakeOf(found), began: time.Now()}
			x.describe(r, rest)
			if x.request.URL != c.url || x.request.Remote.String() != c.remote {
				t.Errorf("got %s from %s", x.request.URL, x.request.Remote)
			}
		})
	}
}

func TestTheOperatorSaysHowTheServerIsReached(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop")), func(o *Options) { o.PublicURL = "https://hooks.example.com/" })
	found, _ := w.router.Current().Source("shop")
	x := &exchange{intake: w.intakeOf(found), began: time.Now()}
	x.describe(request(http.MethodPost, "/in/shop?a=1", ""), "")
	if x.request.URL != "https://hooks.example.com/in/shop?a=1" {
		t.Errorf("got %s", x.request.URL)
	}
}

func TestTheOperatorsLimitHoldsForEverySource(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) { s.MaxBody = 1000 })), func(o *Options) { o.MaxBody = 10 })
	for body, want := range map[string]int{"0123456789": http.StatusOK, "0123456789a": http.StatusRequestEntityTooLarge} {
		if answer := w.post("/in/shop", body); answer.Code != want {
			t.Errorf("%d bytes are answered %d, want %d", len(body), answer.Code, want)
		}
	}
}

func TestSecretsOfRequestsAreNotKept(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) {
		s.Verify, s.Secret = &hook.Verify{AllOf: []hook.Verify{
			{Token: &hook.TokenRule{Header: "X-Token"}}, {Token: &hook.TokenRule{Query: "key"}},
		}}, "right"
	})))
	answer := w.post("/in/shop?key=right&a=b", "x", "X-Token", "right", "Authorization", "Basic eDp5", "X-Other", "right")
	if answer.Code != 200 {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
	event := &w.store.accepted[0].Event
	if event.Headers.Get("X-Token") != "[secret]" || event.Headers.Get("Authorization") != "[secret]" || event.Headers.Get("X-Other") != "right" {
		t.Errorf("%v", event.Headers)
	}
	if event.Query != "key=[secret]&a=b" {
		t.Errorf("%q", event.Query)
	}
}

func TestLongIdentitiesAreClipped(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) {
		s.Type, s.Key = &hook.Field{Path: "t"}, &hook.Field{Path: "k"}
		s.Dedupe = &hook.Dedupe{Field: hook.Field{Path: "id"}}
	})))
	w.post("/in/shop", `{"t":"`+strings.Repeat("á", 400)+`","k":"`+"a\xff"+`","id":"`+strings.Repeat("x", 2000)+`1"}`)
	w.post("/in/shop", `{"t":"t","k":"k","id":"`+strings.Repeat("x", 2000)+`2"}`)
	if len(w.store.accepted) != 2 {
		t.Fatal("two long ids that differ at their ends are taken for one")
	}
	event := &w.store.accepted[0].Event
	if event.Type != strings.Repeat("á", 256) || event.Key != "a\uFFFD" || len(event.ProviderID) != maxIdentity {
		t.Errorf("%d bytes of type, key %q, %d bytes of id", len(event.Type), event.Key, len(event.ProviderID))
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop")))
	if _, err := New(w.options); err == nil {
		t.Error("the same metrics are registered twice")
	}
}

func TestLogsNameEventsAndHideSecrets(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) {
		s.Verify, s.Secret = &hook.Verify{Token: &hook.TokenRule{Header: "X-Token"}}, "the-right-one"
	})), func(o *Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	answer := w.post("/in/shop", "the-payload", "X-Token", "the-right-one")
	w.post("/in/shop", "the-payload", "X-Token", "a-wrong-one")
	text := log.String()
	if !strings.Contains(text, idOf(t, answer).String()) || !strings.Contains(text, `"reason":"bad_token"`) {
		t.Error(text)
	}
	for _, secret := range []string{"the-right-one", "a-wrong-one", "the-payload"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log shows %q: %s", secret, text)
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
