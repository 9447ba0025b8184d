package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// destination returns the id of a destination.
func (h *harness) destination(name string) hook.DestinationID {
	h.t.Helper()
	d, err := h.sqlite.Destinations().Get(h.t.Context(), h.home.ID, name)
	if err != nil {
		h.t.Fatal(err)
	}
	return d.ID
}

func TestCircuits(t *testing.T) {
	h := newHarness(t)
	h.wire()
	erp := h.destination("erp")
	h.call("GET", "/destination/erp", "").want(http.StatusOK).has(`"circuitState":{"destination":"`+erp.String()+`"`, `"state":"closed"`)
	h.call("POST", "/destination/erp/circuit/probe", "").want(http.StatusConflict).has("closed")

	h.lanes.turn(erp, hook.Circuit{State: hook.CircuitOpen, Reason: "10 attempts in a row failed", ProbeAt: time.Now().Add(time.Minute)})
	h.call("GET", "/destination", "").want(http.StatusOK).has(`"state":"open"`, "10 attempts in a row failed", `"probeAt":"`)
	h.call("POST", "/destination/erp/circuit/probe", "", h.as(hook.RoleOperator)...).want(http.StatusAccepted).has(`"state":"open"`)
	if !slices.Equal(h.lanes.probed, []hook.DestinationID{erp}) {
		t.Errorf("probed %v", h.lanes.probed)
	}
	h.call("POST", "/destination/erp/circuit/close", "", h.as(hook.RoleOperator)...).want(http.StatusOK).has(`"state":"closed"`)
	for _, path := range []string{"/destination/nope/circuit/close", "/destination/nope/circuit/probe", "/destination/dst_0000000000001/circuit/close"} {
		h.call("POST", path, "").want(http.StatusNotFound)
	}
}

