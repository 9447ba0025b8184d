package api

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature"
)

// SourceIn is what a person sets on a source.
type SourceIn struct {
	Name    string `json:"name,omitempty" doc:"Unique in the project; part of the URL /in/{name}. A change may leave it out"`
	Version int64  `json:"version,omitempty" doc:"The version that a change starts from; another one is a conflict"`
	hook.SourceSpec
}

// SourceOut is a source without its secrets.
type SourceOut struct {
	hook.Source

	Path        string `json:"path" doc:"Where its requests go, below the server's address; empty for the system's own source"`
	HasSecret   bool   `json:"hasSecret"`
	SecretCount int    `json:"secretCount" doc:"How many secrets are accepted: more than one while rotating"`
	Problem     string `json:"problem,omitempty" doc:"Why it cannot be used as it is set up"`
}

// RotateIn asks for a new secret.
type RotateIn struct {
	Secret hook.Secret `json:"secret,omitempty" doc:"The new secret; without it one is generated"`
	Keep   *int        `json:"keep,omitempty" minimum:"0" maximum:"9" doc:"How many of the secrets before stay valid beside it; default 1"`
}

// SecretOut is a secret that is shown on purpose. It is a text rather than a
// hook.Secret because it is meant to be read.
type SecretOut struct {
	Secret    string   `json:"secret" doc:"The newest secret"`
	Secrets   []string `json:"secrets" doc:"All live secrets, the newest first"`
	PublicKey string   `json:"publicKey,omitempty" doc:"What receivers verify with, for the ed25519 scheme"`
}

// maxKept is how many secrets stay valid beside a new one.
const maxKept = 9

func (s *server) sourceRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/source", ID: "source.list", Role: hook.RoleViewer,
			Summary: "List sources", Bind: rest.Handle(s.listSources),
		},
		{
			Method: http.MethodPost, Path: "/source", ID: "source.create", Role: hook.RoleAdmin, Status: http.StatusCreated,
			Summary: "Create a source", In: SourceIn{}, Bind: rest.Handle(s.createSource),
		},
		{
			Method: http.MethodGet, Path: "/source/{id}", ID: "source.get", Role: hook.RoleViewer,
			Summary: "Get a source", Bind: rest.Handle(s.getSource),
		},
		{
			Method: http.MethodPut, Path: "/source/{id}", ID: "source.update", Role: hook.RoleAdmin,
			Summary: "Replace a source", More: "Secrets that are left out stay as they are; null clears one.",
			In: SourceIn{}, Bind: rest.Handle(s.putSource),
		},
		{
			Method: http.MethodPatch, Path: "/source/{id}", ID: "source.patch", Role: hook.RoleAdmin,
			Summary: "Change parts of a source", More: patchText, In: SourceIn{}, Bind: rest.Handle(s.patchSource),
		},
		{
			Method: http.MethodDelete, Path: "/source/{id}", ID: "source.delete", Role: hook.RoleAdmin, Status: http.StatusNoContent,
			Summary: "Delete a source", More: "It is a conflict while connections lead away from it.", Bind: rest.Handle(s.deleteSource),
		},
		{
			Method: http.MethodPost, Path: "/source/{id}/secret/rotate", ID: "source.secret.rotate", Role: hook.RoleAdmin,
			Summary: "Give a source a new secret",
			More: "The answer is the only place that shows it. The secret before stays valid until the next rotation, " +
				`or until PATCH {"secrets": null}.`,
			In: RotateIn{}, Empty: true, Bind: rest.Handle(s.rotateSource),
		},
		{
			Method: http.MethodPost, Path: "/source/{id}/test", ID: "source.test", Role: hook.RoleOperator,
			Summary: "Send the provider's sample through a source",
			More: "The sample of the source's profile is verified by the source's own rule and then goes the way of every event: " +
				"it is stored, routed and delivered.",
			Bind: rest.Handle(s.testSource),
		},
	}
}

const patchText = "A JSON merge patch (RFC 7396): what is absent stays, null clears. Fields whose value is one of several kinds " +
	"(verify, type, key, dedupe, auth, order) are replaced as a whole."

func (s *server) showSource(source *hook.Source) SourceOut {
	shown := SourceOut{
		Source: hook.Redact(*source), Path: route.PathOf(source, s.home.ID),
		SecretCount: body.CountSecrets(source.SourceSpec),
	}
	shown.HasSecret = shown.SecretCount > 0
	if source.System {
		shown.Path = "" // nothing is received there
	}
	if compiled, ok := s.Router.Current().SourceByID(source.ID); ok && compiled.Problem != nil {
		shown.Problem = compiled.Problem.Error()
	}
	return shown
}

type listSourcesIn struct{ rest.Paging }

func (s *server) listSources(ctx context.Context, in *listSourcesIn) (*rest.Out[rest.List[SourceOut]], error) {
	req, err := rest.PageOf(in.Paging, hook.ParseID[hook.SourceID])
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Sources().List(ctx, rest.ProjectOf(ctx), req)
	if err != nil {
		return nil, err
	}
	return rest.ListOf[hook.SourceID](found, s.showSource), nil
}

func (s *server) getSource(ctx context.Context, in *rest.One) (*rest.Versioned[SourceOut], error) {
	source, err := s.Store.Sources().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return rest.AnswerVersion(source.Version, s.showSource(&source)), nil
}

