package hook_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

// failing is a try that counts against the destination.
func failing() hook.Try {
	return hook.Try{Number: 1, Outcome: hook.OutcomeThrottled, Status: 503, Detail: "erp answered 503 Service Unavailable"}
}

func working() hook.Try { return hook.Try{Number: 1, Outcome: hook.OutcomeSuccess, Status: 200} }

func probe(try hook.Try) hook.Try {
	try.Probe = true
	return try
}

func TestWhatCountsAgainstADestination(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		try  hook.Try
		want bool
	}{
		"success":           {working(), false},
		"too many requests": {hook.Try{Outcome: hook.OutcomeThrottled, Status: 429}, false},
		"unavailable":       {failing(), true},
		"time-out":          {hook.Try{Outcome: hook.OutcomeTimeout}, true},
		"network":           {hook.Try{Outcome: hook.OutcomeNetwork}, true},
		"blocked":           {hook.Try{Outcome: hook.OutcomeBlocked}, true},
		"set-up":            {hook.Try{Outcome: hook.OutcomeConfig}, true},
		"redirect":          {hook.Try{Outcome: hook.OutcomeRedirect, Status: 302}, true},
		"500":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 500}, true},
		"599":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 599}, true},
		"401":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 401}, true},
		"403":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 403}, true},
		"404":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 404}, true},
		"405":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 405}, true},
		"407":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 407}, true},
		"421":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 421}, true},
		"400":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 400}, false},
		"409":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 409}, false},
		"422":               {hook.Try{Outcome: hook.OutcomeRejected, Status: 422}, false},
		"gone":              {hook.Try{Outcome: hook.OutcomeGone, Status: 410}, false},
		"refused":           {hook.Try{Outcome: hook.OutcomeRefused, Status: 413}, false},
	} {
		if got := test.try.Counts(); got != test.want {
			t.Errorf("%s counts: %v, want %v", name, got, test.want)
		}
	}
}

// An outage from its first failure to its end.
func TestTheWayOfACircuit(t *testing.T) {
	t.Parallel()
	spec := &hook.DestinationSpec{Concurrency: 4, Circuit: &hook.CircuitPolicy{Failures: 3, MaxProbe: hook.Duration(3 * time.Second)}}
	now := noon
	circuit := hook.Circuit{Destination: 7, Project: 1}
	step := func(name string, try hook.Try, want hook.CircuitState) {
		t.Helper()
		now = now.Add(time.Second)
		if circuit = circuit.Observe(spec, try, now, 0.5); circuit.State != want {
			t.Fatalf("%s: %s, want %s: %+v", name, circuit.State, want, circuit)
		}
	}
	waits := func(want time.Duration) {
		t.Helper()
		if got := circuit.ProbeAt.Sub(now); got != want {
			t.Errorf("the next probe is in %s, want %s", got, want)
		}
	}
	step("a failure", failing(), hook.CircuitClosed)
	step("a success resets", working(), hook.CircuitClosed)
	for range 2 {
		step("too few failures", failing(), hook.CircuitClosed)
	}
	step("enough failures", failing(), hook.CircuitOpen)
	waits(time.Second)
	if want := "3 attempts in a row failed since 12:00:03 UTC; the last: erp answered 503 Service Unavailable"; circuit.Reason != want {
		t.Errorf("the reason is %q, want %q", circuit.Reason, want)
	}
	opened := now
	step("what began before it opened", working(), hook.CircuitOpen)
	for _, wait := range []time.Duration{2 * time.Second, 3 * time.Second, 3 * time.Second} {
		circuit = circuit.Probing(now)
		step("what is no probe", working(), hook.CircuitHalfOpen)
		step("a probe fails", probe(failing()), hook.CircuitOpen)
		waits(wait)
	}
	if !strings.HasPrefix(circuit.Reason, "6 attempts in a row") || circuit.Probes != 3 || !circuit.OpenedAt.Equal(opened) {
		t.Errorf("after three probes: %+v", circuit)
	}
	circuit = circuit.Probing(now)
	step("a probe shows life", probe(hook.Try{Outcome: hook.OutcomeRejected, Status: 422}), hook.CircuitRamp)
	step("it fails at once", failing(), hook.CircuitOpen)
	waits(3 * time.Second)
	if want := "it failed again when it got more: an attempt failed at 12:00:14 UTC: erp answered 503 Service Unavailable"; circuit.Reason != want {
		t.Errorf("the reason is %q, want %q", circuit.Reason, want)
	}
	circuit = circuit.Probing(now)
	step("another probe", probe(working()), hook.CircuitRamp)
	limits := []int{circuit.Limit(4)}
	for range 3 {
		step("asked to slow down", hook.Try{Outcome: hook.OutcomeThrottled, Status: 429}, hook.CircuitRamp)
		if circuit.State == hook.CircuitRamp {
			limits = append(limits, circuit.Limit(4))
		}
	}
	step("the first round", working(), hook.CircuitRamp)
	limits = append(limits, circuit.Limit(4))
	step("a failure halves", failing(), hook.CircuitRamp)
	limits = append(limits, circuit.Limit(4))
	step("one", working(), hook.CircuitRamp)
	step("two", working(), hook.CircuitRamp)
	step("three", working(), hook.CircuitClosed)
	if diff := cmp.Diff([]int{1, 1, 1, 1, 2, 1}, limits); diff != "" {
		t.Error(diff)
	}
	want := hook.Circuit{Destination: 7, Project: 1, Since: now, OpenedAt: opened}
	if diff := cmp.Diff(want, circuit); diff != "" {
		t.Error(diff)
	}
}

