package replay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/store"
)

// Log is what the engine reads of what happened. See store.Log for the promises.
type Log interface {
	Events(ctx context.Context, query store.EventQuery) (page.Page[hook.Event], error)
	Event(ctx context.Context, project hook.ProjectID, id hook.EventID) (hook.Event, error)
	Deliveries(ctx context.Context, query store.DeliveryQuery) (page.Page[hook.Delivery], error)
	Delivery(ctx context.Context, project hook.ProjectID, id hook.DeliveryID) (hook.Delivery, error)
}

// Options are what an Engine works with.
type Options struct {
	Replays store.Replays
	Log     Log
	// Catalogue returns the snapshot of the catalogue in force.
	Catalogue func() *route.Snapshot
	// Circuit returns the circuit of a destination, for the warnings of a plan; nil: all
	// are closed.
	Circuit func(hook.DestinationID) hook.Circuit
	// Wake tells the delivery engine that deliveries of a destination are due.
	Wake func(hook.DestinationID)
	// Notify is told when a replay stopped or completed; nil: nobody is.
	Notify  func(hook.Notice)
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: none
}

// Limits of replays.
const (
	// MaxOpen is how many deliveries of one replay are open at a time, so that a replay
	// to a destination that is down does not become a backlog of its own.
	MaxOpen = 1000
	// MaxRunning is how many replays of a project run at the same time.
	MaxRunning = 10
	// MaxPlan is how many events or deliveries a plan looks at; it estimates the rest.
	MaxPlan = 200_000
	// maxStep is how many deliveries are made in one commit, and maxStepBytes how long
	// the payloads of the events that it makes are together: others wait for it.
	maxStep      = 250
	maxStepBytes = 4 << 20
	// MaxSample is how many of what it chose a plan shows.
	MaxSample = 10
)

// Timings of the engine.
const (
	maxPlanTime  = 5 * time.Second        // how long a plan counts; it estimates the rest
	tick         = 100 * time.Millisecond // between two steps of a replay
	idleTick     = 500 * time.Millisecond // while it waits for what it made
	maxStepTime  = time.Second            // a step that finds nothing ends, so that its progress shows
	staleAfter   = 5 * time.Second        // what was read for a step is read again after so long
	reviewEvery  = 30 * time.Second       // the store is asked what runs, in case a start was lost
	firstBackoff = time.Second            // after the store failed, doubled …
	maxBackoff   = 30 * time.Second       // … up to this
)

// Engine plans, starts and runs replays. New makes one; Run is its work.
type Engine struct {
	options Options
	metrics metrics
	started chan struct{} // has an element when there is a replay to begin with

	planLimit int           // MaxPlan, less in tests
	planTime  time.Duration // maxPlanTime, less in tests

	mu      sync.Mutex
	running map[hook.ReplayID]bool
}

// New returns an engine and registers its metrics.
func New(options Options) *Engine {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Notify == nil {
		options.Notify = func(hook.Notice) {}
	}
	if options.Wake == nil {
		options.Wake = func(hook.DestinationID) {}
	}
	if options.Circuit == nil {
		options.Circuit = func(hook.DestinationID) hook.Circuit { return hook.Circuit{} }
	}
	e := &Engine{
		options: options, started: make(chan struct{}, 1), planLimit: MaxPlan, planTime: maxPlanTime,
		running: map[hook.ReplayID]bool{},
	}
	e.metrics = newMetrics(e)
	return e
}
