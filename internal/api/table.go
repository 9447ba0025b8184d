package api

import "slices"

// table returns every route of the API.
func table() []*endpoint {
	return slices.Concat(
		sourceRoutes(), destinationRoutes(), connectionRoutes(),
		eventRoutes(), deliveryRoutes(), refusedRoutes(),
		providerRoutes(), projectRoutes(), tokenRoutes(),
		statsRoutes(), flowRoutes(), streamRoutes(),
	)
}
