package api

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// ConnectionIn is what a person sets on a connection.
type ConnectionIn struct {
	Name        string `json:"name,omitempty" doc:"Unique in the project. A change may leave it out"`
	Source      string `json:"source,omitempty" doc:"Where events come from: id or name"`
	Destination string `json:"destination,omitempty" doc:"Where they go: id or name"`
	Version     int64  `json:"version,omitempty" doc:"The version that a change starts from; another one is a conflict"`
	hook.ConnectionSpec
}

// ConnectionOut is a connection.
type ConnectionOut struct {
	hook.Connection

	Problem string `json:"problem,omitempty" doc:"Why it cannot be used as it is set up"`
}

func (s *server) connectionRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/connection", ID: "connection.list", Role: hook.RoleViewer,
			Summary: "List connections", Bind: rest.Handle(s.listConnections),
		},
		{
			Method: http.MethodPost, Path: "/connection", ID: "connection.create", Role: hook.RoleAdmin, Status: http.StatusCreated,
			Summary: "Create a connection", More: connectionText, In: ConnectionIn{}, Bind: rest.Handle(s.createConnection),
		},
		{
			Method: http.MethodGet, Path: "/connection/{id}", ID: "connection.get", Role: hook.RoleViewer,
			Summary: "Get a connection", Bind: rest.Handle(s.getConnection),
		},
		{
			Method: http.MethodPut, Path: "/connection/{id}", ID: "connection.update", Role: hook.RoleAdmin,
			Summary: "Replace a connection", In: ConnectionIn{}, Bind: rest.Handle(s.putConnection),
		},
		{
			Method: http.MethodPatch, Path: "/connection/{id}", ID: "connection.patch", Role: hook.RoleAdmin,
			Summary: "Change parts of a connection", More: patchText, In: ConnectionIn{}, Bind: rest.Handle(s.patchConnection),
		},
		{
			Method: http.MethodDelete, Path: "/connection/{id}", ID: "connection.delete", Role: hook.RoleAdmin, Status: http.StatusNoContent,
			Summary: "Delete a connection", More: "Its deliveries under way are canceled.", Bind: rest.Handle(s.deleteConnection),
		},
		{
			Method: http.MethodPost, Path: "/connection/{id}/pause", ID: "connection.pause", Role: hook.RoleOperator,
			Summary: "Pause a connection", More: "It goes on matching events; their deliveries are held, not lost.",
			In: PauseIn{}, Empty: true, Bind: rest.Handle(s.pauseConnection),
		},
		{
			Method: http.MethodPost, Path: "/connection/{id}/resume", ID: "connection.resume", Role: hook.RoleOperator,
			Summary: "Resume a connection", More: "What was held is due at once, unless the destination is paused.",
			Bind: rest.Handle(s.resumeConnection),
		},
	}
}

const connectionText = "With order, deliveries with the same key are made one at a time, the oldest first; stuck says what becomes of a key whose " +
	"oldest delivery fails. delay is from the acceptance to the first attempt, ttl from the acceptance to when a delivery that was not " +
	"made is canceled, and quiet the hours in which none is made. Events of the project's source " + hook.SystemSource +
	" tell what happens in the system itself."

func (s *server) showConnection(c *hook.Connection) ConnectionOut {
	shown := ConnectionOut{Connection: hook.Redact(*c)}
	if compiled, ok := s.Router.Current().Connection(c.ID); ok && compiled.Problem != nil {
		shown.Problem = compiled.Problem.Error()
	}
	return shown
}

type listConnectionsIn struct{ rest.Paging }

func (s *server) listConnections(ctx context.Context, in *listConnectionsIn) (*rest.Out[rest.List[ConnectionOut]], error) {
	req, err := rest.PageOf(in.Paging, hook.ParseID[hook.ConnectionID])
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Connections().List(ctx, rest.ProjectOf(ctx), req)
	if err != nil {
		return nil, err
	}
	return rest.ListOf[hook.ConnectionID](found, s.showConnection), nil
}

func (s *server) getConnection(ctx context.Context, in *rest.One) (*rest.Versioned[ConnectionOut], error) {
	c, err := s.Store.Connections().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return rest.AnswerVersion(c.Version, s.showConnection(&c)), nil
}

func (s *server) createConnection(ctx context.Context, in *rest.BodyOnly) (*rest.Versioned[ConnectionOut], error) {
	var given ConnectionIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	c := hook.Connection{Project: rest.ProjectOf(ctx), Name: given.Name, ConnectionSpec: given.ConnectionSpec}
	if err := s.checkConnection(ctx, &c, &given); err != nil {
		return nil, err
	}
	if err := s.Store.Connections().Create(ctx, &c); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, "created a connection", c.ID); err != nil {
		return nil, err
	}
	return rest.AnswerVersion(c.Version, s.showConnection(&c)), nil
}

