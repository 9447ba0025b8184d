package deliver_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// nowhere answers without a network.
type nowhere struct{}

func (nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// counting is a Queue that only counts what is settled.
type counting struct{ settled atomic.Int64 }

func (c *counting) Claim(context.Context, store.Claim) ([]*hook.Job, error) { return nil, nil }
func (c *counting) Due(context.Context) ([]store.Due, error)                { return nil, nil }
func (c *counting) Reclaim(context.Context, time.Time) (int, error)         { return 0, nil }
func (c *counting) Settle(_ hook.Settlement, done func(error)) {
	c.settled.Add(1)
	if done != nil {
		done(nil)
	}
}

func (c *counting) Renew(context.Context, string, []hook.DeliveryID, time.Time) error { return nil }

// BenchmarkEngine measures what one delivery costs in the engine and the driver, the
// network and the store apart.
func BenchmarkEngine(b *testing.B) {
	guard, err := egress.NewGuard(nil)
	if err != nil {
		b.Fatal(err)
	}
	dst := &hook.Destination{ID: 1, Name: "erp", Version: 1, DestinationSpec: hook.DestinationSpec{HTTP: &hook.HTTPTarget{
		URL: "https://erp.example.com/", Sign: &hook.Sign{Secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="},
	}}}
	factory := webhook.NewFactory(webhook.Options{Guard: guard, Transport: nowhere{}, Logger: quiet()})
	queue := &counting{}
	engine := deliver.New(deliver.Options{
		Queue: queue, Senders: factory.Open, Logger: quiet(),
		Catalogue: &catalogue{
			connections:  map[hook.ConnectionID]hook.Connection{1: {ID: 1, Destination: 1}},
			destinations: map[hook.DestinationID]*hook.Destination{1: dst},
		},
	})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	event := &hook.Event{ID: 1, Type: "orders/create", Payload: make([]byte, 1024)}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		for !engine.Reserve(1).Inline {
			runtime.Gosched()
		}
		engine.Dispatch(&hook.Job{Event: event, Inline: true, Delivery: hook.Delivery{ID: hook.DeliveryID(i + 1), Connection: 1, Destination: 1}})
	}
	for queue.settled.Load() < int64(b.N) {
		runtime.Gosched()
	}
	b.StopTimer()
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
