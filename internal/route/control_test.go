package route

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
)

func TestOrderKeys(t *testing.T) {
	long := strings.Repeat("k", 2*hook.MaxOrderKey)
	for name, test := range map[string]struct{ key, payload, want string }{
		"a text":                   {`data.customer`, `{"customer":"ann"}`, "ann"},
		"a number":                 {`data.customer`, `{"customer":7}`, "7"},
		"of several fields":        {`data.country + "/" + string(data.customer)`, `{"country":"BR","customer":7}`, "BR/7"},
		"of the event":             {`event.type`, `{}`, "order.paid"},
		"not there":                {`data.customer`, `{}`, ""},
		"null":                     {`data.customer`, `{"customer":null}`, ""},
		"of a kind that is no key": {`data.customer`, `{"customer":{"id":7}}`, ""},
		"long":                     {`data.customer`, `{"customer":"` + long + `"}`, hook.CutOrderKey(long)},
	} {
		router := newRouter(t, newShelf(connection(101, 10, hook.ConnectionSpec{Order: &hook.Order{Key: test.key}})))
		c, _ := router.Current().Connection(101)
		in := filter.NewInput(&hook.Event{Type: "order.paid", Payload: []byte(test.payload)})
		if got := c.OrderKey(in); got != test.want || c.Problem != nil {
			t.Errorf("%s: %q, want %q (%v)", name, got, test.want, c.Problem)
		}
	}
	router := newRouter(t, newShelf(connection(101, 10, hook.ConnectionSpec{})))
	c, _ := router.Current().Connection(101)
	if got := c.OrderKey(filter.NewInput(&hook.Event{Payload: []byte(`{}`)})); got != "" {
		t.Errorf("without an order the key is %q", got)
	}
}

// What was stored and cannot be kept any more is told, and not ignored.
func TestWhatCannotBeKept(t *testing.T) {
	for name, spec := range map[string]hook.ConnectionSpec{
		"order.key": {Order: &hook.Order{Key: "dta.x"}},
		"zone":      {Quiet: &hook.Quiet{From: "22:00", To: "06:00", Zone: "Atlantis"}},
	} {
		router := newRouter(t, newShelf(connection(101, 10, spec)))
		c, _ := router.Current().Connection(101)
		if c.Problem == nil || !strings.Contains(c.Problem.Error(), name) {
			t.Errorf("%s: %v", name, c.Problem)
		}
	}
}

func TestDueAt(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	night := &hook.Quiet{From: "22:00", To: "06:00"}
	for name, test := range map[string]struct {
		connection, destination *hook.Quiet
		delay                   time.Duration
		received, now, want     time.Duration // from noon; a want of 0: at once
	}{
		"at once":                            {nil, nil, 0, 0, 0, 0},
		"later":                              {nil, nil, time.Hour, 0, 0, time.Hour},
		"the delay goes from the acceptance": {nil, nil, time.Hour, -10 * time.Minute, 0, 50 * time.Minute},
		"the delay is over":                  {nil, nil, time.Hour, -time.Hour, 0, 0},
		"by day":                             {night, night, 0, 0, 0, 0},
		"by night":                           {night, nil, 0, 11 * time.Hour, 11 * time.Hour, 18 * time.Hour},
		"the destination's night":            {nil, night, 0, 11 * time.Hour, 11 * time.Hour, 18 * time.Hour},
		"a delay into the night":             {nil, night, 11 * time.Hour, 0, 0, 18 * time.Hour},
		"a delay over the night":             {nil, night, 19 * time.Hour, 0, 0, 19 * time.Hour},
		"one after the other":                {&hook.Quiet{From: "12:00", To: "13:00"}, &hook.Quiet{From: "13:00", To: "14:30"}, 0, 0, 0, 150 * time.Minute},
		"the other way round":                {&hook.Quiet{From: "13:00", To: "14:30"}, &hook.Quiet{From: "12:00", To: "13:00"}, 0, 0, 0, 150 * time.Minute},
		"both together are always, which it ends": {&hook.Quiet{From: "00:00", To: "12:00"}, &hook.Quiet{From: "12:00", To: "00:00"}, 0, 0, 0, 8 * 24 * time.Hour},
	} {
		s := newShelf(connection(101, 10, hook.ConnectionSpec{Quiet: test.connection, Delay: hook.Duration(test.delay)}))
		s.catalogue.Destinations[0].Quiet = test.destination
		snapshot := newRouter(t, s).Current()
		c, _ := snapshot.Connection(101)
		got := c.DueAt(noon.Add(test.received), noon.Add(test.now))
		if test.want == 0 && !got.IsZero() || test.want != 0 && !got.Equal(noon.Add(test.want)) {
			t.Errorf("%s: due at %s", name, got)
		}
	}
}

