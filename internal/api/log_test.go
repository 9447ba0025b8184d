package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

func TestPublish(t *testing.T) {
	h := newHarness(t)
	h.wire()
	body := `{"source":"shop","type":"order","key":"7","id":"mine-1","headers":{"X-Trace":"t1"},"payload":{"order" : "7"}}`
	id := h.call("POST", "/event", body, h.as(hook.RoleOperator)...).want(http.StatusAccepted).hasNot("duplicate").id()
	h.call("POST", "/event", body).want(http.StatusAccepted).has(id, `"duplicate":true`)
	h.call("GET", "/event/"+id, "").want(http.StatusOK).
		has(`"type":"order"`, `"key":"7"`, `"providerId":"mine-1"`, "X-Trace", `"scheme":"api"`, `"connection":"con_`, `"payloadSize":15`, `"duplicates":1`)
	raw := h.call("GET", "/event/"+id+"/payload", "").want(http.StatusOK)
	if raw.body != `{"order" : "7"}` {
		t.Errorf("the payload became %q", raw.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Disposition": `attachment; filename="` + id + `.bin"`,
	} {
		if raw.header.Get(name) != want {
			t.Errorf("%s: %q", name, raw.header.Get(name))
		}
	}
	text := h.call("POST", "/event", `{"source":"shop","text":"<script>alert(1)</script>"}`).want(http.StatusAccepted).id()
	if got := h.call("GET", "/event/"+text+"/payload", ""); got.body != "<script>alert(1)</script>" || !strings.Contains(got.header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%q under %q", got.body, got.header.Get("Content-Security-Policy"))
	}
	h.call("PATCH", "/source/shop", `{"maxBody":10}`).want(http.StatusOK)
	h.call("POST", "/event", `{"source":"shop","payload":"longer than ten"}`).want(http.StatusRequestEntityTooLarge)
	h.call("GET", "/event/evt_0000000000001", "").want(http.StatusNotFound)
	h.call("GET", "/event/nonsense", "").want(http.StatusNotFound)
	h.call("GET", "/event/nonsense/payload", "").want(http.StatusNotFound)
}

func TestEventFilters(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.call("POST", "/source", `{"name":"other","verify":"none"}`).want(http.StatusCreated)
	order := h.call("POST", "/event", `{"source":"shop","type":"order/paid","key":"k1","payload":{"city":"Recife"}}`).id()
	stock := h.call("POST", "/event", `{"source":"other","type":"stock","key":"k2","payload":{"city":"Natal"}}`).id()
	source := h.call("GET", "/source/other", "").id()
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for query, want := range map[string][]string{
		"":                      {order, stock},
		"?source=shop":          {order},
		"?source=" + source:     {stock},
		"?type=order/*":         {order},
		"?type=stock":           {stock},
		"?key=k2":               {stock},
		"?text=Recife":          {order},
		"?before=" + future:     {order, stock},
		"?after=" + future:      {},
		"?type=order/*&key=k2":  {},
		"?source=shop&key=k1":   {order},
		"?limit=1":              {stock},
		"?source=other&limit=1": {stock},
	} {
		got := h.call("GET", "/event"+query, "").want(http.StatusOK)
		for _, id := range []string{order, stock} {
			expected := false
			for _, one := range want {
				expected = expected || one == id
			}
			if strings.Contains(got.body, id) != expected {
				t.Errorf("%s: %s listed is %v", query, id, !expected)
			}
		}
	}
	h.call("GET", "/event?source=nope", "").want(http.StatusUnprocessableEntity).has(`["query","source"]`)
	h.call("GET", "/event?after=yesterday", "").want(http.StatusUnprocessableEntity).has(`["query","after"]`, "RFC 3339", "2026-01-02T15:04:05Z")
}

// deliver settles the claimed deliveries of the ERP with the outcome.
func (h *harness) deliver(state hook.State, outcome hook.Outcome) int {
	h.t.Helper()
	d, err := h.sqlite.Destinations().Get(h.t.Context(), h.home.ID, "erp")
	if err != nil {
		h.t.Fatal(err)
	}
	now := time.Now()
	jobs, err := h.sqlite.Claim(h.t.Context(), store.Claim{Destination: d.ID, Owner: "test", Now: now, Until: now.Add(time.Minute), Limit: 100})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, job := range jobs {
		done := make(chan error, 1)
		h.sqlite.Settle(hook.Settlement{
			Job: job, State: state, Reason: "the ERP answered " + string(outcome),
			Attempt: &hook.Attempt{
				Delivery: job.Delivery.ID, Number: job.Delivery.Attempts + 1, Manual: job.Manual, StartedAt: now,
				Duration: hook.Duration(3 * time.Millisecond), Outcome: outcome, Method: "POST", URL: "https://erp.example.com/orders",
				ResponseStatus: 200, ResponseBody: []byte("hello"),
			},
		}, func(err error) { done <- err })
		if err := <-done; err != nil {
			h.t.Fatal(err)
		}
	}
	return len(jobs)
}

func TestDeliveries(t *testing.T) {
	h := newHarness(t)
	h.wire()
	event := h.publish(`{"order":"7"}`)
	var list struct {
		Data []struct{ ID, State, Destination string }
	}
	h.call("GET", "/delivery?event="+event, "").want(http.StatusOK).into(&list)
	if len(list.Data) != 1 || list.Data[0].State != "pending" {
		t.Fatalf("%+v", list)
	}
	id := list.Data[0].ID
	h.call("POST", "/delivery/"+id+"/retry", "").want(http.StatusConflict).has("pending")
	if h.deliver(hook.StateFailed, hook.OutcomeRefused) != 1 {
		t.Fatal("nothing to deliver")
	}
	h.call("GET", "/delivery/"+id, "").want(http.StatusOK).has(`"state":"failed"`, "the ERP answered", `"attempts":1`)
	h.call("GET", "/delivery/"+id+"/attempt", "").want(http.StatusOK).has(`"outcome":"refused"`, `"number":1`, `"aGVsbG8="`)
	for _, query := range []string{"?state=failed", "?connection=orders", "?destination=erp", "?destination=" + list.Data[0].Destination} {
		h.call("GET", "/delivery"+query, "").want(http.StatusOK).has(id)
	}
	h.call("GET", "/delivery?state=held", "").want(http.StatusOK).hasNot(id)

	h.call("POST", "/delivery/"+id+"/retry", "", h.as(hook.RoleOperator)...).want(http.StatusAccepted).has(`"state":"pending"`)
	h.deliver(hook.StateFailed, hook.OutcomeTimeout)
	h.call("GET", "/delivery/"+id+"/attempt", "").want(http.StatusOK).has(`"number":2`, `"manual":true`)
	h.call("POST", "/delivery/"+id+"/cancel", "").want(http.StatusConflict).has("failed")

	h.call("POST", "/delivery/retry", `{"filter":{"destination":"erp"}}`).want(http.StatusOK).has(`"selected":1`, `"retried":1`, `"more":false`)
	h.call("POST", "/delivery/"+id+"/cancel", `{"reason":"sent by post"}`).want(http.StatusOK).has(`"state":"canceled"`, "sent by post")
	h.call("POST", "/delivery/retry", `{"ids":["`+id+`"]}`).want(http.StatusOK).has(`"retried":1`)
	h.deliver(hook.StateSucceeded, hook.OutcomeSuccess)
	h.call("GET", "/delivery/"+id, "").want(http.StatusOK).has(`"state":"succeeded"`, `"attempts":3`)

	for _, path := range []string{"/delivery/dlv_0000000000001", "/delivery/x/attempt"} {
		h.call("GET", path, "").want(http.StatusNotFound)
	}
	h.call("GET", "/delivery?state=lost", "").want(http.StatusUnprocessableEntity).has(`["query","state"]`)
	h.call("GET", "/delivery?event=x", "").want(http.StatusUnprocessableEntity).has(`["query","event"]`)
	h.call("GET", "/delivery?connection=x", "").want(http.StatusUnprocessableEntity).has(`["query","connection"]`)
}

func TestBulkRetryIsBounded(t *testing.T) {
	h := newHarness(t)
	h.wire()
	for range 5 {
		h.publish(`1`)
	}
	h.deliver(hook.StateFailed, hook.OutcomeRefused)
	h.call("POST", "/delivery/retry", `{"filter":{},"limit":3}`).want(http.StatusOK).has(`"selected":3`, `"retried":3`, `"more":true`)
	h.call("POST", "/delivery/retry", `{"filter":{},"limit":3}`).want(http.StatusOK).has(`"selected":2`, `"more":false`)
	h.call("POST", "/delivery/retry", `{"filter":{}}`).want(http.StatusOK).has(`"selected":0`)
}

func TestRefused(t *testing.T) {
	h := newHarness(t)
	h.wire()
	if status := h.knock("a-wrong-token", `{"order":"9"}`); status != http.StatusUnauthorized {
		t.Fatalf("status %d", status)
	}
	var list struct{ Data []struct{ ID string } }
	h.call("GET", "/refused?source=shop", "").want(http.StatusOK).has(`"explanation":[`, `"reason"`).hasNot("a-wrong-token", "shop-secret").into(&list)
	id := list.Data[0].ID
	h.call("GET", "/refused/"+id, "").want(http.StatusOK).hasNot("a-wrong-token", "shop-secret")
	if got := h.call("GET", "/refused/"+id+"/payload", "").want(http.StatusOK); got.body != `{"order":"9"}` {
		t.Errorf("payload %q", got.body)
	}
	still := h.call("POST", "/refused/"+id+"/admit", "")
	if still.status != http.StatusBadRequest && still.status != http.StatusUnprocessableEntity {
		t.Errorf("admitted with the wrong secret: %d", still.status)
	}
	h.call("PATCH", "/source/shop", `{"secret":"a-wrong-token"}`).want(http.StatusOK)
	event := h.call("POST", "/refused/"+id+"/admit", "", h.as(hook.RoleOperator)...).want(http.StatusOK).id()
	h.call("GET", "/event/"+event, "").want(http.StatusOK).has(`"admitted":true`, `"key":"9"`).hasNot("a-wrong-token")
	h.call("GET", "/refused/"+id, "").want(http.StatusOK).has(event)
	h.call("POST", "/refused/"+id+"/admit", "").want(http.StatusConflict).has(event)

	// Of a source that is gone nobody knows where the secrets were.
	h.call("DELETE", "/connection/orders", "").want(http.StatusNoContent)
	h.call("DELETE", "/source/shop", "").want(http.StatusNoContent)
	if got := h.call("GET", "/refused/"+id, ""); got.status == http.StatusOK {
		got.hasNot("a-wrong-token")
	}
	h.call("GET", "/refused/rfd_0000000000001", "").want(http.StatusNotFound)
	h.call("GET", "/refused/x/payload", "").want(http.StatusNotFound)
}

func TestStats(t *testing.T) {
	h := newHarness(t)
	h.wire()
	for range 3 {
		h.publish(`{}`)
	}
	h.knock("wrong", "{}")
	h.deliver(hook.StateSucceeded, hook.OutcomeSuccess)
	h.publish(`{}`)
	h.deliver(hook.StateFailed, hook.OutcomeRefused)
	h.publish(`{}`)
	// Sources make no attempts, so that there is nothing to measure, and a sum has no minute.
	h.call("GET", "/stats/source", "").want(http.StatusOK).has(`"name":"shop"`, `"accepted":5`, `"refused":1`, `"bytes":10`).
		hasNot(`"p50"`, `"minute"`, `:-1`)
	h.call("GET", "/stats/connection", "").want(http.StatusOK).has(`"name":"orders"`, `"succeeded":3`, `"failed":1`)
	h.call("GET", "/stats/destination", "").want(http.StatusOK).has(`"name":"erp"`, `"attempts":4`, `"success":3`, `"p50":5`)
	h.call("GET", "/stats/destination/erp", "").want(http.StatusOK).has(`"totals":{"deliveries":5`, `"step":"1m"`, `"attempts":4`, `"minute":"`)
	h.call("GET", "/stats/source/shop?step=1h", "").want(http.StatusOK).has(`"step":"1h"`)
	h.call("GET", "/stats/overview", "").want(http.StatusOK).has(`"successRate":0.75`, `"pending":1`).hasNot(`"minute"`)
	h.call("GET", "/stats/backlog", "").want(http.StatusOK).has(`"pending":1`)
	for query, loc := range map[string]string{
		"?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": "from", "?from=2020-01-01T00:00:00Z": "from",
		"?step=90s": "step", "?step=x": "step", "?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z&step=1m": "step",
	} {
		h.call("GET", "/stats/source/shop"+query, "").want(http.StatusUnprocessableEntity).has(`["query","` + loc + `"]`)
	}
	h.call("GET", "/stats/source/nope", "").want(http.StatusNotFound)
}

func TestFlow(t *testing.T) {
	h := newHarness(t)
	state := `{"state":{
		"sources":{"shop":{"verify":{"token":{"header":"x-token"}},"secret":"flow-secret"}},
		"destinations":{"erp":{"http":{"url":"https://erp.example.com/"}}},
		"connections":{"orders":{"from":"shop","to":"erp","types":["order/*"]}}}}`
	h.call("POST", "/flow/plan", state, h.as(hook.RoleOperator)...).want(http.StatusOK).
		has(`"applied":false`, `"op":"create"`, "3 to create").hasNot("flow-secret", "whsec_")
	h.call("GET", "/source/shop", "").want(http.StatusNotFound)
	h.call("POST", "/flow/apply", state).want(http.StatusOK).has(`"applied":true`).hasNot("flow-secret", "whsec_")
	if status := h.knock("flow-secret", "{}"); status != http.StatusOK {
		t.Errorf("the applied source answered %d", status)
	}
	h.call("POST", "/flow/apply", state).want(http.StatusOK).has(`"changes":[]`, "Nothing to change")
	h.call("GET", "/flow/export", "").want(http.StatusOK).has("sources:", "x-token", "${").hasNot("flow-secret", "whsec_")
	h.call("POST", "/flow/apply", `{"prune":true,"state":{}}`).want(http.StatusOK).has(`"op":"delete"`)
	h.call("GET", "/source", "").want(http.StatusOK).hasNot(`"shop"`)

	h.call("POST", "/flow/plan", `{"state":{"connections":{"x":{"from":"a","to":"b"}}}}`).want(http.StatusUnprocessableEntity).
		has(`["body","state","connections","x","from"]`)
	h.call("POST", "/flow/plan", `{"state":{"destinations":{"x":{"http":{"url":"http://10.0.0.1/"}}}}}`).want(http.StatusUnprocessableEntity).
		has("--allow-private")
	h.call("POST", "/flow/plan", `{"state":{"surces":{}}}`).want(http.StatusUnprocessableEntity).has(`did you mean \"sources\"`)
}

func TestHealth(t *testing.T) {
	h := newHarness(t)
	h.call("GET", "/health", "", h.as(hook.RoleViewer)...).want(http.StatusOK).has(`"status":"ok"`, `"version":"test"`)
}
