package webhook_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/hook"
)

// wire is the network of a test: it notes requests and answers what reply says.
type wire struct {
	reply func(r *http.Request, body string) *http.Response

	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(text)
	}
	w.mu.Lock()
	w.requests, w.bodies = append(w.requests, r), append(w.bodies, body)
	w.mu.Unlock()
	res := answer(200, "")
	if w.reply != nil {
		if res = w.reply(r, body); res == nil {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
	}
	res.Request = r
	return res, nil
}

// to returns the requests to a host.
func (w *wire) to(host string) (requests []*http.Request, bodies []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range w.requests {
		if r.URL.Host == host {
			requests, bodies = append(requests, r), append(bodies, w.bodies[i])
		}
	}
	return requests, bodies
}

func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

const host = "erp.example.com"

// target returns a target with the given change.
func target(change func(*hook.HTTPTarget)) *hook.HTTPTarget {
	t := &hook.HTTPTarget{URL: "https://" + host + "/orders?a=b", Sign: &hook.Sign{None: true}}
	if change != nil {
		change(t)
	}
	return t
}

func open(t *testing.T, w *wire, http *hook.HTTPTarget) *destination.Sender {
	t.Helper()
	factory := webhook.NewFactory(webhook.Options{Guard: newGuard(t), Version: "1.2.3", Transport: w, Logger: quiet()})
	sender, err := factory.Open(&hook.Destination{Name: "erp", DestinationSpec: hook.DestinationSpec{HTTP: http}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sender.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return sender
}

func message() *destination.Message {
	at := time.Date(2026, 11, 23, 12, 0, 0, 123e6, time.UTC)
	body := []byte(`{"id":1001}`)
	return &destination.Message{
		Delivery: 77, Attempt: 2, Time: at, Source: "/default/shop ção", Body: body,
		Event: &hook.Event{
			ID: 66, Type: "orders/create", Key: "nº 1", ReceivedAt: at, Payload: body,
			Headers: hook.Headers{
				{Name: "content-type", Value: "application/json; charset=utf-8"},
				{Name: "X-Shopify-Topic", Value: "orders/create"},
				{Name: "X-Shopify-Hmac-Sha256", Value: "abc="},
			},
		},
	}
}

func TestRequest(t *testing.T) {
	w := &wire{}
	sender := open(t, w, target(func(h *hook.HTTPTarget) {
		h.Method = http.MethodPut
		h.Headers = map[string]string{"X-Plant": "7", "x-lower": "kept"}
		h.Forward = []string{"x-shopify-topic", "content-type", "X-Absent"}
	}))
	attempt, try := sender.Send(t.Context(), message())
	if try.Outcome != hook.OutcomeSuccess {
		t.Fatalf("%+v", try)
	}
	r, body := w.requests[0], w.bodies[0]
	if r.Method != http.MethodPut || r.URL.String() != "https://erp.example.com/orders?a=b" || body != `{"id":1001}` || r.ContentLength != 11 {
		t.Errorf("%s %s with %q", r.Method, r.URL, body)
	}
	want := map[string]string{
		"User-Agent": "Malote/1.2.3", "Content-Type": "application/json; charset=utf-8",
		"Webhook-Id": hook.DeliveryID(77).String(), "Malote-Event-Id": hook.EventID(66).String(),
		"Malote-Event-Type": "orders/create", "Malote-Attempt": "2", "X-Plant": "7", "X-Shopify-Topic": "orders/create",
	}
	for name, value := range want {
		if got := r.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if got, ok := r.Header["x-lower"]; !ok || got[0] != "kept" { //nolint:staticcheck // the spelling is what is tested
		t.Errorf("a header's spelling is not kept: %v", r.Header)
	}
	if len(r.Header) != len(want)+1 {
		t.Errorf("further headers: %v", r.Header)
	}
	if attempt.Method != http.MethodPut || attempt.URL != "https://erp.example.com/orders?a=b" || len(attempt.RequestHeaders) != len(r.Header) {
		t.Errorf("the record is not what was sent: %+v", attempt)
	}
}

func TestMethodsWithoutBody(t *testing.T) {
	w := &wire{}
	sender := open(t, w, target(func(h *hook.HTTPTarget) { h.Method = "GET" }))
	if _, try := sender.Send(t.Context(), message()); try.Outcome != hook.OutcomeSuccess {
		t.Fatalf("%+v", try)
	}
	if w.bodies[0] != "" || w.requests[0].Header.Get("Content-Type") != "" {
		t.Errorf("GET has a body: %q", w.bodies[0])
	}
}

func TestContentType(t *testing.T) {
	tests := []struct{ given, body, want string }{
		{"text/xml", "<a/>", "text/xml"},
		{"", `{"a":1}`, "application/json"},
		{"", " \n[1]", "application/json"},
		{"", "a=b", "application/octet-stream"},
		{"", "", "application/octet-stream"},
		{"text/plain\r\nx-evil: 1", "{", "application/json"},
	}
	for _, test := range tests {
		w := &wire{}
		m := message()
		m.Event = &hook.Event{ID: 1, Type: "x", Headers: hook.Headers{{Name: "Content-Type", Value: test.given}}}
		m.Body = []byte(test.body)
		open(t, w, target(nil)).Send(t.Context(), m)
		if got := w.requests[0].Header.Get("Content-Type"); got != test.want {
			t.Errorf("%q with %q is sent as %q, want %q", test.given, test.body, got, test.want)
		}
	}
}

func TestAuth(t *testing.T) {
	tests := []struct {
		name         string
		auth         hook.Auth
		header, want string
	}{
		{"bearer", hook.Auth{Bearer: "tok"}, "Authorization", "Bearer tok"},
		{"basic", hook.Auth{Basic: &hook.BasicAuth{Username: "user", Password: "pa:ss"}}, "Authorization", "Basic dXNlcjpwYTpzcw=="},
		{"header", hook.Auth{Header: &hook.HeaderAuth{Name: "X-Key", Value: "k"}}, "X-Key", "k"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := &wire{}
			attempt, _ := open(t, w, target(func(h *hook.HTTPTarget) { h.Auth = &test.auth })).Send(t.Context(), message())
			if got := w.requests[0].Header.Get(test.header); got != test.want {
				t.Errorf("%s: %q, want %q", test.header, got, test.want)
			}
			if kept := attempt.RequestHeaders.Get(test.header); !strings.HasSuffix(kept, "[secret]") {
				t.Errorf("%s is kept as %q", test.header, kept)
			}
		})
	}
}

// The signature is checked with nothing of ours: Standard Webhooks by hand.
func TestSigned(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	w := &wire{}
	sender := open(t, w, target(func(h *hook.HTTPTarget) {
		h.Sign = &hook.Sign{Secret: hook.Secret("whsec_" + base64.StdEncoding.EncodeToString(key))}
	}))
	m := message()
	attempt, _ := sender.Send(t.Context(), m)
	header := w.requests[0].Header
	if got := header.Values("Webhook-Id"); len(got) != 1 || got[0] != m.Delivery.String() {
		t.Errorf("webhook-id %v", got)
	}
	if got, want := header.Get("Webhook-Timestamp"), fmt.Sprint(m.Time.Unix()); got != want {
		t.Errorf("webhook-timestamp %q, want that of the attempt, %q", got, want)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(header.Get("Webhook-Id") + "." + header.Get("Webhook-Timestamp") + "." + w.bodies[0]))
	if got, want := header.Get("Webhook-Signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("webhook-signature %q, want %q", got, want)
	}
	if attempt.RequestHeaders.Get("Webhook-Signature") == "" {
		t.Error("the signature is not in the record")
	}
}

func TestCloudEventsBinary(t *testing.T) {
	w := &wire{}
	open(t, w, target(func(h *hook.HTTPTarget) { h.Encoding = "cloudevents-binary" })).Send(t.Context(), message())
	want := map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": hook.EventID(66).String(), "Ce-Source": "/default/shop%20%C3%A7%C3%A3o", "Ce-Type": "orders/create",
		"Ce-Time": "2026-11-23T12:00:00.123Z", "Ce-Partitionkey": "n%C2%BA%201", "Content-Type": "application/json; charset=utf-8",
	}
	for name, value := range want {
		if got := w.requests[0].Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if w.bodies[0] != `{"id":1001}` {
		t.Errorf("body %q", w.bodies[0])
	}
}

func TestCloudEventsStructured(t *testing.T) {
	tests := []struct{ name, contentType, body, member, data string }{
		{"JSON", "application/json", `{"id": 1001}`, "data", `{"id":1001}`},
		{"JSON by suffix", "application/vnd.api+json; v=1", `[1]`, "data", `[1]`},
		{"broken JSON", "application/json", `{"id":`, "data", `"{\"id\":"`},
		{"text", "text/xml", "<a>ç</a>", "data", `"\u003ca\u003eç\u003c/a\u003e"`},
		{"bytes", "application/octet-stream", "\xff\x00", "data_base64", `"/wA="`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := &wire{}
			m := message()
			m.Event = &hook.Event{ID: 66, Type: "orders/create", ReceivedAt: m.Time, Headers: hook.Headers{{Name: "Content-Type", Value: test.contentType}}}
			m.Body = []byte(test.body)
			open(t, w, target(func(h *hook.HTTPTarget) { h.Encoding = "cloudevents-structured" })).Send(t.Context(), m)
			if got := w.requests[0].Header.Get("Content-Type"); got != "application/cloudevents+json; charset=utf-8" {
				t.Errorf("content type %q", got)
			}
			var event map[string]json.RawMessage
			if err := json.Unmarshal([]byte(w.bodies[0]), &event); err != nil {
				t.Fatalf("%q: %v", w.bodies[0], err)
			}
			want := map[string]string{
				"specversion": `"1.0"`, "id": `"` + hook.EventID(66).String() + `"`, "source": `"/default/shop ção"`, "type": `"orders/create"`,
				"time": `"2026-11-23T12:00:00.123Z"`, "datacontenttype": `"` + test.contentType + `"`, test.member: test.data,
			}
			for name, value := range want {
				if got := string(event[name]); got != value {
					t.Errorf("%s: %s, want %s", name, got, value)
				}
			}
			if len(event) != len(want) {
				t.Errorf("further members: %s", w.bodies[0])
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	long := strings.Repeat("x", 4097)
	tests := []struct {
		name   string
		change func(*hook.HTTPTarget)
		path   string
		want   string
	}{
		{"no URL", func(h *hook.HTTPTarget) { h.URL = "" }, "http.url", "empty"},
		{"private", func(h *hook.HTTPTarget) { h.URL = "http://10.0.0.3/" }, "http.url", "--allow-private"},
		{"long URL", func(h *hook.HTTPTarget) { h.URL = "https://a.example/" + strings.Repeat("x", 9000) }, "http.url", "longer"},
		{"method", func(h *hook.HTTPTarget) { h.Method = "post" }, "http.method", "POST"},
		{"misspelt method", func(h *hook.HTTPTarget) { h.Method = "PSOT" }, "http.method", `did you mean "POST"?`},
		{"CONNECT", func(h *hook.HTTPTarget) { h.Method = "CONNECT" }, "http.method", "POST"},
		{"smuggled method", func(h *hook.HTTPTarget) { h.Method = "GET / HTTP/1.1\r\nX:" }, "http.method", "POST"},
		{"encoding", func(h *hook.HTTPTarget) { h.Encoding = "cloudevents" }, "http.encoding", "cloudevents-binary"},
		{"structured GET", func(h *hook.HTTPTarget) { h.Method, h.Encoding = "GET", "cloudevents-structured" }, "http.encoding", "POST"},
		{"timeout", func(h *hook.HTTPTarget) { h.Timeout = hook.Duration(time.Hour) }, "http.timeout", "at most 2m"},
		{"short timeout", func(h *hook.HTTPTarget) { h.Timeout = 1 }, "http.timeout", "too short"},
		{"header name", func(h *hook.HTTPTarget) { h.Headers = map[string]string{"a b": "c"} }, "http.headers.a b", "not a header name"},
		{"header value", func(h *hook.HTTPTarget) { h.Headers = map[string]string{"A": "x\r\nEvil: 1"} }, "http.headers.A", "line break"},
		{"long header", func(h *hook.HTTPTarget) { h.Headers = map[string]string{"A": long} }, "http.headers.A", "longer than 4096"},
		{"forward", func(h *hook.HTTPTarget) { h.Forward = []string{"X-A", "Host"} }, "http.forward.1", "transport"},
		{"no auth", func(h *hook.HTTPTarget) { h.Auth = &hook.Auth{} }, "http.auth", "no kind"},
		{
			"two auths",
			func(h *hook.HTTPTarget) {
				h.Auth = &hook.Auth{Bearer: "x", Header: &hook.HeaderAuth{Name: "X", Value: "y"}}
			},
			"http.auth", "more than one",
		},
		{"bearer with a line break", func(h *hook.HTTPTarget) { h.Auth = &hook.Auth{Bearer: "tok\n"} }, "http.auth.bearer", "read from a file"},
		{"auth header", func(h *hook.HTTPTarget) { h.Auth = &hook.Auth{Header: &hook.HeaderAuth{Name: "Host", Value: "y"}} }, "http.auth.header.name", "transport"},
		{"empty key", func(h *hook.HTTPTarget) { h.Auth = &hook.Auth{Header: &hook.HeaderAuth{Name: "X"}} }, "http.auth.header.value", "empty"},
		{"empty basic", func(h *hook.HTTPTarget) { h.Auth = &hook.Auth{Basic: &hook.BasicAuth{}} }, "http.auth.basic", "username"},
		{"basic user", func(h *hook.HTTPTarget) { h.Auth = &hook.Auth{Basic: &hook.BasicAuth{Username: "a:b"}} }, "http.auth.basic.username", "colon"},
		{
			"twice",
			func(h *hook.HTTPTarget) {
				h.Auth = &hook.Auth{Bearer: "x"}
				h.Headers = map[string]string{"authorization": "y"}
			},
			"http.headers.Authorization", "remove one",
		},
		{
			"private token endpoint",
			func(h *hook.HTTPTarget) {
				h.Auth = &hook.Auth{OAuth2: &hook.OAuth2{TokenURL: "http://169.254.169.254/token", ClientID: "x"}}
			},
			"http.auth.oauth2.tokenUrl", "metadata",
		},
		{
			"no client id",
			func(h *hook.HTTPTarget) {
				h.Auth = &hook.Auth{OAuth2: &hook.OAuth2{TokenURL: "https://id.example.com/"}}
			},
			"http.auth.oauth2.clientId", "empty",
		},
		{
			"params of the grant",
			func(h *hook.HTTPTarget) {
				h.Auth = &hook.Auth{OAuth2: &hook.OAuth2{TokenURL: "https://id.example.com/", ClientID: "x", Params: map[string]string{"scope": "a"}}}
			},
			"http.auth.oauth2.params.scope", "grant itself",
		},
		{"CA", func(h *hook.HTTPTarget) { h.CA = "nonsense" }, "http.ca", "PEM"},
		{"client certificate", func(h *hook.HTTPTarget) { h.Auth = &hook.Auth{MTLS: &hook.ClientCert{Cert: "a", Key: "b"}} }, "http.auth.mtls", "PEM"},
		{"secret", func(h *hook.HTTPTarget) { h.Sign = &hook.Sign{Secret: "whsec_%%%"} }, "http.sign.secret", ""},
		{"scheme", func(h *hook.HTTPTarget) { h.Sign = &hook.Sign{Scheme: "nonsense"} }, "http.sign", ""},
	}
	for _, name := range []string{
		"User-Agent", "Content-Length", "transfer-encoding", "Proxy-Authorization", "webhook-id", "Svix-Id", "x-amz-date", "X-Goog-Signature", "Malote-Attempt", "ce-id",
	} {
		tests = append(tests, struct {
			name   string
			change func(*hook.HTTPTarget)
			path   string
			want   string
		}{name, func(h *hook.HTTPTarget) { h.Headers = map[string]string{name: "x"} }, "http.headers." + name, ""})
	}
	factory := webhook.NewFactory(webhook.Options{Guard: newGuard(t), Logger: quiet()})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := factory.Check(&hook.DestinationSpec{HTTP: target(test.change)})
			var invalid *hook.Error
			if !errors.As(err, &invalid) || invalid.Kind != hook.KindInvalid {
				t.Fatalf("got %v, want a problem with %s", err, test.path)
			}
			for _, problem := range invalid.Problems {
				if strings.HasPrefix(problem.Path, test.path) && strings.Contains(problem.Message, test.want) {
					return
				}
			}
			t.Errorf("got %+v, want a problem with %s that speaks of %q", invalid.Problems, test.path, test.want)
		})
	}
	if err := factory.Check(&hook.DestinationSpec{}); hook.KindOf(err) != hook.KindInvalid {
		t.Errorf("a destination without a kind gives %v", err)
	}
	if err := factory.Check(&hook.DestinationSpec{HTTP: target(nil)}); err != nil {
		t.Errorf("a good destination gives %v", err)
	}
	for _, sign := range []*hook.Sign{nil, {}, {Scheme: "ed25519"}, {Scheme: "stripe"}} {
		unsigned := target(func(h *hook.HTTPTarget) { h.Sign = sign })
		if err := factory.Check(&hook.DestinationSpec{HTTP: unsigned}); err != nil {
			t.Errorf("before its secret is generated, %+v gives %v", sign, err)
		}
		if sender, err := factory.Open(&hook.Destination{DestinationSpec: hook.DestinationSpec{HTTP: unsigned}}); err == nil {
			t.Errorf("without its secret, %+v is opened", sign)
			_ = sender.Close()
		}
	}
}

// oauth is a token endpoint and a destination that takes its tokens.
type oauth struct {
	wire
	issued  int
	valid   string
	life    int
	refuse  func() *http.Response
	pending time.Duration
}

func newOAuth() *oauth {
	o := &oauth{life: 3600}
	o.reply = func(r *http.Request, _ string) *http.Response {
		if r.URL.Host != "id.example.com" {
			if o.valid != "" && r.Header.Get("Authorization") != "Bearer "+o.valid {
				return answer(401, "")
			}
			return answer(200, "")
		}
		if o.pending > 0 {
			<-time.After(o.pending)
		}
		if o.refuse != nil {
			return o.refuse()
		}
		o.issued++
		o.valid = fmt.Sprintf("token-%d", o.issued)
		return answer(200, fmt.Sprintf(`{"access_token":%q,"token_type":"bearer","expires_in":%d}`, o.valid, o.life))
	}
	return o
}

func oauthTarget(change func(*hook.OAuth2)) *hook.HTTPTarget {
	return target(func(h *hook.HTTPTarget) {
		h.Auth = &hook.Auth{OAuth2: &hook.OAuth2{
			TokenURL: "https://id.example.com/token", ClientID: "cli:ent", ClientSecret: "s3cr&t", Scopes: []string{"a", "b"}, Params: map[string]string{"audience": "erp"},
		}}
		if change != nil {
			change(h.Auth.OAuth2)
		}
	})
}

func TestOAuth2Request(t *testing.T) {
	o := newOAuth()
	open(t, &o.wire, oauthTarget(nil)).Send(t.Context(), message())
	requests, bodies := o.to("id.example.com")
	user, password, _ := requests[0].BasicAuth()
	if user != url.QueryEscape("cli:ent") || password != url.QueryEscape("s3cr&t") {
		t.Errorf("credentials %q %q", user, password)
	}
	if got := requests[0].UserAgent(); got != "Malote/1.2.3" {
		t.Errorf("it is asked for by %q", got)
	}
	if form, _ := url.ParseQuery(bodies[0]); form.Get("grant_type") != "client_credentials" || form.Get("scope") != "a b" || form.Get("audience") != "erp" || form.Has("client_secret") {
		t.Errorf("form %q", bodies[0])
	}

	o = newOAuth()
	open(t, &o.wire, oauthTarget(func(a *hook.OAuth2) { a.InBody = true })).Send(t.Context(), message())
	requests, bodies = o.to("id.example.com")
	if form, _ := url.ParseQuery(bodies[0]); form.Get("client_id") != "cli:ent" || form.Get("client_secret") != "s3cr&t" || requests[0].Header.Get("Authorization") != "" {
		t.Errorf("form %q, headers %v", bodies[0], requests[0].Header)
	}
}

func TestOAuth2TokenIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOAuth()
		sender := open(t, &o.wire, oauthTarget(nil))
		for range 10 {
			if _, try := sender.Send(t.Context(), message()); try.Outcome != hook.OutcomeSuccess {
				t.Fatalf("%+v", try)
			}
		}
		if o.issued != 1 {
			t.Errorf("%d tokens for ten deliveries, want one", o.issued)
		}
		<-time.After(time.Hour - 31*time.Second)
		sender.Send(t.Context(), message())
		if o.issued != 1 {
			t.Errorf("a new token %v before the end of the old one", 31*time.Second)
		}
		<-time.After(2 * time.Second)
		sender.Send(t.Context(), message())
		if o.issued != 2 {
			t.Errorf("%d tokens half a minute before the end, want a second one", o.issued)
		}
	})
}

