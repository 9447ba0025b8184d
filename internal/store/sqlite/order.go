package sqlite

import (
	"context"
	"database/sql/driver"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlite/inline"
	"malote.dev/malote/internal/store/sqlstore"
)

// inlineHead returns the delivery of a key that is in memory to be settled, as it will
// be after the commit; 0 when there is none.
func (b *batch) inlineHead(ref inline.Key) hook.DeliveryID {
	if id, changed := b.heads[ref]; changed {
		return id
	}
	return b.w.inline.Head(ref)
}

// inlineProject returns the project of the delivery of a key in memory; 0: there is none.
func (b *batch) inlineProject(ref inline.Key) hook.ProjectID {
	id := b.inlineHead(ref)
	for i := range b.opened {
		if b.opened[i].ID == id {
			return b.opened[i].Project
		}
	}
	d, _ := b.w.inline.Get(id)
	return d.Project
}

// setHead notes that the delivery of a key in memory is now another one, or none.
func (b *batch) setHead(ref inline.Key, id hook.DeliveryID) {
	if ref.Text == "" {
		return
	}
	if b.heads == nil {
		b.heads = map[inline.Key]hook.DeliveryID{}
	}
	b.heads[ref] = id
}

// mustWait reports whether a new delivery of a key is behind another one. Until what an
// earlier process lost has been found, it may always be.
func (b *batch) mustWait(ctx context.Context, ref inline.Key) (bool, error) {
	if !b.w.mark.Reclaimed || b.inlineHead(ref) != 0 {
		return true, nil
	}
	first, err := b.first(ctx, ref)
	return first != nil, err
}

// first returns the oldest open delivery of a key that has a row; nil: there is none.
func (b *batch) first(ctx context.Context, ref inline.Key) (*deliveryRow, error) {
	return b.rowOf(ctx, b.w.sql.keyFirst, ref)
}

// active returns the delivery of a key that is due, will be, or is being sent, if it
// has a row; else nil.
func (b *batch) active(ctx context.Context, ref inline.Key) (*deliveryRow, error) {
	return b.rowOf(ctx, b.w.sql.keyActive, ref)
}

func (b *batch) rowOf(ctx context.Context, query *commit.Statement, ref inline.Key) (*deliveryRow, error) {
	ids, err := b.ids(ctx, query, int64(ref.Connection), ref.Text)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return b.delivery(ctx, ids[0])
}

// advance makes the oldest open delivery of a key due, unless another one is due or
// being sent, or it is held. Before the first Reclaim is through it does nothing: an
// older one may be lost, and Reclaim itself advances all keys at its end.
func (b *batch) advance(ctx context.Context, ref inline.Key, now time.Time) error {
	if !b.w.mark.Reclaimed || b.inlineHead(ref) != 0 || b.deleted(ref.Connection) {
		return nil
	}
	active, err := b.ids(ctx, b.w.sql.keyActive, int64(ref.Connection), ref.Text)
	if err != nil || len(active) > 0 {
		return err
	}
	first, err := b.first(ctx, ref)
	if err != nil || first == nil || first.state != hook.StatePending {
		return err
	}
	_, err = b.w.sql.makeNext.Exec(ctx, sqlstore.Millis(now), int64(first.id))
	return err
}

// advanceIdle advances the keys of which nothing is due or being sent, although
// something waits: what happened to these before the first Reclaim was through gave the
// turn to nobody.
func (s *Store) advanceIdle(ctx context.Context, now time.Time) error {
	var after sqlstore.Key
	for {
		keys, err := sqlstore.IdleKeys(ctx, s.reader, after, stepSize)
		if err != nil || len(keys) == 0 {
			return err
		}
		_, err = s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
			for _, k := range keys {
				if err := b.advance(ctx, inline.Key{Connection: k.Connection, Text: k.Text}, now); err != nil {
					return 0, false, err
				}
			}
			return len(keys), false, nil
		})
		if err != nil {
			return err
		}
		after = keys[len(keys)-1]
	}
}

// ref names the key that a delivery is ordered by.
func (r *deliveryRow) ref() inline.Key { return inline.Key{Connection: r.connection, Text: r.orderKey} }

// behind reports whether the delivery is pending and waits for the head of its key.
func (r *deliveryRow) behind() bool {
	return r.orderKey != "" && r.state == hook.StatePending && r.next == 0
}

// enters reports whether the delivery, brought to pending, has to wait for its turn
// among those of its key: one that is due or being sent has it already.
func (r *deliveryRow) enters() bool {
	return r.orderKey != "" && r.state != hook.StateSending && (r.state != hook.StatePending || r.next == 0)
}

// nullInt stores zero as NULL.
func nullInt[T ~int64 | ~uint8](n T) driver.Value {
	if n == 0 {
		return nil
	}
	return int64(n)
}
