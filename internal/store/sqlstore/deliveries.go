package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

const deliveryColumns = "id, project, event, connection, destination, state, attempts, created_at, updated_at, reason, next_at," +
	" replay, cause, order_key, probes"

func scanDelivery(row interface{ Scan(into ...any) error }) (hook.Delivery, error) {
	var d hook.Delivery
	var state, created, updated int64
	var reason, key sql.NullString
	var next, replay, cause, probes sql.NullInt64
	err := row.Scan((*int64)(&d.ID), (*int64)(&d.Project), (*int64)(&d.Event), (*int64)(&d.Connection), (*int64)(&d.Destination),
		&state, &d.Attempts, &created, &updated, &reason, &next, &replay, &cause, &key, &probes)
	d.State, d.CreatedAt, d.UpdatedAt, d.Reason = hook.State(state), Time(created), Time(updated), reason.String
	d.Replay, d.Cause, d.OrderKey, d.Probes = hook.ReplayID(replay.Int64), hook.Cause(cause.Int64), key.String, int(probes.Int64)
	if d.State == hook.StatePending {
		d.NextAttemptAt = optionalTime(next)
	}
	return d, err
}

// Delivery returns the delivery's row; false when it has none in the project.
func Delivery(ctx context.Context, q Queryer, project hook.ProjectID, id hook.DeliveryID) (hook.Delivery, bool, error) {
	d, err := scanDelivery(q.QueryRowContext(ctx, "SELECT "+deliveryColumns+" FROM delivery WHERE id = $1 AND project = $2", int64(id), int64(project)))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return hook.Delivery{}, false, nil
	case err != nil:
		return hook.Delivery{}, false, fmt.Errorf("read delivery %v: %w", id, err)
	default:
		return d, true, nil
	}
}

// Attempts returns the stored attempts of a delivery that the project is known to have.
func Attempts(ctx context.Context, q Queryer, id hook.DeliveryID) ([]hook.Attempt, error) {
	var list []hook.Attempt
	var first []byte
	switch err := q.QueryRowContext(ctx, "SELECT first FROM delivery WHERE id = $1", int64(id)).Scan(&first); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the attempts of %v: %w", id, err)
	case first != nil:
		a, err := codec.DecodeAttempt(first, id, 1)
		if err != nil {
			return nil, fmt.Errorf("read the first attempt of %v: %w", id, err)
		}
		list = append(list, a)
	}
	rows, err := q.QueryContext(ctx, "SELECT number, data FROM attempt WHERE delivery = $1 ORDER BY number", int64(id))
	if err != nil {
		return nil, fmt.Errorf("read the attempts of %v: %w", id, err)
	}
	for rows.Next() {
		var number int
		var data []byte
		if err := rows.Scan(&number, &data); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		a, err := codec.DecodeAttempt(data, id, number)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read attempt %d of %v: %w", number, id, err), rows.Close())
		}
		list = append(list, a)
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// allStates are the states of a delivery's row.
var allStates = [...]hook.State{ //nolint:gochecknoglobals // a constant table
	hook.StatePending, hook.StateSending, hook.StateSucceeded, hook.StateFailed, hook.StateHeld, hook.StateCanceled,
}

// Deliveries returns a page of deliveries. Those in memory, which have no row, are
// shown with the others: they were read before q's transaction began, so that none is
// missed between the two.
func Deliveries(ctx context.Context, q Queryer, query store.DeliveryQuery, memory []hook.Delivery) (page.Page[hook.Delivery], error) {
	if query.Event != 0 {
		return deliveriesOfEvent(ctx, q, query, memory)
	}
	if query.Replay != 0 {
		return deliveriesOfReplay(ctx, q, &query)
	}
	s := newSpan(query.Page, query.After, query.Before)
	lanes, err := Lanes(ctx, q, store.Scope{Project: query.Project, Connection: query.Connection, Destination: query.Destination})
	if err != nil {
		return page.Page[hook.Delivery]{}, err
	}
	states := statesOf(&query)
	parts := make([]part, 0, len(lanes)*len(states)+1)
	for i, l := range lanes {
		if i > 0 && lanes[i-1].Connection == l.Connection && query.Destination == 0 {
			continue // The connection once led elsewhere; its deliveries are walked already.
		}
		for _, state := range states {
			where, args := rangeOf(&query, l, state)
			p, err := s.walk(ctx, q, s.query("delivery", "id", where), args...)
			if err != nil {
				return page.Page[hook.Delivery]{}, err
			}
			parts = append(parts, p)
		}
	}
	known := selected(memory, query, s)
	parts = append(parts, part{ids: ids(known)})
	return loadDeliveries(ctx, q, s, s.merge(parts), known)
}

