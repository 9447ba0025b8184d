package sqlstore

import (
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

// Series returns the minutes of one noun, or with ID 0 of all the project's nouns of
// the scope together.
func Series(ctx context.Context, q Queryer, query store.NumbersQuery) ([]hook.Numbers, error) {
	byMinute := map[int64]*hook.Numbers{}
	nouns, err := countedNouns(ctx, q, query)
	if err != nil {
		return nil, err
	}
	for _, id := range nouns {
		err := eachMinute(ctx, q, query, id, func(minute int64, n *hook.Numbers) {
			if sum := byMinute[minute]; sum != nil {
				codec.MergeNumbers(sum, n)
				return
			}
			n.Minute = minuteTime(minute)
			byMinute[minute] = n
		})
		if err != nil {
			return nil, err
		}
	}
	var series []hook.Numbers
	for _, n := range byMinute {
		series = append(series, *n)
	}
	slices.SortFunc(series, func(a, b hook.Numbers) int { return a.Minute.Compare(b.Minute) })
	return series, nil
}

// Totals returns the sums over the time for each noun of the scope.
func Totals(ctx context.Context, q Queryer, query store.NumbersQuery) (map[int64]hook.Numbers, error) {
	nouns, err := countedNouns(ctx, q, query)
	if err != nil {
		return nil, err
	}
	totals := map[int64]hook.Numbers{}
	for _, id := range nouns {
		var total *hook.Numbers
		err := eachMinute(ctx, q, query, id, func(_ int64, n *hook.Numbers) {
			if total == nil {
				total = n
				return
			}
			codec.MergeNumbers(total, n)
		})
		if err != nil {
			return nil, err
		}
		if total != nil {
			totals[id] = *total
		}
	}
	return totals, nil
}

// countedNouns returns the nouns of the query's scope that anything was ever counted
// for. Each step is one seek to the next id, so that it does not matter how many
// minutes each of them has.
func countedNouns(ctx context.Context, q Queryer, query store.NumbersQuery) ([]int64, error) {
	if query.ID != 0 {
		return []int64{query.ID}, nil
	}
	var list []int64
	last := int64(0)
	for {
		var next *int64
		err := q.QueryRowContext(ctx, "SELECT min(id) FROM numbers WHERE project = $1 AND scope = $2 AND id > $3",
			int64(query.Project), int64(query.Scope), last).Scan(&next)
		if err != nil {
			return nil, fmt.Errorf("look for counted nouns: %w", err)
		}
		if next == nil {
			return list, nil
		}
		last = *next
		list = append(list, last)
	}
}

// Counted is a noun that has roll-ups.
type Counted struct {
	Project hook.ProjectID
	Scope   store.NumbersScope
	ID      int64
}

// CountedSeries returns all nouns that have roll-ups, of all projects.
func CountedSeries(ctx context.Context, q Queryer) ([]Counted, error) {
	var list []Counted
	var last Counted
	for {
		err := q.QueryRowContext(ctx, "SELECT project, scope, id FROM numbers WHERE (project, scope, id) > ($1, $2, $3)"+
			" ORDER BY project, scope, id LIMIT 1", int64(last.Project), int64(last.Scope), last.ID).
			Scan((*int64)(&last.Project), &last.Scope, &last.ID)
		if errors.Is(err, sql.ErrNoRows) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look for counted nouns: %w", err)
		}
		list = append(list, last)
	}
}

// eachMinute calls do with every minute of a noun from the one that From lies in to the
// last one that begins before To.
func eachMinute(ctx context.Context, q Queryer, query store.NumbersQuery, id int64, do func(minute int64, n *hook.Numbers)) error {
	low, high := int64(-1<<62), int64(1<<62)
	if !query.From.IsZero() {
		low = Minute(query.From)
	}
	if !query.To.IsZero() {
		high = Minute(query.To.Add(time.Minute - time.Millisecond))
	}
	rows, err := q.QueryContext(ctx, "SELECT minute, data FROM numbers WHERE project = $1 AND scope = $2 AND id = $3"+
		" AND minute >= $4 AND minute < $5 ORDER BY minute", int64(query.Project), int64(query.Scope), id, low, high)
	if err != nil {
		return fmt.Errorf("read the numbers: %w", err)
	}
	for rows.Next() {
		var minute int64
		var data []byte
		if err := rows.Scan(&minute, &data); err != nil {
			return errors.Join(err, rows.Close())
		}
		n, err := codec.DecodeNumbers(data)
		if err != nil {
			return errors.Join(fmt.Errorf("read the numbers: %w", err), rows.Close())
		}
		do(minute, &n)
	}
	return errors.Join(rows.Err(), rows.Close())
}

func minuteTime(minute int64) time.Time { return Time(minute * 60_000) }

// Backlog returns the stored counts of a project's deliveries by destination and
// state; states without deliveries are left out.
func Backlog(ctx context.Context, q Queryer, project hook.ProjectID) (map[hook.DestinationID]map[hook.State]int64, error) {
	rows, err := q.QueryContext(ctx, "SELECT destination, state, deliveries FROM backlog WHERE project = $1 AND deliveries > 0", int64(project))
	if err != nil {
		return nil, fmt.Errorf("read the backlog: %w", err)
	}
	backlog := map[hook.DestinationID]map[hook.State]int64{}
	for rows.Next() {
		var destination hook.DestinationID
		var state, count int64
		if err := rows.Scan((*int64)(&destination), &state, &count); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if backlog[destination] == nil {
			backlog[destination] = map[hook.State]int64{}
		}
		backlog[destination][hook.State(state)] = count
	}
	return backlog, errors.Join(rows.Err(), rows.Close())
}
