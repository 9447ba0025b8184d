package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/database"
	"malote.dev/malote/internal/store/sqlstore"
)

// Ready implements store.Upkeep: it writes something that needs room, and takes it
// away again.
func (s *Store) Ready(ctx context.Context) error {
	return s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) error {
		if _, err := b.w.sql.fillProbe.Exec(ctx); err != nil {
			return err
		}
		_, err := b.w.sql.emptyProbe.Exec(ctx)
		return err
	}})
}

// Stats implements store.Upkeep.
func (s *Store) Stats(context.Context) (store.Stats, error) {
	size, err := database.Size(s.path)
	done := s.writer.Stats()
	return store.Stats{
		SizeBytes: size, Commits: done.Commits, Operations: done.Operations, CommitTime: done.Time,
		Waiting: done.Waiting, LastCommitAt: done.Last,
	}, err
}

// SetMaxBytes bounds the database file as Options.MaxBytes does; 0 takes the bound away.
func (s *Store) SetMaxBytes(ctx context.Context, limit int64) error {
	pages := limit / database.PageSize
	if limit <= 0 {
		pages = maxPages
	}
	return s.writer.Do(ctx, &operation{Task: func(ctx context.Context, conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			return fmt.Errorf("bound the database: %w", err)
		}
		return nil
	}})
}

// maxPages is SQLite's own bound.
const maxPages = 4294967294

// TouchToken implements store.Tokens.
func (s *Store) TouchToken(id hook.TokenID, now time.Time) {
	minute := now.UTC().Truncate(time.Minute)
	if !s.touched.News(id, sqlstore.Minute(minute)) {
		return
	}
	at := sqlstore.Millis(minute)
	op := &operation{
		Lazy: true,
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