func (s *server) putConnection(ctx context.Context, in *rest.Change) (*rest.Versioned[ConnectionOut], error) {
	c, err := s.Store.Connections().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	var given ConnectionIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	return s.updateConnection(ctx, &c, &given, in)
}

func (s *server) patchConnection(ctx context.Context, in *rest.Change) (*rest.Versioned[ConnectionOut], error) {
	c, err := s.Store.Connections().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	var given ConnectionIn
	current := ConnectionIn{Name: c.Name, Source: c.Source.String(), Destination: c.Destination.String(), ConnectionSpec: c.ConnectionSpec}
	if err := body.Patch(current, in.RawBody, []string{"order"}, &given); err != nil {
		return nil, err
	}
	return s.updateConnection(ctx, &c, &given, in)
}

func (s *server) updateConnection(
	ctx context.Context, c *hook.Connection, given *ConnectionIn, in *rest.Change,
) (*rest.Versioned[ConnectionOut], error) {
	if err := rest.Expect(c.Version, given.Version, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	wasPaused := c.Paused
	c.ConnectionSpec = given.ConnectionSpec
	if given.Name != "" {
		c.Name = given.Name
	}
	if err := s.checkConnection(ctx, c, given); err != nil {
		return nil, err
	}
	saved, err := s.saveConnection(ctx, c, "changed a connection")
	if err == nil && c.Paused != wasPaused {
		_, err = s.followConnection(ctx, c, "paused by a change of the connection")
	}
	return saved, err
}

func (s *server) saveConnection(ctx context.Context, c *hook.Connection, what string) (*rest.Versioned[ConnectionOut], error) {
	if err := s.Store.Connections().Update(ctx, c); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, what, c.ID); err != nil {
		return nil, err
	}
	return rest.AnswerVersion(c.Version, s.showConnection(c)), nil
}

// checkConnection returns everything that is wrong with a connection before it is
// stored, and finds its two ends.
func (s *server) checkConnection(ctx context.Context, c *hook.Connection, given *ConnectionIn) error {
	problems := append(checkName(c.Name), s.Rules.CheckConnection(&c.ConnectionSpec)...)
	source, err := s.Store.Sources().Get(ctx, c.Project, given.Source)
	if given.Source != "" || c.Source == 0 {
		if problems, err = missing(problems, "source", given.Source, err); err != nil {
			return err
		}
		c.Source = source.ID
	}
	d, err := s.Store.Destinations().Get(ctx, c.Project, given.Destination)
	if given.Destination != "" || c.Destination == 0 {
		if problems, err = missing(problems, "destination", given.Destination, err); err != nil {
			return err
		}
		c.Destination = d.ID
	}
	return hook.Invalid("the connection cannot be saved", problems)
}

// missing turns a "not found" into a problem of the field that names the noun.
func missing(problems []hook.Problem, noun, ref string, err error) ([]hook.Problem, error) {
	switch {
	case ref == "":
		return append(problems, hook.Problem{Path: noun, Message: "a " + noun + " is needed: write its id or name"}), nil
	case hook.KindOf(err) == hook.KindNotFound:
		return append(problems, hook.Problem{Path: noun, Message: err.Error()}), nil
	default:
		return problems, err
	}
}

func (s *server) deleteConnection(ctx context.Context, in *rest.End) (*rest.NoOutput, error) {
	c, err := s.Store.Connections().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	if err := rest.Expect(c.Version, 0, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	if err := s.Store.Connections().Delete(ctx, c.Project, c.ID.String()); err != nil {
		return nil, err
	}
	return nil, s.changed(ctx, "deleted a connection", c.ID)
}

func (s *server) pauseConnection(ctx context.Context, in *rest.OneBody) (*rest.Out[PauseOut], error) {
	reason, err := pauseReason(in.RawBody)
	if err != nil {
		return nil, err
	}
	c, err := s.Store.Connections().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	c.Paused = true
	if _, err := s.saveConnection(ctx, &c, "paused a connection"); err != nil {
		return nil, err
	}
	return s.followConnection(ctx, &c, reason)
}

func (s *server) resumeConnection(ctx context.Context, in *rest.One) (*rest.Out[PauseOut], error) {
	c, err := s.Store.Connections().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	c.Paused = false
	if _, err := s.saveConnection(ctx, &c, "resumed a connection"); err != nil {
		return nil, err
	}
	return s.followConnection(ctx, &c, "")
}

// followConnection holds or releases what waits on a connection. Nothing is released
// while the destination is paused: resuming that releases it.
func (s *server) followConnection(ctx context.Context, c *hook.Connection, reason string) (*rest.Out[PauseOut], error) {
	scope := store.Scope{Project: c.Project, Connection: c.ID}
	if !c.Paused {
		d, err := s.Store.Destinations().Get(ctx, c.Project, c.Destination.String())
		if err != nil {
			return nil, err
		}
		if d.Paused {
			return rest.Answer(PauseOut{}), nil
		}
		defer s.Deliver.Wake(c.Destination)
	}
	return s.follow(ctx, scope, c.Paused, reason)
}
