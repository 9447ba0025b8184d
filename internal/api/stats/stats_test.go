package stats

import (
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
)

func TestFold(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return from.Add(time.Duration(minutes) * time.Minute) }
	total, steps := fold([]hook.Numbers{
		{Minute: at(0), Accepted: 1, Outcomes: map[hook.Outcome]int64{hook.OutcomeSuccess: 1}},
		{Minute: at(4), Accepted: 2, Outcomes: map[hook.Outcome]int64{hook.OutcomeSuccess: 2}},
		{Minute: at(5), Accepted: 4},
		{Minute: at(19), Accepted: 8},
	}, from, 5*time.Minute)
	if total.Accepted != 15 || total.Outcomes[hook.OutcomeSuccess] != 3 {
		t.Errorf("total %+v", total)
	}
	if len(steps) != 3 || steps[0].Accepted != 3 || steps[1].Accepted != 4 || steps[2].Accepted != 8 ||
		!steps[1].Minute.Equal(at(5)) || !steps[2].Minute.Equal(at(15)) {
		t.Errorf("steps %+v", steps)
	}
}
