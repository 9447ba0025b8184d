package sqlite

import (
	"context"
	"database/sql"
	"regexp"
	"slices"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore"
)

// recorder is a Queryer that remembers the texts that it ran.
type recorder struct {
	sqlstore.Queryer

	texts []string
}

func (r *recorder) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r.texts = append(r.texts, query)
	return r.Queryer.QueryContext(ctx, query, args...)
}

func (r *recorder) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	r.texts = append(r.texts, query)
	return r.Queryer.QueryRowContext(ctx, query, args...)
}

// large matches a step of a plan that looks at a whole large table or index, or sorts.
// The tables of the catalogue and the parts of the log are small, and so is the backlog.
var large = regexp.MustCompile(`SCAN (event|e|delivery|d|attempt|dedupe_fresh|dedupe_run|dedupe_chunk|refusal|numbers|repeat|r|audit)\b|TEMP B-TREE|AUTOMATIC`)

// plan returns the steps by which SQLite would run a statement.
func plan(t *testing.T, q sqlstore.Queryer, text string) []string {
	t.Helper()
	rows, err := q.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, make([]any, 16)...) // more parameters than any text has
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

func openForPlans(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	event := hook.Event{Project: 1, Source: 2, Payload: []byte("x"), Targets: []hook.Target{
		{Connection: 3, Destination: 4},
		{Connection: 5, Destination: 6, Deferred: true},
		{Connection: 5, Destination: 4, Deferred: true},
		{Connection: 5, Destination: 4, OrderKey: "k"},
		{Connection: 5, Destination: 4, OrderKey: "l", Held: true, Cause: hook.CauseParked},
	}}
	if _, err := s.Accept(t.Context(), &hook.Acceptance{Event: event}); err != nil {
		t.Fatal(err)
	}
	if err := s.Refuse(t.Context(), &hook.Refusal{Project: 1, Source: 2}); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPlansOfTheWriter asks SQLite how it would run each statement of the writer.
func TestPlansOfTheWriter(t *testing.T) {
	s := openForPlans(t)
	all := &statements{}
	for _, text := range all.texts() {
		for _, step := range plan(t, s.reader, text) {
			if large.MatchString(step) {
				t.Errorf("%s\n\t%s", text, step)
			}
		}
	}
}

// TestPlansOfTheLists records what every list, with every filter and both ways, asks
// the database, and looks at the plans.
func TestPlansOfTheLists(t *testing.T) {
	s := openForPlans(t)
	ctx := t.Context()
	r := &recorder{Queryer: s.reader}
	check := func(err error) {
		t.Helper()
		if err != nil && hook.KindOf(err) != hook.KindNotFound {
			t.Fatal(err)
		}
	}
	hour := time.Hour
	for _, req := range []page.Request{{}, {Back: true}, {From: 1 << 60}, {From: 1, Back: true, Limit: 3}} {
		for _, query := range []store.EventQuery{
			{}, {Source: 2}, {Type: "x"}, {Type: "x*", Key: "k"}, {Text: "x", Source: 2}, {After: time.Unix(0, 0), Before: time.Now().Add(hour)},
		} {
			query.Project, query.Page = 1, req
			_, err := sqlstore.Events(ctx, r, query)
			check(err)
		}
		for _, query := range []store.DeliveryQuery{
			{},
			{Event: 1},
			{Connection: 5},
			{Destination: 4},
			{State: hook.StateFailed},
			{Destination: 4, State: hook.StatePending},
			{Destination: 4, State: hook.StateHeld, Cause: hook.CauseParked},
			{State: hook.StateHeld, Cause: hook.CauseParked},
			{Connection: 5, After: time.Unix(0, 0), Before: time.Now().Add(hour)},
		} {
			query.Project, query.Page = 1, req
			_, err := sqlstore.Deliveries(ctx, r, query, nil)
			check(err)
		}
		_, err := sqlstore.Refusals(ctx, r, store.RefusalQuery{Project: 1, Source: 2, Page: req})
		check(err)
		_, err = s.nouns.Sources.List(ctx, r, 1, req)
		check(err)
		_, err = sqlstore.ListTokens(ctx, r, 1, req)
		check(err)
	}
	_, err := sqlstore.IdleKeys(ctx, r, sqlstore.Key{}, 9)
	check(err)
	for _, query := range []store.KeyQuery{{Connection: 5}, {Parked: true}, {Connection: 5, Parked: true}, {Connection: 5, Key: "k"}} {
		query.Project = 1
		_, err = sqlstore.Keys(ctx, r, query, nil)
		check(err)
	}
	_, err = sqlstore.Event(ctx, r, 1, 1)
	check(err)
	_, _, err = sqlstore.Delivery(ctx, r, 1, 1)
	check(err)
	_, err = sqlstore.Attempts(ctx, r, 1)
	check(err)
	_, err = sqlstore.Refusal(ctx, r, 1, 1)
	check(err)
	_, err = sqlstore.Due(ctx, r)
	check(err)
	_, err = sqlstore.Backlog(ctx, r, 1)
	check(err)
	_, err = sqlstore.Series(ctx, r, store.NumbersQuery{Project: 1, Scope: store.BySource, From: time.Unix(0, 0), To: time.Now()})
	check(err)
	_, err = sqlstore.Totals(ctx, r, store.NumbersQuery{Project: 1, Scope: store.ByConnection})
	check(err)
	_, err = sqlstore.CountedSeries(ctx, r)
	check(err)
	_, err = sqlstore.TokenByHash(ctx, r, [32]byte{})
	check(err)
	slices.Sort(r.texts)
	texts := slices.Compact(r.texts)
	if len(texts) < 30 {
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

// TestPlansAreNoticed makes sure that the two tests above can fail.
func TestPlansAreNoticed(t *testing.T) {
	s := openForPlans(t)
	for _, text := range []string{
		"SELECT id FROM event WHERE type = 'x'",
		"SELECT id FROM event WHERE source = 1 ORDER BY type",
		"SELECT id FROM delivery WHERE state = 1 ORDER BY id",
		"SELECT min(next_at) FROM delivery d GROUP BY destination",
	} {
		if !slices.ContainsFunc(plan(t, s.reader, text), large.MatchString) {
			t.Errorf("nobody would notice %q: %v", text, plan(t, s.reader, text))
		}
	}
}
