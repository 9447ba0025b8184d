package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
)

// Lists of the log are newest first and are made of ranges: the events of one source,
// the deliveries of one connection in one state. Each range is one ordered walk along
// one index; a list of several merges them. That way one index serves every list, and
// a project's list costs the same whatever else the tables hold.

// span is the part of a list that a page lies in: ids above Low and below High.
type span struct {
	low, high int64
	back      bool // walked from low to high: towards the start of the list
	size      int  // how many items are asked for
}

// newSpan turns a page request and a range of time into ids.
func newSpan(req page.Request, after, before time.Time) span {
	s := span{low: 0, high: 1<<63 - 1, back: req.Back, size: req.Size()}
	if !after.IsZero() {
		s.low = hook.MinID(ceilMillis(after)) - 1
	}
	if !before.IsZero() {
		s.high = hook.MinID(ceilMillis(before))
	}
	switch {
	case req.From == 0:
	case req.Back:
		s.low = max(s.low, req.From)
	default:
		s.high = min(s.high, req.From)
	}
	return s
}

// ceilMillis rounds up to the millisecond, the precision of ids.
func ceilMillis(t time.Time) time.Time {
	if cut := t.Truncate(time.Millisecond); !cut.Equal(t) {
		return cut.Add(time.Millisecond)
	}
	return t
}

// query completes a statement that selects the ids of a range.
func (s span) query(table, columns, where string) string {
	order := "DESC"
	if s.back {
		order = "ASC"
	}
	return "SELECT " + columns + " FROM " + table + " WHERE " + where + " AND id > $1 AND id < $2 ORDER BY id " + order + " LIMIT $3"
}

// sort puts ids in the order of the walk.
func (s span) sort(ids []int64) {
	slices.Sort(ids)
	if !s.back {
		slices.Reverse(ids)
	}
}

// beyond reports whether the walk reaches id only after limit.
func (s span) beyond(id, limit int64) bool {
	if s.back {
		return id > limit
	}
	return id < limit
}

// found is what a walk over some ranges brought.
type found struct {
	ids     []int64 // in the order of the walk, at most one more than asked for
	horizon int64   // the walk looked at everything up to here; 0: at everything there is
}

// part is what the walk along one range brought.
type part struct {
	ids     []int64
	horizon int64
}

// merge joins the parts of a walk. Where a part gave up early, the others are cut at
// the same place, so that the next page misses nothing.
func (s span) merge(parts []part) found {
	var f found
	for _, p := range parts {
		if p.horizon != 0 && (f.horizon == 0 || s.beyond(f.horizon, p.horizon)) {
			f.horizon = p.horizon
		}
	}
	for _, p := range parts {
		for _, id := range p.ids {
			if f.horizon == 0 || !s.beyond(id, f.horizon) {
				f.ids = append(f.ids, id)
			}
		}
	}
	s.sort(f.ids)
	f.ids = slices.Compact(f.ids)
	if len(f.ids) > s.size {
		f.ids = f.ids[:s.size+1]
	}
	return f
}

// walk reads the ids of one range in which nothing is filtered out.
func (s span) walk(ctx context.Context, q Queryer, query string, args ...any) (part, error) {
	rows, err := q.QueryContext(ctx, query, append([]any{s.low, s.high, s.size + 1}, args...)...)
	if err != nil {
		return part{}, fmt.Errorf("walk a list: %w", err)
	}
	var p part
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return part{}, errors.Join(err, rows.Close())
		}
		p.ids = append(p.ids, id)
	}
	return p, errors.Join(rows.Err(), rows.Close())
}

// pageOf makes the page of what a walk found; items are its first s.size ids, loaded,
// in the order of the walk.
func pageOf[T any](s span, f found, items []T, id func(*T) int64) page.Page[T] {
	p := page.Page[T]{Done: len(f.ids) <= s.size && f.horizon == 0}
	if s.back {
		slices.Reverse(items)
	}
	if len(items) > 0 {
		p.Items, p.First, p.Last = items, id(&items[0]), id(&items[len(items)-1])
	}
	if len(f.ids) <= s.size && f.horizon != 0 {
		if s.back {
			p.First = f.horizon
		} else {
			p.Last = f.horizon
		}
	}
	return p
}

// cut returns the ids of the page itself.
func (f found) cut(size int) []int64 { return f.ids[:min(size, len(f.ids))] }
