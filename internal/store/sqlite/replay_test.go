package sqlite_test

import (
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// A process that ended after a replay was ended, and before what it made was canceled,
// leaves that to the next one.
func TestTheEndOfAReplayIsBroughtToItsEnd(t *testing.T) {
	s, dir, connection := sqlitetest.Filled(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	events, err := s.Events(ctx, store.EventQuery{Project: connection.Project})
	must(err)
	r := hook.Replay{Project: connection.Project}
	must(s.CreateReplay(ctx, &r))
	target := store.ReplayTarget{Event: events.Items[0].ID, Target: hook.Target{Connection: connection.ID, Destination: connection.Destination}}
	_, err = s.AdvanceReplay(ctx, store.ReplayStep{
		Replay: r.ID, Project: r.Project, Cursor: 1, Targets: []store.ReplayTarget{target}, Now: time.Now(),
	})
	must(err)
	must(s.Close())
	sqlitetest.Execute(t, dir, "UPDATE replay SET state = 'canceled', reason = 'enough', ended_at = 1")
	s = sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
	_, err = s.Reclaim(ctx, time.Now())
	must(err)
	list, err := s.Deliveries(ctx, store.DeliveryQuery{Project: r.Project, Replay: r.ID, State: hook.StateCanceled})
	must(err)
	if len(list.Items) != 1 || list.Items[0].Reason != "enough" {
		t.Errorf("canceled: %+v, want the delivery that was left", list.Items)
	}
	got, err := s.Replay(ctx, r.Project, r.ID)
	must(err)
	if got.Progress.Open() != 0 || got.Progress.Canceled != 1 {
		t.Errorf("the replay is %+v", got)
	}
}
