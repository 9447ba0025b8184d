package api

import (
	"context"
	"net/http"
	"time"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
)

// TokenIn asks for an API token.
type TokenIn struct {
	Name      string     `json:"name" doc:"Who uses it"`
	Role      hook.Role  `json:"role,omitempty" doc:"What it may do; default viewer"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty" doc:"When it stops working; without it, never"`
}

// TokenOut is a new API token with its text, which is shown this once.
type TokenOut struct {
	hook.Token

	Text string `json:"token" doc:"What to send as Authorization: Bearer. It is shown this once"`
}

func (s *server) tokenRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/token", ID: "token.list", Role: hook.RoleAdmin,
			Summary: "List API tokens", Bind: rest.Handle(s.listTokens),
		},
		{
			Method: http.MethodPost, Path: "/token", ID: "token.create", Role: hook.RoleAdmin, Status: http.StatusCreated,
			Summary: "Create an API token", More: "The answer is the only place that shows its text.",
			In: TokenIn{}, Bind: rest.Handle(s.createToken),
		},
		{
			Method: http.MethodDelete, Path: "/token/{id}", ID: "token.revoke", Role: hook.RoleAdmin, Status: http.StatusNoContent,
			Summary: "Revoke an API token", More: "It is not accepted any more when this is answered.", Bind: rest.Handle(s.revokeToken),
		},
	}
}

type listTokensIn struct{ rest.Paging }

func (s *server) listTokens(ctx context.Context, in *listTokensIn) (*rest.Out[rest.List[hook.Token]], error) {
	req, err := rest.PageOf(in.Paging, hook.ParseID[hook.TokenID])
	if err != nil {
		return nil, err
	}
	found, err := s.Accounts.List(ctx, rest.ProjectOf(ctx), req)
	if err != nil {
		return nil, err
	}
	return rest.ListOf[hook.TokenID](found, func(t *hook.Token) hook.Token { return *t }), nil
}

func (s *server) createToken(ctx context.Context, in *rest.BodyOnly) (*rest.Out[TokenOut], error) {
	given := TokenIn{Role: hook.RoleViewer}
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	text, token, err := s.Accounts.Create(ctx, hook.Token{
		Project: rest.ProjectOf(ctx), Name: given.Name, Role: given.Role, ExpiresAt: given.ExpiresAt,
	})
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "created an API token", token.ID)
	return rest.Answer(TokenOut{Token: token, Text: text}), nil
}

func (s *server) revokeToken(ctx context.Context, in *rest.One) (*rest.NoOutput, error) {
	if err := s.Accounts.Revoke(ctx, rest.ProjectOf(ctx), in.ID); err != nil {
		return nil, err
	}
	s.audit(ctx, "revoked an API token", reference(in.ID))
	return nil, nil //nolint:nilnil // an answer without a body
}
