package notice

import "github.com/prometheus/client_golang/prometheus"

// metrics are what an Announcer tells of itself.
type metrics struct {
	events              *prometheus.CounterVec
	merged, lost, taken prometheus.Counter
}

// newMetrics makes the metrics and, where there is a registry, registers them.
func newMetrics(registry prometheus.Registerer) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "malote_notices_published_total", Help: "Events of the system itself that were published, by type.",
		}, []string{"type"}),
		taken:  counter("malote_notices_total", "Things that happened in the system itself and were to be told."),
		merged: counter("malote_notices_merged_total", "Of these, told together with others of their type."),
		lost:   counter("malote_notices_lost_total", "Of these, not told: there was no room, or the event could not be published."),
	}
	if registry != nil {
		registry.MustRegister(m.events, m.taken, m.merged, m.lost)
	}
	return m
}

// count counts a notice by what became of it.
func (m *metrics) count(what fate) {
	m.taken.Inc()
	switch what {
	case queued:
	case merged:
		m.merged.Inc()
	case dropped:
		m.lost.Inc()
	}
}
