package catalogue

import (
	"context"
	"database/sql"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store/sqlstore"
)

// CreateToken implements store.Tokens.
func (t *Tables) CreateToken(ctx context.Context, token *hook.Token) error {
	created := *token
	err := t.uncounted(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		return sqlstore.CreateToken(ctx, q, &created, t.options.Stamp())
	})
	if err == nil {
		*token = created
	}
	return err
}

// uncounted has the writer run do between two batches; tokens are no part of the
// catalogue that is cached.
func (t *Tables) uncounted(ctx context.Context, do func(ctx context.Context, q sqlstore.Queryer) error) error {
	return t.options.Write(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return transact(ctx, conn, func(q sqlstore.Queryer) error { return do(ctx, q) })
	})
}

// TokenByHash implements store.Tokens.
func (t *Tables) TokenByHash(ctx context.Context, hash [32]byte) (hook.Token, error) {
	return sqlstore.TokenByHash(ctx, t.options.Reader, hash)
}

// ListTokens implements store.Tokens.
func (t *Tables) ListTokens(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[hook.Token], error) {
	return sqlstore.ListTokens(ctx, t.options.Reader, project, req)
}

// DeleteToken implements store.Tokens.
func (t *Tables) DeleteToken(ctx context.Context, project hook.ProjectID, ref string) error {
	return t.uncounted(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		return sqlstore.DeleteToken(ctx, q, project, ref)
	})
}
