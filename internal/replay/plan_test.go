package replay_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/replay"
)

// The events that the tests of plans choose from.
func history(w *world) []hook.Event {
	both := func(orders, copies hook.State) []way {
		return []way{{&w.orders, orders}, {&w.copies, copies}}
	}
	return []hook.Event{
		w.event("order.new", `{"total": 10.50, "customer": "a"}`, both(hook.StateFailed, hook.StateSucceeded)...),
		w.event("order.new", `{"total": 99}`, both(hook.StateFailed, hook.StateFailed)...),
		w.event("order.paid", `{"total": 5}`, both(hook.StateSucceeded, hook.StateSucceeded)...),
		w.event("refund", `{"total": 7}`, way{&w.copies, hook.StateFailed}),
		w.event("order.new", `not json`, both(hook.StatePending, hook.StateSucceeded)...),
		w.event("nobody", `{}`),
	}
}

func TestPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		events := history(w)
		start := events[0].ReceivedAt.Add(-time.Second)
		for name, c := range map[string]struct {
			spec  hook.ReplaySpec
			want  string
			warns []string
		}{
			"a source": {
				hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}},
				"6 looked, 6 selected, 1 skipped, 9 deliveries: archive 5 erp 4",
				[]string{"1 event has no deliveries by the rules of then"},
			},
			"by the rules of now": {
				hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}, Rules: hook.ReplayNow},
				"6 looked, 6 selected, 0 skipped, 10 deliveries: archive 6 erp 4", nil,
			},
			"a type":   {hook.ReplaySpec{Select: hook.ReplaySelection{Type: "order.*", Destination: w.erp.ID}}, "4 looked, 4 selected, 0 skipped, 4 deliveries: erp 4", nil},
			"a text":   {hook.ReplaySpec{Select: hook.ReplaySelection{Text: "customer"}}, "1 looked, 1 selected, 0 skipped, 2 deliveries: archive 1 erp 1", nil},
			"an hour":  {hook.ReplaySpec{Select: hook.ReplaySelection{After: events[1].ReceivedAt, Before: events[3].ReceivedAt}}, "2 looked, 2 selected, 0 skipped, 4 deliveries: archive 2 erp 2", nil},
			"long ago": {hook.ReplaySpec{Select: hook.ReplaySelection{Before: start}}, "0 looked, 0 selected, 0 skipped, 0 deliveries:", []string{"nothing would be delivered"}},
			"what fails": {
				hook.ReplaySpec{Select: hook.ReplaySelection{State: hook.StateFailed}},
				"4 looked, 4 selected, 0 skipped, 4 deliveries: archive 2 erp 2", nil,
			},
			"what fails at one": {
				hook.ReplaySpec{Select: hook.ReplaySelection{State: hook.StateFailed, Destination: w.erp.ID, Filter: `data.total > 50`}},
				"2 looked, 1 selected, 0 skipped, 1 deliveries: erp 1", nil,
			},
			"what fails, to another, each event once": {
				hook.ReplaySpec{Select: hook.ReplaySelection{State: hook.StateFailed}, To: w.archive.ID},
				"4 looked, 3 selected, 0 skipped, 3 deliveries: archive 3", nil,
			},
			"what fails, by the rules of now, each event once": {
				hook.ReplaySpec{Select: hook.ReplaySelection{State: hook.StateFailed}, Rules: hook.ReplayNow},
				"4 looked, 3 selected, 0 skipped, 5 deliveries: archive 3 erp 2", nil,
			},
			"a filter that fails": {
				hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID, Filter: `data.customer == "a"`}},
				"6 looked, 1 selected, 0 skipped, 2 deliveries: archive 1 erp 1",
				[]string{"5 events are not chosen, because the filter fails for them: ", "no such key: customer (where it may be absent, ask has(…) first)"},
			},
			"an edit": {
				hook.ReplaySpec{Select: hook.ReplaySelection{Type: "order.new", Destination: w.erp.ID}, Edit: json.RawMessage(`{"total":null}`)},
				"3 looked, 3 selected, 1 skipped, 2 deliveries: erp 2",
				[]string{"1 event is left out: the edit needs a payload that is a JSON object"},
			},
			"events": {
				hook.ReplaySpec{Select: hook.ReplaySelection{Events: []hook.EventID{events[3].ID, events[0].ID, events[3].ID}}},
				"2 looked, 2 selected, 0 skipped, 3 deliveries: archive 2 erp 1", nil,
			},
			"the failed ones of events": {
				hook.ReplaySpec{Select: hook.ReplaySelection{Events: []hook.EventID{events[0].ID, events[2].ID}, State: hook.StateFailed}},
				"2 looked, 1 selected, 0 skipped, 1 deliveries: erp 1", nil,
			},
			"deliveries to another": {
				hook.ReplaySpec{Select: hook.ReplaySelection{Deliveries: []hook.DeliveryID{events[1].Targets[1].Delivery, events[1].Targets[0].Delivery}}, To: w.erp.ID},
				"2 looked, 1 selected, 0 skipped, 1 deliveries: erp 1", nil,
			},
			"retry": {
				hook.ReplaySpec{Mode: hook.ReplayRetry},
				"4 looked, 4 selected, 0 skipped, 4 deliveries: archive 2 erp 2", nil,
			},
			"retry of a type": {
				hook.ReplaySpec{Mode: hook.ReplayRetry, Select: hook.ReplaySelection{Type: "refund"}},
				"4 looked, 1 selected, 0 skipped, 1 deliveries: archive 1", nil,
			},
			"retry of what is pending": {
				hook.ReplaySpec{Mode: hook.ReplayRetry, Select: hook.ReplaySelection{Deliveries: []hook.DeliveryID{events[4].Targets[0].Delivery, events[0].Targets[1].Delivery}}},
				"2 looked, 2 selected, 1 skipped, 1 deliveries: archive 1",
				[]string{"1 delivery is under way already"},
			},
		} {
			plan := w.plan(c.spec)
			if got := counts(plan); got != c.want || !plan.Exact {
				t.Errorf("%s:\n got %s (exact %v)\nwant %s", name, got, plan.Exact, c.want)
			}
			warned := strings.Join(plan.Warnings, "\n")
			for _, want := range c.warns {
				if !strings.Contains(warned, want) {
					t.Errorf("%s: no warning %q in %q", name, want, warned)
				}
			}
			if len(c.warns) == 0 && warned != "" {
				t.Errorf("%s: a warning %q", name, warned)
			}
		}
	})
}

func TestASampleShowsWhatAnEditDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		events := history(w)
		for range replay.MaxSample {
			w.event("order.new", `{"total": 1}`, way{&w.orders, hook.StateFailed})
		}
		plan := w.plan(hook.ReplaySpec{
			Select: hook.ReplaySelection{Type: "order.new", Connection: w.orders.ID}, Edit: json.RawMessage(`{"customer":"b","new":1.0}`),
		})
		if len(plan.Sample) != replay.MaxSample {
			t.Errorf("%d samples", len(plan.Sample))
		}
		want := []replay.PlanSample{
			{Event: events[0].ID, Type: "order.new", Makes: 1, Before: `{"total": 10.50, "customer": "a"}`, After: `{"total":10.50,"customer":"b","new":1.0}`},
			{Event: events[1].ID, Type: "order.new", Makes: 1, Before: `{"total": 99}`, After: `{"total":99,"customer":"b","new":1.0}`},
			{Event: events[4].ID, Type: "order.new", Before: "not json", Skipped: "the payload is not JSON"},
		}
		if diff := cmp.Diff(want, plan.Sample[:3]); diff != "" {
			t.Error(diff)
		}
		long := w.event("long", `{"x":"`+strings.Repeat("é", replay.MaxSampleBytes)+`"}`, way{&w.copies, hook.StateFailed})
		plan = w.plan(hook.ReplaySpec{Mode: hook.ReplayRetry, Select: hook.ReplaySelection{Type: "long"}})
		if s := plan.Sample[0]; !s.Cut || len(s.Before) > replay.MaxSampleBytes || strings.Contains(s.Before, "\uFFFD") ||
			len(s.Deliveries) != 1 || s.Deliveries[0] != long.Targets[0].Delivery {
			t.Errorf("cut %v, %d bytes, deliveries %v", s.Cut, len(s.Before), s.Deliveries)
		}
	})
}

func TestAPlanWarnsOfWhatIsInTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(w *world) {
			w.erp.Paused = true
			w.archive.Rate = hook.Rate{Count: 2, Per: time.Second}
			w.orders.Paused = true
		})
		defer w.close()
		history(w)
		w.circuit[w.archive.ID] = hook.Circuit{State: hook.CircuitOpen, Reason: "10 attempts in a row failed"}
		plan := w.plan(hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}, Rate: hook.Rate{Count: 4, Per: time.Second}})
		want := []string{
			"1 event has no deliveries by the rules of then",
			"the circuit of the destination archive is open (10 attempts in a row failed): deliveries to it wait until it works again",
			"the destination archive takes 2/s, less than the 4/s of the replay",
			"the destination erp is paused: deliveries to it are held until it is resumed",
			"the connection orders is paused: its deliveries are held until it is resumed",
		}
		if diff := cmp.Diff(want, plan.Warnings); diff != "" {
			t.Error(diff)
		}
		if plan.Duration != hook.Duration(3*time.Second) { // 9 at 4/s, of which 5 at 2/s
			t.Errorf("it takes %s", plan.Duration)
		}
	})
}

func TestWhatCannotBeReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		events := history(w)
		gone := hook.EventID(1)
		for _, c := range []struct {
			spec hook.ReplaySpec
			want []string // path: part of the message
		}{
			{hook.ReplaySpec{}, []string{"select: nothing is chosen"}},
			{hook.ReplaySpec{Mode: "again", Select: hook.ReplaySelection{Source: 1}}, []string{`mode: "again" is no mode`, "select.source: no source"}},
			{hook.ReplaySpec{Rules: "old", Select: hook.ReplaySelection{Key: "k"}}, []string{`rules: "old" are no rules`}},
			{
				hook.ReplaySpec{Mode: hook.ReplayRetry, Rules: hook.ReplayNow, To: w.erp.ID, Edit: json.RawMessage(`{}`)},
				[]string{`edit: mode "retry" sends`, `rules: mode "retry" sends`, `to: mode "retry" sends`},
			},
			{hook.ReplaySpec{Mode: hook.ReplayRetry, Select: hook.ReplaySelection{State: hook.StatePending}}, []string{"select.state: deliveries that are pending are under way"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Filter: "dta.total > 1"}}, []string{"select.filter: column 1: there is no dta"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Filter: strings.Repeat("x", 9000)}}, []string{"select.filter: it has 9000 bytes"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Connection: 1, Destination: 1}, To: 1}, []string{"select.connection: no connection", "to: no destination"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Destination: 1}}, []string{"select.destination: no destination"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{After: events[1].ReceivedAt, Before: events[0].ReceivedAt}}, []string{"select.before: nothing was received"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Key: "k"}, Edit: json.RawMessage(`[1]`)}, []string{"edit: it must be a JSON object"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Key: "k"}, Rate: hook.Rate{Count: 20_000, Per: time.Second}}, []string{"rate: write a number"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Key: "k"}, Stop: &hook.StopRule{ErrorPercent: 100, After: -1}}, []string{"stop.after", "stop.errorPercent: it goes from 0"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Events: []hook.EventID{events[0].ID, gone}}}, []string{"select.events: no event"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Deliveries: []hook.DeliveryID{7}}}, []string{"select.deliveries: no delivery"}},
			{hook.ReplaySpec{Select: hook.ReplaySelection{Events: make([]hook.EventID, 1), Deliveries: []hook.DeliveryID{7}}}, []string{"select.deliveries: give either"}},
		} {
			_, err := w.engine.Plan(t.Context(), w.project, c.spec)
			var got []string
			if e, ok := err.(*hook.Error); ok && e.Kind == hook.KindInvalid { //nolint:errorlint // it is handed out as it is
				for _, p := range e.Problems {
					got = append(got, p.Path+": "+p.Message)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%+v: %v (%q), want %q", c.spec, err, got, c.want)
				continue
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("%+v: %q, want %q", c.spec, got[i], c.want[i])
				}
			}
		}
	})
}

func TestAPlanEstimatesWhatItDoesNotLookAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		for i := range 400 {
			w.event("order.new", fmt.Sprintf(`{"n":%d}`, i), way{&w.orders, hook.StateSucceeded})
		}
		w.engine.LimitPlan(100)
		plan := w.plan(hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID, Filter: "data.n % 2 == 0"}})
		if plan.Exact || plan.Looked < 390 || plan.Looked > 410 || plan.Deliveries < 190 || plan.Deliveries > 210 ||
			plan.Destinations[0].Deliveries != plan.Deliveries || len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0], "estimate") {
			t.Errorf("%s, exact %v, %v", counts(plan), plan.Exact, plan.Warnings)
		}
	})
}
