package sqlite

import (
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlstore"
)

// Retry implements store.Queue.
func (s *Store) Retry(ctx context.Context, project hook.ProjectID, deliveries []hook.DeliveryID, now time.Time) (int, error) {
	return s.eachOf(ctx, deliveries, func(ctx context.Context, b *batch, id hook.DeliveryID) (bool, error) {
		row, err := b.delivery(ctx, id)
		if err != nil || row == nil || row.project != project {
			return false, err
		}
		return b.retry(ctx, row, now)
	})
}

// retry makes a delivery due now, and reports whether this changed anything.
func (b *batch) retry(ctx context.Context, row *deliveryRow, now time.Time) (bool, error) {
	switch {
	case b.deleted(row.connection):
		return false, nil
	case row.state == hook.StatePending && row.next > sqlstore.Millis(now):
		return true, b.makeDue(ctx, row, now, row.manual)
	case row.state == hook.StateHeld || row.state.Final():
		return true, b.makeDue(ctx, row, now, true)
	default:
		return false, nil
	}
}

// Cancel implements store.Queue.
func (s *Store) Cancel(ctx context.Context, project hook.ProjectID, deliveries []hook.DeliveryID, reason string) (int, error) {
	return s.eachOf(ctx, deliveries, func(ctx context.Context, b *batch, id hook.DeliveryID) (bool, error) {
		row, err := b.delivery(ctx, id)
		if err != nil || row == nil || row.project != project || row.state != hook.StatePending && row.state != hook.StateHeld {
			return false, err
		}
		return true, b.cancel(ctx, id, reason, b.w.now())
	})
}

// eachOf does something to each of the given deliveries, in steps, and returns for how
// many it reported a change.
func (s *Store) eachOf(
	ctx context.Context, deliveries []hook.DeliveryID, do func(context.Context, *batch, hook.DeliveryID) (bool, error),
) (int, error) {
	total := 0
	for ids := range slices.Chunk(deliveries, stepSize) {
		n, err := s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
			changed := 0
			for _, id := range ids {
				did, err := do(ctx, b, id)
				if err != nil {
					return 0, false, err
				}
				if did {
					changed++
				}
			}
			return changed, false, nil
		})
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, s.secure(ctx)
}

// cancel ends a waiting delivery.
func (b *batch) cancel(ctx context.Context, id hook.DeliveryID, reason string, now time.Time) error {
	row, err := b.delivery(ctx, id)
	if err != nil || row == nil {
		return err
	}
	b.ended(row.lane, hook.StateCanceled, now)
	return b.setState(ctx, row, change{state: hook.StateCanceled, at: now, reason: reason})
}

// Hold implements store.Queue.
func (s *Store) Hold(ctx context.Context, where store.Scope, reason string) (int, error) {
	return s.sweep(ctx, where, kept{state: hook.StatePending}, func(ctx context.Context, b *batch, row *deliveryRow) (bool, error) {
		to := change{state: hook.StateHeld, at: b.w.now(), cause: heldBy(where.Cause), reason: reason}
		if row.manual {
			to.manual = int64(1)
		}
		return true, b.setState(ctx, row, to)
	})
}

// Release implements store.Queue.
func (s *Store) Release(ctx context.Context, where store.Scope, now time.Time) (int, error) {
	return s.sweep(ctx, where, kept{hook.StateHeld, heldBy(where.Cause)}, func(ctx context.Context, b *batch, row *deliveryRow) (bool, error) {
		if row.cause != heldBy(where.Cause) {
			return false, nil
		}
		return true, b.makeDue(ctx, row, now, row.manual)
	})
}

// kept is what a sweep looks at: deliveries in a state, held ones perhaps for a cause.
type kept struct {
	state hook.State
	cause hook.Cause // CauseNone: any; what is held for another one may be looked at, too
}

// find returns the query for the next step of a sweep of a connection, with its
// arguments. What a pause holds has an index of its own: a long backlog that a circuit
// holds is not walked through in vain.
func (k kept) find(b *batch, connection hook.ConnectionID, after hook.DeliveryID) (*commit.Statement, []driver.Value) {
	if k.cause == hook.CausePaused {
		return b.w.sql.findPaused, []driver.Value{int64(connection), int64(after), int64(stepSize)}
	}
	return b.w.sql.findByState, []driver.Value{int64(connection), int64(k.state), int64(after), int64(stepSize)}
}

// sweep does something to all that is kept of what where selects, and returns how many
// do reported to have changed.
func (s *Store) sweep(
	ctx context.Context, where store.Scope, what kept, do func(context.Context, *batch, *deliveryRow) (bool, error),
) (int, error) {
	lanes, err := sqlstore.Lanes(ctx, s.reader, where)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, l := range lanes {
		if slices.Contains(where.Except, l.Connection) {
			continue
		}
		n, err := s.sweepLane(ctx, lane{where.Project, l.Connection, l.Destination}, what, do)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (s *Store) sweepLane(
	ctx context.Context, l lane, what kept, do func(context.Context, *batch, *deliveryRow) (bool, error),
) (int, error) {
	after := hook.DeliveryID(0)
	return s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
		var ids []hook.DeliveryID
		last, seen := after, 0
		find, args := what.find(b, l.connection, after)
		err := find.Each(ctx, func(row []driver.Value) error {
			seen++
			last = hook.DeliveryID(commit.Int(row[0]))
			if hook.DestinationID(commit.Int(row[1])) == l.destination {
				ids = append(ids, last)
			}
			return nil
		}, args...)
		if err != nil {
			return 0, false, err
		}
		changed := 0
		for i, id := range ids {
			if i >= shortStep && b.w.Crowded() { // an event does not wait for the rest
				last, seen = ids[i-1], stepSize
				break
			}
			row, err := b.delivery(ctx, id)
			if err != nil {
				return 0, false, err
			}
			did, err := do(ctx, b, row)
			if err != nil {
				return 0, false, err
			}
			if did {
				changed++
			}
		}
		b.onCommit = append(b.onCommit, func() { after = last })
		return changed, seen == stepSize, nil
	})
}

// sweepDeleted cancels what still waits for connections that are gone. Deleting a
// connection does it at once; this is for a process that ended in between.
func (s *Store) sweepDeleted(ctx context.Context) error {
	lanes, err := sqlstore.DeletedLanes(ctx, s.reader)
	if err != nil {
		return err
	}
	for _, l := range lanes {
		if err := s.cancelLane(ctx, lane{l.Project, l.Connection, l.Destination}); err != nil {
			return err
		}
	}
	return nil
}

// cancelLane cancels all that waits for a deleted connection.
func (s *Store) cancelLane(ctx context.Context, l lane) error {
	for _, state := range [...]hook.State{hook.StatePending, hook.StateHeld} {
		_, err := s.sweepLane(ctx, l, kept{state: state}, func(ctx context.Context, b *batch, row *deliveryRow) (bool, error) {
			now := b.w.now()
			b.ended(row.lane, hook.StateCanceled, now)
			return true, b.setState(ctx, row, change{state: hook.StateCanceled, at: now, reason: reasonDeleted})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
