package control

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

func (s *service) auditRoutes() []*rest.Route {
	return []*rest.Route{{
		Method: http.MethodGet, Path: "/audit", ID: "audit.list", Role: hook.RoleAdmin,
		Summary: "List who did what, the newest first",
		More:    "Every call that changed something, every look at a secret, and what the server did by itself.",
		Bind:    rest.Handle(s.listAudit),
	}}
}

type listAuditIn struct {
	Action  string `query:"action" doc:"Only this operation, such as destination.pause; * stands for any run of characters"`
	Subject string `query:"subject" doc:"Only what was done to the noun with this id"`
	rest.TimeRange
	rest.Paging
}

func (s *service) listAudit(ctx context.Context, in *listAuditIn) (*rest.Out[rest.List[hook.AuditEntry]], error) {
	req, err := rest.PageOf(in.Paging, hook.ParseID[hook.AuditID])
	if err != nil {
		return nil, err
	}
	found, err := s.Audit.ListAudit(ctx, store.AuditQuery{
		Project: rest.ProjectOf(ctx), Action: in.Action, Subject: in.Subject, After: in.After, Before: in.Before, Page: req,
	})
	if err != nil {
		return nil, err
	}
	return rest.ListOf[hook.AuditID](found, func(e *hook.AuditEntry) hook.AuditEntry { return *e }), nil
}
