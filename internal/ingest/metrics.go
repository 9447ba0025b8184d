package ingest

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"malote.dev/malote/internal/hook"
)

// metrics counts what comes in.
type metrics struct {
	accepted, duplicates, refusals *prometheus.CounterVec
	misses, keyless, unknown       prometheus.Counter
	ack                            prometheus.Histogram
	sources                        sync.Map // of *sourceMetrics by hook.SourceID
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "malote", Subsystem: "ingest", Name: name, Help: help}, labels)
	}
	misses := counter("filter_errors_total", "Connections that an event did not go over because their filter failed with an error.")
	keyless := counter("keyless_total", "Deliveries without an order key over connections that ask for order: they have none.")
	unknown := counter("unknown_source_total", "Requests to a source that does not exist, is disabled, or takes none.")
	m := &metrics{
		accepted:   counter("accepted_total", "Events made durable.", "source"),
		duplicates: counter("duplicates_total", "Requests recognised as duplicates of an event.", "source"),
		refusals:   counter("refused_total", "Requests that did not become an event, by reason.", "source", "reason"),
		misses:     misses.WithLabelValues(),
		keyless:    keyless.WithLabelValues(),
		unknown:    unknown.WithLabelValues(),
		ack: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "malote", Subsystem: "ingest", Name: "ack_seconds",
			Help:    "Time from the beginning of a request to the answer that its event is durable.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 5},
		}),
	}
	if registry == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{m.accepted, m.duplicates, m.refusals, misses, keyless, unknown, m.ack} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register the metrics of ingest: %w", err)
		}
	}
	return m, nil
}

// The pace at which refused requests of one source are kept and logged. What comes
// faster is only counted: a sender with a wrong secret must not fill the log.
const (
	refusalsPerSecond = 20
	refusalsAtOnce    = 100
	// What is kept of them is bounded in bytes, too, or strangers could fill the disk.
	refusedBytesPerSecond = 32 << 10
	refusedBytesAtOnce    = 16 << 20
	// An explanation takes many hashes of the body.
	explanationsPerSecond = 2
	explanationsAtOnce    = 50
)

// sourceMetrics is the part of one source, resolved once.
type sourceMetrics struct {
	id                   string
	accepted, duplicates prometheus.Counter
	refusals             *prometheus.CounterVec
	pace, bytes, explain *rate.Limiter
}

func (m *metrics) of(source hook.SourceID) *sourceMetrics {
	if found, ok := m.sources.Load(source); ok {
		return found.(*sourceMetrics) //nolint:forcetypeassert // the map holds nothing else
	}
	id := source.String()
	made, _ := m.sources.LoadOrStore(source, &sourceMetrics{
		id:         id,
		accepted:   m.accepted.WithLabelValues(id),
		duplicates: m.duplicates.WithLabelValues(id),
		refusals:   m.refusals,
		pace:       rate.NewLimiter(refusalsPerSecond, refusalsAtOnce),
		bytes:      rate.NewLimiter(refusedBytesPerSecond, refusedBytesAtOnce),
		explain:    rate.NewLimiter(explanationsPerSecond, explanationsAtOnce),
	})
	return made.(*sourceMetrics) //nolint:forcetypeassert // the map holds nothing else
}

func (s *sourceMetrics) count(receipt hook.Receipt) {
	if receipt.Duplicate {
		s.duplicates.Inc()
		return
	}
	s.accepted.Inc()
}

func (s *sourceMetrics) refused(reason string) { s.refusals.WithLabelValues(s.id, reason).Inc() }

// mayLog reports whether one more refusal may be kept and logged now.
func (s *sourceMetrics) mayLog(now time.Time) bool { return s.pace.AllowN(now, 1) }

// mayKeep reports whether so many more bytes of refused requests may be kept now.
func (s *sourceMetrics) mayKeep(now time.Time, bytes int) bool { return s.bytes.AllowN(now, bytes) }

// mayExplain reports whether one more refusal may be explained now.
func (s *sourceMetrics) mayExplain(now time.Time) bool { return s.explain.AllowN(now, 1) }
