package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

const refusalColumns = "id, project, source, admitted, data, payload"

func scanRefusal(row interface{ Scan(into ...any) error }) (hook.Refusal, error) {
	var r hook.Refusal
	var data, payload []byte
	var admitted sql.NullInt64
	if err := row.Scan((*int64)(&r.ID), (*int64)(&r.Project), (*int64)(&r.Source), &admitted, &data, &payload); err != nil {
		return r, err
	}
	r.Admitted = hook.EventID(admitted.Int64)
	if len(payload) > 0 {
		r.Payload = payload
	}
	if err := codec.DecodeRefusal(data, &r); err != nil {
		return r, fmt.Errorf("refusal %v: %w", r.ID, err)
	}
	return r, nil
}

// Refusal returns one refused request.
func Refusal(ctx context.Context, q Queryer, project hook.ProjectID, id hook.RefusalID) (hook.Refusal, error) {
	r, err := scanRefusal(q.QueryRowContext(ctx, "SELECT "+refusalColumns+" FROM refusal WHERE id = $1 AND project = $2", int64(id), int64(project)))
	if errors.Is(err, sql.ErrNoRows) {
		return hook.Refusal{}, hook.NotFound("refused request", id.String())
	}
	return r, err
}

// Refusals returns a page of refused requests, the newest first.
func Refusals(ctx context.Context, q Queryer, query store.RefusalQuery) (page.Page[hook.Refusal], error) {
	s := newSpan(query.Page, time.Time{}, time.Time{})
	origins, err := Origins(ctx, q, query.Project)
	if err != nil || query.Project == 0 {
		return page.Page[hook.Refusal]{Done: true}, err
	}
	var parts []part
	for _, o := range origins {
		if query.Source != 0 && o.Source != query.Source {
			continue
		}
		p, err := s.walk(ctx, q, s.query("refusal", "id", "source = $4"), int64(o.Source))
		if err != nil {
			return page.Page[hook.Refusal]{}, err
		}
		parts = append(parts, p)
	}
	f := s.merge(parts)
	items := make([]hook.Refusal, 0, len(f.cut(s.size)))
	for _, id := range f.cut(s.size) {
		r, err := scanRefusal(q.QueryRowContext(ctx, "SELECT "+refusalColumns+" FROM refusal WHERE id = $1", id))
		if err != nil {
			return page.Page[hook.Refusal]{}, fmt.Errorf("read refusal %v: %w", hook.RefusalID(id), err)
		}
		items = append(items, r)
	}
	return pageOf(s, f, items, func(r *hook.Refusal) int64 { return int64(r.ID) }), nil
}