func TestOAuth2TokenIsAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOAuth()
		o.pending = time.Second
		sender := open(t, &o.wire, oauthTarget(nil))
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { sender.Send(impatient, message()) })
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				if _, try := sender.Send(t.Context(), message()); try.Outcome != hook.OutcomeSuccess {
					t.Errorf("%+v", try)
				}
			})
		}
		wg.Wait()
		if o.issued != 1 {
			t.Errorf("%d tokens, want one", o.issued)
		}
	})
}

// A token that is withdrawn before its time is replaced within the attempt; a
// destination that refuses every token does not make us ask for one each time.
func TestOAuth2WithdrawnToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOAuth()
		sender := open(t, &o.wire, oauthTarget(nil))
		sender.Send(t.Context(), message())
		<-time.After(time.Minute)
		o.valid = "another"
		if _, try := sender.Send(t.Context(), message()); try.Outcome != hook.OutcomeSuccess || o.issued != 2 {
			t.Errorf("%+v with %d tokens", try, o.issued)
		}
		requests, bodies := o.to(host)
		if len(requests) != 3 || bodies[2] != bodies[0] || requests[2].Header.Get("Webhook-Id") != requests[1].Header.Get("Webhook-Id") {
			t.Errorf("%d requests, the last with %q", len(requests), bodies[len(bodies)-1])
		}
		o.reply = func(r *http.Request, _ string) *http.Response {
			if r.URL.Host == "id.example.com" {
				o.issued++
				return answer(200, `{"access_token":"x","expires_in":3600}`)
			}
			return answer(401, "")
		}
		<-time.After(time.Minute)
		for range 10 {
			if _, try := sender.Send(t.Context(), message()); try.Outcome != hook.OutcomeRejected || try.Status != 401 {
				t.Errorf("%+v", try)
			}
		}
		if o.issued != 3 {
			t.Errorf("%d tokens, want one more", o.issued)
		}
	})
}

