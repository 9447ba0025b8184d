package api

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

func refusedRoutes() []*endpoint {
	return []*endpoint{
		{
			method: http.MethodGet, path: "/refused", id: "refused.list", role: hook.RoleViewer,
			summary: "List refused requests, the newest first", more: "The newest thousand of each source are kept.",
			bind: handle((*server).listRefused),
		},
		{
			method: http.MethodGet, path: "/refused/{id}", id: "refused.get", role: hook.RoleViewer,
			summary: "Get a refused request with the explanation", bind: handle((*server).getRefused),
		},
		{
			method: http.MethodGet, path: "/refused/{id}/payload", id: "refused.payload", role: hook.RoleViewer,
			summary: "Get the body of a refused request as it came", answers: "application/octet-stream",
			bind: raw[oneNoun]((*server).refusedPayload),
		},
		{
			method: http.MethodPost, path: "/refused/{id}/admit", id: "refused.admit", role: hook.RoleOperator,
			summary: "Verify a refused request again and accept it",
			more:    "The source is taken as it is set up now, the time as it was then.",
			bind:    handle((*server).admitRefused),
		},
	}
}

type listRefusedIn struct {
	Source string `query:"source" doc:"Of this source: id or name"`
	Paging
}

func (s *server) listRefused(ctx context.Context, in *listRefusedIn) (*out[List[hook.Refusal]], error) {
	req, err := pageOf(in.Paging, hook.ParseID[hook.RefusalID])
	if err != nil {
		return nil, err
	}
	query := store.RefusalQuery{Project: projectOf(ctx), Page: req}
	if query.Source, err = s.sourceRef(ctx, in.Source); err != nil {
		return nil, err
	}
	found, err := s.Store.ListRefusals(ctx, query)
	if err != nil {
		return nil, err
	}
	return listOf[hook.RefusalID](found, s.showRefusal), nil
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
	return s.Store.Refusal(ctx, projectOf(ctx), id)
}

func (s *server) getRefused(ctx context.Context, in *oneNoun) (*out[hook.Refusal], error) {
	refusal, err := s.findRefused(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return answerWith(s.showRefusal(&refusal)), nil
}

func (s *server) refusedPayload(w http.ResponseWriter, r *http.Request) error {
	refusal, err := s.findRefused(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	writePayload(w, refusal.ID, refusal.Payload)
	return nil
}

func (s *server) admitRefused(ctx context.Context, in *oneNoun) (*out[ReceiptOut], error) {
	refusal, err := s.findRefused(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	receipt, err := s.Ingest.Readmit(ctx, &refusal)
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "admitted a refused request", refusal.ID)
	return answerWith(ReceiptOut{ID: receipt.Event, Duplicate: receipt.Duplicate}), nil
}
