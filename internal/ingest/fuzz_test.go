package ingest

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
)

// FuzzIngest sends raw requests to sources of several kinds. Whatever comes, the answer
// is one of those that are meant, an event is stored exactly when the sender is told
// so, and the lanes are left as they were.
func FuzzIngest(f *testing.F) {
	for _, seed := range []string{
		"POST /in/open HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
		"POST /in/open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"POST /in/token?key=right HTTP/1.1\r\nHost: x\r\nX-Token: right\r\nContent-Length: 3\r\n\r\na=b",
		"POST /in/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: t=1,v1=00\r\nContent-Length: 2\r\n\r\n{}",
		"POST /in/slack HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 47\r\n\r\n{\"type\":\"url_verification\",\"challenge\":\"abcdef\"}",
		"POST /in/ce HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents-batch+json\r\nContent-Length: 37\r\n\r\n[{\"id\":\"1\",\"type\":\"a\"},{\"id\":\"1\"},{}]",
		"POST /in/form/a%2Fb/../c HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 11\r\n\r\na%5Bb%5D=%zz",
		"GET http://x/in/open?%zz HTTP/1.1\r\nHost: y\r\nX-Forwarded-For: 1.2.3.4, [::1]:99999\r\n\r\n",
		"OPTIONS /in/ce HTTP/1.1\r\nHost: x\r\nWebHook-Request-Origin: a\r\n\r\n",
		"POST /in/open HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	code := func(name string) func(*hook.Source) {
		return func(s *hook.Source) { s.Verify, s.Provider, s.Secret = nil, name, "whsec_c2VjcmV0" }
	}
	catalogue := withConnection(
		source(10, "open", func(s *hook.Source) { s.Type = &hook.Field{Path: "a.b", Or: &hook.Field{Expr: "string(data.a)"}} }),
		source(11, "token", func(s *hook.Source) {
			s.Verify, s.Secret = &hook.Verify{AnyOf: []hook.Verify{
				{Token: &hook.TokenRule{Header: "X-Token"}}, {Token: &hook.TokenRule{Path: "token"}},
			}}, "right"
		}),
		source(12, "stripe", code("stripe")), source(13, "slack", code("slack")),
		source(14, "ce", func(s *hook.Source) {
			s.Type, s.Dedupe = &hook.Field{Path: "type"}, &hook.Dedupe{Field: hook.Field{Path: "id"}}
		}),
		source(15, "form", func(s *hook.Source) { s.SubPaths, s.Key = true, &hook.Field{Path: "a.b"} }),
	)
	for i := range catalogue.Connections {
		catalogue.Connections[i].Filter = `data.?a.orValue(1) == 1 || headers.?x.orValue("") == query.?y.orValue("")`
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.1:1"
		w := newWorld(t, catalogue, func(o *Options) { o.ReadTimeout = time.Second })
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, r)
		stored := len(w.store.accepted) > 0
		switch answer.Code {
		case 200, 204:
			if !stored && r.Method == http.MethodPost && answer.Header().Get("X-Content-Type-Options") == "" {
				t.Fatalf("%d without an event, and not a handshake: %s", answer.Code, answer.Body)
			}
		case 400, 401, 404, 405, 413, 503:
			if stored {
				t.Fatalf("%d although an event was stored", answer.Code)
			}
		default:
			t.Fatalf("the status is %d", answer.Code)
		}
		if !w.lanes.balanced() {
			t.Fatal("the lanes keep a reservation")
		}
	})
}
