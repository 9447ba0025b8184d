package api

import (
	"context"
	"net/http"
	"time"

	"malote.dev/malote/internal/api/body"
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

func tokenRoutes() []*endpoint {
	return []*endpoint{
		{
			method: http.MethodGet, path: "/token", id: "token.list", role: hook.RoleAdmin,
			summary: "List API tokens", bind: handle((*server).listTokens),
		},
		{
			method: http.MethodPost, path: "/token", id: "token.create", role: hook.RoleAdmin, status: http.StatusCreated,
			summary: "Create an API token", more: "The answer is the only place that shows its text.",
			in: TokenIn{}, bind: handle((*server).createToken),
		},
		{
			method: http.MethodDelete, path: "/token/{id}", id: "token.revoke", role: hook.RoleAdmin, status: http.StatusNoContent,
			summary: "Revoke an API token", more: "It is not accepted any more when this is answered.", bind: handle((*server).revokeToken),
		},
	}
}

type listTokensIn struct{ Paging }

func (s *server) listTokens(ctx context.Context, in *listTokensIn) (*out[List[hook.Token]], error) {
	req, err := pageOf(in.Paging, hook.ParseID[hook.TokenID])
	if err != nil {
		return nil, err
	}
	found, err := s.Accounts.List(ctx, projectOf(ctx), req)
	if err != nil {
		return nil, err
	}
	return listOf[hook.TokenID](found, func(t *hook.Token) hook.Token { return *t }), nil
}

func (s *server) createToken(ctx context.Context, in *bodyOnly) (*out[TokenOut], error) {
	given := TokenIn{Role: hook.RoleViewer}
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	text, token, err := s.Accounts.Create(ctx, hook.Token{
		Project: projectOf(ctx), Name: given.Name, Role: given.Role, ExpiresAt: given.ExpiresAt,
	})
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "created an API token", token.ID)
	return answerWith(TokenOut{Token: token, Text: text}), nil
}

func (s *server) revokeToken(ctx context.Context, in *oneNoun) (*noOutput, error) {
	if err := s.Accounts.Revoke(ctx, projectOf(ctx), in.ID); err != nil {
		return nil, err
	}
	s.audit(ctx, "revoked an API token", reference(in.ID))
	return nil, nil //nolint:nilnil // an answer without a body
}
