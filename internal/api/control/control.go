// Package control is the part of the API that controls deliveries under way: circuits
// of destinations, keys of ordered connections, replays, and the record of who did what.
package control

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"malote.dev/malote/internal/api/lookup"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/store"
)

// Options are what the routes work with. All fields are needed.
type Options struct {
	Nouns   lookup.Tables
	Keys    store.Keys
	Audit   store.Audit
	Router  *route.Router
	Deliver Deliverer
	Logger  *slog.Logger
	Now     func() time.Time

	Replays  Replays
	Replayer Replayer
}

// Deliverer is the engine that sends.
type Deliverer interface {
	// Wake tells that deliveries of a destination have become due.
	Wake(destination hook.DestinationID)
	// Circuit returns a destination's circuit as it is now.
	Circuit(destination hook.DestinationID) hook.Circuit
	// CloseCircuit closes it by hand, and releases what it held.
	CloseCircuit(ctx context.Context, destination hook.DestinationID) error
	// ProbeNow makes the next probe of an open circuit at once.
	ProbeNow(destination hook.DestinationID)
}

// service is what the handlers share.
type service struct{ Options }

// Routes returns the routes of this package.
func Routes(options Options) []*rest.Route {
	s := &service{options}
	return slices.Concat(s.circuitRoutes(), s.keyRoutes(), s.replayRoutes(), s.auditRoutes())
}

// maxReason is how long a reason may be, in bytes.
const maxReason = 500
