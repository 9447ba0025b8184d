package api

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/lookup"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/store"
)

// DestinationIn is what a person sets on a destination.
type DestinationIn struct {
	Name    string `json:"name,omitempty" doc:"Unique in the project. A change may leave it out"`
	Version int64  `json:"version,omitempty" doc:"The version that a change starts from; another one is a conflict"`
	hook.DestinationSpec
}

// DestinationOut is a destination without its secrets.
type DestinationOut struct {
	hook.Destination

	HasSecret      bool `json:"hasSecret" doc:"Whether its deliveries are signed"`
	SecretCount    int  `json:"secretCount" doc:"How many secrets sign: more than one while rotating"`
	HasCredentials bool `json:"hasCredentials" doc:"Whether it is given credentials"`

	CircuitState hook.Circuit `json:"circuitState" doc:"What attempts showed of it; circuit is the policy"`
}

// PauseIn says why something is paused.
type PauseIn struct {
	Reason string `json:"reason,omitempty" doc:"A sentence for whoever finds it paused"`
}

// PauseOut is what pausing or resuming did.
type PauseOut struct {
	Paused     bool `json:"paused"`
	Deliveries int  `json:"deliveries" doc:"How many waiting deliveries were held or released"`
}

// maxReason is how long a reason may be, in bytes.
const maxReason = 500

func (s *server) destinationRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/destination", ID: "destination.list", Role: hook.RoleViewer,
			Summary: "List destinations", Bind: rest.Handle(s.listDestinations),
		},
		{
			Method: http.MethodPost, Path: "/destination", ID: "destination.create", Role: hook.RoleAdmin, Status: http.StatusCreated,
			Summary: "Create a destination", More: "Without a signing secret one is generated: read it at /secret.",
			In: DestinationIn{}, Bind: rest.Handle(s.createDestination),
		},
		{
			Method: http.MethodGet, Path: "/destination/{id}", ID: "destination.get", Role: hook.RoleViewer,
			Summary: "Get a destination", Bind: rest.Handle(s.getDestination),
		},
		{
			Method: http.MethodPut, Path: "/destination/{id}", ID: "destination.update", Role: hook.RoleAdmin,
			Summary: "Replace a destination", More: "Secrets that are left out stay as they are; null clears one.",
			In: DestinationIn{}, Bind: rest.Handle(s.putDestination),
		},
		{
			Method: http.MethodPatch, Path: "/destination/{id}", ID: "destination.patch", Role: hook.RoleAdmin,
			Summary: "Change parts of a destination", More: patchText, In: DestinationIn{}, Bind: rest.Handle(s.patchDestination),
		},
		{
			Method: http.MethodDelete, Path: "/destination/{id}", ID: "destination.delete", Role: hook.RoleAdmin, Status: http.StatusNoContent,
			Summary: "Delete a destination", More: "It is a conflict while connections lead to it.", Bind: rest.Handle(s.deleteDestination),
		},
		{
			Method: http.MethodGet, Path: "/destination/{id}/secret", ID: "destination.secret.get", Role: hook.RoleAdmin,
			Summary: "Show the signing secret of a destination", More: "Who looked is recorded in the audit.",
			Bind: rest.Handle(s.destinationSecret), Reveals: true,
		},
		{
			Method: http.MethodPost, Path: "/destination/{id}/secret/rotate", ID: "destination.secret.rotate", Role: hook.RoleAdmin,
			Summary: "Give a destination a new signing secret",
			More: "The secret before goes on signing beside it until the next rotation, or until PATCH " +
				`{"http": {"sign": {"secrets": null}}}, so that the receiver can change over.`,
			In: RotateIn{}, Empty: true, Bind: rest.Handle(s.rotateDestination),
		},
		{
			Method: http.MethodPost, Path: "/destination/{id}/pause", ID: "destination.pause", Role: hook.RoleOperator,
			Summary: "Pause a destination", More: "Its deliveries are held, not lost.", In: PauseIn{}, Empty: true,
			Bind: rest.Handle(s.pauseDestination),
		},
		{
			Method: http.MethodPost, Path: "/destination/{id}/resume", ID: "destination.resume", Role: hook.RoleOperator,
			Summary: "Resume a destination", More: "What was held is due at once.", Bind: rest.Handle(s.resumeDestination),
		},
		{
			Method: http.MethodPost, Path: "/destination/{id}/test", ID: "destination.test", Role: hook.RoleOperator,
			Summary: "Send a test event to a destination at once",
			More:    "The answer is the attempt. It is not kept, and not retried.", Bind: rest.Handle(s.testDestination),
		},
	}
}

