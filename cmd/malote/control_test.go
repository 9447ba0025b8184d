package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/api/stats"
	"malote.dev/malote/internal/hook"
)

// broken is the health of a destination whose circuit is open.
func broken() stats.DestinationHealth {
	oldest, rate, p50, p95, p99 := now.Add(-3*time.Hour), 0.123, int64(20), int64(500), int64(20000)
	return stats.DestinationHealth{
		ID: "dst_0000000000002", Name: "erp", Waiting: 48211, States: map[string]int64{"held": 48200, "pending": 11}, Oldest: &oldest,
		Circuit: hook.Circuit{
			Destination: 2, State: hook.CircuitOpen, Reason: "10 attempts in a row failed since 02:06:07 UTC; the last: 503 Service Unavailable",
			Since: now.Add(-time.Minute), ProbeAt: now.Add(42 * time.Second),
		},
		Arriving: 12.34, Stalled: "its circuit is open: the next probe is made at 2026-03-04 05:06:49 UTC",
		From: now.Add(-time.Hour), To: now, SuccessRate: &rate, Attempts: 814, P50: &p50, P95: &p95, P99: &p99,
	}
}

func TestHealth(t *testing.T) {
	s := newServer(t)
	drain, none, well := hook.Duration(200*time.Second), hook.Duration(0), 0.999
	s.answers["GET /api/v1/stats/health"] = stats.HealthList{Data: []stats.DestinationHealth{
		broken(),
		{Name: "crm", Waiting: 912, Circuit: hook.Circuit{State: hook.CircuitRamp, Reason: "it failed"}, Arriving: 1, Leaving: 5.5, TimeToDrain: &drain},
		{Name: "bank", Waiting: 12, Paused: true, PauseReason: "they move", Stalled: "it is paused"},
		{Name: "mail", SuccessRate: &well, TimeToDrain: &none},
	}}
	s.answers["GET /api/v1/destination/erp/health"] = stats.DestinationHealthDetail{
		DestinationHealth: broken(), Lane: stats.LaneOut{InHand: 1, Limit: 16, Gap: hook.Duration(200 * time.Millisecond), ClosedUntil: now.Add(time.Minute)},
		Failures: []hook.Failure{
			{Outcome: hook.OutcomeRejected, Status: 503, Attempts: 700, Delivery: 5, Number: 3, At: now.Add(-time.Minute), Text: "it answered 503\x1b[2J"},
			{Outcome: hook.OutcomeTimeout, Attempts: 14, Delivery: 6, Number: 1, At: now.Add(-time.Hour), Text: "no answer within 15s"},
		},
	}
	x := s.terminal()
	golden(t, "testdata/health.golden", x.run("health").out+"\n"+x.run("health", "erp").out)
	if got := x.run("health", "erp", "--since", "24h"); got.code != 0 || s.sent() != "GET /api/v1/destination/erp/health?from=2026-03-03T05%3A06%3A07Z" {
		t.Errorf("got %+v for %s", got, s.sent())
	}
	lines := strings.Split(strings.TrimSpace(x.run("health", "--json").out), "\n")
	var first stats.DestinationHealth
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || first.Waiting != 48211 || len(lines) != 4 {
		t.Errorf("got %v (%v)", lines, err)
	}
	if got := x.run("health", "erp", "--json"); !json.Valid([]byte(got.out)) || !strings.Contains(got.out, `"failures"`) {
		t.Errorf("got %+v", got)
	}
	for args, want := range map[string]string{
		"health erp crm": "takes one argument", "health --limit 0": "--limit: 0 is not", "health --limit 251": "from 1 to 250", "health --since soon": "--since",
	} {
		if got := x.run(strings.Fields(args)...); got.code != exitUsage || !strings.Contains(got.err, want) {
			t.Errorf("malote %s: %+v", args, got)
		}
	}
	s.answers["GET /api/v1/stats/health"] = stats.HealthList{Data: []stats.DestinationHealth{}, Done: true}
	if got := x.run("health"); got.out != "There are no destinations.\n" {
		t.Errorf("got %+v", got)
	}
}