// ownSource returns a source that people may change: any but the system's own.
func (s *server) ownSource(ctx context.Context, ref string) (hook.Source, error) {
	source, err := s.Store.Sources().Get(ctx, rest.ProjectOf(ctx), ref)
	if err == nil && source.System {
		err = hook.Errorf(hook.KindConflict, "the source %q is where the project's own notices come from: it is only there to be connected", source.Name)
	}
	return source, err
}

func (s *server) createSource(ctx context.Context, in *rest.BodyOnly) (*rest.Versioned[SourceOut], error) {
	var given SourceIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	source := hook.Source{Project: rest.ProjectOf(ctx), Name: given.Name, SourceSpec: given.SourceSpec}
	if err := s.checkSource(&source); err != nil {
		return nil, err
	}
	if err := s.Store.Sources().Create(ctx, &source); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, "created a source", source.ID); err != nil {
		return nil, err
	}
	return rest.AnswerVersion(source.Version, s.showSource(&source)), nil
}

func (s *server) putSource(ctx context.Context, in *rest.Change) (*rest.Versioned[SourceOut], error) {
	source, err := s.ownSource(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	given := SourceIn{}
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	return s.updateSource(ctx, &source, &given, in)
}

func (s *server) patchSource(ctx context.Context, in *rest.Change) (*rest.Versioned[SourceOut], error) {
	source, err := s.ownSource(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	given := SourceIn{}
	whole := []string{"verify", "type", "key", "dedupe", "handshakes"}
	if err := body.Patch(SourceIn{Name: source.Name, SourceSpec: source.SourceSpec}, in.RawBody, whole, &given); err != nil {
		return nil, err
	}
	return s.updateSource(ctx, &source, &given, in)
}

func (s *server) updateSource(ctx context.Context, source *hook.Source, given *SourceIn, in *rest.Change) (*rest.Versioned[SourceOut], error) {
	if err := rest.Expect(source.Version, given.Version, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	body.Carry(&source.SourceSpec, &given.SourceSpec, body.Named(in.RawBody))
	source.SourceSpec = given.SourceSpec
	if given.Name != "" {
		source.Name = given.Name
	}
	if err := s.checkSource(source); err != nil {
		return nil, err
	}
	return s.saveSource(ctx, source, "changed a source")
}

func (s *server) saveSource(ctx context.Context, source *hook.Source, what string) (*rest.Versioned[SourceOut], error) {
	if err := s.Store.Sources().Update(ctx, source); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, what, source.ID); err != nil {
		return nil, err
	}
	return rest.AnswerVersion(source.Version, s.showSource(source)), nil
}

// checkSource returns everything that is wrong with a source, before it is stored.
func (s *server) checkSource(source *hook.Source) error {
	problems := append(checkName(source.Name), s.Rules.CheckSource(&source.SourceSpec)...)
	return hook.Invalid("the source cannot be saved", problems)
}

func (s *server) deleteSource(ctx context.Context, in *rest.End) (*rest.NoOutput, error) {
	source, err := s.ownSource(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := rest.Expect(source.Version, 0, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	if err := s.Store.Sources().Delete(ctx, source.Project, source.ID.String()); err != nil {
		return nil, err
	}
	return nil, s.changed(ctx, "deleted a source", source.ID)
}

func (s *server) rotateSource(ctx context.Context, in *rest.OneBody) (*rest.Out[SecretOut], error) {
	source, err := s.ownSource(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	given, err := rotation(in.RawBody)
	if err != nil {
		return nil, err
	}
	if given.Secret == "" {
		if given.Secret, err = signature.GenerateSecret(""); err != nil {
			return nil, err
		}
	}
	source.Secret, source.Secrets = given.Secret, given.kept(source.AllSecrets())
	if err := s.checkSource(&source); err != nil {
		return nil, err
	}
	if _, err := s.saveSource(ctx, &source, "rotated the secret of a source"); err != nil {
		return nil, err
	}
	return rest.Answer(reveal(source.AllSecrets())), nil
}

func rotation(text []byte) (*RotateIn, error) {
	given := &RotateIn{}
	if len(text) > 0 {
		if err := body.Decode(text, given); err != nil {
			return nil, err
		}
	}
	if given.Keep != nil && (*given.Keep < 0 || *given.Keep > maxKept) {
		return nil, hook.Invalid("the secret cannot be rotated", []hook.Problem{{Path: "keep", Message: "it goes from 0 to 9"}})
	}
	return given, nil
}

// kept returns the secrets that stay valid beside the new one, the newest first.
func (r *RotateIn) kept(before []hook.Secret) []hook.Secret {
	keep := 1
	if r.Keep != nil {
		keep = *r.Keep
	}
	kept := make([]hook.Secret, 0, keep)
	for _, secret := range before {
		if secret != r.Secret && len(kept) < keep {
			kept = append(kept, secret)
		}
	}
	return kept
}

func reveal(secrets []hook.Secret) SecretOut {
	shown := SecretOut{Secrets: make([]string, len(secrets))}
	for i, secret := range secrets {
		shown.Secrets[i] = secret.Reveal()
	}
	if len(secrets) > 0 {
		shown.Secret = shown.Secrets[0]
	}
	return shown
}
