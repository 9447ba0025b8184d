package hook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	schedule := hook.RetryPolicy{Schedule: []hook.Duration{hook.Duration(time.Minute), hook.Duration(time.Hour)}, Jitter: new(float64)}
	for name, test := range map[string]struct {
		policy hook.RetryPolicy
		try    hook.Try
		state  hook.State
		wait   time.Duration
	}{
		"success ends it":                 {schedule, hook.Try{Number: 1, Outcome: hook.OutcomeSuccess}, hook.StateSucceeded, 0},
		"first failure waits":             {schedule, hook.Try{Number: 1, Outcome: hook.OutcomeTimeout}, hook.StatePending, time.Minute},
		"second failure waits longer":     {schedule, hook.Try{Number: 2, Outcome: hook.OutcomeNetwork}, hook.StatePending, time.Hour},
		"third failure exhausts":          {schedule, hook.Try{Number: 3, Outcome: hook.OutcomeRejected}, hook.StateFailed, 0},
		"gone is for good":                {schedule, hook.Try{Number: 1, Outcome: hook.OutcomeGone}, hook.StateFailed, 0},
		"refused is for good":             {schedule, hook.Try{Number: 1, Outcome: hook.OutcomeRefused}, hook.StateFailed, 0},
		"blocked waits to be opened":      {schedule, hook.Try{Number: 1, Outcome: hook.OutcomeBlocked}, hook.StatePending, time.Minute},
		"a set-up waits to be mended":     {schedule, hook.Try{Number: 2, Outcome: hook.OutcomeConfig}, hook.StatePending, time.Hour},
		"Retry-After lengthens":           {schedule, hook.Try{Number: 1, Outcome: hook.OutcomeThrottled, RetryAfter: 10 * time.Minute}, hook.StatePending, 10 * time.Minute},
		"Retry-After never shortens":      {schedule, hook.Try{Number: 2, Outcome: hook.OutcomeThrottled, RetryAfter: time.Second}, hook.StatePending, time.Hour},
		"Retry-After has a bound":         {schedule, hook.Try{Number: 1, Outcome: hook.OutcomeThrottled, RetryAfter: 1e6 * time.Hour}, hook.StatePending, 24 * time.Hour},
		"off means one attempt":           {hook.RetryPolicy{Off: true}, hook.Try{Number: 1, Outcome: hook.OutcomeRejected}, hook.StateFailed, 0},
		"by hand means one attempt":       {schedule, hook.Try{Number: 1, Outcome: hook.OutcomeRejected, Manual: true}, hook.StateFailed, 0},
		"no schedule is the default one":  {hook.RetryPolicy{Jitter: new(float64)}, hook.Try{Number: 9, Outcome: hook.OutcomeRejected}, hook.StatePending, 24 * time.Hour},
		"the default has ten attempts":    {hook.RetryPolicy{}, hook.Try{Number: 10, Outcome: hook.OutcomeRejected}, hook.StateFailed, 0},
		"a redirect is retried, not gone": {schedule, hook.Try{Number: 1, Outcome: hook.OutcomeRedirect}, hook.StatePending, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := test.policy.Decide(test.try, noon, 0.5)
			if got.State != test.state {
				t.Errorf("state %s, want %s", got.State, test.state)
			}
			if test.wait > 0 && !got.Next.Equal(noon.Add(test.wait)) {
				t.Errorf("next after %s, want %s", got.Next.Sub(noon), test.wait)
			}
		})
	}
}

