package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// replayTable binds the sealed specs of replays to their rows.
const replayTable = "replay"

// replayText is the column "spec" of a replay, below the seal.
type replayText struct {
	CreatedBy string          `json:"createdBy"`
	Until     int64           `json:"until"`
	Spec      hook.ReplaySpec `json:"spec"`
}

// SealReplay returns what a person asked for with a replay as one column: an edit of
// payloads can hold a secret.
func (c *Catalogue) SealReplay(r *hook.Replay) ([]byte, error) {
	text, err := marshal(replayText{CreatedBy: r.CreatedBy, Until: r.Until, Spec: r.ReplaySpec})
	if err != nil {
		return nil, err
	}
	return c.keyring.Seal(text, IDKey(replayTable, int64(r.ID))), nil
}

const replayColumns = "id, project, state, cursor, looked, selected, skipped, made, succeeded, failed, canceled, attempts, errors," +
	" updated_at, ended_at, reason, spec"

func (c *Catalogue) scanReplay(row interface{ Scan(into ...any) error }) (hook.Replay, error) {
	var r hook.Replay
	var updated int64
	var ended sql.NullInt64
	var reason sql.NullString
	var spec []byte
	p := &r.Progress
	if err := row.Scan((*int64)(&r.ID), (*int64)(&r.Project), &r.State, &r.Cursor, &p.Looked, &p.Selected, &p.Skipped, &p.Made, &p.Succeeded, &p.Failed,
		&p.Canceled, &p.Attempts, &p.Errors, &updated, &ended, &reason, &spec); err != nil {
		return r, err
	}
	text, err := c.keyring.Unseal(spec, IDKey(replayTable, int64(r.ID)))
	if err != nil {
		return r, fmt.Errorf("replay %v: %w", r.ID, err)
	}
	var known replayText
	if err := json.Unmarshal(text, &known); err != nil {
		return r, fmt.Errorf("replay %v: %w", r.ID, err)
	}
	r.CreatedBy, r.Until, r.ReplaySpec = known.CreatedBy, known.Until, known.Spec
	r.CreatedAt, r.UpdatedAt, r.EndedAt, r.Reason = r.ID.Time(), Time(updated), optionalTime(ended), reason.String
	return r, nil
}

// Replay returns a replay of a project.
func (c *Catalogue) Replay(ctx context.Context, q Queryer, project hook.ProjectID, id hook.ReplayID) (hook.Replay, error) {
	r, err := c.scanReplay(q.QueryRowContext(ctx, "SELECT "+replayColumns+" FROM replay WHERE id = $1 AND project = $2", int64(id), int64(project)))
	if errors.Is(err, sql.ErrNoRows) {
		return hook.Replay{}, hook.NotFound("replay", id.String())
	}
	return r, err
}

// ListReplays returns a page of a project's replays, the newest first.
func (c *Catalogue) ListReplays(ctx context.Context, q Queryer, project hook.ProjectID, req page.Request) (page.Page[hook.Replay], error) {
	s := newSpan(req, time.Time{}, time.Time{})
	p, err := s.walk(ctx, q, s.query("replay", "id", "project = $4"), int64(project))
	if err != nil {
		return page.Page[hook.Replay]{}, err
	}
	f := s.merge([]part{p})
	var items []hook.Replay
	for _, id := range f.cut(s.size) {
		r, err := c.Replay(ctx, q, project, hook.ReplayID(id))
		if err != nil {
			return page.Page[hook.Replay]{}, err
		}
		items = append(items, r)
	}
	return pageOf(s, f, items, func(r *hook.Replay) int64 { return int64(r.ID) }), nil
}

// RunningReplays returns the replays of all projects that have not ended, by id.
func (c *Catalogue) RunningReplays(ctx context.Context, q Queryer) ([]hook.Replay, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+replayColumns+" FROM replay WHERE state = 'running' AND ended_at IS NULL ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("read the running replays: %w", err)
	}
	var list []hook.Replay
	for rows.Next() {
		r, err := c.scanReplay(rows)
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		list = append(list, r)
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// Unswept is a replay that has ended, and not all that it made was canceled.
type Unswept struct {
	ID     hook.ReplayID
	Reason string
}

// UnsweptReplays returns the replays whose end a process did not bring to its own.
func UnsweptReplays(ctx context.Context, q Queryer) ([]Unswept, error) {
	rows, err := q.QueryContext(ctx, "SELECT id, coalesce(reason, '') FROM replay WHERE ended_at IS NOT NULL AND swept IS NULL")
	if err != nil {
		return nil, fmt.Errorf("look for ended replays: %w", err)
	}
	var list []Unswept
	for rows.Next() {
		var u Unswept
		if err := rows.Scan((*int64)(&u.ID), &u.Reason); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		list = append(list, u)
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// openStates are the states of a delivery that has not ended.
var openStates = [...]hook.State{hook.StatePending, hook.StateSending, hook.StateHeld} //nolint:gochecknoglobals // a constant table

// statesOf returns the states that a list of deliveries shows: of a replay's, unless one
// is asked for, those in which they have not ended.
func statesOf(query *store.DeliveryQuery) []hook.State {
	switch {
	case query.State != 0:
		return []hook.State{query.State}
	case query.Replay != 0:
		return openStates[:]
	default:
		return allStates[:]
	}
}

// deliveriesOfReplay walks along what a replay made, a state at a time.
func deliveriesOfReplay(ctx context.Context, q Queryer, query *store.DeliveryQuery) (page.Page[hook.Delivery], error) {
	s := newSpan(query.Page, query.After, query.Before)
	states := statesOf(query)
	parts := make([]part, 0, len(states))
	for _, state := range states {
		where, args := filtered("replay = $4 AND state = $5", []any{int64(query.Replay), int64(state)}, query)
		p, err := s.walk(ctx, q, s.query("delivery", "id", where), args...)
		if err != nil {
			return page.Page[hook.Delivery]{}, err
		}
		parts = append(parts, p)
	}
	return loadDeliveries(ctx, q, s, s.merge(parts), nil)
}

// filtered adds the query's project, connection and destination to a condition.
func filtered(where string, args []any, query *store.DeliveryQuery) (string, []any) {
	// The sign keeps to the index that the walk is ordered by.
	args = append(args, int64(query.Project))
	where += fmt.Sprintf(" AND +project = $%d", 3+len(args))
	if query.Connection != 0 {
		args = append(args, int64(query.Connection))
		where += fmt.Sprintf(" AND +connection = $%d", 3+len(args))
	}
	if query.Destination != 0 {
		args = append(args, int64(query.Destination))
		where += fmt.Sprintf(" AND +destination = $%d", 3+len(args))
	}
	return where, args
}

// replayedOf walks along the deliveries of an event that replays made or retried: the
// event's own list does not have the former.
func replayedOf(ctx context.Context, q Queryer, s span, query *store.DeliveryQuery) (part, error) {
	where, args := filtered("event = $4 AND replay IS NOT NULL", []any{int64(query.Event)}, query)
	if query.Replay != 0 {
		args = append(args, int64(query.Replay))
		where += fmt.Sprintf(" AND +replay = $%d", 3+len(args))
	}
	switch {
	case query.State != 0:
		args = append(args, int64(query.State))
		where += fmt.Sprintf(" AND +state = $%d", 3+len(args))
	case query.Replay != 0:
		where += " AND +state IN (1, 2, 5)"
	}
	return s.walk(ctx, q, s.query("delivery", "id", where), args...)
}