func (s *server) showDestination(d *hook.Destination) DestinationOut {
	shown := DestinationOut{Destination: hook.Redact(*d), CircuitState: s.Deliver.Circuit(d.ID)}
	shown.CircuitState.Destination, shown.CircuitState.Project = d.ID, d.Project // one that never opened may not know
	if d.HTTP != nil {
		shown.SecretCount = body.CountSecrets(d.HTTP.Sign)
		shown.HasCredentials = body.CountSecrets(d.HTTP.Auth) > 0
	}
	shown.HasSecret = shown.SecretCount > 0
	return shown
}

type listDestinationsIn struct{ rest.Paging }

func (s *server) listDestinations(ctx context.Context, in *listDestinationsIn) (*rest.Out[rest.List[DestinationOut]], error) {
	req, err := rest.PageOf(in.Paging, hook.ParseID[hook.DestinationID])
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Destinations().List(ctx, rest.ProjectOf(ctx), req)
	if err != nil {
		return nil, err
	}
	return rest.ListOf[hook.DestinationID](found, s.showDestination), nil
}

func (s *server) getDestination(ctx context.Context, in *rest.One) (*rest.Versioned[DestinationOut], error) {
	d, err := s.Store.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return rest.AnswerVersion(d.Version, s.showDestination(&d)), nil
}

func (s *server) createDestination(ctx context.Context, in *rest.BodyOnly) (*rest.Versioned[DestinationOut], error) {
	var given DestinationIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	d := hook.Destination{Project: rest.ProjectOf(ctx), Name: given.Name, DestinationSpec: given.DestinationSpec}
	if err := s.checkDestination(&d); err != nil {
		return nil, err
	}
	if err := s.Store.Destinations().Create(ctx, &d); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, "created a destination", d.ID); err != nil {
		return nil, err
	}
	return rest.AnswerVersion(d.Version, s.showDestination(&d)), nil
}

func (s *server) putDestination(ctx context.Context, in *rest.Change) (*rest.Versioned[DestinationOut], error) {
	d, err := s.Store.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	var given DestinationIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	return s.updateDestination(ctx, &d, &given, in)
}

func (s *server) patchDestination(ctx context.Context, in *rest.Change) (*rest.Versioned[DestinationOut], error) {
	d, err := s.Store.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	var given DestinationIn
	if err := body.Patch(DestinationIn{Name: d.Name, DestinationSpec: d.DestinationSpec}, in.RawBody, []string{"http.auth"}, &given); err != nil {
		return nil, err
	}
	return s.updateDestination(ctx, &d, &given, in)
}