func TestThreeFailuresInARowEndARamp(t *testing.T) {
	t.Parallel()
	circuit := hook.Circuit{State: hook.CircuitRamp, Pace: 16}
	spec := &hook.DestinationSpec{Concurrency: 100}
	var got []string
	for range 3 {
		circuit = circuit.Observe(spec, failing(), noon, 0)
		got = append(got, circuit.State.String())
	}
	if diff := cmp.Diff([]string{"ramp", "ramp", "open"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestACircuitThatIsOff(t *testing.T) {
	t.Parallel()
	spec := &hook.DestinationSpec{Circuit: &hook.CircuitPolicy{Off: true, Failures: 1}}
	for state := hook.CircuitClosed; state <= hook.CircuitRamp; state++ {
		circuit := hook.Circuit{State: state}.Observe(spec, failing(), noon, 0)
		if circuit.State != hook.CircuitClosed || circuit.Failures != 0 {
			t.Errorf("from %s: %+v", state, circuit)
		}
	}
}

func TestTheReasonOfACircuit(t *testing.T) {
	t.Parallel()
	spec := &hook.DestinationSpec{Circuit: &hook.CircuitPolicy{Failures: 2}}
	try := failing()
	try.Detail = strings.Repeat("ü", 1000)
	circuit := hook.Circuit{}.Observe(spec, try, noon, 0).Observe(spec, try, noon.Add(24*time.Hour), 0)
	if want := "2 attempts in a row failed since " + noon.Format(time.DateTime) + " UTC; the last: üü"; !strings.HasPrefix(circuit.Reason, want) {
		t.Errorf("after a day the reason is %q", circuit.Reason)
	}
	if len(circuit.Reason) > 320 {
		t.Errorf("the reason has %d bytes", len(circuit.Reason))
	}
	try.RetryAfter = time.Minute
	if circuit = circuit.Probing(noon).Observe(spec, probe(try), noon, 0); !circuit.ProbeAt.Equal(noon.Add(time.Minute)) {
		t.Errorf("the destination asked for a minute, and gets %s", circuit.ProbeAt.Sub(noon))
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for want, circuit := range map[int]hook.Circuit{
		8: {}, 0: {State: hook.CircuitOpen}, 1: {State: hook.CircuitHalfOpen, Pace: 4}, 4: {State: hook.CircuitRamp, Pace: 4},
	} {
		if got := circuit.Limit(8); got != want || circuit.Holds() != (want <= 1) {
			t.Errorf("%s: %d in flight, want %d; holds: %v", circuit.State, got, want, circuit.Holds())
		}
	}
}

// Whatever happens, a circuit stays within what is promised of it.
func TestCircuitsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	outcomes := []hook.Try{
		working(), failing(),
		{Outcome: hook.OutcomeTimeout, Detail: "no answer"},
		{Outcome: hook.OutcomeThrottled, Status: 429},
		{Outcome: hook.OutcomeRejected, Status: 422},
	}
	rapid.Check(t, func(t *rapid.T) {
		policy := &hook.CircuitPolicy{
			Failures: rapid.IntRange(1, 5).Draw(t, "failures"),
			Probe:    hook.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "probe")),
			MaxProbe: hook.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "maxProbe")),
		}
		spec := &hook.DestinationSpec{Circuit: policy, Concurrency: rapid.IntRange(1, 20).Draw(t, "concurrency")}
		circuit, now, row := hook.Circuit{}, noon, 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Second)
			before := circuit
			if circuit.State == hook.CircuitOpen && rapid.Bool().Draw(t, "due") {
				circuit = circuit.Probing(now)
				continue
			}
			try := rapid.SampledFrom(outcomes).Draw(t, "try")
			try.Probe = circuit.State == hook.CircuitHalfOpen
			circuit = circuit.Observe(spec, try, now, rapid.Float64Range(0, 1).Draw(t, "random"))
			row++
			if !try.Counts() {
				row = 0
			}
			switch {
			case before.State == hook.CircuitClosed && (circuit.State == hook.CircuitOpen) != (row >= policy.Failures):
				t.Fatalf("%s after %d failures in a row of %d", circuit.State, row, policy.Failures)
			case before.State == hook.CircuitOpen && !cmp.Equal(before, circuit):
				t.Fatalf("what is no probe changes an open circuit: %s", cmp.Diff(before, circuit))
			case before.State == hook.CircuitHalfOpen && (circuit.State == hook.CircuitOpen) != try.Counts():
				t.Fatalf("%s after a probe: %+v", circuit.State, try)
			}
			if circuit.State != before.State {
				row = 0
			}
			checkCircuit(t, &circuit, spec, now)
		}
	})
}

