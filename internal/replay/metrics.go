package replay

import (
	"github.com/prometheus/client_golang/prometheus"

	"malote.dev/malote/internal/hook"
)

// metrics are the engine's numbers.
type metrics struct {
	looked prometheus.Counter
	made   prometheus.Counter
	ended  map[hook.ReplayState]prometheus.Counter
}

// newMetrics makes the metrics and, where there is a registry, registers them.
func newMetrics(e *Engine) metrics {
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "malote_replays_ended_total", Help: "Replays that ended, by the state that they came to.",
	}, []string{"state"})
	m := metrics{
		looked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "malote_replay_looked_total", Help: "Events and deliveries that replays looked at.",
		}),
		made: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "malote_replay_deliveries_total", Help: "Deliveries that replays made or retried.",
		}),
		ended: map[hook.ReplayState]prometheus.Counter{},
	}
	for _, state := range []hook.ReplayState{hook.ReplayCompleted, hook.ReplayStopped, hook.ReplayCanceled} {
		m.ended[state] = ended.WithLabelValues(string(state))
	}
	if registry := e.options.Metrics; registry != nil {
		running := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "malote_replays_running", Help: "Replays that have not ended.",
		}, func() float64 {
			e.mu.Lock()
			defer e.mu.Unlock()
			return float64(len(e.running))
		})
		registry.MustRegister(m.looked, m.made, ended, running)
	}
	return m
}
