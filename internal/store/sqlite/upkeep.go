package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"malote.dev/malote/internal/store"
)

// Ready implements store.Upkeep: it writes something that needs room, and takes it
// away again.
func (s *Store) Ready(ctx context.Context) error {
	return s.line.do(ctx, &operation{apply: func(ctx context.Context, b *batch) error {
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
		Commits:    s.stats.commits.Load(),
		Operations: s.stats.operations.Load(),
		CommitTime: time.Duration(s.stats.nanos.Load()),
		Waiting:    s.line.length(),
	}
	if last := s.stats.lastCommit.Load(); last != 0 {
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
