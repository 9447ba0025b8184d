package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlite/inline"
	"malote.dev/malote/internal/store/sqlstore"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// stepSize is how many rows one operation of a long piece of work changes: few enough
// that the events that wait behind it do not notice.
const stepSize = 256

// shortStep is how many rows a sweep over a backlog changes while something else waits.
const shortStep = 16

// Renew implements store.Queue.
func (s *Store) Renew(ctx context.Context, owner string, deliveries []hook.DeliveryID, until time.Time) error {
	if len(deliveries) == 0 {
		return nil
	}
	return s.writer.Do(ctx, &operation{Lazy: true, Apply: func(ctx context.Context, b *batch) error {
		for _, id := range deliveries {
			if _, err := b.w.sql.renew.Exec(ctx, sqlstore.Millis(until), int64(id), owner); err != nil {
				return err
			}
		}
		return nil
	}})
}

// Due implements store.Queue.
func (s *Store) Due(ctx context.Context) ([]store.Due, error) { return sqlstore.Due(ctx, s.reader) }

// steps repeats an operation until it reports that it found nothing more to do, and
// sums up what it did. Between two steps whatever waits gets its turn. What a power cut
// takes back is done again, or else the caller ends with secure.
func (s *Store) steps(ctx context.Context, step func(ctx context.Context, b *batch) (did int, more bool, err error)) (int, error) {
	total := 0
	for {
		var did int
		var more bool
		err := s.writer.Do(ctx, &operation{Lazy: true, Apply: func(ctx context.Context, b *batch) (err error) {
			did, more, err = step(ctx, b)
			return err
		}})
		if err != nil {
			return total, err
		}
		total += did
		if !more {
			return total, nil
		}
	}
}

// secure returns when all that was done before is durable.
func (s *Store) secure(ctx context.Context) error {
	return s.writer.Do(ctx, &operation{Apply: func(context.Context, *batch) error { return nil }})
}

// Reclaim implements store.Queue.
func (s *Store) Reclaim(ctx context.Context, now time.Time) (int, error) {
	expired, err := s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
		n, err := b.reclaimExpired(ctx, now)
		return n, n == stepSize, err
	})
	if err != nil {
		return expired, err
	}
	if err := errors.Join(s.sweepDeleted(ctx), s.sweepReplays(ctx)); err != nil {
		return expired, err
	}
	next, started := hook.EventID(0), false
	lost, err := s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
		from := next
		if !started {
			from = b.w.mark.Stored
		}
		found, last, err := b.reclaimFrom(ctx, from, now)
		if err != nil {
			return 0, false, err
		}
		b.highest = max(b.highest, last)
		b.onCommit = append(b.onCommit, func() { next, started = last+1, true })
		if last == 0 {
			b.onCommit = append(b.onCommit, func() { b.w.mark.Reclaimed = true })
		}
		return found, last != 0, nil
	})
	if err != nil || s.writer.ordered.Load() {
		return expired + lost, err
	}
	if err := s.advanceIdle(ctx, now); err != nil {
		return expired + lost, err
	}
	s.writer.ordered.Store(true)
	return expired + lost, nil
}

// reclaimExpired makes deliveries due whose lease is over.
func (b *batch) reclaimExpired(ctx context.Context, now time.Time) (int, error) {
	ids, err := b.ids(ctx, b.w.sql.findExpired, sqlstore.Millis(now), int64(stepSize))
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		row, err := b.delivery(ctx, id)
		if err != nil {
			return 0, err
		}
		if err := b.makeDue(ctx, row, now, row.manual); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// ids runs a query whose first column is a delivery's id.
func (b *batch) ids(ctx context.Context, query *commit.Statement, args ...driver.Value) ([]hook.DeliveryID, error) {
	var ids []hook.DeliveryID
	err := query.Each(ctx, func(row []driver.Value) error {
		ids = append(ids, hook.DeliveryID(commit.Int(row[0])))
		return nil
	}, args...)
	return ids, err
}

// makeDue brings a row to pending, or to canceled when its connection is gone.
func (b *batch) makeDue(ctx context.Context, row *deliveryRow, now time.Time, manual bool) error {
	if b.deleted(row.connection) {
		b.ended(row.lane, hook.StateCanceled, now)
		return b.setState(ctx, row, change{state: hook.StateCanceled, at: now, reason: reasonDeleted})
	}
	to := change{state: hook.StatePending, at: now, next: sqlstore.Millis(now)}
	if manual {
		to.manual = int64(1)
	}
	return b.setState(ctx, row, to)
}

// isOpen reports whether a delivery is in memory to be settled, or will be after the
// commit: its event may stand in the same line as a step of Reclaim.
func (b *batch) isOpen(id hook.DeliveryID) bool {
	if _, open := b.w.inline.Get(id); open {
		return true
	}
	return slices.ContainsFunc(b.opened, func(opened inline.Opened) bool { return opened.ID == id })
}

// reclaimFrom gives rows to deliveries that were accepted to be attempted at once and
// of which nothing is left, in one step of events from the given one to the newest one
// of earlier processes. It returns how many they are and the last event that it looked
// at, 0 when there was none.
func (b *batch) reclaimFrom(ctx context.Context, from hook.EventID, now time.Time) (found int, last hook.EventID, err error) {
	var lost []waiting
	err = b.w.sql.eventsFrom.Each(ctx, func(row []driver.Value) error {
		last = hook.EventID(commit.Int(row[0]))
		targets, err := codec.DecodeTargets(last, commit.Bytes(row[2]))
		if err != nil || len(targets) == 0 {
			return err
		}
		var ev hook.Event
		if err := codec.DecodeRequest(commit.Bytes(row[3]), &ev); err != nil {
			return err
		}
		for i := range targets {
			t := &targets[i]
			lost = append(lost, waiting{
				id: t.Delivery, project: hook.ProjectID(commit.Int(row[1])), event: last, connection: t.Connection, destination: t.Destination,
				created: ev.ReceivedAt, due: now, orderKey: t.OrderKey,
			})
		}
		return nil
	}, int64(from), int64(b.w.inherited), int64(stepSize))
	if err != nil {
		return 0, 0, err
	}
	for i := range lost {
		if b.isOpen(lost[i].id) {
			continue
		}
		rows, err := b.ids(ctx, b.w.sql.readState, int64(lost[i].id))
		if err != nil {
			return 0, 0, err
		}
		if len(rows) > 0 {
			continue
		}
		if err := b.insertWaiting(ctx, lost[i]); err != nil {
			return 0, 0, err
		}
		found++
	}
	return found, last, nil
}
