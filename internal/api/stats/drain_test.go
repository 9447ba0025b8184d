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
		"it stays":               {hook.DestinationSpec{}, DestinationHealth{Waiting: 300, Arriving: 2, Leaving: 2}, 0, "it grows"},
		"it keeps up":            {hook.DestinationSpec{}, DestinationHealth{Waiting: 3, Arriving: 2, Leaving: 2}, 2 * time.Second, ""},
		"all is held":            {hook.DestinationSpec{}, DestinationHealth{Waiting: 3, States: held(3), Arriving: 2, Leaving: 1}, 0, "its connections are paused"},
		"some is held":           {hook.DestinationSpec{}, DestinationHealth{Waiting: 3, States: held(2), Leaving: 1}, 3 * time.Second, ""},
		"nothing leaves":         {hook.DestinationSpec{}, DestinationHealth{Waiting: 3}, 0, "nothing left in the last minutes"},
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

func held(n int64) map[string]int64 { return map[string]int64{hook.StateHeld.String(): n} }

func TestRates(t *testing.T) {
	now := time.Date(2026, 3, 4, 23, 0, 40, 0, time.UTC)
	numbers := func(came, ended int64) hook.Numbers { return hook.Numbers{Deliveries: came, Succeeded: ended} }
	minute, long := now.Truncate(time.Minute), now.Add(-5*time.Minute).Truncate(time.Minute)
	for name, c := range map[string]struct {
		short, long       hook.Numbers
		circuit           hook.Circuit
		arriving, leaving float64
	}{
		"the last minute tells": {numbers(400, 800), numbers(400, 800), hook.Circuit{}, 10, 20},
		"too little for it":     {numbers(4, 8), numbers(34, 68), hook.Circuit{}, 0.1, 0.2},
		"it was down before, and works for 10 seconds": {
			numbers(400, 400), numbers(3400, 400),
			hook.Circuit{OpenedAt: long.Add(-time.Hour), Since: now.Add(-10 * time.Second)},
			10, 40,
		},
		"it works this moment": {
			numbers(400, 50), numbers(3400, 50),
			hook.Circuit{State: hook.CircuitRamp, OpenedAt: long, Since: now},
			10, 10,
		},
		"it was down for some of the time": {
			numbers(400, 400), numbers(3400, 400),
			hook.Circuit{OpenedAt: minute.Add(time.Second), Since: now.Add(-10 * time.Second)},
			10, 10,
		},
		"it is down": {
			numbers(400, 0), numbers(3400, 400),
			hook.Circuit{State: hook.CircuitOpen, OpenedAt: long, Since: now.Add(-time.Second)},
			10, 0,
		},
	} {
		counters := counters{
			now: now, short: lapse{minute, map[int64]hook.Numbers{7: c.short}}, long: lapse{long, map[int64]hook.Numbers{7: c.long}},
		}
		if arriving, leaving := counters.rates(7, &c.circuit); arriving != c.arriving || leaving != c.leaving {
			t.Errorf("%s: %v arrive and %v leave, want %v and %v", name, arriving, leaving, c.arriving, c.leaving)
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
