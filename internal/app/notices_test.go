package app

import (
	"context"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/hooktest"
	"malote.dev/malote/internal/route"
)

func TestWatchersKnowHowLongDeliveriesWaitAsTheyShould(t *testing.T) {
	quiet := &hook.Quiet{From: "22:00", To: "06:00"}
	catalogue := hook.Catalogue{Sources: []hook.Source{
		{ID: 1, Project: 1, Name: hook.SystemSource, SourceSpec: hook.SourceSpec{System: true}},
		{ID: 2, Project: 1, Name: "shop"},
		{ID: 3, Project: 4, Name: hook.SystemSource, SourceSpec: hook.SourceSpec{System: true}},
	}}
	want := map[hook.DestinationID]time.Duration{11: 0, 12: time.Hour, 13: quietPatience, 14: quietPatience + time.Hour}
	for id := hook.DestinationID(11); id <= 14; id++ {
		to := hooktest.Destination(1, id.String(), "https://example.com/")
		to.ID = id
		short, long := hooktest.Connection(&catalogue.Sources[1], &to), hooktest.Connection(&catalogue.Sources[1], &to)
		short.ID, long.ID = hook.ConnectionID(2*id), hook.ConnectionID(2*id+1)
		switch id {
		case 12:
			short.Delay, long.Delay = hook.Duration(time.Minute), hook.Duration(time.Hour)
		case 13:
			to.Quiet = quiet
		case 14:
			long.Delay, long.Quiet = hook.Duration(time.Hour), quiet
		}
		catalogue.Destinations = append(catalogue.Destinations, to)
		catalogue.Connections = append(catalogue.Connections, long, short)
	}
	router := route.New(route.Options{Load: func(context.Context) (hook.Catalogue, error) { return catalogue, nil }})
	w := &watched{current: router.Current}
	if _, _, ok := w.Destination(11); ok || len(w.Projects()) != 0 {
		t.Error("an empty catalogue has a destination or a project")
	}
	if err := router.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, patience := range want {
		if destination, got, ok := w.Destination(id); !ok || destination.ID != id || got != patience {
			t.Errorf("destination %d waits %s as it should (%v), want %s", id, got, ok, patience)
		}
	}
	if got := w.Projects(); len(got) != 2 || got[0] != 1 || got[1] != 4 {
		t.Errorf("the projects are %v", got)
	}
	if name, ok := w.Source(2); !ok || name != "shop" {
		t.Errorf("the source is %q, %v", name, ok)
	}
	if _, ok := w.Source(9); ok {
		t.Error("there is a source that there is not")
	}
}