func TestDecideAlwaysObeysTheStateMachine(t *testing.T) {
	t.Parallel()
	outcomes := []hook.Outcome{
		hook.OutcomeSuccess, hook.OutcomeThrottled, hook.OutcomeRejected, hook.OutcomeGone, hook.OutcomeRefused, hook.OutcomeRedirect,
		hook.OutcomeTimeout, hook.OutcomeNetwork, hook.OutcomeBlocked, hook.OutcomeConfig,
	}
	rapid.Check(t, func(t *rapid.T) {
		jitter := rapid.Float64Range(0, 1).Draw(t, "jitter")
		policy := hook.RetryPolicy{Jitter: &jitter}
		for _, wait := range rapid.SliceOfN(rapid.Int64Range(0, int64(48*time.Hour)), 0, 12).Draw(t, "schedule") {
			policy.Schedule = append(policy.Schedule, hook.Duration(wait))
		}
		try := hook.Try{Number: rapid.IntRange(1, 30).Draw(t, "number"), Outcome: rapid.SampledFrom(outcomes).Draw(t, "outcome"), Detail: "why"}
		decision := policy.Decide(try, noon, rapid.Float64Range(0, 1).Draw(t, "random"))
		if !hook.StateSending.May(decision.State) {
			t.Fatalf("after an attempt a delivery may not be %s", decision.State)
		}
		if decision.State == hook.StatePending && decision.Next.Before(noon) {
			t.Fatalf("the retry lies %s in the past", noon.Sub(decision.Next))
		}
		if decision.State != hook.StateSucceeded && decision.Reason == "" {
			t.Fatal("a failure without a reason")
		}
	})
}

func TestStateMachine(t *testing.T) {
	t.Parallel()
	allowed := map[hook.State]string{
		0: "pending sending held", hook.StatePending: "sending held canceled", hook.StateSending: "succeeded pending failed held canceled",
		hook.StateHeld: "pending canceled", hook.StateSucceeded: "pending", hook.StateFailed: "pending", hook.StateCanceled: "pending",
	}
	for from, list := range allowed {
		for next := hook.StatePending; next <= hook.StateCanceled; next++ {
			want := false
			for word := range strings.FieldsSeq(list) {
				want = want || word == next.String()
			}
			if from.May(next) != want {
				t.Errorf("%q to %q is %v, want %v", from, next, from.May(next), want)
			}
		}
		var back hook.State
		if from != 0 {
			if err := back.UnmarshalText([]byte(from.String())); err != nil || back != from {
				t.Errorf("%q reads as %v, %v", from, back, err)
			}
		}
	}
}

func TestDurationText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"90s": "1m30s", "2h": "2h", "30d": "30d", "24h": "1d", "0": "0s", "1h30m": "1h30m", "500ms": "500ms"} {
		parsed, err := hook.ParseDuration(text)
		if err != nil || parsed.String() != want {
			t.Errorf("%q reads as %s (%v), want %s", text, parsed, err, want)
		}
	}
	for _, text := range []string{"", "-5s", "5", "d", "1w", "-1d", "1.5d", "99999999999d"} {
		if parsed, err := hook.ParseDuration(text); err == nil {
			t.Errorf("%q was read as %s", text, parsed)
		}
	}
}

func TestRateText(t *testing.T) {
	t.Parallel()
	for text, perSecond := range map[string]float64{"50/s": 50, "600/m": 10, "3600/h": 1, "": 0} {
		var rate hook.Rate
		if err := rate.UnmarshalText([]byte(text)); err != nil || rate.PerSecond() != perSecond || rate.String() != text {
			t.Errorf("%q reads as %s, %g/s, %v", text, rate, rate.PerSecond(), err)
		}
	}
	for _, text := range []string{"50", "/s", "0/s", "-1/s", "5/d", "x/s"} {
		var rate hook.Rate
		if err := rate.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %s", text, rate)
		}
	}
}

func TestSpecsReadTheirShortForms(t *testing.T) {
	t.Parallel()
	var source hook.SourceSpec
	text := `{"type":"order","dedupe":{"path":"id","window":"24h"},"key":{"header":"x-key"}}`
	if err := json.Unmarshal([]byte(text), &source); err != nil {
		t.Fatal(err)
	}
	if source.Type.Value != "order" || source.Dedupe.Path != "id" || source.Dedupe.Window != hook.DefaultDedupeWindow || source.Key.Header != "x-key" {
		t.Errorf("read as %+v %+v %+v", source.Type, source.Dedupe, source.Key)
	}
	var target hook.HTTPTarget
	if err := json.Unmarshal([]byte(`{"url":"https://example.com","sign":"none"}`), &target); err != nil || !target.Sign.None {
		t.Errorf("sign none reads as %+v, %v", target.Sign, err)
	}
	for _, wrong := range []string{`{"type":{"headr":"x"}}`, `{"dedupe":{"paht":"x"}}`, `{"type":{"header":1}}`} {
		if err := json.Unmarshal([]byte(wrong), &source); err == nil {
			t.Errorf("%s was read", wrong)
		}
	}
}

func TestRedactEmptiesEverySecretAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	destination := hook.Destination{Name: "erp", CreatedAt: noon, DestinationSpec: hook.DestinationSpec{HTTP: &hook.HTTPTarget{
		URL: "https://example.com", Headers: hook.CustomHeaders{"a": "b", "X-Api-Key": "canary"},
		Auth: &hook.Auth{Bearer: "canary", Basic: &hook.BasicAuth{Username: "u", Password: "canary"}, OAuth2: &hook.OAuth2{ClientSecret: "canary"}},
		Sign: &hook.Sign{Secret: "canary", Secrets: []hook.Secret{"canary"}},
	}}}
	out := hook.Redact(destination)
	text, err := json.Marshal(out)
	if err != nil || strings.Contains(string(text), "canary") {
		t.Errorf("redacted to %s, %v", text, err)
	}
	if out.Name != "erp" || !out.CreatedAt.Equal(noon) || out.HTTP.URL != "https://example.com" || out.HTTP.Headers["a"] != "b" || out.HTTP.Auth.Basic.Username != "u" {
		t.Errorf("what is no secret was lost: %s", text)
	}
	if destination.HTTP.Sign.Secret != "canary" || destination.HTTP.Auth.Bearer != "canary" {
		t.Error("the original was changed")
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", destination.HTTP.Sign.Secret, destination.HTTP.Auth.Basic, *destination.HTTP.Sign, hook.Secret("canary")); strings.Contains(shown, "canary") {
		t.Errorf("fmt shows %s", shown)
	}
}

func TestErrorsKeepKindCauseAndWords(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("above: %w", hook.Errorf(hook.KindUnavailable, "write the page: %w", io.ErrShortWrite))
	if hook.KindOf(err) != hook.KindUnavailable || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("%v has the kind %s", err, hook.KindOf(err))
	}
	if got, want := err.Error(), "above: write the page: short write"; got != want {
		t.Errorf("reads %q, want %q", got, want)
	}
	if hook.KindOf(io.EOF) != hook.KindInternal {
		t.Error("a foreign error is not internal")
	}
	if hook.Invalid("nothing", nil) != nil {
		t.Error("no problems are an error")
	}
	wrong := hook.Invalid("the source is not right", []hook.Problem{{Path: "http.url", Message: "is missing"}, {Message: "and more"}})
	if got, want := wrong.Error(), "the source is not right: http.url: is missing; and more"; got != want {
		t.Errorf("reads %q, want %q", got, want)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	var empty, h hook.Histogram
	if empty.Quantile(0.5) != -1 {
		t.Errorf("the median of nothing is %d", empty.Quantile(0.5))
	}
	for ms := range 100 {
		h.Add(time.Duration(ms) * time.Millisecond)
	}
	h.Add(time.Hour)
	got := []int64{h.Quantile(0), h.Quantile(0.5), h.Quantile(0.95), h.Quantile(1)}
	if diff := cmp.Diff([]int64{1, 50, 100, 60000}, got); diff != "" {
		t.Error(diff)
	}
	sum := h
	sum.Merge(&h)
	if sum.Quantile(0.5) != h.Quantile(0.5) || sum == h {
		t.Error("merging two equal histograms moves the median or counts nothing")
	}
}

func TestHeadersIgnoreCase(t *testing.T) {
	t.Parallel()
	headers := hook.Headers{{Name: "X-A", Value: "1"}, {Name: "x-a", Value: "2"}, {Name: "B", Value: "3"}}
	if headers.Get("x-A") != "1" || headers.Get("c") != "" || !cmp.Equal(headers.Values("X-a"), []string{"1", "2"}) {
		t.Errorf("%v", headers.Values("X-a"))
	}
}

func TestRolesIncludeTheLesser(t *testing.T) {
	t.Parallel()
	if !hook.RoleAdmin.Includes(hook.RoleViewer) || hook.RoleViewer.Includes(hook.RoleOperator) || hook.RoleAdmin.Includes("root") || hook.Role("x").Includes(hook.RoleViewer) {
		t.Error("the order of roles is wrong")
	}
}
