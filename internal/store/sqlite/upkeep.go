package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"malote.dev/malote/internal/store"
)

// Ready implements store.Upkeep: it writes something that needs room, and takes it
// away again.
func (s *Store) Ready(ctx context.Context) error {
	return s.writer.line.do(ctx, &operation{apply: func(ctx context.Context, b *batch) error {
		if _, err := b.w.sql.fillProbe.exec(ctx); err != nil {
			return err
		}
		_, err := b.w.sql.emptyProbe.exec(ctx)
		return err
	}})
}

// Stats implements store.Upkeep.
func (s *Store) Stats(context.Context) (store.Stats, error) {
	size, err := sizeOf(s.path)
	stats := store.Stats{
		SizeBytes:  size,
		Commits:    s.writer.stats.commits.Load(),
		Operations: s.writer.stats.operations.Load(),
		CommitTime: time.Duration(s.writer.stats.nanos.Load()),
		Waiting:    s.writer.line.length(),
	}
	if last := s.writer.stats.lastCommit.Load(); last != 0 {
		stats.LastCommitAt = time.UnixMilli(last).UTC()
	}
	return stats, err
}

// sizeOf returns the size of the database with the files beside it.
func sizeOf(path string) (int64, error) {
	total := int64(0)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return total, fmt.Errorf("measure the database: %w", err)
		}
		total += info.Size()
	}
	return total, nil
}

// SetMaxBytes bounds the database file as Options.MaxBytes does; 0 takes the bound away.
func (s *Store) SetMaxBytes(ctx context.Context, limit int64) error {
	pages := limit / pageSize
	if limit <= 0 {
		pages = maxPages
	}
	return s.writer.line.do(ctx, &operation{task: func(ctx context.Context, conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			return fmt.Errorf("bound the database: %w", err)
		}
		return nil
	}})
}

// maxPages is SQLite's own bound.
const maxPages = 4294967294
