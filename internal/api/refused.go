package api

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/lookup"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

func (s *server) refusedRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/refused", ID: "refused.list", Role: hook.RoleViewer,
			Summary: "List refused requests, the newest first", More: "The newest thousand of each source are kept.",
			Bind: rest.Handle(s.listRefused),
		},
		{
			Method: http.MethodGet, Path: "/refused/{id}", ID: "refused.get", Role: hook.RoleViewer,
			Summary: "Get a refused request with the explanation", Bind: rest.Handle(s.getRefused),
		},
		{
			Method: http.MethodGet, Path: "/refused/{id}/payload", ID: "refused.payload", Role: hook.RoleViewer,
			Summary: "Get the body of a refused request as it came", Answers: "application/octet-stream",
			Bind: rest.Raw[rest.One](s.refusedPayload),
		},
		{
			Method: http.MethodPost, Path: "/refused/{id}/admit", ID: "refused.admit", Role: hook.RoleOperator,
			Summary: "Verify a refused request again and accept it",
			More:    "The source is taken as it is set up now, the time as it was then.",
			Bind:    rest.Handle(s.admitRefused),
		},
	}
}

type listRefusedIn struct {
	Source string `query:"source" doc:"Of this source: id or name"`
	rest.Paging
}

func (s *server) listRefused(ctx context.Context, in *listRefusedIn) (*rest.Out[rest.List[hook.Refusal]], error) {
	req, err := rest.PageOf(in.Paging, hook.ParseID[hook.RefusalID])
	if err != nil {
		return nil, err
	}
	query := store.RefusalQuery{Project: rest.ProjectOf(ctx), Page: req}
	if query.Source, err = lookup.Source(ctx, s.Store, query.Project, in.Source); err != nil {
		return nil, rest.UnknownRef("source", err)
	}
	found, err := s.Store.ListRefusals(ctx, query)
	if err != nil {
		return nil, err
	}
	return rest.ListOf[hook.RefusalID](found, s.showRefusal), nil
}

// showRefusal masks the credentials of a refused request. It is kept with them, so
// that it can be verified again; a wrong secret is often the right one of another source.
func (s *server) showRefusal(refusal *hook.Refusal) hook.Refusal {
	shown := *refusal
	shown.Headers, shown.Query = s.maskRequest(refusal.Source, refusal.Headers, refusal.Query)
	if shown.Headers == nil {
		shown.Headers = hook.Headers{}
	}
	if shown.Explanation == nil {
		shown.Explanation = []string{}
	}
	shown.Payload = nil
	return shown
}

func (s *server) findRefused(ctx context.Context, ref string) (hook.Refusal, error) {
	id, err := hook.ParseID[hook.RefusalID](ref)
	if err != nil {
		return hook.Refusal{}, hook.NotFound("refused request", ref)
	}
	return s.Store.Refusal(ctx, rest.ProjectOf(ctx), id)
}

func (s *server) getRefused(ctx context.Context, in *rest.One) (*rest.Out[hook.Refusal], error) {
	refusal, err := s.findRefused(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.Answer(s.showRefusal(&refusal)), nil
}

func (s *server) refusedPayload(w http.ResponseWriter, r *http.Request) error {
	refusal, err := s.findRefused(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	writePayload(w, refusal.ID, refusal.Payload)
	return nil
}

func (s *server) admitRefused(ctx context.Context, in *rest.One) (*rest.Out[ReceiptOut], error) {
	refusal, err := s.findRefused(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	receipt, err := s.Ingest.Readmit(ctx, &refusal)
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "admitted a refused request", refusal.ID)
	return rest.Answer(ReceiptOut{ID: receipt.Event, Duplicate: receipt.Duplicate}), nil
}
