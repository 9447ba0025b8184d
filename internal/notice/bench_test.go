package notice_test

import (
	"fmt"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/notice"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// everywhere is a catalogue of one project.
type everywhere struct {
	project      hook.ProjectID
	destinations map[hook.DestinationID]*hook.Destination
}

func (e *everywhere) Projects() []hook.ProjectID { return []hook.ProjectID{e.project} }

func (e *everywhere) Destination(id hook.DestinationID) (*hook.Destination, time.Duration, bool) {
	destination, ok := e.destinations[id]
	return destination, 0, ok
}

func (e *everywhere) Source(hook.SourceID) (string, bool) { return "shop", true }

// BenchmarkLook looks at 10,000 destinations where something waits: the first time, when
// nothing is known, and after that.
func BenchmarkLook(b *testing.B) {
	const destinations = 10_000
	s := sqlitetest.Open(b)
	if _, err := s.Reclaim(b.Context(), time.Now()); err != nil {
		b.Fatal(err)
	}
	all := &everywhere{project: 1, destinations: map[hook.DestinationID]*hook.Destination{}}
	ids := hook.NewIDs(0)
	now := time.Now()
	acceptance := &hook.Acceptance{Event: hook.Event{ID: hook.EventID(ids.Next(now)), Project: 1, Source: 1, ReceivedAt: now}}
	for i := range destinations {
		id := hook.DestinationID(i + 1)
		all.destinations[id] = &hook.Destination{ID: id, Project: 1, Name: fmt.Sprint(i)}
		acceptance.Event.Targets = append(acceptance.Event.Targets, hook.Target{
			Delivery: hook.DeliveryID(ids.Next(now)), Connection: hook.ConnectionID(i + 1), Destination: id, Deferred: true, Due: now.Add(time.Hour),
		})
	}
	if _, err := s.Accept(b.Context(), acceptance); err != nil {
		b.Fatal(err)
	}
	given := 0
	watcher := func() *notice.Watcher {
		return notice.NewWatcher(notice.WatcherOptions{Store: s, Catalogue: all, Notify: func(hook.Notice) { given++ }})
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			watcher().Look(b.Context(), now)
		}
	})
	b.Run("next", func(b *testing.B) {
		w := watcher()
		w.Look(b.Context(), now)
		for b.Loop() {
			w.Look(b.Context(), now)
		}
	})
	b.Run("late", func(b *testing.B) {
		w := watcher()
		for b.Loop() {
			w.Look(b.Context(), now.Add(time.Hour))
		}
	})
	if given == 0 {
		b.Error("nothing was told of 10,000 destinations that are late")
	}
}
