package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// Key is an order key of a connection.
type Key struct {
	Connection hook.ConnectionID
	Text       string
}

func (k Key) compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Connection, other.Connection), cmp.Compare(k.Text, other.Text))
}

// openOrdered is the condition of the index of open deliveries that have an order key,
// and active that of those which are due, will be, or are being sent.
const (
	openOrdered = "order_key IS NOT NULL AND state IN (1, 2, 5)"
	active      = "order_key IS NOT NULL AND (state = 2 OR state = 1 AND next_at IS NOT NULL)"
)

// IdleKeys returns the next keys, in their order, whose oldest open delivery is pending
// and of which none has its turn.
func IdleKeys(ctx context.Context, q Queryer, after Key, limit int) ([]Key, error) {
	rows, err := q.QueryContext(ctx, "SELECT connection, order_key FROM delivery d WHERE (connection, order_key) > ($1, $2) AND "+openOrdered+
		" GROUP BY connection, order_key HAVING NOT EXISTS (SELECT 1 FROM delivery WHERE connection = d.connection"+
		" AND order_key = d.order_key AND "+active+")"+
		" AND (SELECT state FROM delivery WHERE connection = d.connection AND order_key = d.order_key AND "+openOrdered+" ORDER BY id LIMIT 1) = 1"+
		" ORDER BY connection, order_key LIMIT $3", int64(after.Connection), after.Text, limit)
	if err != nil {
		return nil, fmt.Errorf("look for order keys: %w", err)
	}
	var keys []Key
	for rows.Next() {
		var k Key
		if err := rows.Scan((*int64)(&k.Connection), &k.Text); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		keys = append(keys, k)
	}
	return keys, errors.Join(rows.Err(), rows.Close())
}

// ListKeys implements store.Keys.
func (l *Log) ListKeys(ctx context.Context, query store.KeyQuery) ([]hook.OrderedKey, error) {
	if query.Connection == 0 && !query.Parked {
		return nil, hook.Errorf(hook.KindInvalid, "the keys of which connection? Only parked ones are listed for all connections")
	}
	// Memory is read first: what is settled between the two has its row by then.
	memory := l.inline(query.Project)
	var found []hook.OrderedKey
	err := l.reader.Snapshot(ctx, func(q Queryer) error {
		var err error
		found, err = Keys(ctx, q, query, memory)
		return err
	})
	return found, err
}

// Keys returns the keys that a query selects; memory has the inline deliveries of the
// project, read before q's transaction began.
func Keys(ctx context.Context, q Queryer, query store.KeyQuery, memory []hook.Delivery) ([]hook.OrderedKey, error) {
	w := keyWalk{query: query, memory: map[Key]hook.Delivery{}}
	for i := range memory {
		if d := &memory[i]; d.OrderKey != "" && (query.Connection == 0 || query.Connection == d.Connection) {
			w.memory[Key{d.Connection, d.OrderKey}] = *d
		}
	}
	err := w.walk(ctx, q)
	return w.found, err
}

// keyWalk lists keys.
type keyWalk struct {
	query  store.KeyQuery
	memory map[Key]hook.Delivery // heads that need not have a row
	found  []hook.OrderedKey
}

func (w *keyWalk) walk(ctx context.Context, q Queryer) error {
	if w.query.Key != "" {
		return w.add(ctx, q, Key{w.query.Connection, w.query.Key})
	}
	if w.query.Connection != 0 {
		lanes, err := Lanes(ctx, q, store.Scope{Project: w.query.Project, Connection: w.query.Connection})
		if err != nil || len(lanes) == 0 {
			return err
		}
	}
	after := Key{w.query.After.Connection, w.query.After.Key}
	if w.query.Connection != 0 {
		after.Connection = w.query.Connection
	}
	for limit := (page.Request{Limit: w.query.Limit}).Size(); len(w.found) < limit; {
		next, err := w.next(ctx, q, after)
		if err != nil || next == (Key{}) {
			return err
		}
		if err := w.add(ctx, q, next); err != nil {
			return err
		}
		after = next
	}
	return nil
}

// next returns the key after the given one; the zero key when there is none. One seek
// finds it, however many deliveries each key has.
func (w *keyWalk) next(ctx context.Context, q Queryer, after Key) (Key, error) {
	var next Key
	query, args := "SELECT connection, order_key FROM delivery WHERE connection = $1 AND order_key > $2 AND "+openOrdered+
		" ORDER BY order_key LIMIT 1", []any{int64(after.Connection), after.Text}
	if w.query.Parked {
		query = "SELECT connection, order_key FROM delivery WHERE (connection, order_key) > ($1, $2) AND project = $3 AND cause = 3" +
			" ORDER BY connection, order_key LIMIT 1"
		args = append(args, int64(w.query.Project))
	}
	err := q.QueryRowContext(ctx, query, args...).Scan((*int64)(&next.Connection), &next.Text)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && w.query.Connection != 0 && next.Connection != w.query.Connection:
		next = Key{}
	case err != nil:
		return next, fmt.Errorf("list order keys: %w", err)
	}
	if !w.query.Parked { // What is parked has a row.
		next = w.nextInMemory(after, next)
	}
	return next, nil
}

func (w *keyWalk) nextInMemory(after, next Key) Key {
	for k := range w.memory {
		if k.compare(after) > 0 && (next == Key{} || k.compare(next) < 0) {
			next = k
		}
	}
	return next
}

// add describes a key, unless nothing of it is open any more, or it is not what is
// asked for.
func (w *keyWalk) add(ctx context.Context, q Queryer, k Key) error {
	head, inMemory, err := w.head(ctx, q, k)
	if err != nil || head.ID == 0 || head.Project != w.query.Project {
		return err
	}
	item := hook.OrderedKey{
		Connection: k.Connection, Key: k.Text, Reason: head.Reason, Head: head.ID, HeadState: head.State,
		Parked: head.State == hook.StateHeld && head.Cause == hook.CauseParked,
	}
	if w.query.Parked && !item.Parked {
		return nil
	}
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE connection = $1 AND order_key = $2 AND "+openOrdered+
		" LIMIT $3)", int64(k.Connection), k.Text, hook.MaxCounted).Scan(&item.Waiting); err != nil {
		return fmt.Errorf("count what waits for an order key: %w", err)
	}
	if inMemory {
		item.Waiting = min(item.Waiting+1, hook.MaxCounted)
	}
	w.found = append(w.found, item)
	return nil
}

// head returns the delivery of a key that has its turn, or that the others wait for;
// inMemory says that it has no row.
func (w *keyWalk) head(ctx context.Context, q Queryer, k Key) (head hook.Delivery, inMemory bool, err error) {
	if d, ok := w.memory[k]; ok {
		if _, settled, err := Delivery(ctx, q, d.Project, d.ID); err != nil || !settled {
			return d, err == nil, err
		}
	}
	for _, query := range [...]string{active + " LIMIT 1", openOrdered + " ORDER BY id LIMIT 1"} {
		head, err = scanDelivery(q.QueryRowContext(ctx, "SELECT "+deliveryColumns+" FROM delivery WHERE connection = $1 AND order_key = $2 AND "+query,
			int64(k.Connection), k.Text))
		if err == nil {
			return head, false, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return head, false, fmt.Errorf("look for the head of an order key: %w", err)
		}
	}
	return hook.Delivery{}, false, nil
}
