package sqlite

import (
	"context"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// Events implements store.Log.
func (s *Store) Events(ctx context.Context, query store.EventQuery) (page.Page[hook.Event], error) {
	var found page.Page[hook.Event]
	err := s.reader.Snapshot(ctx, func(q sqlstore.Queryer) error {
		var err error
		found, err = sqlstore.Events(ctx, q, query)
		return err
	})
	return found, err
}

// Event implements store.Log.
func (s *Store) Event(ctx context.Context, project hook.ProjectID, id hook.EventID) (hook.Event, error) {
	return sqlstore.Event(ctx, s.reader, project, id)
}

// Deliveries implements store.Log.
func (s *Store) Deliveries(ctx context.Context, query store.DeliveryQuery) (page.Page[hook.Delivery], error) {
	// Memory is read first: what is settled between the two has its row by then.
	memory := s.writer.inline.list(func(_ hook.DeliveryID, d *inlineDelivery) bool { return d.project == query.Project })
	var found page.Page[hook.Delivery]
	err := s.reader.Snapshot(ctx, func(q sqlstore.Queryer) error {
		var err error
		found, err = sqlstore.Deliveries(ctx, q, query, memory)
		return err
	})
	return found, err
}

// Delivery implements store.Log.
func (s *Store) Delivery(ctx context.Context, project hook.ProjectID, id hook.DeliveryID) (hook.Delivery, error) {
	open, inMemory := s.writer.inline.get(id)
	d, ok, err := sqlstore.Delivery(ctx, s.reader, project, id)
	switch {
	case err != nil || ok:
		return d, err
	case inMemory && open.project == project:
		return open.delivery(id), nil
	default:
		return hook.Delivery{}, hook.NotFound("delivery", id.String())
	}
}

// Attempts implements store.Log.
func (s *Store) Attempts(ctx context.Context, project hook.ProjectID, delivery hook.DeliveryID) ([]hook.Attempt, error) {
	if _, err := s.Delivery(ctx, project, delivery); err != nil {
		return nil, err
	}
	var list []hook.Attempt
	err := s.reader.Snapshot(ctx, func(q sqlstore.Queryer) error {
		var err error
		list, err = sqlstore.Attempts(ctx, q, delivery)
		return err
	})
	return list, err
}

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
		b.count(refusal.Project, store.BySource, int64(refusal.Source), refusal.ReceivedAt).Refused++
		if b.refused == nil {
			b.refused = map[hook.SourceID]struct{}{}
		}
		b.refused[refusal.Source] = struct{}{}
		_, err := b.w.sql.insertRefusal.Exec(ctx, int64(refusal.ID), int64(refusal.Project), int64(refusal.Source), data, notNull(refusal.Payload))
		return err
	}})
}

// ListRefusals implements store.Refusals.
func (s *Store) ListRefusals(ctx context.Context, query store.RefusalQuery) (page.Page[hook.Refusal], error) {
	var found page.Page[hook.Refusal]
	err := s.reader.Snapshot(ctx, func(q sqlstore.Queryer) error {
		var err error
		found, err = sqlstore.Refusals(ctx, q, query)
		return err
	})
	return found, err
}

// Refusal implements store.Refusals.
func (s *Store) Refusal(ctx context.Context, project hook.ProjectID, id hook.RefusalID) (hook.Refusal, error) {
	return sqlstore.Refusal(ctx, s.reader, project, id)
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

// Series implements store.Numbers.
func (s *Store) Series(ctx context.Context, query store.NumbersQuery) ([]hook.Numbers, error) {
	var series []hook.Numbers
	err := s.reader.Snapshot(ctx, func(q sqlstore.Queryer) error {
		var err error
		series, err = sqlstore.Series(ctx, q, query)
		return err
	})
	return series, err
}

// Totals implements store.Numbers.
func (s *Store) Totals(ctx context.Context, query store.NumbersQuery) (map[int64]hook.Numbers, error) {
	var totals map[int64]hook.Numbers
	err := s.reader.Snapshot(ctx, func(q sqlstore.Queryer) error {
		var err error
		totals, err = sqlstore.Totals(ctx, q, query)
		return err
	})
	return totals, err
}

// Backlog implements store.Numbers.
func (s *Store) Backlog(ctx context.Context, project hook.ProjectID) (map[hook.DestinationID]map[hook.State]int64, error) {
	backlog, err := sqlstore.Backlog(ctx, s.reader, project)
	if err != nil {
		return nil, err
	}
	s.writer.inline.list(func(_ hook.DeliveryID, d *inlineDelivery) bool {
		if d.project == project && !d.row {
			if backlog[d.destination] == nil {
				backlog[d.destination] = map[hook.State]int64{}
			}
			backlog[d.destination][hook.StateSending]++
		}
		return false
	})
	return backlog, nil
}