func TestKeys(t *testing.T) {
	s := newServer(t)
	parked := hook.OrderedKey{Connection: 3, Key: "c-7", Parked: true, Reason: "it answered 422", Head: 5, HeadState: hook.StateHeld, Waiting: 3}
	s.answers["GET /api/v1/key"] = page(parked, hook.OrderedKey{Connection: 9, Key: "a\x1bb", Head: 6, HeadState: hook.StateSending, Waiting: hook.MaxCounted})
	s.answers["GET /api/v1/connection/orders/key"] = page[hook.OrderedKey]()
	s.answers["POST /api/v1/connection/orders/key/release"] = control.KeyOut{Key: "c-7", Deliveries: 1}
	s.answers["POST /api/v1/connection/orders/key/skip"] = control.KeyOut{Key: "c-7", Deliveries: 1}
	s.answers["POST /api/v1/connection/orders/key/drop"] = control.KeyOut{Key: "c-7", Deliveries: 3}
	x := s.terminal()
	golden(t, "testdata/keys.golden", x.run("keys").out)
	if s.sent() != "GET /api/v1/key?limit=20&parked=true" {
		t.Errorf("sent %s", s.sent())
	}
	if got := x.run("keys", "--connection", "orders", "--limit", "3"); got.out != "Nothing waits for a key.\n" || s.sent() != "GET /api/v1/connection/orders/key?limit=3" {
		t.Errorf("got %+v for %s", got, s.sent())
	}
	if got := x.run("keys", "--json"); len(strings.Split(strings.TrimSpace(got.out), "\n")) != 2 {
		t.Errorf("got %+v", got)
	}
	for _, c := range []struct{ args, out, sent string }{
		{"keys release --connection orders c-7", "The key \"c-7\" is released: 1 delivery.\n", `POST /api/v1/connection/orders/key/release {"key":"c-7"}`},
		{"keys skip --connection orders c-7 --reason refunded", "The key \"c-7\" goes on: 1 delivery.\n", `POST /api/v1/connection/orders/key/skip {"key":"c-7","reason":"refunded"}`},
		{"keys drop --connection orders c-7", "The key \"c-7\" is dropped: 3 deliveries.\n", `POST /api/v1/connection/orders/key/drop {"key":"c-7"}`},
	} {
		if got := x.run(strings.Fields(c.args)...); got.out != c.out || s.sent() != c.sent {
			t.Errorf("got %+v for %s", got, s.sent())
		}
	}
	for _, args := range []string{"keys release c-7", "keys drop --connection orders", "keys --limit=-1"} {
		if got := x.run(strings.Fields(args)...); got.code != exitUsage {
			t.Errorf("malote %s: %+v", args, got)
		}
	}
}

func TestCircuit(t *testing.T) {
	s := newServer(t)
	s.answers["POST /api/v1/destination/erp/circuit/close"] = hook.Circuit{Destination: 2}
	s.answers["POST /api/v1/destination/erp/circuit/probe"] = hook.Circuit{Destination: 2, State: hook.CircuitOpen}
	x := s.terminal()
	if got := x.run("circuit", "close", "erp"); got.out != "The circuit of erp is closed.\n" {
		t.Errorf("got %+v", got)
	}
	if got := x.run("circuit", "probe", "erp", "--json"); !strings.Contains(got.out, `"state":"open"`) {
		t.Errorf("got %+v", got)
	}
	if got := x.run("circuit", "probe", "nope"); got.code != exitFailed || got.out != "" {
		t.Errorf("got %+v", got)
	}
	for _, args := range []string{"circuit", "circuit close", "circuit open erp"} {
		if got := x.run(strings.Fields(args)...); got.code != exitUsage {
			t.Errorf("malote %s: %+v", args, got)
		}
	}
}

func TestAudit(t *testing.T) {
	s := newServer(t)
	s.answers["GET /api/v1/audit"] = page(
		hook.AuditEntry{ID: 2, At: now, Actor: "ci", Action: "destination.pause", Subject: "dst_0000000000002", Detail: []byte(`{"reason":"they move"}`), Remote: "192.0.2.7"},
		hook.AuditEntry{ID: 1, At: now.Add(-time.Hour), Actor: "malote", Action: "replay.stop", Subject: "rpl_0000000000001"},
	)
	x := s.terminal()
	golden(t, "testdata/audit.golden", x.run("audit", "--action", "destination.*", "--subject", "dst_1", "--after", "1h").out)
	if want := "GET /api/v1/audit?action=destination.%2A&after=2026-03-04T04%3A06%3A07Z&limit=20&subject=dst_1"; s.sent() != want {
		t.Errorf("sent %s", s.sent())
	}
	if got := x.run("audit", "--json"); len(strings.Split(strings.TrimSpace(got.out), "\n")) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestHeldDeliveriesSayWhy(t *testing.T) {
	s := newServer(t)
	held := api.DeliveryOut{
		Delivery: hook.Delivery{
			ID: 5, Event: 12, Connection: 3, Destination: 2, State: hook.StateHeld, Cause: hook.CauseCircuit, OrderKey: "c-7", Replay: 4, Attempts: 3, Probes: 2,
			Reason: "10 attempts in a row failed", CreatedAt: now.Add(-time.Hour), UpdatedAt: now,
		},
		Waits: `the circuit of the destination "erp" is open`,
	}
	behind := api.DeliveryOut{Delivery: hook.Delivery{ID: 6, State: hook.StatePending, CreatedAt: now}, Waits: "it is behind dlv_5"}
	s.answers["GET /api/v1/delivery"] = page(behind, held)
	s.answers["GET /api/v1/delivery/dlv_5"] = held
	s.answers["GET /api/v1/delivery/dlv_5/attempt"] = api.AttemptList{Data: []hook.Attempt{{Number: 1, Probe: true, StartedAt: now, Outcome: hook.OutcomeTimeout}}}
	x := s.terminal()
	golden(t, "testdata/held.golden", x.run("deliveries", "--cause", "circuit", "--replay", "rpl_4").out+"\n"+x.run("deliveries", "get", "dlv_5").out)
	if want := "GET /api/v1/delivery?cause=circuit&limit=20&replay=rpl_4"; !strings.Contains(strings.Join(s.requests, "\n"), want) {
		t.Errorf("sent %s", s.requests)
	}
	s.answers["POST /api/v1/delivery/retry"] = api.RetryOut{Selected: 1, Retried: 1}
	x.run("deliveries", "retry", "--cause", "circuit")
	if s.sent() != `POST /api/v1/delivery/retry {"filter":{"cause":"circuit"}}` {
		t.Errorf("sent %s", s.sent())
	}
}
