package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// Audit returns a page of a project's entries, the newest first.
func Audit(ctx context.Context, q Queryer, query store.AuditQuery) (page.Page[hook.AuditEntry], error) {
	s := newSpan(query.Page, query.After, query.Before)
	p, err := walkAudit(ctx, q, s, &query)
	if err != nil {
		return page.Page[hook.AuditEntry]{}, err
	}
	f := s.merge([]part{p})
	items := make([]hook.AuditEntry, 0, len(f.cut(s.size)))
	for _, id := range f.cut(s.size) {
		entry, err := scanAudit(q.QueryRowContext(ctx,
			"SELECT id, project, token, actor, action, subject, remote, detail FROM audit WHERE id = $1", id))
		if err != nil {
			return page.Page[hook.AuditEntry]{}, fmt.Errorf("read audit entry %v: %w", hook.AuditID(id), err)
		}
		items = append(items, entry)
	}
	return pageOf(s, f, items, func(e *hook.AuditEntry) int64 { return int64(e.ID) }), nil
}

func walkAudit(ctx context.Context, q Queryer, s span, query *store.AuditQuery) (part, error) {
	if query.Action == "" && query.Subject == "" {
		return s.walk(ctx, q, s.query("audit", "id", "project = $4"), int64(query.Project))
	}
	rows, err := q.QueryContext(ctx, s.query("audit", "id, action, subject", "project = $4"), s.low, s.high, store.ScanLimit, int64(query.Project))
	if err != nil {
		return part{}, fmt.Errorf("search the audit: %w", err)
	}
	var p part
	var id int64
	looked := 0
	for len(p.ids) <= s.size && rows.Next() {
		var action, subject string
		if err := rows.Scan(&id, &action, &subject); err != nil {
			return part{}, errors.Join(err, rows.Close())
		}
		looked++
		if matchType(query.Action, action) && (query.Subject == "" || query.Subject == subject) {
			p.ids = append(p.ids, id)
		}
	}
	if looked == store.ScanLimit && len(p.ids) <= s.size {
		p.horizon = id
	}
	return p, errors.Join(rows.Err(), rows.Close())
}

func scanAudit(row interface{ Scan(into ...any) error }) (hook.AuditEntry, error) {
	var e hook.AuditEntry
	var detail sql.NullString
	err := row.Scan((*int64)(&e.ID), (*int64)(&e.Project), (*int64)(&e.Token), &e.Actor, &e.Action, &e.Subject, &e.Remote, &detail)
	e.At = e.ID.Time()
	if detail.Valid {
		e.Detail = []byte(detail.String)
	}
	return e, err
}

// Audited returns the projects that have entries, deleted ones included.
func Audited(ctx context.Context, q Queryer) ([]hook.ProjectID, error) {
	var list []hook.ProjectID
	last := int64(0)
	for {
		var next *int64
		if err := q.QueryRowContext(ctx, "SELECT min(project) FROM audit WHERE project > $1", last).Scan(&next); err != nil {
			return nil, fmt.Errorf("look for audited projects: %w", err)
		}
		if next == nil {
			return list, nil
		}
		last = *next
		list = append(list, hook.ProjectID(last))
	}
}