func TestOAuth2Failures(t *testing.T) {
	tests := []struct {
		name    string
		refuse  func() *http.Response
		outcome hook.Outcome
		want    string
	}{
		{
			"wrong secret",
			func() *http.Response {
				return answer(401, `{"error":"invalid_client","error_description":"no such client"}`)
			},
			hook.OutcomeRejected, "id.example.com gave no access token, it answered 401 Unauthorized: invalid_client: no such client",
		},
		{"broken", func() *http.Response { return answer(500, "<html><title>Oops</title>") }, hook.OutcomeRejected, "500 Internal Server Error: Oops"},
		{"redirect", func() *http.Response { return answer(302, "") }, hook.OutcomeRejected, "302"},
		{"no token", func() *http.Response { return answer(200, `{}`) }, hook.OutcomeNetwork, "no access token from id.example.com"},
		{"silent", func() *http.Response { return nil }, hook.OutcomeTimeout, "no access token from id.example.com: no answer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOAuth()
				o.refuse = test.refuse
				attempt, try := open(t, &o.wire, oauthTarget(nil)).Send(t.Context(), message())
				if try.Outcome != test.outcome || !strings.Contains(try.Detail, test.want) || strings.Contains(try.Detail, "s3cr") {
					t.Errorf("got %v, %q; want %v, %q", try.Outcome, try.Detail, test.outcome, test.want)
				}
				if attempt.URL == "" || attempt.ResponseStatus != 0 {
					t.Errorf("attempt %+v", attempt)
				}
				if requests, _ := o.to(host); len(requests) != 0 {
					t.Error("the delivery was sent without a token")
				}
			})
		})
	}
}

