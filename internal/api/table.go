package api

import (
	"slices"

	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/api/stats"
)

// table returns every route of the API.
func (s *server) table() []*rest.Route {
	return slices.Concat(
		s.sourceRoutes(), s.destinationRoutes(), s.connectionRoutes(),
		s.eventRoutes(), s.deliveryRoutes(), s.refusedRoutes(),
		s.providerRoutes(), s.projectRoutes(), s.tokenRoutes(),
		stats.Routes(stats.Options{Nouns: s.Store, Numbers: s.Store, Health: s.Store, Router: s.Router, Lanes: s.Deliver, Now: s.Now}),
		control.Routes(control.Options{
			Nouns: s.Store, Keys: s.Store, Audit: s.Store, Replays: s.Store, Replayer: s.Replayer, Router: s.Router, Deliver: s.Deliver,
			Logger: s.Logger, Now: s.Now,
		}),
		s.flowRoutes(), s.streamRoutes(),
	)
}
