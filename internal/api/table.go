package api

import (
	"slices"

	"malote.dev/malote/internal/api/rest"
)

// table returns every route of the API.
func (s *server) table() []*rest.Route {
	return slices.Concat(
		s.sourceRoutes(), s.destinationRoutes(), s.connectionRoutes(),
		s.eventRoutes(), s.deliveryRoutes(), s.refusedRoutes(),
		s.providerRoutes(), s.projectRoutes(), s.tokenRoutes(),
		s.statsRoutes(), s.flowRoutes(), s.streamRoutes(),
	)
}