func TestAnswerIsCapped(t *testing.T) {
	w := &wire{reply: func(*http.Request, string) *http.Response { return answer(500, strings.Repeat("x", 1<<20)) }}
	attempt, _ := open(t, w, target(nil)).Send(t.Context(), message())
	if len(attempt.ResponseBody) != hook.MaxKeptResponse {
		t.Errorf("%d bytes are kept", len(attempt.ResponseBody))
	}
}

// authority makes certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, pem: encode("CERTIFICATE", der)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issue returns a certificate and its key as PEM.
func (a *authority) issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return encode("CERTIFICATE", der), encode("EC PRIVATE KEY", keyDER)
}

func TestCertificates(t *testing.T) {
	ours := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	serverPEM := encode("CERTIFICATE", server.Certificate().Raw)
	cert, key := ours.issue(t, "malote")
	factory := webhook.NewFactory(webhook.Options{Guard: newGuard(t, server.Listener.Addr().String()), Logger: quiet()})
	defer factory.Close()

	tests := []struct {
		name    string
		change  func(*hook.HTTPTarget)
		outcome hook.Outcome
		want    string
	}{
		{"both", func(h *hook.HTTPTarget) {
			h.CA = serverPEM
			h.Auth = &hook.Auth{MTLS: &hook.ClientCert{Cert: cert, Key: hook.Secret(key)}}
		}, hook.OutcomeSuccess, "malote"},
		{"no client certificate", func(h *hook.HTTPTarget) { h.CA = serverPEM }, hook.OutcomeNetwork, "http.auth.mtls"},
		{"unknown authority", func(h *hook.HTTPTarget) { h.CA = ours.pem }, hook.OutcomeNetwork, "http.ca"},
		{"no TLS", func(h *hook.HTTPTarget) { h.URL = "http" + strings.TrimPrefix(h.URL, "https") }, hook.OutcomeRejected, "HTTP request to an HTTPS server"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := &hook.HTTPTarget{URL: server.URL, Sign: &hook.Sign{None: true}}
			test.change(spec)
			sender, err := factory.Open(&hook.Destination{Name: "erp", DestinationSpec: hook.DestinationSpec{HTTP: spec}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sender.Close() }()
			attempt, try := sender.Send(t.Context(), message())
			if try.Outcome != test.outcome || !strings.Contains(try.Detail+string(attempt.ResponseBody), test.want) {
				t.Errorf("got %v, %q, body %q; want %v, %q", try.Outcome, try.Detail, attempt.ResponseBody, test.outcome, test.want)
			}
		})
	}
}

