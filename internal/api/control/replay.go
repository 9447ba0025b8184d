package control

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/lookup"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/replay"
)

// Replayer is the engine of replays.
type Replayer interface {
	// Plan says what a replay would do.
	Plan(ctx context.Context, project hook.ProjectID, spec hook.ReplaySpec) (*replay.Plan, error)
	// Start makes a replay and begins with it.
	Start(ctx context.Context, project hook.ProjectID, by string, spec hook.ReplaySpec) (hook.Replay, error)
	// Cancel ends a running one.
	Cancel(ctx context.Context, project hook.ProjectID, id hook.ReplayID, by string) (hook.Replay, error)
}

// Replays reads the replays that were made.
type Replays interface {
	Replay(ctx context.Context, project hook.ProjectID, id hook.ReplayID) (hook.Replay, error)
	ListReplays(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[hook.Replay], error)
}

// ReplayIn asks for a replay, or for its plan.
type ReplayIn struct {
	Mode   string          `json:"mode,omitempty" enum:"deliver,retry" doc:"deliver (default): new deliveries of what is chosen; retry: those deliveries again"`
	Select ReplaySelect    `json:"select,omitzero" doc:"What is replayed, from the oldest to the newest. All that is set must be met"`
	Rules  string          `json:"rules,omitempty" enum:"then,now" doc:"Over the connections that matched then (default), or that match now. Not with retry"`
	To     string          `json:"to,omitempty" doc:"To this destination in place of those of the connections, each event once: id or name. Not with retry"`
	Edit   json.RawMessage `json:"edit,omitempty" doc:"A JSON merge patch (RFC 7396) of every payload: new events are made. Not with retry"`
	Rate   hook.Rate       `json:"rate,omitzero" doc:"How many deliveries are begun; default 50/s"`
	Stop   *hook.StopRule  `json:"stop,omitempty" doc:"End it when too many attempts fail"`
	DryRun bool            `json:"dryRun,omitempty" doc:"Answer with the plan, and do nothing"`
}

// ReplaySelect chooses what is replayed.
type ReplaySelect struct {
	Source      string            `json:"source,omitempty" doc:"Events of this source: id or name"`
	Type        string            `json:"type,omitempty" doc:"Events of this type; * stands for any run of characters"`
	Key         string            `json:"key,omitempty" doc:"Events with exactly this business key"`
	Text        string            `json:"text,omitempty" doc:"Events with this text in the payload"`
	Filter      string            `json:"filter,omitempty" doc:"Events that this CEL expression is true for, as the filter of a connection"`
	After       time.Time         `json:"after,omitzero" doc:"Received at or after this time"`
	Before      time.Time         `json:"before,omitzero" doc:"Received before this time"`
	Connection  string            `json:"connection,omitempty" doc:"Deliveries over this connection: id or name"`
	Destination string            `json:"destination,omitempty" doc:"Deliveries to this destination: id or name"`
	State       hook.State        `json:"state,omitempty" doc:"Deliveries in this state; with retry failed is the default"`
	Events      []hook.EventID    `json:"events,omitempty" doc:"Exactly these events, 1,000 at the most"`
	Deliveries  []hook.DeliveryID `json:"deliveries,omitempty" doc:"Exactly these deliveries, 1,000 at the most"`
}

// ReplayPlan says what a replay would do.
type ReplayPlan struct{ replay.Plan }

func (s *service) replayRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/replay", ID: "replay.list", Role: hook.RoleViewer,
			Summary: "List replays, the newest first", Bind: rest.Handle(s.listReplays),
		},
		{
			Method: http.MethodPost, Path: "/replay", ID: "replay.create", Role: hook.RoleOperator, Status: http.StatusCreated,
			Summary: "Replay a chosen part of the log, or plan it",
			More: "With dryRun the answer is the plan, and nothing is done. Else the replay begins: it makes deliveries at its rate, " +
				"keeps at most 1,000 of them open, and goes on after a restart.",
			In: ReplayIn{}, Bodies: map[int]any{http.StatusOK: ReplayPlan{}, http.StatusCreated: hook.Replay{}}, Bind: rest.Handle(s.createReplay),
		},
		{
			Method: http.MethodGet, Path: "/replay/{id}", ID: "replay.get", Role: hook.RoleViewer,
			Summary: "Get a replay with its progress", Bind: rest.Handle(s.getReplay),
		},
		{
			Method: http.MethodPost, Path: "/replay/{id}/cancel", ID: "replay.cancel", Role: hook.RoleOperator,
			Summary: "Cancel a replay", More: "What it made and has not begun is canceled with it.", Bind: rest.Handle(s.cancelReplay),
		},
	}
}

