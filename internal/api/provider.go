package api

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/profiles"
)

// ProviderOut is a provider in the list of the gallery.
type ProviderOut struct {
	Name      string   `json:"name" doc:"What a source's provider names"`
	Title     string   `json:"title"`
	Docs      string   `json:"docs,omitempty" doc:"The provider's own page"`
	Tags      []string `json:"tags,omitempty"`
	Confirmed bool     `json:"confirmed" doc:"Checked against the provider's own source, specification or page"`
}

// HealthOut says that the server works.
type HealthOut struct {
	Status  string `json:"status" enum:"ok"`
	Version string `json:"version"`
}

func (s *server) providerRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/provider", ID: "provider.list", Role: hook.RoleViewer,
			Summary: "List the gallery of providers", Bind: rest.Handle(s.listProviders),
		},
		{
			Method: http.MethodGet, Path: "/provider/{id}", ID: "provider.get", Role: hook.RoleViewer,
			Summary: "Get a provider's profile", More: "How its requests are verified, what a source of it needs, and a sample.",
			Bind: rest.Handle(s.getProvider),
		},
		{
			Method: http.MethodGet, Path: "/health", ID: "health", Role: hook.RoleViewer,
			Summary: "Say whether events can be stored", Bind: rest.Handle(s.health),
		},
	}
}

func (s *server) listProviders(context.Context, *rest.NoInput) (*rest.Out[rest.List[ProviderOut]], error) {
	all := s.Gallery.Profiles()
	list := rest.List[ProviderOut]{Data: make([]ProviderOut, len(all)), Done: true}
	for i, p := range all {
		list.Data[i] = ProviderOut{Name: p.Name, Title: p.Title, Docs: p.Docs, Tags: p.Tags, Confirmed: p.Confirmed}
	}
	return rest.Answer(list), nil
}

func (s *server) getProvider(_ context.Context, in *rest.One) (*rest.Out[profiles.Profile], error) {
	profile, ok := s.Gallery.Profile(in.ID)
	if !ok {
		return nil, hook.Errorf(hook.KindNotFound, "no provider %q in the gallery", in.ID)
	}
	return rest.Answer(hook.Redact(*profile)), nil
}

func (s *server) health(ctx context.Context, _ *rest.NoInput) (*rest.Out[HealthOut], error) {
	if err := s.Store.Ready(ctx); err != nil {
		return nil, hook.Errorf(hook.KindUnavailable, "nothing can be stored now: %w", err)
	}
	return rest.Answer(HealthOut{Status: "ok", Version: s.Version}), nil
}
