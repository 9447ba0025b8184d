package api

import (
	"slices"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/api/stats"
)

// table returns every route of the API.
func (s *server) table() []*rest.Route {
	return slices.Concat(
		s.sourceRoutes(), s.destinationRoutes(), s.connectionRoutes(),
		s.eventRoutes(), s.deliveryRoutes(), s.refusedRoutes(),
		s.providerRoutes(), s.projectRoutes(), s.tokenRoutes(),
		stats.Routes(stats.Options{Nouns: s.Store, Numbers: s.Store, Now: s.Now}), s.flowRoutes(), s.streamRoutes(),
	)
}
