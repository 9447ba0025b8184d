package sqlite_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// cpu returns the processor time that the process used, user and system: on a shared
// machine it says more than the clock on the wall.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// load accepts, and settles, events as an ingest and a deliver engine do.
type load struct {
	store   *sqlite.Store
	ids     *hook.IDs
	sources int
	dedupe  bool
	settle  bool
	serial  atomic.Int64
	settled sync.WaitGroup
}

func newLoad(b *testing.B) *load {
	b.Helper()
	ids := hook.NewIDs(0)
	s := sqlitetest.OpenWith(b, sqlite.Options{IDs: ids})
	if _, err := s.Reclaim(b.Context(), time.Now()); err != nil {
		b.Fatal(err)
	}
	return &load{store: s, ids: ids, sources: 1, settle: true}
}

var benchHeaders = hook.Headers{
	{Name: "Content-Type", Value: "application/json"},
	{Name: "User-Agent", Value: "Shopify-Captain-Hook"},
	{Name: "Content-Length", Value: "1024"},
	{Name: "Webhook-Id", Value: "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"},
	{Name: "Webhook-Timestamp", Value: "1674087231"},
	{Name: "Webhook-Signature", Value: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
	{Name: "Accept-Encoding", Value: "gzip"},
}

func (l *load) one(b *testing.B, payload []byte) {
	b.Helper()
	n := l.serial.Add(1)
	now := time.Now()
	which := n % int64(l.sources)
	ev := hook.Event{
		ID: hook.EventID(l.ids.Next(now)), Project: 1, Source: hook.SourceID(100 + which), Type: "orders/create", Key: fmt.Sprint(n),
		ProviderID: fmt.Sprint("delivery-", n), Method: "POST", Remote: "203.0.113.7", Headers: benchHeaders, Payload: payload,
		Verdict: hook.Verdict{Scheme: "standard", Verified: true, Secret: 1}, ReceivedAt: now,
		Targets: []hook.Target{{
			Delivery: hook.DeliveryID(l.ids.Next(now)), Connection: hook.ConnectionID(1000 + which), Destination: hook.DestinationID(2000 + which),
		}},
	}
	a := &hook.Acceptance{Event: ev}
	if l.dedupe {
		a.Window = 24 * time.Hour
		x := uint64(n) * 0x9e3779b97f4a7c15
		for i := range a.Dedupe {
			a.Dedupe[i] = byte(x >> (8 * (i % 8)))
		}
	}
	if _, err := l.store.Accept(b.Context(), a); err != nil {
		b.Error(err)
		return
	}
	if !l.settle {
		return
	}
	t := &ev.Targets[0]
	l.settled.Add(1)
	l.store.Settle(hook.Settlement{
		Job: &hook.Job{
			Delivery: hook.Delivery{ID: t.Delivery, Project: 1, Event: ev.ID, Connection: t.Connection, Destination: t.Destination, CreatedAt: now},
			Event:    &ev, Inline: true,
		},
		Attempt: &hook.Attempt{
			ID: hook.AttemptID(l.ids.Next(now)), StartedAt: now, Duration: hook.Duration(3 * time.Millisecond), Outcome: hook.OutcomeSuccess, Method: "POST",
			URL: "https://erp.example.com/orders", RequestHeaders: benchHeaders, ResponseStatus: 200,
			ResponseHeaders: hook.Headers{{Name: "Content-Length", Value: "2"}, {Name: "Date", Value: "Mon, 23 Nov 2026 14:40:47 GMT"}}, ResponseBody: []byte("ok"),
		},
		State: hook.StateSucceeded,
	}, func(err error) {
		if err != nil {
			b.Error(err)
		}
		l.settled.Done()
	})
}

// benchPayload returns 1 KiB.
func benchPayload() []byte {
	payload := make([]byte, 1024)
	for i := range payload {
		payload[i] = `{"abcdefghijklmnop":1234567890}`[i%31]
	}
	return payload
}

func (l *load) run(b *testing.B, clients int) {
	b.Helper()
	payload := benchPayload()
	before, _ := l.store.Stats(b.Context())
	size := before.SizeBytes
	b.SetParallelism((clients + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.ResetTimer()
	used, started := cpu(), time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.one(b, payload)
		}
	})
	l.settled.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(started).Seconds(), "events/s")
	b.ReportMetric(float64((cpu()-used).Microseconds())/float64(b.N), "cpu-µs/event")
	after, _ := l.store.Stats(b.Context())
	b.ReportMetric(float64(after.Operations-before.Operations)/float64(after.Commits-before.Commits), "ops/commit")
	if err := l.store.Close(); err != nil {
		b.Fatal(err)
	}
	after, _ = l.store.Stats(b.Context())
	b.ReportMetric(float64(after.SizeBytes-size)/float64(b.N), "bytes/event")
}

// BenchmarkAccept measures the whole way of an event through the store alone, with 1
// KiB payloads: accepted, and settled after one attempt.
func BenchmarkAccept(b *testing.B) {
	for _, clients := range []int{1, 32, 128} {
		b.Run(fmt.Sprintf("only/clients=%d", clients), func(b *testing.B) {
			l := newLoad(b)
			l.settle = false
			l.run(b, clients)
		})
		b.Run(fmt.Sprintf("settle/clients=%d", clients), func(b *testing.B) { newLoad(b).run(b, clients) })
	}
	b.Run("settle/clients=128/sources=100", func(b *testing.B) {
		l := newLoad(b)
		l.sources = 100
		l.run(b, 128)
	})
	b.Run("settle/clients=128/dedupe", func(b *testing.B) {
		l := newLoad(b)
		l.dedupe = true
		l.run(b, 128)
	})
}

// BenchmarkFilled shows what a growing log costs: it accepts and settles as
// BenchmarkAccept does, and reports each part of the way by itself. Run it with
// -benchtime=Nx for N events; each is known by a de-duplication hash.
func BenchmarkFilled(b *testing.B) {
	l := newLoad(b)
	l.dedupe = true
	payload := benchPayload()
	const parts = 5
	if b.N < parts {
		return // The benchmark's first, single round.
	}
	for part := range parts {
		used, started := cpu(), time.Now()
		slowest := l.together(b, b.N/parts, payload)
		n := float64(b.N / parts)
		b.Logf("after %9d events: %6.0f events/s, %5.1f µs CPU each, slowest acceptance %v, first page in %v",
			(part+1)*b.N/parts, n/time.Since(started).Seconds(), float64((cpu()-used).Microseconds())/n, slowest.Round(time.Millisecond), l.firstPages(b))
	}
}

// together accepts n events from 128 clients and returns how long the slowest
// acceptance took.
func (l *load) together(b *testing.B, n int, payload []byte) time.Duration {
	b.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	var left atomic.Int64
	left.Store(int64(n))
	for range 128 {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				started := time.Now()
				l.one(b, payload)
				mu.Lock()
				slowest = max(slowest, time.Since(started))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	l.settled.Wait()
	return slowest
}

// firstPages returns how long the first pages of events and of deliveries take
// together.
func (l *load) firstPages(b *testing.B) time.Duration {
	b.Helper()
	const rounds = 20
	started := time.Now()
	for range rounds {
		if _, err := l.store.Events(b.Context(), store.EventQuery{Project: 1}); err != nil {
			b.Fatal(err)
		}
		if _, err := l.store.Deliveries(b.Context(), store.DeliveryQuery{Project: 1}); err != nil {
			b.Fatal(err)
		}
	}
	return (time.Since(started) / rounds).Round(10 * time.Microsecond)
}
