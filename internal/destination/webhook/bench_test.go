package webhook_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/hook"
)

// nowhere answers without a network, so that what is measured is ours.
type nowhere struct{}

func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	header := http.Header{"Date": {"Mon, 23 Nov 2026 12:00:00 GMT"}, "Content-Length": {"0"}}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: http.NoBody, Request: r}, nil
}

// BenchmarkAttempt measures one signed attempt of 1 KiB: over loopback, where the
// receiver's half is in the figure, and without a network.
func BenchmarkAttempt(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	guard := newGuard(b, server.Listener.Addr().String())
	benchmarks := []struct {
		name      string
		transport http.RoundTripper
	}{{"loopback", nil}, {"nowhere", nowhere{}}}
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			factory := webhook.NewFactory(webhook.Options{Guard: guard, Transport: bench.transport, Logger: quiet()})
			defer factory.Close()
			sender, err := factory.Open(&hook.Destination{Name: "erp", DestinationSpec: hook.DestinationSpec{HTTP: &hook.HTTPTarget{
				URL: server.URL, Sign: &hook.Sign{Secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="},
			}}})
			if err != nil {
				b.Fatal(err)
			}
			body := bytes.Repeat([]byte("x"), 1024)
			event := &hook.Event{ID: 1, Type: "orders/create", Payload: body, Headers: hook.Headers{{Name: "Content-Type", Value: "application/json"}}}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				message := &destination.Message{Delivery: 1, Attempt: 1, Event: event, Source: "/default/shop", Body: body}
				for pb.Next() {
					message.Time = time.Now()
					if _, try := sender.Send(b.Context(), message); try.Outcome != hook.OutcomeSuccess {
						b.Fatal(try.Detail)
					}
				}
			})
		})
	}
}
