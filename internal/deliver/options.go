package deliver

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// Queue is what the engine needs of a store. See store.Queue for the promises.
type Queue interface {
	Claim(ctx context.Context, claim store.Claim) ([]*hook.Job, error)
	Settle(settlement hook.Settlement, done func(error))
	Renew(ctx context.Context, owner string, deliveries []hook.DeliveryID, until time.Time) error
	Due(ctx context.Context) ([]store.Due, error)
	Reclaim(ctx context.Context, now time.Time) (int, error)
}

// Holder is what the engine needs of a store to keep deliveries that it does not make
// for now. See package store for the promises.
type Holder interface {
	Hold(ctx context.Context, where store.Scope, reason string) (int, error)
	Release(ctx context.Context, where store.Scope, now time.Time) (int, error)
	Probe(ctx context.Context, claim store.Claim, after hook.DeliveryID) (*hook.Job, error)
	SaveCircuit(ctx context.Context, circuit hook.Circuit) error
	Circuits(ctx context.Context) ([]hook.Circuit, error)
}

// Timing says when a delivery of an event that was received then is to be made; the
// zero time is now.
type Timing interface {
	DueAt(received, now time.Time) time.Time
}

// Route is the way of a delivery as it is set up now.
type Route struct {
	Connection  *hook.Connection
	Destination *hook.Destination
	Source      string // where its events come in, as a path: "/in/shop"
	System      bool   // they are the system's own
	Timing      Timing // its delay and quiet hours; nil: none
}

// Catalogue answers from the present state of what people set up. What it returns is
// not changed afterwards; a change shows as another pointer.
type Catalogue interface {
	// Route returns the way of a connection's deliveries to a destination, which need not
	// be its own: a replay may lead elsewhere. False when either was deleted.
	Route(connection hook.ConnectionID, destination hook.DestinationID) (Route, bool)
	// Destination returns a destination; false when it was deleted.
	Destination(id hook.DestinationID) (*hook.Destination, bool)
}

// Options are what an engine needs. Limits have defaults.
type Options struct {
	Queue     Queue
	Holder    Holder // nil: there are no circuits
	Catalogue Catalogue
	// Senders makes the sender of a destination. The engine keeps it until the
	// destination changes, and closes it.
	Senders func(*hook.Destination) (*destination.Sender, error)
	// Suspend pauses a destination that wants no more deliveries, with the reason.
	Suspend func(ctx context.Context, id hook.DestinationID, reason string) error
	// Notify is told what people may want to know. It never waits. Nil: nobody is told.
	Notify  func(hook.Notice)
	Owner   string    // of leases; one for each process
	IDs     *hook.IDs // for attempts; nil: those of node 0
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: none

	MaxLane  int           // deliveries in hand of one destination; default DefaultMaxLane
	MaxJobs  int           // deliveries in hand in all; default DefaultMaxJobs
	MaxBytes int64         // payload bytes in hand in all; default DefaultMaxBytes
	Grace    time.Duration // how long attempts in flight may go on at the end; default DefaultGrace
}

// The defaults of the limits.
const (
	DefaultMaxLane  = 1024
	DefaultMaxJobs  = 4096
	DefaultMaxBytes = 64 << 20
	DefaultGrace    = 10 * time.Second
)

// Timings of the engine.
const (
	lease         = 2 * time.Duration(hook.MaxTimeout) // longer than any attempt by as much again
	renewEvery    = lease / 4
	leaseMargin   = 10 * time.Second // what an attempt's lease has left, at the least, when it times out
	reviewEvery   = 30 * time.Second // the store is asked what is due, in case a wake-up was lost
	reviewGap     = time.Second      // … and not more often than this when something asks for it
	claimBackoff  = time.Second      // after a claim failed
	minCoolDown   = time.Second      // how long a 429 or 503 stops a whole lane, unless its pace adapts …
	maxCoolDown   = 5 * time.Minute  // … and how long at the most by its Retry-After
	longCoolDown  = 5 * time.Second  // what waits goes back to the store when it would wait so long
	laneIdle      = 10 * time.Minute // a lane without work is forgotten after so long
	workerIdle    = 10 * time.Second // a worker without work ends after so long
	maxClaimers   = 4                // claims that run at the same time
	maxClaim      = 256              // deliveries claimed at once: a store takes no more in one step
	dueResolution = 10 * time.Millisecond
)

// sweepDelays are when a lane looks in the store once more after a delivery was
// deferred: its row is written a moment after the lane said that it had no room.
func sweepDelays() [5]time.Duration {
	return [...]time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 10 * time.Second}
}

// withDefaults fills the limits that are not set.
func (o Options) withDefaults() Options {
	if o.MaxLane <= 0 {
		o.MaxLane = DefaultMaxLane
	}
	if o.MaxJobs <= 0 {
		o.MaxJobs = DefaultMaxJobs
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	if o.IDs == nil {
		o.IDs = hook.NewIDs(0)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Suspend == nil {
		o.Suspend = func(context.Context, hook.DestinationID, string) error { return nil }
	}
	if o.Notify == nil {
		o.Notify = func(hook.Notice) {}
	}
	return o
}
