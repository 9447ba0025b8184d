package sqlite

import (
	"context"
	"errors"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/inline"
)

// decide runs do with the head of a key, as one operation. It fails when nothing of the
// key is open, and when its head is being sent.
func (s *Store) decide(ctx context.Context, key store.Key, do func(context.Context, *batch, *deliveryRow) error) error {
	return s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) error {
		ref := inline.Key{Connection: key.Connection, Text: key.Key}
		row, err := b.active(ctx, ref)
		if row == nil && err == nil {
			row, err = b.first(ctx, ref)
		}
		switch {
		case err != nil:
			return err
		case b.inlineProject(ref) == key.Project, row != nil && row.project == key.Project && row.state == hook.StateSending:
			return hook.Errorf(hook.KindConflict, "the head of the order key %q is being sent: try again when the attempt has ended", key.Key)
		case row == nil || row.project != key.Project:
			return hook.NotFound("order key", key.Key)
		default:
			return do(ctx, b, row)
		}
	}})
}

// ReleaseKey implements store.Keys.
func (s *Store) ReleaseKey(ctx context.Context, key store.Key, now time.Time) error {
	return s.decide(ctx, key, func(ctx context.Context, b *batch, row *deliveryRow) error {
		if row.cause != hook.CauseParked {
			return hook.Errorf(hook.KindNotFound, "the order key %q is not parked", key.Key)
		}
		row.probes = row.attempts // What was made so far uses up nothing of the schedule any more.
		return b.makeDue(ctx, row, now, false)
	})
}

// SkipKey implements store.Keys.
func (s *Store) SkipKey(ctx context.Context, key store.Key, reason string) error {
	return s.decide(ctx, key, func(ctx context.Context, b *batch, row *deliveryRow) error {
		return b.cancel(ctx, row.id, reason, b.w.now())
	})
}

// DropKey implements store.Keys. It goes from the newest to the head, so that whatever
// cuts it short leaves the key with its head.
func (s *Store) DropKey(ctx context.Context, key store.Key, reason string) (int, error) {
	before := int64(1<<63 - 1)
	total, err := s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
		ids, err := b.ids(ctx, b.w.sql.keyLast, int64(key.Connection), key.Key, before, int64(stepSize))
		if err != nil || len(ids) == 0 {
			return 0, false, err
		}
		dropped := 0
		for _, id := range ids {
			row, err := b.delivery(ctx, id)
			if err != nil {
				return 0, false, err
			}
			if row.project != key.Project || row.state == hook.StateSending {
				continue
			}
			if err := b.cancel(ctx, id, reason, b.w.now()); err != nil {
				return 0, false, err
			}
			dropped++
		}
		b.onCommit = append(b.onCommit, func() { before = int64(ids[len(ids)-1]) })
		return dropped, len(ids) == stepSize, nil
	})
	return total, errors.Join(err, s.secure(ctx))
}