func TestQuietHoursOutliveReloads(t *testing.T) {
	s := newShelf(connection(101, 10, hook.ConnectionSpec{}))
	s.catalogue.Destinations[0].Quiet = &hook.Quiet{From: "22:00", To: "06:00"}
	router := newRouter(t, s)
	now := time.Date(2026, 11, 23, 23, 0, 0, 0, time.UTC)
	due := func() time.Time {
		c, _ := router.Current().Connection(101)
		return c.DueAt(now, now)
	}
	for range 2 { // the second time they are those of the snapshot before
		if due := due(); !due.Equal(now.Add(7 * time.Hour)) {
			t.Errorf("due at %s", due)
		}
		if err := router.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.catalogue.Destinations[0].Quiet, s.catalogue.Destinations[0].Version = nil, 9
	if err := router.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if due := due(); !due.IsZero() {
		t.Errorf("the hours were removed, and it is due at %s", due)
	}
}

func TestAWayElsewhere(t *testing.T) {
	s := newShelf(connection(101, 10, hook.ConnectionSpec{Delay: hook.Duration(time.Hour)}))
	s.catalogue.Destinations = append(s.catalogue.Destinations, hook.Destination{ID: 31, Project: 1, Name: "spare"})
	s.catalogue.Destinations[1].Paused = true
	s.catalogue.Destinations[1].Quiet = &hook.Quiet{From: "00:00", To: "12:00"}
	snapshot := newRouter(t, s).Current()
	own, ok := snapshot.Way(101, 30)
	if direct, _ := snapshot.Connection(101); !ok || own != direct {
		t.Error("the way of a connection to its own destination is not the connection")
	}
	way, ok := snapshot.Way(101, 31)
	if !ok || way.To.Name != "spare" || way.Destination != 31 || own.To.Name != "erp" || own.Destination != 30 {
		t.Fatalf("the way leads to %+v", way)
	}
	if cause, _ := way.Held(); cause != hook.CausePaused {
		t.Error("the pause of the other destination does not count")
	}
	morning := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	if due := way.DueAt(morning, morning); !due.Equal(morning.Add(4 * time.Hour)) {
		t.Errorf("the quiet hours of the other destination do not count: %s", due)
	}
	for connection, destination := range map[hook.ConnectionID]hook.DestinationID{101: 99, 99: 30} {
		if _, ok := snapshot.Way(connection, destination); ok {
			t.Errorf("there is a way from %d to %d", connection, destination)
		}
	}
}

func TestTheSystemSource(t *testing.T) {
	s := newShelf(connection(101, 13, hook.ConnectionSpec{Types: []string{"malote.*"}}))
	s.catalogue.Sources = append(s.catalogue.Sources, hook.Source{
		ID: 13, Project: 1, Version: 1, Name: hook.SystemSource, SourceSpec: hook.SourceSpec{System: true},
	})
	snapshot := newRouter(t, s).Current()
	source, ok := snapshot.SystemSource(1)
	if !ok || source.ID != 13 || source.Problem != nil {
		t.Fatalf("%+v, %v", source, ok)
	}
	if ids, _ := matches(source, hook.NoticeCircuitOpened, `{}`); len(ids) != 1 {
		t.Errorf("its event matches %v", ids)
	}
	if _, ok := snapshot.SystemSource(2); ok {
		t.Error("a project that has none has one")
	}
}
