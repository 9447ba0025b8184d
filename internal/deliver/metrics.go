package deliver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malote.dev/malote/internal/hook"
)

// metrics are the engine's numbers. None has a label for the destination, because
// there may be very many: the store's roll-ups have those.
type metrics struct {
	attempts map[hook.Outcome]prometheus.Counter
	states   map[hook.State]prometheus.Counter
	duration prometheus.Histogram
	inFlight prometheus.Gauge
	deferred prometheus.Counter
}

// newMetrics makes the metrics and, where there is a registry, registers them.
func newMetrics(e *Engine) *metrics {
	attempts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "malote_attempts_total", Help: "Attempts made, by what became of them.",
	}, []string{"outcome"})
	states := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "malote_deliveries_settled_total", Help: "Changes of state that deliveries came to after an attempt or instead of one.",
	}, []string{"state"})
	m := &metrics{
		attempts: make(map[hook.Outcome]prometheus.Counter),
		states:   make(map[hook.State]prometheus.Counter),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "malote_attempt_duration_seconds", Help: "How long attempts took.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60},
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "malote_attempts_in_flight", Help: "Attempts under way.",
		}),
		deferred: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "malote_deliveries_deferred_total", Help: "Deliveries for which there was no room in memory, so that they waited in the store.",
		}),
	}
	for _, outcome := range []hook.Outcome{
		hook.OutcomeSuccess, hook.OutcomeThrottled, hook.OutcomeRejected, hook.OutcomeGone, hook.OutcomeRefused,
		hook.OutcomeRedirect, hook.OutcomeTimeout, hook.OutcomeNetwork, hook.OutcomeBlocked, hook.OutcomeConfig,
	} {
		m.attempts[outcome] = attempts.WithLabelValues(string(outcome))
	}
	for _, state := range []hook.State{
		hook.StatePending, hook.StateSucceeded, hook.StateFailed, hook.StateHeld, hook.StateCanceled,
	} {
		m.states[state] = states.WithLabelValues(state.String())
	}
	if registry := e.options.Metrics; registry != nil {
		inHand := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "malote_deliveries_in_hand", Help: "Deliveries in memory, waiting or being attempted.",
		}, func() float64 { return float64(e.shares.jobs.Load()) })
		bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "malote_deliveries_in_hand_bytes", Help: "Size of the deliveries in memory.",
		}, func() float64 { return float64(e.shares.bytes.Load()) })
		registry.MustRegister(attempts, states, m.duration, m.inFlight, m.deferred, inHand, bytes, newLaneCollector(e))
	}
	return m
}

// attempted counts an attempt.
func (m *metrics) attempted(outcome hook.Outcome, took time.Duration) {
	if counter, ok := m.attempts[outcome]; ok {
		counter.Inc()
	}
	m.duration.Observe(took.Seconds())
}

// settled counts a change of state.
func (m *metrics) settled(state hook.State) {
	if counter, ok := m.states[state]; ok {
		counter.Inc()
	}
}

// laneCollector reads how the lanes are when somebody asks: numbers of all together.
type laneCollector struct {
	engine               *Engine
	state, limit, slowed *prometheus.Desc
}

func newLaneCollector(e *Engine) *laneCollector {
	return &laneCollector{
		engine: e,
		state:  prometheus.NewDesc("malote_circuit_state", "Destinations in use whose circuit is in this state.", []string{"state"}, nil),
		limit:  prometheus.NewDesc("malote_lane_limit", "Attempts that all destinations in use may get at once, as their pace is now.", nil, nil),
		slowed: prometheus.NewDesc("malote_lane_slowed", "Destinations in use that get fewer attempts at once than they are set up for.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *laneCollector) Describe(into chan<- *prometheus.Desc) {
	into <- c.state
	into <- c.limit
	into <- c.slowed
}

// Collect implements prometheus.Collector.
func (c *laneCollector) Collect(into chan<- prometheus.Metric) {
	states := map[hook.CircuitState]int{hook.CircuitClosed: 0, hook.CircuitOpen: 0, hook.CircuitHalfOpen: 0, hook.CircuitRamp: 0}
	limit, slowed := 0, 0
	for _, l := range c.engine.all() {
		l.mu.Lock()
		states[l.circuit.State]++
		limit += l.limitLocked()
		if l.limitLocked() < l.concurrency {
			slowed++
		}
		l.mu.Unlock()
	}
	for state, count := range states {
		into <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, float64(count), state.String())
	}
	into <- prometheus.MustNewConstMetric(c.limit, prometheus.GaugeValue, float64(limit))
	into <- prometheus.MustNewConstMetric(c.slowed, prometheus.GaugeValue, float64(slowed))
}