// What the guard refuses is refused at the dial, too, and the error says how to open it.
func TestBlocked(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	factory := webhook.NewFactory(webhook.Options{Guard: newGuard(t, server.Listener.Addr().String()), Logger: quiet()})
	strict := webhook.NewFactory(webhook.Options{Guard: newGuard(t), Logger: quiet()})
	if err := factory.Check(&hook.DestinationSpec{HTTP: target(func(h *hook.HTTPTarget) { h.URL = server.URL })}); err != nil {
		t.Errorf("an allowed address is refused: %v", err)
	}
	if err := strict.Check(&hook.DestinationSpec{HTTP: target(func(h *hook.HTTPTarget) { h.URL = server.URL })}); err == nil {
		t.Error("a loopback address is accepted")
	}
}

func TestHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	factory := webhook.NewFactory(webhook.Options{Guard: newGuard(t, server.Listener.Addr().String()), Logger: quiet()})
	defer factory.Close()
	sender, err := factory.Open(&hook.Destination{Name: "erp", DestinationSpec: hook.DestinationSpec{HTTP: &hook.HTTPTarget{
		URL: server.URL, Sign: &hook.Sign{None: true}, CA: encode("CERTIFICATE", server.Certificate().Raw),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Close() }()
	attempt, try := sender.Send(t.Context(), message())
	if try.Outcome != hook.OutcomeSuccess || string(attempt.ResponseBody) != "HTTP/2.0" {
		t.Errorf("%+v, spoken: %q", try, attempt.ResponseBody)
	}
}

// Destinations do not each keep connections of their own to the same server.
func TestConnectionsAreShared(t *testing.T) {
	var mu sync.Mutex
	connections := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "thanks") }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if state == http.StateNew {
			connections++
		}
	}
	server.Start()
	defer server.Close()
	factory := webhook.NewFactory(webhook.Options{Guard: newGuard(t, server.Listener.Addr().String()), Logger: quiet()})
	defer factory.Close()
	for range 10 {
		sender, err := factory.Open(&hook.Destination{Name: "erp", DestinationSpec: hook.DestinationSpec{HTTP: &hook.HTTPTarget{
			URL: server.URL, Sign: &hook.Sign{None: true},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, try := sender.Send(t.Context(), message()); try.Outcome != hook.OutcomeSuccess {
			t.Fatalf("%+v", try)
		}
		if err := sender.Close(); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if connections != 1 {
		t.Errorf("%d connections for ten destinations of one server", connections)
	}
}
