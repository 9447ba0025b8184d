package ingest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
)

// nothing takes everything and keeps nothing.
type nothing struct{}

func (nothing) Accept(_ context.Context, acceptance *hook.Acceptance) (hook.Receipt, error) {
	return hook.Receipt{Event: acceptance.Event.ID}, nil
}
func (nothing) Refuse(context.Context, *hook.Refusal) error                  { return nil }
func (nothing) Admitted(context.Context, hook.RefusalID, hook.EventID) error { return nil }
func (nothing) Reserve(hook.DestinationID) hook.Admission                    { return hook.Admission{Inline: true} }
func (nothing) Release(hook.DestinationID)                                   {}
func (nothing) Dispatch(*hook.Job)                                           {}
func (nothing) Expect(hook.DestinationID, time.Time)                         {}

// sink is a ResponseWriter that costs nothing, so that the handler alone is measured.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// BenchmarkHandler is a signed request of 1 KiB with a type, a key, a delivery id and a
// filter, without storage and without the HTTP server around it.
func BenchmarkHandler(b *testing.B) {
	body := `{"id":1001,"total_price":"149.90","customer":{"id":7,"country":"BR"},"note":"` + strings.Repeat("n", 940) + `"}`
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte(body))
	sum := hex.EncodeToString(mac.Sum(nil))
	catalogue := withConnection(source(10, "shop", func(s *hook.Source) {
		s.Secret = "secret"
		s.Verify = &hook.Verify{HMAC: &hook.HMACRule{SignatureRule: hook.SignatureRule{Header: "X-Signature", Encoding: []string{"hex"}}}}
		s.Type, s.Key = &hook.Field{Header: "X-Topic"}, &hook.Field{Path: "customer.id"}
		s.Dedupe = &hook.Dedupe{Field: hook.Field{Header: "X-Id"}}
	}))
	catalogue.Connections[0].Types = []string{"orders/*"}
	catalogue.Connections[0].Filter = `double(data.total_price) >= 100.0 && data.customer.country == "BR"`
	w := newWorld(b, catalogue, func(o *Options) { o.Store, o.Lanes = nothing{}, nothing{} })
	header := http.Header{
		"Content-Type": {"application/json"}, "X-Signature": {sum}, "X-Topic": {"orders/create"}, "X-Id": {"d-1"},
		"User-Agent": {"bench"}, "Accept": {"*/*"},
	}
	target, err := url.Parse("/in/shop")
	if err != nil {
		b.Fatal(err)
	}
	answer := &sink{header: http.Header{}}
	reader := strings.NewReader(body)
	r := &http.Request{
		Method: http.MethodPost, URL: target, RequestURI: "/in/shop", Host: "malote.example", Header: header, RemoteAddr: "192.0.2.1:1234",
		Body: io.NopCloser(reader), ContentLength: int64(len(body)),
	}
	r = r.WithContext(b.Context())
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		clear(answer.header)
		w.ServeHTTP(answer, r)
		if answer.status != http.StatusOK {
			b.Fatal(answer.status)
		}
	}
}

// BenchmarkServer is the same behind net/http on the loopback, next to a server that
// only reads the body and answers.
func BenchmarkServer(b *testing.B) {
	w := newWorld(b, withConnection(source(10, "shop")), func(o *Options) { o.Store, o.Lanes = nothing{}, nothing{} })
	body := strings.Repeat("x", 1024)
	for name, handler := range map[string]http.Handler{
		"malote": w,
		"bare": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			_, _ = io.WriteString(w, `{"id":"evt_0000000000000"}`)
		}),
	} {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(handler)
			defer server.Close()
			client := server.Client()
			b.ReportAllocs()
			for b.Loop() {
				answer, err := client.Post(server.URL+"/in/shop", "text/plain", strings.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
			}
		})
	}
}
