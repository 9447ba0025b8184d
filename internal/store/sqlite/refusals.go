package sqlite

import (
	"context"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// Refuse implements store.Refusals.
func (s *Store) Refuse(ctx context.Context, refusal *hook.Refusal) error {
	if refusal.ReceivedAt.IsZero() {
		refusal.ReceivedAt = s.now()
	}
	if refusal.ID == 0 {
		refusal.ID = hook.RefusalID(s.ids.Next(refusal.ReceivedAt))
	}
	data := codec.EncodeRefusal(refusal)
	return s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) error {
		if err := b.source(ctx, refusal.Project, refusal.Source); err != nil {
			return err
		}
		b.tally.Count(refusal.Project, store.BySource, int64(refusal.Source), refusal.ReceivedAt).Refused++
		if b.refused == nil {
			b.refused = map[hook.SourceID]struct{}{}
		}
		b.refused[refusal.Source] = struct{}{}
		_, err := b.w.sql.insertRefusal.Exec(ctx, int64(refusal.ID), int64(refusal.Project), int64(refusal.Source), data, notNull(refusal.Payload))
		return err
	}})
}

// Admitted implements store.Refusals.
func (s *Store) Admitted(ctx context.Context, id hook.RefusalID, event hook.EventID) error {
	found := false
	err := s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) error {
		changed, err := b.w.sql.admit.Exec(ctx, int64(event), int64(id))
		found = changed > 0
		return err
	}})
	if err == nil && !found {
		return hook.NotFound("refused request", id.String())
	}
	return err
}
