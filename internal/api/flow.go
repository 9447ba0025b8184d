package api

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// FlowOut is a plan, and whether it was carried out.
type FlowOut struct {
	flow.Plan

	Applied bool   `json:"applied"`
	Text    string `json:"text" doc:"The plan for people"`
}

func (s *server) flowRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodPost, Path: "/flow/plan", ID: "flow.plan", Role: hook.RoleOperator,
			Summary: "Show what applying a flow would change", In: flow.Request{}, Bind: rest.Handle(s.planFlow),
			Unaudited: "it changes nothing",
		},
		{
			Method: http.MethodPost, Path: "/flow/apply", ID: "flow.apply", Role: hook.RoleAdmin,
			Summary: "Make the catalogue what a flow says", More: "All changes are made, or none.",
			In: flow.Request{}, Bind: rest.Handle(s.applyFlow),
		},
		{
			Method: http.MethodGet, Path: "/flow/export", ID: "flow.export", Role: hook.RoleViewer,
			Summary: "Write the catalogue as a flow file", More: "Secrets become ${…} variables.", Answers: "application/yaml",
			Bind: rest.Raw[rest.NoInput](s.exportFlow),
		},
	}
}

func (s *server) plan(ctx context.Context, text []byte) (*flow.Plan, error) {
	var given flow.Request
	if err := body.Decode(text, &given); err != nil {
		return nil, err
	}
	problems := s.Rules.Check(&given.State)
	for i := range problems {
		problems[i].Path = "state." + problems[i].Path
	}
	if err := hook.Invalid("the flow cannot be applied", problems); err != nil {
		return nil, err
	}
	catalogue, err := s.Store.Catalogue(ctx)
	if err != nil {
		return nil, err
	}
	return flow.PlanState(rest.ProjectOf(ctx), catalogue, given.State, given.Prune)
}

func (s *server) planFlow(ctx context.Context, in *rest.BodyOnly) (*rest.Out[FlowOut], error) {
	plan, err := s.plan(ctx, in.RawBody)
	if err != nil {
		return nil, err
	}
	return rest.Answer(showPlan(plan, false)), nil
}

func showPlan(plan *flow.Plan, applied bool) FlowOut {
	shown := FlowOut{Plan: *plan, Applied: applied, Text: plan.Text()}
	if shown.Items == nil {
		shown.Items = []flow.Item{}
	}
	return shown
}

func (s *server) applyFlow(ctx context.Context, in *rest.BodyOnly) (*rest.Out[FlowOut], error) {
	plan, err := s.plan(ctx, in.RawBody)
	if err != nil {
		return nil, err
	}
	if plan.Empty() {
		return rest.Answer(showPlan(plan, true)), nil
	}
	if err := s.Store.Apply(ctx, rest.ProjectOf(ctx), plan.Changes); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, "applied a flow", rest.ProjectOf(ctx)); err != nil {
		return nil, err
	}
	return rest.Answer(showPlan(plan, true)), s.holdPaused(ctx, plan.Changes)
}

// holdPaused holds what waits for destinations and connections that a flow paused.
// A flow never resumes anything: see flow.PlanState.
func (s *server) holdPaused(ctx context.Context, changes []hook.Change) error {
	const reason = "paused by a flow"
	for i := range changes {
		change := &changes[i]
		if change.Op != hook.OpUpdate {
			continue
		}
		scope := store.Scope{Project: rest.ProjectOf(ctx)}
		switch {
		case change.Destination != nil && change.Destination.Paused:
			scope.Destination = change.Destination.ID
		case change.Connection != nil && change.Connection.Paused:
			scope.Connection = change.Connection.ID
		default:
			continue
		}
		if _, err := s.follow(ctx, scope, true, reason); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) exportFlow(w http.ResponseWriter, r *http.Request) error {
	catalogue, err := s.Store.Catalogue(r.Context())
	if err != nil {
		return err
	}
	text, err := flow.Export(rest.ProjectOf(r.Context()), catalogue)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Content-Disposition", `attachment; filename="flow.yaml"`)
	_, _ = w.Write(text) // when it fails, the caller has gone
	return nil
}
