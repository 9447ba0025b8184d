package api

import (
	"context"
	"net/http"

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

func providerRoutes() []*endpoint {
	return []*endpoint{
		{
			method: http.MethodGet, path: "/provider", id: "provider.list", role: hook.RoleViewer,
			summary: "List the gallery of providers", bind: handle((*server).listProviders),
		},
		{
			method: http.MethodGet, path: "/provider/{id}", id: "provider.get", role: hook.RoleViewer,
			summary: "Get a provider's profile", more: "How its requests are verified, what a source of it needs, and a sample.",
			bind: handle((*server).getProvider),
		},
		{
			method: http.MethodGet, path: "/health", id: "health", role: hook.RoleViewer,
			summary: "Say whether events can be stored", bind: handle((*server).health),
		},
	}
}

func (s *server) listProviders(context.Context, *noInput) (*out[List[ProviderOut]], error) {
	all := s.Gallery.Profiles()
	list := List[ProviderOut]{Data: make([]ProviderOut, len(all)), Done: true}
	for i, p := range all {
		list.Data[i] = ProviderOut{Name: p.Name, Title: p.Title, Docs: p.Docs, Tags: p.Tags, Confirmed: p.Confirmed}
	}
	return answerWith(list), nil
}

func (s *server) getProvider(_ context.Context, in *oneNoun) (*out[profiles.Profile], error) {
	profile, ok := s.Gallery.Profile(in.ID)
	if !ok {
		return nil, hook.Errorf(hook.KindNotFound, "no provider %q in the gallery", in.ID)
	}
	return answerWith(hook.Redact(*profile)), nil
}

func (s *server) health(ctx context.Context, _ *noInput) (*out[HealthOut], error) {
	if err := s.Store.Ready(ctx); err != nil {
		return nil, hook.Errorf(hook.KindUnavailable, "nothing can be stored now: %w", err)
	}
	return answerWith(HealthOut{Status: "ok", Version: s.Version}), nil
}
