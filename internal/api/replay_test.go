package api

import (
	"net/http"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
)

func TestReplays(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.call("POST", "/destination", `{"name":"spare","http":{"url":"https://spare.example.com/"}}`).want(http.StatusCreated)
	first := h.publish(`{"total": 1.50}`)
	h.publish(`{"total": 20}`)
	h.deliver(hook.StateFailed, hook.OutcomeRefused)
	operator := h.as(hook.RoleOperator)

	h.call("POST", "/replay", `{"dryRun":true,"select":{"source":"shop","state":"failed","filter":"data.total < 10.0"},"to":"spare","edit":{"total":null},"rate":"1/s"}`, operator...).
		want(http.StatusOK).
		has(`"looked":2`, `"selected":1`, `"deliveries":1`, `"exact":true`, `"name":"spare","deliveries":1`, `"event":"`+first+`"`,
			`"before":"{\"total\": 1.50}"`, `"after":"{}"`, `"duration":"1s"`, `"warnings":[]`)
	h.call("GET", "/replay", "").want(http.StatusOK).has(`"data":[]`)

	id := h.call("POST", "/replay", `{"select":{"destination":"erp","connection":"orders"},"rules":"now","stop":{"errorPercent":10}}`, operator...).
		want(http.StatusCreated).
		has(`"state":"running"`, `"createdBy":"test-operator"`, `"mode":"deliver"`, `"rules":"now"`, `"rate":"50/s"`, `"errorPercent":10`).id()
	h.call("GET", "/replay/"+id, "").want(http.StatusOK).has(id, `"progress":{"looked":0,`)
	h.call("GET", "/replay?limit=1", "").want(http.StatusOK).has(id, `"done":true`)
	h.call("POST", "/replay/"+id+"/cancel", "", operator...).want(http.StatusOK).has(`"state":"canceled"`, `"reason":"canceled by test-operator"`)
	h.call("POST", "/replay/"+id+"/cancel", "").want(http.StatusConflict).has("is canceled already")

	audit := h.call("GET", "/audit?action=replay.*", "").want(http.StatusOK).has(`"action":"replay.create"`, `"action":"replay.cancel"`, id)
	if n := strings.Count(audit.body, "replay.create"); n != 1 {
		t.Errorf("%d entries for one replay and one plan", n)
	}
}

func TestReplaysThatCannotBe(t *testing.T) {
	h := newHarness(t)
	h.wire()
	for _, c := range []struct{ body, loc, says string }{
		{`{}`, `["body","select"]`, "nothing is chosen"},
		{`{"select":{"source":"shp"}}`, `["body","select","source"]`, `no source \"shp\"`},
		{`{"select":{"source":"shop","destination":"nope","connection":"nope"},"to":"nope"}`, `["body","to"]`, "no destination"},
		{`{"select":{"filter":"dta.a == 1"}}`, `["body","select","filter"]`, "there is no dta"},
		{`{"select":{"state":"lost"}}`, `["body","select","state"]`, "is not a state"},
		{`{"select":{"key":"a"},"mode":"retry","to":"erp"}`, `["body","to"]`, "as they are"},
		{`{"select":{"key":"a"},"rate":"fast"}`, `["body","rate"]`, "is not a rate"},
		{`{"select":{"key":"a"},"edit":"x"}`, `["body","edit"]`, "a JSON object"},
		{`{"select":{"events":["evt_0000000000001"]}}`, `["body","select","events"]`, "no event"},
		{`{"select":{"events":["dlv_0000000000001"]}}`, `["body","select","events","0"]`, "malformed id"},
		{`{"selct":{}}`, `["body","selct"]`, "select"},
	} {
		h.call("POST", "/replay", c.body).want(http.StatusUnprocessableEntity).has(`"loc":`+c.loc, c.says)
		if c.body != "{}" {
			h.call("POST", "/replay", strings.Replace(c.body, "{", `{"dryRun":true,`, 1)).want(http.StatusUnprocessableEntity)
		}
	}
	viewer := h.as(hook.RoleViewer)
	h.call("POST", "/replay", `{"select":{"key":"a"}}`, viewer...).want(http.StatusForbidden)
	h.call("GET", "/replay", "", viewer...).want(http.StatusOK)
	for _, id := range []string{"rpl_0000000000001", "nope"} {
		h.call("GET", "/replay/"+id, "", viewer...).want(http.StatusNotFound)
		h.call("POST", "/replay/"+id+"/cancel", "").want(http.StatusNotFound)
	}
}

// failAll fails everything that is due.
func (h *harness) failAll() {
	h.t.Helper()
	for more := true; more; {
		more = h.deliver(hook.StateFailed, hook.OutcomeRefused) > 0
	}
}

func TestALargeRetryIsAReplay(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.publish(`{}`)
	h.deliver(hook.StateFailed, hook.OutcomeRefused)
	h.call("POST", "/delivery/retry", `{"filter":{"destination":"erp"},"rate":"5/s"}`).want(http.StatusOK).
		has(`"selected":0`, `"retried":0`, `"more":false`, `"mode":"retry"`, `"rate":"5/s"`, `"destination":"`+h.destination("erp").String()+`"`, `"state":"failed"`)
	for _, c := range []string{
		`{"ids":["dlv_0000000000001"],"rate":"5/s"}`, `{"filter":{},"rate":"5/s","limit":1}`, `{"filter":{"cause":"parked"},"rate":"5/s"}`,
	} {
		h.call("POST", "/delivery/retry", c).want(http.StatusUnprocessableEntity).has(`["body","rate"]`)
	}
	for range 1000 {
		h.publish(`{}`)
	}
	h.failAll()
	h.call("POST", "/delivery/retry", `{"filter":{},"limit":1000}`).want(http.StatusOK).has(`"selected":1000`, `"retried":1000`, `"more":true`).hasNot("replay")
	h.call("POST", "/delivery/retry", `{"filter":{}}`).want(http.StatusOK).has(`"selected":1`, `"retried":1`, `"more":false`).hasNot("replay")
	h.failAll()
	h.call("POST", "/delivery/retry", `{"filter":{}}`).want(http.StatusOK).has(`"retried":0`, `"replay":{"id":"rpl_`, `"rate":"50/s"`)
}
