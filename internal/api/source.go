package api

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
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

	Path        string `json:"path" doc:"Where its requests go, below the server's address"`
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

func sourceRoutes() []*endpoint {
	return []*endpoint{
		{
			method: http.MethodGet, path: "/source", id: "source.list", role: hook.RoleViewer,
			summary: "List sources", bind: handle((*server).listSources),
		},
		{
			method: http.MethodPost, path: "/source", id: "source.create", role: hook.RoleAdmin, status: http.StatusCreated,
			summary: "Create a source", in: SourceIn{}, bind: handle((*server).createSource),
		},
		{
			method: http.MethodGet, path: "/source/{id}", id: "source.get", role: hook.RoleViewer,
			summary: "Get a source", bind: handle((*server).getSource),
		},
		{
			method: http.MethodPut, path: "/source/{id}", id: "source.update", role: hook.RoleAdmin,
			summary: "Replace a source", more: "Secrets that are left out stay as they are; null clears one.",
			in: SourceIn{}, bind: handle((*server).putSource),
		},
		{
			method: http.MethodPatch, path: "/source/{id}", id: "source.patch", role: hook.RoleAdmin,
			summary: "Change parts of a source", more: patchText, in: SourceIn{}, bind: handle((*server).patchSource),
		},
		{
			method: http.MethodDelete, path: "/source/{id}", id: "source.delete", role: hook.RoleAdmin, status: http.StatusNoContent,
			summary: "Delete a source", more: "It is a conflict while connections lead away from it.", bind: handle((*server).deleteSource),
		},
		{
			method: http.MethodPost, path: "/source/{id}/secret/rotate", id: "source.secret.rotate", role: hook.RoleAdmin,
			summary: "Give a source a new secret",
			more: "The answer is the only place that shows it. The secret before stays valid until the next rotation, " +
				`or until PATCH {"secrets": null}.`,
			in: RotateIn{}, empty: true, bind: handle((*server).rotateSource),
		},
		{
			method: http.MethodPost, path: "/source/{id}/test", id: "source.test", role: hook.RoleOperator,
			summary: "Send the provider's sample through a source",
			more: "The sample of the source's profile is verified by the source's own rule and then goes the way of every event: " +
				"it is stored, routed and delivered.",
			bind: handle((*server).testSource),
		},
	}
}

const patchText = "A JSON merge patch (RFC 7396): what is absent stays, null clears. Fields whose value is one of several kinds " +
	"(verify, type, key, dedupe, auth, order) are replaced as a whole."

func (s *server) showSource(source *hook.Source) SourceOut {
	shown := SourceOut{
		Source: hook.Redact(*source), Path: "/in/" + source.Name,
		SecretCount: countSecrets(reflect.ValueOf(source.SourceSpec)),
	}
	shown.HasSecret = shown.SecretCount > 0
	if source.Project != s.home {
		shown.Path = "/in/" + source.ID.String()
	}
	if compiled, ok := s.Router.Current().SourceByID(source.ID); ok && compiled.Problem != nil {
		shown.Problem = compiled.Problem.Error()
	}
	return shown
}

type listSourcesIn struct{ Paging }

func (s *server) listSources(ctx context.Context, in *listSourcesIn) (*out[List[SourceOut]], error) {
	req, err := pageOf(in.Paging, hook.ParseID[hook.SourceID])
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Sources().List(ctx, projectOf(ctx), req)
	if err != nil {
		return nil, err
	}
	return listOf[hook.SourceID](found, s.showSource), nil
}

func (s *server) getSource(ctx context.Context, in *oneNoun) (*versioned[SourceOut], error) {
	source, err := s.Store.Sources().Get(ctx, projectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return answerVersion(source.Version, s.showSource(&source)), nil
}

func (s *server) createSource(ctx context.Context, in *bodyOnly) (*versioned[SourceOut], error) {
	var given SourceIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	source := hook.Source{Project: projectOf(ctx), Name: given.Name, SourceSpec: given.SourceSpec}
	if err := s.checkSource(&source); err != nil {
		return nil, err
	}
	if err := s.Store.Sources().Create(ctx, &source); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, "created a source", source.ID); err != nil {
		return nil, err
	}
	return answerVersion(source.Version, s.showSource(&source)), nil
}

func (s *server) putSource(ctx context.Context, in *nounChange) (*versioned[SourceOut], error) {
	source, err := s.Store.Sources().Get(ctx, projectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	given := SourceIn{}
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	return s.updateSource(ctx, &source, &given, in)
}

func (s *server) patchSource(ctx context.Context, in *nounChange) (*versioned[SourceOut], error) {
	source, err := s.Store.Sources().Get(ctx, projectOf(ctx), in.ID)
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

func (s *server) updateSource(ctx context.Context, source *hook.Source, given *SourceIn, in *nounChange) (*versioned[SourceOut], error) {
	if err := expect(source.Version, given.Version, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	carry(&source.SourceSpec, &given.SourceSpec, body.Named(in.RawBody))
	source.SourceSpec = given.SourceSpec
	if given.Name != "" {
		source.Name = given.Name
	}
	if err := s.checkSource(source); err != nil {
		return nil, err
	}
	return s.saveSource(ctx, source, "changed a source")
}

func (s *server) saveSource(ctx context.Context, source *hook.Source, what string) (*versioned[SourceOut], error) {
	if err := s.Store.Sources().Update(ctx, source); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, what, source.ID); err != nil {
		return nil, err
	}
	return answerVersion(source.Version, s.showSource(source)), nil
}

// checkSource returns everything that is wrong with a source, before it is stored.
func (s *server) checkSource(source *hook.Source) error {
	problems := checkName(source.Name)
	const name = "x"
	state := flow.State{Sources: map[string]hook.SourceSpec{name: source.SourceSpec}}
	for _, problem := range s.Rules.Check(&state) {
		problem.Path = strings.Trim(strings.TrimPrefix(problem.Path, "sources."+name), ".")
		problems = append(problems, problem)
	}
	return hook.Invalid("the source cannot be saved", problems)
}

func (s *server) deleteSource(ctx context.Context, in *nounEnd) (*noOutput, error) {
	source, err := s.Store.Sources().Get(ctx, projectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	if err := expect(source.Version, 0, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	if err := s.Store.Sources().Delete(ctx, source.Project, source.ID.String()); err != nil {
		return nil, err
	}
	return nil, s.changed(ctx, "deleted a source", source.ID)
}

func (s *server) rotateSource(ctx context.Context, in *nounBody) (*out[SecretOut], error) {
	source, err := s.Store.Sources().Get(ctx, projectOf(ctx), in.ID)
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
	return answerWith(reveal(source.AllSecrets())), nil
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
