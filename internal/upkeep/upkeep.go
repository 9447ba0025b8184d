// Package upkeep is the engine that keeps a running store in shape: it removes what is
// older than the retention allows and watches how much room the disk has left.
package upkeep

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malote.dev/malote/internal/store"
)

// Store is what upkeep needs of a store.
type Store interface {
	Prune(ctx context.Context, now time.Time) (store.Pruned, error)
	Stats(ctx context.Context) (store.Stats, error)
}

// Space is the room on the disk that holds the data, in bytes.
type Space struct {
	Free  int64 // for this process
	Total int64
}

// Options are what an Engine works with.
type Options struct {
	Store    Store
	Space    func() (Space, error) // nil: the disk is not watched
	MinFree  int64                 // below it a warning is logged; default DefaultMinFree
	Interval time.Duration         // between two rounds; default DefaultInterval
	Now      func() time.Time      // default time.Now
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
}

// Defaults of the Options.
const (
	DefaultInterval = time.Minute
	DefaultMinFree  = 1 << 30
)

// jitter is the share of the interval by which rounds move either way, so that the
// nodes of one database do not all work at the same second.
const jitter = 0.1

// Engine does the upkeep. New makes one; Run is its work.
type Engine struct {
	options Options
	metrics metrics
	low     bool // the last look at the disk found less than MinFree
}

// New returns an engine and registers its metrics.
func New(options Options) *Engine {
	if options.Interval <= 0 {
		options.Interval = DefaultInterval
	}
	if options.MinFree <= 0 {
		options.MinFree = DefaultMinFree
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Engine{options: options, metrics: newMetrics(options.Metrics)}
}

// Run works one round after the other until ctx ends; the first comes at once. A
// round that fails is logged, and the next one tries again.
func (e *Engine) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		e.watch()
		e.prune(ctx)
		e.measure(ctx)
		timer.Reset(spread(e.options.Interval))
	}
}

// spread moves an interval by up to the jitter's share either way.
func spread(interval time.Duration) time.Duration {
	return interval + time.Duration(float64(interval)*jitter*(2*rand.Float64()-1))
}

// prune removes what the retention no longer keeps.
func (e *Engine) prune(ctx context.Context) {
	began := time.Now()
	pruned, err := e.options.Store.Prune(ctx, e.options.Now())
	e.metrics.count(&pruned)
	switch {
	case err != nil && ctx.Err() != nil: // stopping, not failing
	case err != nil:
		e.metrics.failures.Inc()
		e.options.Logger.Error("old data could not be removed", "error", err)
	case pruned == store.Pruned{}:
	default:
		e.options.Logger.Info("old data was removed",
			"events", pruned.Events, "deliveries", pruned.Deliveries, "attempts", pruned.Attempts,
			"refusals", pruned.Refusals, "dedupe_keys", pruned.Dedupe, "minutes", pruned.Numbers,
			"audit_entries", pruned.Audit, "replays", pruned.Replays,
			"took", time.Since(began).String())
	}
}

// watch looks at the room on the disk, and says so once when it becomes scarce and
// once when it is no longer.
func (e *Engine) watch() {
	if e.options.Space == nil {
		return
	}
	space, err := e.options.Space()
	if err != nil {
		e.metrics.failures.Inc()
		e.options.Logger.Error("the room on the disk cannot be read", "error", err)
		return
	}
	e.metrics.free.Set(float64(space.Free))
	e.metrics.total.Set(float64(space.Total))
	low := space.Free < e.options.MinFree
	if low == e.low {
		return
	}
	e.low = low
	if low {
		e.options.Logger.Warn("the disk is nearly full: when it is, senders are answered 503; free some room or shorten the retention",
			"free_bytes", space.Free, "least_bytes", e.options.MinFree)
		return
	}
	e.options.Logger.Info("the disk has room again", "free_bytes", space.Free)
}

// measure publishes the store's own figures.
func (e *Engine) measure(ctx context.Context) {
	stats, err := e.options.Store.Stats(ctx)
	if err != nil {
		if ctx.Err() == nil {
			e.metrics.failures.Inc()
			e.options.Logger.Error("the store's figures cannot be read", "error", err)
		}
		return
	}
	e.metrics.size.Set(float64(stats.SizeBytes))
	e.metrics.waiting.Set(float64(stats.Waiting))
}

// metrics are what the engine publishes.
type metrics struct {
	removed                    *prometheus.CounterVec
	failures                   prometheus.Counter
	free, total, size, waiting prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer) metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := metrics{
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "malote_upkeep_removed_total", Help: "Rows that the retention removed, by what they were.",
		}, []string{"what"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "malote_upkeep_failures_total", Help: "Rounds of upkeep in which something failed.",
		}),
		free:    gauge("malote_disk_free_bytes", "Room left on the disk that holds the data."),
		total:   gauge("malote_disk_size_bytes", "Size of the disk that holds the data."),
		size:    gauge("malote_store_size_bytes", "Size of the stored data on the disk."),
		waiting: gauge("malote_store_waiting_operations", "Operations that wait for a commit."),
	}
	registerer.MustRegister(m.removed, m.failures, m.free, m.total, m.size, m.waiting)
	return m
}

// count adds what a round removed.
func (m *metrics) count(pruned *store.Pruned) {
	m.removed.WithLabelValues("event").Add(float64(pruned.Events))
	m.removed.WithLabelValues("delivery").Add(float64(pruned.Deliveries))
	m.removed.WithLabelValues("attempt").Add(float64(pruned.Attempts))
	m.removed.WithLabelValues("refusal").Add(float64(pruned.Refusals))
	m.removed.WithLabelValues("dedupe_key").Add(float64(pruned.Dedupe))
	m.removed.WithLabelValues("minute").Add(float64(pruned.Numbers))
	m.removed.WithLabelValues("audit_entry").Add(float64(pruned.Audit))
	m.removed.WithLabelValues("replay").Add(float64(pruned.Replays))
}