// park settles the claimed head of each key as parked.
func (h *harness) park(destination string) (parked []string) {
	h.t.Helper()
	now := time.Now()
	jobs, err := h.sqlite.Claim(h.t.Context(), store.Claim{
		Destination: h.destination(destination), Owner: "test", Now: now, Until: now.Add(time.Minute), Limit: 100,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, job := range jobs {
		done := make(chan error, 1)
		h.sqlite.Settle(hook.Settlement{
			Job: job, State: hook.StateHeld, Cause: hook.CauseParked, Reason: "it answered 422; its key is parked",
			Attempt: &hook.Attempt{Delivery: job.Delivery.ID, Number: 1, StartedAt: now, Outcome: hook.OutcomeRefused, ResponseStatus: 422},
		}, func(err error) { done <- err })
		if err := <-done; err != nil {
			h.t.Fatal(err)
		}
		parked = append(parked, job.Delivery.ID.String())
	}
	return parked
}

func TestKeys(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.call("PATCH", "/connection/orders", `{"order":{"key":"data.customer","stuck":"park"}}`).want(http.StatusOK)
	for _, customer := range []string{"c-7", "c-7", "c-7", "c-8", "c-9"} {
		h.publish(`{"customer":"` + customer + `"}`)
	}
	keys := "/connection/orders/key"
	h.call("GET", keys, "", h.as(hook.RoleViewer)...).want(http.StatusOK).
		has(`"key":"c-7"`, `"key":"c-8"`, `"key":"c-9"`, `"waiting":3`, `"headState":"pending"`, `"done":true`)
	h.call("GET", keys+"?parked=true", "").want(http.StatusOK).has(`"data":[]`)
	parked := h.park("erp")
	if len(parked) != 3 {
		t.Fatalf("%d heads", len(parked))
	}

	// Pages follow each other, for one connection and for all.
	for _, list := range []string{keys + "?limit=2", keys + "?parked=true&limit=2", "/key?parked=true&limit=2"} {
		var first struct{ Iterator string }
		h.call("GET", list, "").want(http.StatusOK).has(`"key":"c-7"`, `"key":"c-8"`, `"parked":true`, `"done":false`).hasNot("c-9").into(&first)
		h.call("GET", list+"&iterator="+first.Iterator, "").want(http.StatusOK).has(`"key":"c-9"`, `"done":true`).hasNot("c-7", "c-8")
	}
	for _, bad := range []string{"x", "con_0000000000001", "con_0000000000001.!", "con_0000000000001.", "evt_0000000000001.YQ"} {
		h.call("GET", keys+"?iterator="+bad, "").want(http.StatusUnprocessableEntity).has(`["query","iterator"]`)
	}
	h.call("GET", "/key", "").want(http.StatusUnprocessableEntity).has(`["query","parked"]`)
	h.call("GET", "/connection/nope/key", "").want(http.StatusNotFound)

	// What waits says for what.
	var list struct {
		Data []struct{ ID, State, Cause, OrderKey, Waits string }
	}
	h.call("GET", "/delivery?cause=parked", "").want(http.StatusOK).into(&list)
	if len(list.Data) != 3 || list.Data[0].Cause != "parked" || !strings.Contains(list.Data[0].Waits, `the parked head of its key "c-9"`) {
		t.Errorf("%+v", list)
	}
	h.call("GET", "/delivery?state=pending", "").want(http.StatusOK).into(&list)
	if len(list.Data) != 2 || list.Data[0].Waits != `it is behind `+parked[0]+`, the head of its key "c-7"` {
		t.Errorf("%+v", list)
	}
	h.call("GET", "/delivery?state=pending&cause=parked", "").want(http.StatusUnprocessableEntity).has(`["query","cause"]`)
	h.call("GET", "/delivery?cause=none", "").want(http.StatusUnprocessableEntity).has(`["query","cause"]`)

	h.call("POST", keys+"/release", `{"key":"c-8"}`, h.as(hook.RoleOperator)...).want(http.StatusOK).has(`"key":"c-8"`, `"deliveries":1`)
	h.call("POST", keys+"/release", `{"key":"c-8"}`).want(http.StatusNotFound)
	h.call("POST", keys+"/skip", `{"key":"c-7","reason":"refunded by hand"}`).want(http.StatusOK).has(`"deliveries":1`)
	h.call("GET", "/delivery/"+parked[0], "").want(http.StatusOK).has(`"state":"canceled"`, "refunded by hand").hasNot(`"waits"`)
	h.call("POST", keys+"/drop", `{"key":"c-7"}`).want(http.StatusOK).has(`"deliveries":2`)
	if !h.lanes.wokenOnce(h.destination("erp")) {
		t.Error("the destination was not woken")
	}
	for body, loc := range map[string]string{
		`{}`: "key", `{"key":""}`: "key", `{"key":"x","reason":"` + strings.Repeat("r", 501) + `"}`: "reason", `{"kye":"x"}`: "kye",
	} {
		h.call("POST", keys+"/skip", body).want(http.StatusUnprocessableEntity).has(`["body","` + loc + `"]`)
	}
	for _, decision := range []string{"/release", "/skip", "/drop"} {
		h.call("POST", keys+decision, `{"key":"none"}`).want(http.StatusNotFound)
	}
}

func TestHealthOfDestinations(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.call("POST", "/destination", `{"name":"idle","http":{"url":"https://idle.example.com/"}}`).want(http.StatusCreated)
	h.call("GET", "/stats/health", "").want(http.StatusOK).has(`"waiting":0`, `"timeToDrain":"0s"`, `"state":"closed"`).hasNot(`"successRate"`, `"oldest"`, `"stalled"`)
	for range 3 {
		h.publish(`{}`)
	}
	h.deliver(hook.StateSucceeded, hook.OutcomeSuccess)
	h.publish(`{}`)
	h.deliver(hook.StateFailed, hook.OutcomeRejected)
	h.publish(`{}`)
	h.lanes.status = deliver.LaneStatus{InHand: 5, InFlight: 2, Limit: 4, Gap: time.Second}
	one := h.call("GET", "/destination/erp/health", "", h.as(hook.RoleViewer)...).want(http.StatusOK).has(
		`"waiting":1`, `"pending":1`, `"failed":1`, `"oldest":"`, `"attempts":4`, `"successRate":0.75`, `"p50":5`,
		`"lane":{"inHand":5,"inFlight":2,"limit":4,"gap":"1s"}`, `"failures":[{"outcome":"rejected"`, `"delivery":"dlv_`, `"number":1`,
	)
	var health struct{ Arriving, Leaving float64 }
	one.into(&health)
	if health.Arriving <= health.Leaving || health.Leaving <= 0 {
		t.Errorf("%+v", health)
	}
	one.has(`"stalled":"it grows`)

	var worst struct {
		Data []struct{ Name, Stalled string }
		Done bool
	}
	h.call("GET", "/stats/health?limit=1", "").want(http.StatusOK).hasNot(`"lane"`).into(&worst)
	if len(worst.Data) != 1 || worst.Data[0].Name != "erp" || worst.Done {
		t.Errorf("%+v", worst)
	}
	idle := h.destination("idle")
	h.lanes.turn(idle, hook.Circuit{State: hook.CircuitOpen, Reason: "10 attempts in a row failed"})
	h.call("GET", "/stats/health", "").want(http.StatusOK).into(&worst)
	if len(worst.Data) != 2 || worst.Data[0].Name != "idle" || !worst.Done {
		t.Errorf("%+v", worst)
	}
	h.call("GET", "/destination/nope/health", "").want(http.StatusNotFound)
	h.call("GET", "/destination/erp/health?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "").want(http.StatusUnprocessableEntity).has(`["query","from"]`)
}

func TestResumingLeavesWhatTheCircuitHolds(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.publish(`{}`)
	d := h.destination("erp")
	if n, err := h.sqlite.Hold(t.Context(), store.Scope{Project: h.home.ID, Destination: d, Cause: hook.CauseCircuit}, "10 attempts in a row failed"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	h.publish(`{}`)
	h.call("POST", "/destination/erp/pause", `{"reason":"they move"}`).want(http.StatusOK).has(`"deliveries":1`)
	h.call("GET", "/delivery?cause=paused", "").want(http.StatusOK).has("they move", `"waits":"the destination \"erp\" is paused"`)
	h.call("POST", "/destination/erp/resume", "").want(http.StatusOK).has(`"deliveries":1`)
	h.call("GET", "/delivery?cause=circuit", "").want(http.StatusOK).has("10 attempts in a row failed").hasNot("they move")
	h.call("POST", "/delivery/retry", `{"filter":{"cause":"circuit"}}`).want(http.StatusOK).has(`"retried":1`)
	h.call("POST", "/delivery/retry", `{"filter":{"cause":"circuit","state":"failed"}}`).want(http.StatusUnprocessableEntity).has(`["body","filter","cause"]`)
}
