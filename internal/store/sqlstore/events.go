package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

const (
	eventColumns = "e.id, e.project, e.source, e.type, e.key, e.targets, e.request, length(e.payload), coalesce(r.times, 0)"
	eventTables  = "event e LEFT JOIN repeat r ON r.event = e.id"
)

func scanEvent(row interface{ Scan(into ...any) error }, more ...any) (hook.Event, error) {
	var ev hook.Event
	var targets, request []byte
	into := []any{
		(*int64)(&ev.ID), (*int64)(&ev.Project), (*int64)(&ev.Source), &ev.Type, &ev.Key,
		&targets, &request, &ev.PayloadSize, &ev.Duplicates,
	}
	if err := row.Scan(append(into, more...)...); err != nil {
		return ev, err
	}
	if err := codec.DecodeRequest(request, &ev); err != nil {
		return ev, fmt.Errorf("event %v: %w", ev.ID, err)
	}
	var err error
	if ev.Targets, err = codec.DecodeTargets(ev.ID, targets); err != nil {
		return ev, fmt.Errorf("event %v: %w", ev.ID, err)
	}
	return ev, nil
}

// Event returns an event with its payload.
func Event(ctx context.Context, q Queryer, project hook.ProjectID, id hook.EventID) (hook.Event, error) {
	var payload []byte
	ev, err := scanEvent(q.QueryRowContext(ctx, "SELECT "+eventColumns+", e.payload FROM "+eventTables+" WHERE e.id = $1 AND e.project = $2",
		int64(id), int64(project)), &payload)
	if errors.Is(err, sql.ErrNoRows) {
		return hook.Event{}, hook.NotFound("event", id.String())
	}
	if err != nil {
		return hook.Event{}, fmt.Errorf("read event %v: %w", id, err)
	}
	if len(payload) > 0 {
		ev.Payload = payload
	}
	return ev, nil
}

// Events returns a page of events, without payloads.
func Events(ctx context.Context, q Queryer, query store.EventQuery) (page.Page[hook.Event], error) {
	s := newSpan(query.Page, query.After, query.Before)
	origins, err := Origins(ctx, q, query.Project)
	if err != nil || query.Project == 0 {
		return page.Page[hook.Event]{Done: true}, err
	}
	var sources []hook.SourceID
	for _, o := range origins {
		if query.Source == 0 || o.Source == query.Source {
			sources = append(sources, o.Source)
		}
	}
	parts := make([]part, 0, len(sources))
	for _, source := range sources {
		p, err := walkEvents(ctx, q, s, eventWalk{&query, source, max(1, store.ScanLimit/len(sources))})
		if err != nil {
			return page.Page[hook.Event]{}, err
		}
		parts = append(parts, p)
	}
	f := s.merge(parts)
	items := make([]hook.Event, 0, len(f.cut(s.size)))
	for _, id := range f.cut(s.size) {
		ev, err := scanEvent(q.QueryRowContext(ctx, "SELECT "+eventColumns+" FROM "+eventTables+" WHERE e.id = $1", id))
		if err != nil {
			return page.Page[hook.Event]{}, fmt.Errorf("read event %v: %w", hook.EventID(id), err)
		}
		items = append(items, ev)
	}
	return pageOf(s, f, items, func(ev *hook.Event) int64 { return int64(ev.ID) }), nil
}

// eventWalk is a walk along the events of one source.
type eventWalk struct {
	query  *store.EventQuery
	source hook.SourceID
	budget int // how many events it may look at when something is filtered out
}

func walkEvents(ctx context.Context, q Queryer, s span, w eventWalk) (part, error) {
	if w.query.Type == "" && w.query.Key == "" && w.query.Text == "" {
		return s.walk(ctx, q, s.query("event", "id", "source = $4"), int64(w.source))
	}
	columns := "id, type, key"
	if w.query.Text != "" {
		columns += ", payload"
	}
	rows, err := q.QueryContext(ctx, s.query("event", columns, "source = $4"), s.low, s.high, w.budget, int64(w.source))
	if err != nil {
		return part{}, fmt.Errorf("search the events: %w", err)
	}
	p, err := w.search(rows, s)
	return p, errors.Join(err, rows.Err(), rows.Close())
}

// search reads events until it has a page of those that match, or used up its budget.
func (w *eventWalk) search(rows *sql.Rows, s span) (part, error) {
	var p part
	var id int64
	var eventType, key string
	var payload sql.RawBytes
	into := []any{&id, &eventType, &key}
	if w.query.Text != "" {
		into = append(into, &payload)
	}
	text := []byte(w.query.Text)
	looked := 0
	for len(p.ids) <= s.size && rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return part{}, err
		}
		looked++
		if matchType(w.query.Type, eventType) && (w.query.Key == "" || w.query.Key == key) && bytes.Contains(payload, text) {
			p.ids = append(p.ids, id)
		}
	}
	if looked == w.budget && len(p.ids) <= s.size {
		p.horizon = id
	}
	return p, nil
}

// matchType reports whether an event type fits a pattern in which "*" stands for any
// run of characters; the empty pattern fits all.
func matchType(pattern, eventType string) bool {
	if pattern == "" {
		return true
	}
	pieces := strings.Split(pattern, "*")
	if len(pieces) == 1 {
		return pattern == eventType
	}
	rest, ok := strings.CutPrefix(eventType, pieces[0])
	if !ok {
		return false
	}
	for _, piece := range pieces[1 : len(pieces)-1] {
		at := strings.Index(rest, piece)
		if at < 0 {
			return false
		}
		rest = rest[at+len(piece):]
	}
	return strings.HasSuffix(rest, pieces[len(pieces)-1])
}
