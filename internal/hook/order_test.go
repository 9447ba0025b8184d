package hook_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

func TestStuckHeads(t *testing.T) {
	t.Parallel()
	policy := hook.RetryPolicy{Schedule: []hook.Duration{hook.Duration(time.Minute), hook.Duration(time.Hour)}, Jitter: new(float64)}
	off := hook.RetryPolicy{Off: true, Jitter: new(float64)}
	atOnce := hook.RetryPolicy{Schedule: []hook.Duration{0}, Jitter: new(float64)}
	block, park, skip := hook.Stuck{}, hook.Stuck{Park: true}, hook.Stuck{SkipAfter: 2}
	failed := func(number int) hook.Try {
		return hook.Try{Number: number, Outcome: hook.OutcomeRejected, Status: 500, Detail: "500"}
	}
	gone := hook.Try{Number: 1, Outcome: hook.OutcomeGone, Detail: "410"}
	manual := hook.Try{Number: 1, Outcome: hook.OutcomeTimeout, Detail: "late", Manual: true}
	patient := hook.Try{Number: 9, Outcome: hook.OutcomeThrottled, Status: 429, Detail: "429", RetryAfter: 2 * time.Hour}
	held, pending, failedState := hook.StateHeld, hook.StatePending, hook.StateFailed
	for name, test := range map[string]struct {
		rule   hook.Stuck
		policy hook.RetryPolicy
		try    hook.Try
		state  hook.State
		wait   time.Duration
		reason string
	}{
		"a success":                        {block, policy, working(), hook.StateSucceeded, 0, ""},
		"block follows the schedule":       {block, policy, failed(1), pending, time.Minute, "500"},
		"block repeats the last wait":      {block, policy, failed(3), pending, time.Hour, "500; its key waits for it"},
		"block for ever":                   {block, policy, failed(300), pending, time.Hour, "500; its key waits for it"},
		"block without a schedule":         {block, off, failed(1), pending, 5 * time.Minute, "500; its key waits for it"},
		"block does not spin":              {block, atOnce, failed(2), pending, time.Second, "500; its key waits for it"},
		"block by default":                 {block, hook.RetryPolicy{Jitter: new(float64)}, failed(10), pending, 24 * time.Hour, "500; its key waits for it"},
		"block what is gone":               {block, policy, gone, pending, time.Hour, "410; its key waits for it"},
		"block what was sent by hand":      {block, policy, manual, pending, time.Hour, "late; its key waits for it"},
		"park follows the schedule":        {park, policy, failed(2), pending, time.Hour, "500"},
		"park what is exhausted":           {park, policy, failed(3), held, 0, "500; all 3 attempts are used up; its key is parked until a person decides"},
		"park what is gone":                {park, policy, gone, held, 0, "410; its key is parked until a person decides"},
		"park what was sent by hand":       {park, policy, manual, held, 0, "late; it was sent by hand, so no retry follows; its key is parked until a person decides"},
		"skip follows the schedule":        {skip, policy, failed(1), pending, time.Minute, "500"},
		"skip ends early":                  {skip, policy, failed(2), failedState, 0, "500; after attempt 2 its key goes on without it"},
		"skip goes on after the schedule":  {skip, off, failed(1), pending, 5 * time.Minute, "500; its key waits for it"},
		"skip ends after a short schedule": {skip, off, failed(2), failedState, 0, "500; after attempt 2 its key goes on without it"},
		"skip what is gone":                {skip, policy, gone, failedState, 0, "410"},
		"skip what was sent by hand":       {skip, policy, manual, failedState, 0, "late; it was sent by hand, so no retry follows"},
		"a long wait that was asked for":   {block, policy, patient, pending, 2 * time.Hour, "429; its key waits for it"},
	} {
		got := test.rule.Decide(&test.policy, test.try, noon, 0.5)
		if got.State != test.state || got.Reason != test.reason || (got.State == held) != (got.Cause == hook.CauseParked) {
			t.Errorf("%s: %s %q %q, want %s %q", name, got.State, got.Cause, got.Reason, test.state, test.reason)
		}
		if test.state == pending && !got.Next.Equal(noon.Add(test.wait)) {
			t.Errorf("%s: again after %s, want %s", name, got.Next.Sub(noon), test.wait)
		}
	}
}

// No rule gives up a head that blocks, and no rule makes the state machine do what it
// does not.
func TestRulesForStuckHeadsObeyTheStateMachine(t *testing.T) {
	t.Parallel()
	outcomes := []hook.Outcome{hook.OutcomeThrottled, hook.OutcomeRejected, hook.OutcomeGone, hook.OutcomeRefused, hook.OutcomeTimeout, hook.OutcomeSuccess}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"", "block", "park", "skip after 3"}).Draw(t, "rule")
		order := hook.Order{Stuck: text}
		policy := hook.RetryPolicy{Off: rapid.Bool().Draw(t, "off")}
		for _, wait := range rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 0, 5).Draw(t, "schedule") {
			policy.Schedule = append(policy.Schedule, hook.Duration(wait))
		}
		try := hook.Try{
			Number: rapid.IntRange(1, 20).Draw(t, "number"), Outcome: rapid.SampledFrom(outcomes).Draw(t, "outcome"),
			Detail: "why", Manual: rapid.Bool().Draw(t, "manual"),
		}
		decision := order.Rule().Decide(&policy, try, noon, rapid.Float64Range(0, 1).Draw(t, "random"))
		switch {
		case !hook.StateSending.May(decision.State):
			t.Fatalf("after an attempt a delivery may not be %s", decision.State)
		case decision.State == hook.StateFailed && !strings.HasPrefix(text, "skip"):
			t.Fatalf("%q gave up: %q", text, decision.Reason)
		case (decision.State == hook.StateSucceeded) != (try.Outcome == hook.OutcomeSuccess):
			t.Fatalf("%s after %s", decision.State, try.Outcome)
		case decision.State == hook.StatePending && decision.Next.Before(noon):
			t.Fatalf("the retry lies %s in the past", noon.Sub(decision.Next))
		case decision.State == hook.StatePending && strings.HasPrefix(text, "skip") && try.Number >= 3:
			t.Fatalf("attempt %d of a head that is skipped after 3 is not the last", try.Number)
		}
	})
}

func TestParseStuck(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]hook.Stuck{"": {}, "block": {}, "park": {Park: true}, "skip after 1": {SkipAfter: 1}, "skip after 25": {SkipAfter: 25}} {
		if got, err := hook.ParseStuck(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"Block", "skip", "skip after", "skip after 0", "skip after -1", "skip after x", "skip after 1 ", "drop"} {
		if got, err := hook.ParseStuck(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func TestOrderKeysAreCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", hook.MaxOrderKey)
	for text, want := range map[string]string{
		"":         "",
		"customer": "customer",
		long:       long,
		long + "1": long[:109] + "…61974c2341a6e20a",
	} {
		if got := hook.CutOrderKey(text); got != want {
			t.Errorf("%q is cut to %q, want %q", text, got, want)
		}
	}
}

func TestCutOrderKeysStayApart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.OneOf(rapid.String(), rapid.StringN(100, 200, -1), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		a, b := texts.Draw(t, "a"), texts.Draw(t, "b")
		cutA, cutB := hook.CutOrderKey(a), hook.CutOrderKey(b)
		if len(cutA) > hook.MaxOrderKey || !utf8.ValidString(cutA) {
			t.Fatalf("%q is no key", cutA)
		}
		if (a == b) != (cutA == cutB) {
			t.Fatalf("%q and %q become %q and %q", a, b, cutA, cutB)
		}
	})
}
