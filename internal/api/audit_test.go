package api

import (
	"net/http"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
)

// unaudited are the routes that are no GET and not audited, on purpose.
var unaudited = map[string]bool{"event.create": true, "flow.plan": true}

// acts makes one call of every route that is audited, each of which succeeds, and
// returns them by the ids of the routes. A secret begins with canary.
func (h *harness) acts() map[string]string {
	h.t.Helper()
	did := map[string]string{}
	act := func(id, method, path, body string) *reply {
		h.t.Helper()
		did[id] = path
		got := h.call(method, path, body)
		if got.status >= http.StatusMultipleChoices {
			h.t.Fatalf("%s: status %d: %s", id, got.status, got.body)
		}
		return got
	}
	source := `{"name":"shop","verify":{"token":{"header":"x-token","secret":"` + canary + `-1"}},"type":{"header":"x-type"}}`
	destination := `{"name":"erp","http":{"url":"https://erp.example.com/","auth":{"bearer":"` + canary + `-2"},"headers":{"X-Api-Key":"` + canary + `-3"}}}`
	act("source.create", "POST", "/source", source)
	act("source.update", "PUT", "/source/shop", source)
	act("source.patch", "PATCH", "/source/shop", `{"secret":"`+canary+`-4"}`)
	act("source.secret.rotate", "POST", "/source/shop/secret/rotate", `{"secret":"`+canary+`-5"}`)
	act("destination.create", "POST", "/destination", destination)
	act("destination.update", "PUT", "/destination/erp", destination)
	act("destination.patch", "PATCH", "/destination/erp", `{"http":{"auth":{"basic":{"username":"u","password":"`+canary+`-6"}}}}`)
	act("destination.secret.rotate", "POST", "/destination/erp/secret/rotate", "")
	act("destination.secret.get", "GET", "/destination/erp/secret", "")
	act("destination.test", "POST", "/destination/erp/test", "")
	act("connection.create", "POST", "/connection", routeBody)
	act("connection.update", "PUT", "/connection/orders", routeBody)
	act("connection.patch", "PATCH", "/connection/orders", `{"order":{"key":"data.customer","stuck":"park"}}`)

	h.call("POST", "/source", `{"name":"stripe","provider":"stripe","secret":"whsec_`+canary+`"}`).want(http.StatusCreated)
	act("source.test", "POST", "/source/stripe/test", "")
	h.refuse()
	var refused struct{ Data []struct{ ID string } }
	h.call("GET", "/refused", "").into(&refused)
	h.call("PATCH", "/source/shop", `{"verify":{"none":true}}`).want(http.StatusOK)
	act("refused.admit", "POST", "/refused/"+refused.Data[0].ID+"/admit", "")

	h.call("POST", "/replay", `{"select":{"source":"shop"},"dryRun":true}`).want(http.StatusOK)
	for _, action := range []string{"release", "skip", "drop"} {
		h.publish(`{"customer":"c-7"}`)
		h.park("erp")
		act("connection.key."+action, "POST", "/connection/orders/key/"+action, `{"key":"c-7"}`)
		if action == "release" {
			h.call("POST", "/connection/orders/key/drop", `{"key":"c-7"}`).want(http.StatusOK)
		}
	}
	h.call("PATCH", "/connection/orders", `{"order":null}`).want(http.StatusOK)
	event := h.publish(`{}`)
	var deliveries struct{ Data []struct{ ID string } }
	h.call("GET", "/delivery?event="+event, "").into(&deliveries)
	delivery := deliveries.Data[0].ID
	act("delivery.cancel", "POST", "/delivery/"+delivery+"/cancel", `{"reason":"sent by post"}`)
	act("delivery.retry", "POST", "/delivery/"+delivery+"/retry", "")
	act("delivery.retry-many", "POST", "/delivery/retry", `{"filter":{}}`)
	act("destination.pause", "POST", "/destination/erp/pause", `{"reason":"they move"}`)
	act("destination.resume", "POST", "/destination/erp/resume", "")
	act("connection.pause", "POST", "/connection/orders/pause", "")
	act("connection.resume", "POST", "/connection/orders/resume", "")
	act("destination.circuit.close", "POST", "/destination/erp/circuit/close", "")
	h.lanes.turn(h.destination("erp"), hook.Circuit{State: hook.CircuitOpen})
	act("destination.circuit.probe", "POST", "/destination/erp/circuit/probe", "")

	act("project.create", "POST", "/project", `{"name":"other"}`)
	act("project.patch", "PATCH", "/project/other", `{"retention":{"events":"30d"}}`)
	replay := act("replay.create", "POST", "/replay", `{"select":{"source":"shop"},"edit":{"seen":true}}`).id()
	act("replay.cancel", "POST", "/replay/"+replay+"/cancel", "")
	token := act("token.create", "POST", "/token", `{"name":"ci","role":"viewer"}`).id()
	act("token.revoke", "DELETE", "/token/"+token, "")
	act("flow.apply", "POST", "/flow/apply", `{"state":{"destinations":{"flowing":{"http":{"url":"https://f.example.com/","auth":{"bearer":"`+canary+`-7"}}}}}}`)
	act("connection.delete", "DELETE", "/connection/orders", "")
	act("destination.delete", "DELETE", "/destination/erp", "")
	act("source.delete", "DELETE", "/source/shop", "")
	return did
}

