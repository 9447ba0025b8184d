package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// Oldest returns when the oldest row of a destination's deliveries that have not ended
// was accepted; the zero time when there is none. It takes one seek for each of the
// destination's connections and each state.
func Oldest(ctx context.Context, q Queryer, project hook.ProjectID, destination hook.DestinationID) (time.Time, error) {
	lanes, err := Lanes(ctx, q, store.Scope{Project: project, Destination: destination})
	if err != nil {
		return time.Time{}, err
	}
	var oldest time.Time
	for _, l := range lanes {
		for _, state := range [...]hook.State{hook.StatePending, hook.StateSending, hook.StateHeld} {
			var created int64
			err := q.QueryRowContext(ctx, "SELECT created_at FROM delivery WHERE connection = $1 AND state = $2 AND destination = $3 ORDER BY id LIMIT 1",
				int64(l.Connection), int64(state), int64(destination)).Scan(&created)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return time.Time{}, fmt.Errorf("look for the oldest delivery: %w", err)
			}
			if at := Time(created); oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
	}
	return oldest, nil
}

// Failures returns the kinds of failure that the roll-ups of a destination counted since
// the minute of a time, each with its stored example.
func Failures(ctx context.Context, q Queryer, project hook.ProjectID, destination hook.DestinationID, since time.Time) ([]hook.Failure, error) {
	var total hook.Numbers
	query := store.NumbersQuery{Project: project, Scope: store.ByDestination, ID: int64(destination), From: since}
	err := eachMinute(ctx, q, query, int64(destination), func(_ int64, n *hook.Numbers) { codec.MergeNumbers(&total, n) })
	if err != nil {
		return nil, err
	}
	delete(total.Outcomes, hook.OutcomeSuccess)
	if len(total.Outcomes) == 0 {
		return nil, nil
	}
	examples, err := examples(ctx, q, destination)
	if err != nil {
		return nil, err
	}
	var failures []hook.Failure
	for outcome, attempts := range total.Outcomes {
		failure := examples[outcome]
		failure.Outcome, failure.Attempts = outcome, attempts
		failures = append(failures, failure)
	}
	slices.SortFunc(failures, func(a, b hook.Failure) int {
		return cmp.Or(cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(a.Outcome, b.Outcome))
	})
	return failures, nil
}

func examples(ctx context.Context, q Queryer, destination hook.DestinationID) (map[hook.Outcome]hook.Failure, error) {
	rows, err := q.QueryContext(ctx, "SELECT outcome, at, delivery, number, status, text FROM example WHERE destination = $1", int64(destination))
	if err != nil {
		return nil, fmt.Errorf("read examples of failures: %w", err)
	}
	found := map[hook.Outcome]hook.Failure{}
	for rows.Next() {
		var f hook.Failure
		var at int64
		if err := rows.Scan(&f.Outcome, &at, (*int64)(&f.Delivery), &f.Number, &f.Status, &f.Text); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		f.At = Time(at)
		found[f.Outcome] = f
	}
	return found, errors.Join(rows.Err(), rows.Close())
}

// Circuits returns the circuits of all projects.
func Circuits(ctx context.Context, q Queryer) ([]hook.Circuit, error) {
	rows, err := q.QueryContext(ctx, "SELECT destination, project, data FROM circuit ORDER BY destination")
	if err != nil {
		return nil, fmt.Errorf("read the circuits: %w", err)
	}
	var list []hook.Circuit
	for rows.Next() {
		var c hook.Circuit
		var data []byte
		if err := rows.Scan((*int64)(&c.Destination), (*int64)(&c.Project), &data); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if err := codec.DecodeCircuit(data, &c); err != nil {
			return nil, errors.Join(fmt.Errorf("circuit of %v: %w", c.Destination, err), rows.Close())
		}
		list = append(list, c)
	}
	return list, errors.Join(rows.Err(), rows.Close())
}
