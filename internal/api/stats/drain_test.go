package stats

import (
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
)

func TestDrain(t *testing.T) {
	now := time.Date(2026, 3, 4, 23, 0, 0, 0, time.UTC)
	night := &hook.Quiet{From: "22:00", To: "06:00"}
	open := hook.Circuit{State: hook.CircuitOpen, ProbeAt: now.Add(time.Minute)}
	for name, c := range map[string]struct {
		spec    hook.DestinationSpec
		health  DestinationHealth
		want    time.Duration
		stalled string // in the reason; "": there is a time
	}{
		"nothing waits":          {hook.DestinationSpec{Paused: true}, DestinationHealth{}, 0, ""},
		"it becomes less":        {hook.DestinationSpec{}, DestinationHealth{Waiting: 1000, Arriving: 5, Leaving: 15}, 100 * time.Second, ""},
		"a part of a second":     {hook.DestinationSpec{}, DestinationHealth{Waiting: 1, Leaving: 15}, time.Second, ""},
		"it grows":               {hook.DestinationSpec{}, DestinationHealth{Waiting: 3, Arriving: 12.34, Leaving: 0.5}, 0, "it grows: 12 arrive in a second, and 0.5 leave"},
		"it stays":               {hook.DestinationSpec{}, DestinationHealth{Waiting: 3, Arriving: 2, Leaving: 2}, 0, "it grows"},
		"nothing leaves":         {hook.DestinationSpec{}, DestinationHealth{Waiting: 3}, 0, "nothing left in the last five minutes"},
		"it would take for ever": {hook.DestinationSpec{}, DestinationHealth{Waiting: 1e9, Leaving: 1}, 0, "more than 30 days"},
		"paused":                 {hook.DestinationSpec{Paused: true}, DestinationHealth{Waiting: 3, Leaving: 9}, 0, "it is paused"},
		"open":                   {hook.DestinationSpec{}, DestinationHealth{Waiting: 3, Leaving: 9, Circuit: open}, 0, "the next probe is made at 2026-03-04 23:01:00 UTC"},
		"half-open":              {hook.DestinationSpec{}, DestinationHealth{Waiting: 3, Circuit: hook.Circuit{State: hook.CircuitHalfOpen}}, 0, "half-open"},
		"ramp":                   {hook.DestinationSpec{}, DestinationHealth{Waiting: 3, Leaving: 3, Circuit: hook.Circuit{State: hook.CircuitRamp}}, time.Second, ""},
		"quiet":                  {hook.DestinationSpec{Quiet: night}, DestinationHealth{Waiting: 3, Leaving: 9}, 0, "until 2026-03-05 06:00:00 UTC"},
	} {
		left, stalled := drain(&hook.Destination{DestinationSpec: c.spec}, &c.health, now)
		switch {
		case c.stalled != "":
			if left != nil || !strings.Contains(stalled, c.stalled) {
				t.Errorf("%s: %v, %q", name, left, stalled)
			}
		case left == nil || time.Duration(*left) != c.want || stalled != "":
			t.Errorf("%s: %v, %q", name, left, stalled)
		}
	}
}

func TestTroubleIsRanked(t *testing.T) {
	worse := []DestinationHealth{
		{Circuit: hook.Circuit{State: hook.CircuitOpen}},
		{Waiting: 1, Stalled: "it grows"},
		{Circuit: hook.Circuit{State: hook.CircuitRamp}},
		{Paused: true, Waiting: 1, Stalled: "it is paused"},
		{Waiting: 1},
	}
	for i := 1; i < len(worse); i++ {
		if trouble(&worse[i-1]) <= trouble(&worse[i]) {
			t.Errorf("%+v is not worse than %+v", worse[i-1], worse[i])
		}
	}
}
