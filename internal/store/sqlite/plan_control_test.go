package sqlite

import (
	"slices"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore"
)

// TestPlansOfReplaysHealthAndAudit does for these what TestPlansOfTheLists does.
func TestPlansOfReplaysHealthAndAudit(t *testing.T) {
	s := openForPlans(t)
	ctx := t.Context()
	r := &recorder{Queryer: s.reader}
	check := func(err error) {
		t.Helper()
		if err != nil && hook.KindOf(err) != hook.KindNotFound {
			t.Fatal(err)
		}
	}
	event := hook.EventID(0)
	check(s.conn.QueryRowContext(ctx, "SELECT max(id) FROM event").Scan((*int64)(&event)))
	for _, req := range []page.Request{{}, {Back: true}, {From: 1 << 60, Limit: 3}} {
		for _, query := range []store.DeliveryQuery{
			{Replay: 7},
			{Replay: 7, State: hook.StateFailed, Destination: 4},
			{Replay: 7, Connection: 5, After: time.Unix(0, 0)},
			{Replay: 7, Event: event},
			{Replay: 7, Event: event, State: hook.StateFailed, Connection: 5},
			{Event: event, State: hook.StatePending, Destination: 4},
		} {
			query.Project, query.Page = 1, req
			_, err := sqlstore.Deliveries(ctx, r, query, nil)
			check(err)
		}
		for _, query := range []store.AuditQuery{{}, {Action: "x*"}, {Subject: "y", After: time.Unix(0, 0), Before: time.Now()}} {
			query.Project, query.Page = 1, req
			_, err := sqlstore.Audit(ctx, r, query)
			check(err)
		}
		_, err := s.nouns.ListReplays(ctx, r, 1, req)
		check(err)
	}
	_, err := s.nouns.Replay(ctx, r, 1, 7)
	check(err)
	_, err = s.nouns.RunningReplays(ctx, r)
	check(err)
	_, err = sqlstore.Oldest(ctx, r, 1, 4)
	check(err)
	_, err = sqlstore.Failures(ctx, r, 1, 4, time.Unix(0, 0))
	check(err)
	_, err = sqlstore.Circuits(ctx, r)
	check(err)
	_, err = sqlstore.Audited(ctx, r)
	check(err)
	slices.Sort(r.texts)
	texts := slices.Compact(r.texts)
	if len(texts) < 20 {
		t.Errorf("only %d different texts were recorded", len(texts))
	}
	for _, text := range texts {
		for _, step := range plan(t, s.reader, text) {
			if large.MatchString(step) {
				t.Errorf("%s\n\t%s", text, step)
			}
		}
	}
}
