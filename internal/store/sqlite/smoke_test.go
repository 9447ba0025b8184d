package sqlite_test

import (
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	s := sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
	ctx := t.Context()
	p, err := s.Projects().Get(ctx, 0, "default")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reclaim(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	src := hook.Source{Project: p.ID, Name: "shop"}
	src.Secret = "abc"
	if err := s.Sources().Create(ctx, &src); err != nil {
		t.Fatal(err)
	}
	dst := hook.Destination{Project: p.ID, Name: "erp"}
	if err := s.Destinations().Create(ctx, &dst); err != nil {
		t.Fatal(err)
	}
	con := hook.Connection{Project: p.ID, Name: "c", Source: src.ID, Destination: dst.ID}
	if err := s.Connections().Create(ctx, &con); err != nil {
		t.Fatal(err)
	}
	a := &hook.Acceptance{Event: hook.Event{Project: p.ID, Source: src.ID, Type: "x", Payload: []byte("{}"), Targets: []hook.Target{{Connection: con.ID, Destination: dst.ID}}}, Dedupe: hook.DedupeHash{1}, Window: time.Hour}
	r, err := s.Accept(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	b := *a
	b.Event.ID = 0
	r2, err := s.Accept(ctx, &b)
	if err != nil || !r2.Duplicate || r2.Event != r.Event {
		t.Fatal(r2, err)
	}
	ds, err := s.Deliveries(ctx, store.DeliveryQuery{Project: p.ID})
	if err != nil || len(ds.Items) != 1 || ds.Items[0].State != hook.StateSending {
		t.Fatal(ds, err)
	}
	job := &hook.Job{Delivery: ds.Items[0], Inline: true}
	done := make(chan error, 1)
	s.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: time.Now(), Attempt: &hook.Attempt{Outcome: hook.OutcomeTimeout}}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	jobs, err := s.Claim(ctx, store.Claim{Destination: dst.ID, Owner: "o", Until: time.Now().Add(time.Minute), Now: time.Now().Add(time.Second), Limit: 10})
	if err != nil || len(jobs) != 1 {
		t.Fatal(jobs, err)
	}
	s.Settle(hook.Settlement{Job: jobs[0], State: hook.StateSucceeded, Attempt: &hook.Attempt{Outcome: hook.OutcomeSuccess}}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	at, err := s.Attempts(ctx, p.ID, jobs[0].Delivery.ID)
	if err != nil || len(at) != 2 {
		t.Fatal(at, err)
	}
	ev, err := s.Events(ctx, store.EventQuery{Project: p.ID, Type: "x*"})
	if err != nil || len(ev.Items) != 1 || ev.Items[0].Duplicates != 1 {
		t.Fatal(ev, err)
	}
	tot, err := s.Totals(ctx, store.NumbersQuery{Project: p.ID, Scope: store.ByDestination})
	if err != nil || tot[int64(dst.ID)].Succeeded != 1 {
		t.Fatal(tot, err)
	}
	if _, err := s.Prune(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	st, err := s.Stats(ctx)
	t.Log(st, err)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
	if n, err := s.Reclaim(ctx, time.Now()); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	cat, err := s.Catalogue(ctx)
	if err != nil || len(cat.Sources) != 1 || cat.Sources[0].Secret != "abc" {
		t.Fatal(cat, err)
	}
}