func (s *service) listReplays(ctx context.Context, in *rest.Paging) (*rest.Out[rest.List[hook.Replay]], error) {
	req, err := rest.PageOf(*in, hook.ParseID[hook.ReplayID])
	if err != nil {
		return nil, err
	}
	found, err := s.Replays.ListReplays(ctx, rest.ProjectOf(ctx), req)
	if err != nil {
		return nil, err
	}
	return rest.ListOf[hook.ReplayID](found, func(r *hook.Replay) hook.Replay { return *r }), nil
}

// PlanOrReplay is the answer to a request for a replay, or for its plan.
type PlanOrReplay struct {
	Status int
	Body   any
}

func (s *service) createReplay(ctx context.Context, in *rest.BodyOnly) (*PlanOrReplay, error) {
	var given ReplayIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	spec, err := s.replaySpec(ctx, &given)
	if err != nil {
		return nil, err
	}
	if given.DryRun {
		rest.Looked(ctx)
		plan, err := s.Replayer.Plan(ctx, rest.ProjectOf(ctx), spec)
		if err != nil {
			return nil, err
		}
		return &PlanOrReplay{http.StatusOK, ReplayPlan{*plan}}, nil
	}
	started, err := s.startReplay(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &PlanOrReplay{http.StatusCreated, started}, nil
}

func (s *service) startReplay(ctx context.Context, spec hook.ReplaySpec) (hook.Replay, error) {
	started, err := s.Replayer.Start(ctx, rest.ProjectOf(ctx), rest.CallerOf(ctx).Token.Name, spec)
	if err == nil {
		rest.Acted(ctx, s.Logger, "started a replay", started.ID)
	}
	return started, err
}

// replaySpec turns names into ids.
func (s *service) replaySpec(ctx context.Context, in *ReplayIn) (hook.ReplaySpec, error) {
	spec := hook.ReplaySpec{
		Mode: hook.ReplayMode(in.Mode), Rules: hook.ReplayRules(in.Rules), Edit: in.Edit, Rate: in.Rate, Stop: in.Stop,
		Select: hook.ReplaySelection{
			Type: in.Select.Type, Key: in.Select.Key, Text: in.Select.Text, Filter: in.Select.Filter,
			After: in.Select.After, Before: in.Select.Before, State: in.Select.State,
			Events: in.Select.Events, Deliveries: in.Select.Deliveries,
		},
	}
	project := rest.ProjectOf(ctx)
	var problems []hook.Problem
	var failure error
	found := func(path string, err error) {
		switch {
		case err == nil:
		case hook.KindOf(err) == hook.KindNotFound:
			problems = append(problems, hook.Problem{Path: path, Message: err.Error()})
		default:
			failure = err
		}
	}
	var err error
	spec.Select.Source, err = lookup.Source(ctx, s.Nouns, project, in.Select.Source)
	found("select.source", err)
	spec.Select.Connection, err = lookup.Connection(ctx, s.Nouns, project, in.Select.Connection)
	found("select.connection", err)
	spec.Select.Destination, err = lookup.Destination(ctx, s.Nouns, project, in.Select.Destination)
	found("select.destination", err)
	spec.To, err = lookup.Destination(ctx, s.Nouns, project, in.To)
	found("to", err)
	if failure != nil {
		return spec, failure
	}
	return spec, hook.Invalid("the replay cannot be made", problems)
}

func (s *service) findReplay(ctx context.Context, ref string) (hook.Replay, error) {
	id, err := hook.ParseID[hook.ReplayID](ref)
	if err != nil {
		return hook.Replay{}, hook.NotFound("replay", ref)
	}
	return s.Replays.Replay(ctx, rest.ProjectOf(ctx), id)
}

func (s *service) getReplay(ctx context.Context, in *rest.One) (*rest.Out[hook.Replay], error) {
	found, err := s.findReplay(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.Answer(found), nil
}

func (s *service) cancelReplay(ctx context.Context, in *rest.One) (*rest.Out[hook.Replay], error) {
	found, err := s.findReplay(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ended, err := s.Replayer.Cancel(ctx, found.Project, found.ID, rest.CallerOf(ctx).Token.Name)
	if err != nil {
		return nil, err
	}
	rest.Acted(ctx, s.Logger, "canceled a replay", ended.ID)
	return rest.Answer(ended), nil
}