// rangeOf returns the condition, with its arguments, of what a query selects of a lane.
func rangeOf(query *store.DeliveryQuery, l Lane, state hook.State) (where string, args []any) {
	where, args = "connection = $4 AND state = $5", []any{int64(l.Connection), int64(state)}
	if query.Destination != 0 {
		where, args = where+" AND destination = $6", append(args, int64(l.Destination))
	}
	if query.Cause != 0 {
		args = append(args, int64(query.Cause))
		where += fmt.Sprintf(" AND cause = $%d", 3+len(args))
	}
	return where, args
}

// selected returns the deliveries in memory that belong to the list, by id.
func selected(memory []hook.Delivery, query store.DeliveryQuery, s span) map[int64]hook.Delivery {
	known := map[int64]hook.Delivery{}
	for i := range memory {
		if d := &memory[i]; int64(d.ID) > s.low && int64(d.ID) < s.high && matches(d, &query) {
			known[int64(d.ID)] = *d
		}
	}
	return known
}

func matches(d *hook.Delivery, query *store.DeliveryQuery) bool {
	return d.Project == query.Project &&
		(query.Event == 0 || d.Event == query.Event) &&
		(query.Connection == 0 || d.Connection == query.Connection) &&
		(query.Destination == 0 || d.Destination == query.Destination) &&
		(query.Cause == 0 || d.Cause == query.Cause) &&
		(query.Replay == 0 || d.Replay == query.Replay) && slices.Contains(statesOf(query), d.State)
}

func ids(deliveries map[int64]hook.Delivery) []int64 {
	list := make([]int64, 0, len(deliveries))
	for id := range deliveries {
		list = append(list, id)
	}
	return list
}

// loadDeliveries makes a page of what a walk found; a delivery's row counts before
// what memory knew of it a moment ago.
func loadDeliveries(ctx context.Context, q Queryer, s span, f found, known map[int64]hook.Delivery) (page.Page[hook.Delivery], error) {
	items := make([]hook.Delivery, 0, len(f.cut(s.size)))
	for _, id := range f.cut(s.size) {
		d, err := scanDelivery(q.QueryRowContext(ctx, "SELECT "+deliveryColumns+" FROM delivery WHERE id = $1", id))
		if errors.Is(err, sql.ErrNoRows) {
			d, err = known[id], nil
		}
		if err != nil {
			return page.Page[hook.Delivery]{}, fmt.Errorf("read delivery %v: %w", hook.DeliveryID(id), err)
		}
		items = append(items, d)
	}
	return pageOf(s, f, items, func(d *hook.Delivery) int64 { return int64(d.ID) }), nil
}

// deliveriesOfEvent finds the deliveries by the event's own list of them. One that has
// neither a row nor a place in memory was lost with a process and is about to be
// reclaimed: it is shown as pending.
func deliveriesOfEvent(ctx context.Context, q Queryer, query store.DeliveryQuery, memory []hook.Delivery) (page.Page[hook.Delivery], error) {
	s := newSpan(query.Page, query.After, query.Before)
	ev, err := Event(ctx, q, query.Project, query.Event)
	if hook.KindOf(err) == hook.KindNotFound {
		return page.Page[hook.Delivery]{Done: true}, nil
	}
	if err != nil {
		return page.Page[hook.Delivery]{}, err
	}
	var list []int64
	known := map[int64]hook.Delivery{}
	for i := range ev.Targets {
		t := &ev.Targets[i]
		d, ok, err := Delivery(ctx, q, query.Project, t.Delivery)
		if err != nil {
			return page.Page[hook.Delivery]{}, err
		}
		if !ok {
			d = unsettled(&ev, t, memory)
		}
		if id := int64(d.ID); id > s.low && id < s.high && matches(&d, &query) {
			known[id] = d
			list = append(list, id)
		}
	}
	replayed, err := replayedOf(ctx, q, s, &query)
	if err != nil {
		return page.Page[hook.Delivery]{}, err
	}
	return loadDeliveries(ctx, q, s, s.merge([]part{{ids: list}, replayed}), known)
}

// unsettled returns a delivery that has no row.
func unsettled(ev *hook.Event, t *hook.Target, memory []hook.Delivery) hook.Delivery {
	if i := slices.IndexFunc(memory, func(d hook.Delivery) bool { return d.ID == t.Delivery }); i >= 0 {
		return memory[i]
	}
	return hook.Delivery{
		ID: t.Delivery, Project: ev.Project, Event: ev.ID, Connection: t.Connection, Destination: t.Destination,
		State: hook.StatePending, OrderKey: t.OrderKey, CreatedAt: ev.ReceivedAt, UpdatedAt: ev.ReceivedAt,
	}
}
