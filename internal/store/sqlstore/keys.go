package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"malote.dev/malote/internal/hook"
)

// Key is an order key of a connection.
type Key struct {
	Connection hook.ConnectionID
	Text       string
}

// openOrdered is the condition of the index of open deliveries that have an order key,
// and active that of those which are due, will be, or are being sent.
const (
	openOrdered = "order_key IS NOT NULL AND state IN (1, 2, 5)"
	active      = "order_key IS NOT NULL AND (state = 2 OR state = 1 AND next_at IS NOT NULL)"
)

// IdleKeys returns the next keys, in their order, of which deliveries wait and none has
// its turn, whether because the first one is held or because nobody gave it to it.
func IdleKeys(ctx context.Context, q Queryer, after Key, limit int) ([]Key, error) {
	return queryKeys(ctx, q, "SELECT o.connection, o.order_key FROM delivery o WHERE (o.connection, o.order_key) > ($1, $2) AND o."+openOrdered+
		" GROUP BY o.connection, o.order_key HAVING NOT EXISTS (SELECT 1 FROM delivery a WHERE a.connection = o.connection"+
		" AND a.order_key = o.order_key AND a."+active+") ORDER BY o.connection, o.order_key LIMIT $3", int64(after.Connection), after.Text, limit)
}

func queryKeys(ctx context.Context, q Queryer, query string, args ...any) ([]Key, error) {
	rows, err := q.QueryContext(ctx, query, args...)
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