// refuse has one request refused by the shop.
func (h *harness) refuse() {
	h.t.Helper()
	if status := h.knock("wrong", `{}`); status != http.StatusUnauthorized {
		h.t.Fatalf("status %d", status)
	}
}

func TestEveryRouteThatChangesSomethingIsAudited(t *testing.T) {
	h := newHarness(t)
	did := h.acts()
	entries := map[string][]hook.AuditEntry{}
	for iterator, done := "", false; !done; {
		var page struct {
			Data     []hook.AuditEntry
			Iterator string
			Done     bool
		}
		got := h.call("GET", "/audit?limit=20&iterator="+iterator, "").want(http.StatusOK).hasNot(canary)
		got.into(&page)
		for _, entry := range page.Data {
			entries[entry.Action] = append(entries[entry.Action], entry)
		}
		iterator, done = page.Iterator, page.Done
	}
	for _, e := range (&server{}).table() {
		if !e.Audited() {
			if e.Method != http.MethodGet && !unaudited[e.ID] {
				t.Errorf("%s is not audited", nameOf(e))
			}
			continue
		}
		if did[e.ID] == "" {
			t.Errorf("%s is not tried: add it to acts", nameOf(e))
		}
		if len(entries[e.ID]) == 0 {
			t.Errorf("%s succeeded and left no entry", nameOf(e))
			continue
		}
		entry := entries[e.ID][0]
		if entry.Actor != "test-admin" || entry.Token == 0 || entry.Remote == "" || entry.Subject == "" || entry.ID == 0 || entry.At.IsZero() {
			t.Errorf("%s: %+v", nameOf(e), entry)
		}
	}
	if entries["event.create"] != nil {
		t.Error("published events are audited")
	}
	if len(entries["replay.create"]) != 1 {
		t.Errorf("a replay and the plan of one left %d entries", len(entries["replay.create"]))
	}
	if strings.Contains(h.log.String(), canary) {
		t.Error("the log shows a secret")
	}
	made := entries["destination.create"][0]
	if !strings.HasPrefix(made.Subject, "dst_") || !strings.Contains(string(made.Detail), `"url":"https://erp.example.com/"`) ||
		strings.Count(string(made.Detail), hook.Masked) != 2 {
		t.Errorf("%+v: %s", made, made.Detail)
	}
}

func TestAuditIsFiltered(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.call("POST", "/destination/erp/pause", `{"reason":"they move"}`, h.as(hook.RoleOperator)...).want(http.StatusOK)
	h.call("POST", "/destination/nope/pause", "").want(http.StatusNotFound)
	erp := h.destination("erp").String()
	for query, want := range map[string]int{
		"": 4, "?action=destination.pause": 1, "?action=destination.*": 2, "?subject=" + erp: 2, "?action=*.create&subject=" + erp: 1,
		"?after=2020-01-01T00:00:00Z": 4, "?before=2020-01-01T00:00:00Z": 0, "?subject=dst_0000000000001": 0, "?limit=3": 3,
	} {
		var list struct{ Data []hook.AuditEntry }
		h.call("GET", "/audit"+query, "").want(http.StatusOK).into(&list)
		if len(list.Data) != want {
			t.Errorf("%s: %d entries, want %d", query, len(list.Data), want)
		}
	}
	h.call("GET", "/audit?action=destination.pause", "").has(`"actor":"test-operator"`, `"detail":{"reason":"they move"}`)
}