func checkCircuit(t *rapid.T, circuit *hook.Circuit, spec *hook.DestinationSpec, now time.Time) {
	for _, kept := range []time.Time{circuit.Since, circuit.OpenedAt, circuit.ProbeAt, circuit.FailingSince} {
		if !kept.Equal(kept.Truncate(time.Millisecond)) {
			t.Fatalf("%s is not exact to the millisecond", kept)
		}
	}
	if circuit.State == hook.CircuitOpen {
		longest := max(spec.Circuit.Probe, spec.Circuit.MaxProbe)
		if wait := circuit.ProbeAt.Sub(now); wait < 0 && circuit.Since.Equal(now) || float64(wait) > 1.2*float64(longest) {
			t.Fatalf("the next probe is in %s, %s at the most", wait, longest)
		}
		if circuit.Reason == "" || circuit.OpenedAt.IsZero() {
			t.Fatalf("it is open without a reason or a time: %+v", circuit)
		}
	} else if !circuit.ProbeAt.IsZero() {
		t.Fatalf("it is %s, and the next probe at %s", circuit.State, circuit.ProbeAt)
	}
	if limit := circuit.Limit(spec.Concurrency); limit < 0 || limit > spec.Concurrency || limit == 0 && circuit.State != hook.CircuitOpen {
		t.Fatalf("%s lets %d be in flight", circuit.State, limit)
	}
}

func TestCircuitsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	circuit := hook.Circuit{
		Destination: 7, Project: 1, State: hook.CircuitRamp, Reason: "why", Since: noon, OpenedAt: noon, Failures: 2, Probes: 3, FailingSince: noon, Pace: 4,
	}
	text, err := json.Marshal(circuit)
	if err != nil {
		t.Fatal(err)
	}
	var again hook.Circuit
	if err := json.Unmarshal(text, &again); err != nil || !cmp.Equal(circuit, again) {
		t.Errorf("%s is read as %+v, %v", text, again, err)
	}
	if err := json.Unmarshal([]byte(`{"state":"ajar"}`), &again); err == nil {
		t.Error("a state that there is not was read")
	}
}