func (s *server) updateDestination(
	ctx context.Context, d *hook.Destination, given *DestinationIn, in *rest.Change,
) (*rest.Versioned[DestinationOut], error) {
	if err := rest.Expect(d.Version, given.Version, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	carryDestination(&d.DestinationSpec, &given.DestinationSpec, body.Named(in.RawBody))
	wasPaused := d.Paused
	d.DestinationSpec = given.DestinationSpec
	if given.Name != "" {
		d.Name = given.Name
	}
	if !d.Paused {
		d.PauseReason = ""
	}
	if err := s.checkDestination(d); err != nil {
		return nil, err
	}
	saved, err := s.saveDestination(ctx, d, "changed a destination")
	if err == nil && d.Paused != wasPaused {
		_, err = s.followDestination(ctx, d)
	}
	return saved, err
}

// carryDestination keeps the secrets that a change does not name. Leaving the whole of
// sign out keeps its secrets, null asks for a new one; and a secret belongs to its
// scheme, so that it does not outlive a change of that.
func carryDestination(stored, changed *hook.DestinationSpec, named body.Fields) {
	if stored.HTTP == nil || changed.HTTP == nil {
		return
	}
	if changed.HTTP.Sign == nil && !named.Has("http.sign") {
		changed.HTTP.Sign = &hook.Sign{}
	}
	target := *stored.HTTP
	if sign := changed.HTTP.Sign; sign != nil && target.Sign != nil && sign.SchemeName() != target.Sign.SchemeName() {
		target.Sign = nil
		if !named.Has("http.sign.secret") {
			sign.Secret = ""
		}
		if !named.Has("http.sign.secrets") {
			sign.Secrets = nil
		}
	}
	body.Carry(&hook.DestinationSpec{HTTP: &target}, changed, named)
}

func (s *server) saveDestination(ctx context.Context, d *hook.Destination, what string) (*rest.Versioned[DestinationOut], error) {
	if err := s.Store.Destinations().Update(ctx, d); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, what, d.ID); err != nil {
		return nil, err
	}
	return rest.AnswerVersion(d.Version, s.showDestination(d)), nil
}

// checkDestination returns everything that is wrong with a destination before it is
// stored, and gives one that signs without a secret a new one.
func (s *server) checkDestination(d *hook.Destination) error {
	problems := append(checkName(d.Name), s.Rules.CheckDestination(&d.DestinationSpec)...)
	if err := hook.Invalid("the destination cannot be saved", problems); err != nil {
		return err
	}
	if d.HTTP == nil {
		return nil
	}
	sign, _, err := signature.CompleteSign(d.HTTP.Sign)
	if err != nil {
		return err
	}
	d.HTTP.Sign = sign
	return nil
}

func (s *server) deleteDestination(ctx context.Context, in *rest.End) (*rest.NoOutput, error) {
	d, err := s.Store.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	if err := rest.Expect(d.Version, 0, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	if err := s.Store.Destinations().Delete(ctx, d.Project, d.ID.String()); err != nil {
		return nil, err
	}
	return nil, s.changed(ctx, "deleted a destination", d.ID)
}

// signOf returns how a destination signs; not found when it does not.
func signOf(d *hook.Destination) (*hook.Sign, error) {
	if d.HTTP == nil || d.HTTP.Sign == nil || d.HTTP.Sign.None {
		return nil, hook.Errorf(hook.KindNotFound, "the destination %q does not sign its deliveries", d.Name)
	}
	return d.HTTP.Sign, nil
}

func (s *server) destinationSecret(ctx context.Context, in *rest.One) (*rest.Out[SecretOut], error) {
	d, err := s.Store.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	sign, err := signOf(&d)
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "looked at the signing secret of a destination", d.ID)
	return rest.Answer(revealSign(sign)), nil
}

func revealSign(sign *hook.Sign) SecretOut {
	shown := reveal(sign.AllSecrets())
	if public, err := signature.PublicKey(hook.Secret(shown.Secret)); err == nil {
		shown.PublicKey = public
	}
	return shown
}

func (s *server) rotateDestination(ctx context.Context, in *rest.OneBody) (*rest.Out[SecretOut], error) {
	d, err := s.Store.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	sign, err := signOf(&d)
	if err != nil {
		return nil, err
	}
	given, err := rotation(in.RawBody)
	if err != nil {
		return nil, err
	}
	if given.Secret == "" {
		if given.Secret, err = signature.GenerateSecret(sign.Scheme); err != nil {
			return nil, err
		}
	}
	sign.Secret, sign.Secrets = given.Secret, given.kept(sign.AllSecrets())
	if err := s.checkDestination(&d); err != nil {
		return nil, err
	}
	if _, err := s.saveDestination(ctx, &d, "rotated the signing secret of a destination"); err != nil {
		return nil, err
	}
	return rest.Answer(revealSign(sign)), nil
}

