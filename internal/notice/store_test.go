package notice_test

import (
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/notice"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// TestAWatcherReadsWhatTheStoreCounts has a source refuse and a delivery wait, in a real
// store.
func TestAWatcherReadsWhatTheStoreCounts(t *testing.T) {
	s, ctx := sqlitetest.Open(t), t.Context()
	ids, now := hook.NewIDs(0), time.Now().UTC()
	if _, err := s.Reclaim(ctx, now); err != nil {
		t.Fatal(err)
	}
	accepted := now.Add(-notice.OldestAbove)
	for range 3 {
		event := hook.Event{ID: hook.EventID(ids.Next(accepted)), Project: 1, Source: 5, ReceivedAt: accepted, Targets: []hook.Target{
			{Delivery: hook.DeliveryID(ids.Next(accepted)), Connection: 6, Destination: 7, Deferred: true},
		}}
		if _, err := s.Accept(ctx, &hook.Acceptance{Event: event}); err != nil {
			t.Fatal(err)
		}
	}
	for range notice.RefusedAtLeast {
		refusal := hook.Refusal{ID: hook.RefusalID(ids.Next(now)), Project: 1, Source: 5, Reason: "bad_signature", ReceivedAt: now}
		if err := s.Refuse(ctx, &refusal); err != nil {
			t.Fatal(err)
		}
	}
	all := &everywhere{project: 1, destinations: map[hook.DestinationID]*hook.Destination{7: {ID: 7, Project: 1, Name: "erp"}}}
	given := map[string]hook.Notice{}
	w := notice.NewWatcher(notice.WatcherOptions{Store: s, Catalogue: all, Notify: func(n hook.Notice) { given[n.Type] = n }})
	w.Look(ctx, now.Add(time.Minute))
	if data, ok := given[hook.NoticeBacklogGrowing].Data.(notice.Backlog); !ok || data.Waiting != 3 || data.Oldest.Sub(accepted).Abs() > time.Second {
		t.Errorf("told of the backlog: %+v", given[hook.NoticeBacklogGrowing])
	}
	data, ok := given[hook.NoticeSourceRefusing].Data.(notice.Refusing)
	if !ok || data.Refused != notice.RefusedAtLeast || data.Reason != "bad_signature" || data.Example == 0 || data.Source.Name != "shop" {
		t.Errorf("told of the source: %+v", given[hook.NoticeSourceRefusing])
	}
}
