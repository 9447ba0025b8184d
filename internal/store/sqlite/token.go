package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store/sqlstore"
)

// CreateToken implements store.Tokens.
func (s *Store) CreateToken(ctx context.Context, token *hook.Token) error {
	created := *token
	err := s.inTransaction(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		return sqlstore.CreateToken(ctx, q, &created, s.stamp())
	})
	if err == nil {
		*token = created
	}
	return err
}

// inTransaction has the writer run do between two batches.
func (s *Store) inTransaction(ctx context.Context, do func(ctx context.Context, q sqlstore.Queryer) error) error {
	return s.writer.Do(ctx, &operation{Task: func(ctx context.Context, conn *sql.Conn) error {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := do(ctx, tx); err != nil {
			return errors.Join(err, ignoreDone(tx.Rollback()))
		}
		return tx.Commit()
	}})
}

// TokenByHash implements store.Tokens.
func (s *Store) TokenByHash(ctx context.Context, hash [32]byte) (hook.Token, error) {
	return sqlstore.TokenByHash(ctx, s.reader, hash)
}

// ListTokens implements store.Tokens.
func (s *Store) ListTokens(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[hook.Token], error) {
	return sqlstore.ListTokens(ctx, s.reader, project, req)
}

// DeleteToken implements store.Tokens.
func (s *Store) DeleteToken(ctx context.Context, project hook.ProjectID, ref string) error {
	return s.inTransaction(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		return sqlstore.DeleteToken(ctx, q, project, ref)
	})
}

// TouchToken implements store.Tokens.
func (s *Store) TouchToken(id hook.TokenID, now time.Time) {
	minute := now.UTC().Truncate(time.Minute)
	if !s.touched.News(id, sqlstore.Minute(minute)) {
		return
	}
	at := sqlstore.Millis(minute)
	op := &operation{
		Apply: func(ctx context.Context, b *batch) error {
			_, err := b.w.sql.touchToken.Exec(ctx, at, int64(id), at)
			return err
		},
		After: func(error) {}, // A use that is not noted is noted with the next one.
	}
	if err := s.writer.Add(op); err != nil {
		return
	}
}