func pauseReason(text []byte) (string, error) {
	var given PauseIn
	if len(text) > 0 {
		if err := body.Decode(text, &given); err != nil {
			return "", err
		}
	}
	if len(given.Reason) > maxReason {
		return "", hook.Invalid("it cannot be paused", []hook.Problem{{Path: "reason", Message: "is longer than 500 bytes"}})
	}
	if given.Reason == "" {
		given.Reason = "paused by hand"
	}
	return given.Reason, nil
}

func (s *server) pauseDestination(ctx context.Context, in *rest.OneBody) (*rest.Out[PauseOut], error) {
	reason, err := pauseReason(in.RawBody)
	if err != nil {
		return nil, err
	}
	d, err := s.Store.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	d.Paused, d.PauseReason = true, reason
	if _, err := s.saveDestination(ctx, &d, "paused a destination"); err != nil {
		return nil, err
	}
	return s.followDestination(ctx, &d)
}

func (s *server) resumeDestination(ctx context.Context, in *rest.One) (*rest.Out[PauseOut], error) {
	d, err := s.Store.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	d.Paused, d.PauseReason = false, ""
	if _, err := s.saveDestination(ctx, &d, "resumed a destination"); err != nil {
		return nil, err
	}
	return s.followDestination(ctx, &d)
}

// followDestination holds or releases what waits for a destination, also what a replay
// led there or went there before its connection was changed. What is held by a
// connection that is paused by itself stays held.
func (s *server) followDestination(ctx context.Context, d *hook.Destination) (*rest.Out[PauseOut], error) {
	scope := store.Scope{Project: d.Project, Destination: d.ID}
	if d.Paused {
		return s.follow(ctx, scope, true, d.PauseReason)
	}
	defer s.Deliver.Wake(d.ID)
	err := lookup.Each(ctx, s.Store.Connections(), d.Project, func(c *hook.Connection) {
		if c.Paused {
			scope.Except = append(scope.Except, c.ID)
		}
	})
	if err != nil {
		return nil, err
	}
	return s.follow(ctx, scope, false, "")
}

// follow holds or releases the deliveries that wait in a scope. It goes on when the
// caller does not wait for the end of a long backlog.
func (s *server) follow(ctx context.Context, scope store.Scope, paused bool, reason string) (*rest.Out[PauseOut], error) {
	ctx = context.WithoutCancel(ctx)
	scope.Cause = hook.CausePaused // what a circuit holds, or a parked key, is not over
	shown := PauseOut{Paused: paused}
	var err error
	if paused {
		shown.Deliveries, err = s.Store.Hold(ctx, scope, reason)
	} else {
		shown.Deliveries, err = s.Store.Release(ctx, scope, s.Now())
	}
	if err != nil {
		return nil, err
	}
	return rest.Answer(shown), nil
}

// testEvent is what a test sends: the same shape that Svix's send-example has.
const testEvent = `{"type":"malote.test","success":true}`

func (s *server) testDestination(ctx context.Context, in *rest.One) (*rest.Out[hook.Attempt], error) {
	d, err := s.Store.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	sender, err := s.Senders(&d)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	event := &hook.Event{
		ID: hook.EventID(hook.MinID(now) | 1), Project: d.Project, Type: "malote.test", Method: http.MethodPost, ReceivedAt: now,
		Headers: hook.Headers{{Name: "Content-Type", Value: "application/json"}}, Payload: []byte(testEvent), PayloadSize: len(testEvent),
	}
	attempt, _ := sender.Send(ctx, &destination.Message{
		Delivery: hook.DeliveryID(event.ID), Attempt: 1, Manual: true, Time: now, Event: event, Source: "/test", Body: event.Payload,
	})
	if err := sender.Close(); err != nil {
		return nil, err
	}
	s.audit(ctx, "tested a destination", d.ID)
	return rest.Answer(*attempt), nil
}
