package api

import (
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
)

func TestWaits(t *testing.T) {
	now := time.Date(2026, 3, 4, 23, 0, 0, 0, time.UTC)
	soon, past := now.Add(time.Minute), now.Add(-time.Minute)
	night := &hook.Quiet{From: "22:00", To: "06:00"}
	open := hook.Circuit{State: hook.CircuitOpen, ProbeAt: soon}
	connection := func(spec hook.ConnectionSpec) *hook.Connection {
		return &hook.Connection{Name: "orders", ConnectionSpec: spec}
	}
	destination := func(spec hook.DestinationSpec) *hook.Destination {
		return &hook.Destination{Name: "erp", DestinationSpec: spec}
	}
	head := func() (hook.DeliveryID, error) { return 7, nil }
	plain := way{now: now, connection: connection(hook.ConnectionSpec{}), destination: destination(hook.DestinationSpec{}), head: head}
	with := func(change func(*way)) way {
		w := plain
		change(&w)
		return w
	}
	due, later := hook.Delivery{State: hook.StatePending, NextAttemptAt: &past}, hook.Delivery{State: hook.StatePending, NextAttemptAt: &soon}
	held := func(cause hook.Cause) hook.Delivery {
		return hook.Delivery{State: hook.StateHeld, Cause: cause, OrderKey: "c-7"}
	}
	for name, c := range map[string]struct {
		way      way
		delivery hook.Delivery
		want     string
	}{
		"ended":   {plain, hook.Delivery{State: hook.StateFailed}, ""},
		"sending": {plain, hook.Delivery{State: hook.StateSending}, ""},
		"gone":    {with(func(w *way) { w.connection = nil }), due, "its connection or its destination is gone"},
		"due":     {plain, due, "it is due, and waits for its turn"},
		"later":   {plain, later, "it is due at 2026-03-04 23:01:00 UTC"},
		"rate": {
			with(func(w *way) {
				w.destination = destination(hook.DestinationSpec{Rate: hook.Rate{Count: 50, Per: time.Second}})
			}), due,
			`it is due, and waits for its turn: the destination "erp" takes 50/s`,
		},
		"behind": {plain, hook.Delivery{ID: 9, State: hook.StatePending, OrderKey: "c-7"}, `it is behind dlv_0000000000007, the head of its key "c-7"`},
		"first":  {plain, hook.Delivery{ID: 7, State: hook.StatePending, OrderKey: "c-7"}, `it is about to become the head of its key "c-7"`},
		"quiet": {
			with(func(w *way) { w.destination = destination(hook.DestinationSpec{Quiet: night}) }), later,
			"the quiet hours last until 2026-03-05 06:00:00 UTC",
		},
		"quiet connection": {
			with(func(w *way) { w.connection = connection(hook.ConnectionSpec{Quiet: night}) }), due,
			"the quiet hours last until 2026-03-05 06:00:00 UTC",
		},
		"left alone": {with(func(w *way) { w.closedUntil = soon }), due, `the destination "erp" asked to be left alone until 2026-03-04 23:01:00 UTC`},
		"open":       {with(func(w *way) { w.circuit = open }), due, `the circuit of the destination "erp" is open: the next probe is made at 2026-03-04 23:01:00 UTC`},
		"held open":  {with(func(w *way) { w.circuit = open }), held(hook.CauseCircuit), `the circuit of the destination "erp" is open: the next probe is made at 2026-03-04 23:01:00 UTC`},
		"probing": {
			with(func(w *way) { w.circuit.State = hook.CircuitHalfOpen }), held(hook.CauseCircuit),
			`the circuit of the destination "erp" is half-open: a probe shows whether it works again`,
		},
		"ramp": {with(func(w *way) { w.circuit.State = hook.CircuitRamp }), held(hook.CauseCircuit), `the destination "erp" works again and gets what was held step by step`},
		"paused": {
			with(func(w *way) { w.destination = destination(hook.DestinationSpec{Paused: true}) }), held(hook.CausePaused),
			`the destination "erp" is paused`,
		},
		"paused connection": {
			with(func(w *way) { w.connection = connection(hook.ConnectionSpec{Paused: true}) }), held(hook.CausePaused),
			`the connection "orders" is paused`,
		},
		"parked":   {plain, held(hook.CauseParked), `it is the parked head of its key "c-7": release, skip or drop the key`},
		"released": {plain, held(hook.CauseCircuit), "what held it is over: it is about to be released"},
	} {
		got, err := c.way.waits(&c.delivery)
		if err != nil || got != c.want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, c.want)
		}
	}
}
