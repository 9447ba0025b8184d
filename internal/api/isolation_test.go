package api

import (
	"net/http"
	"strings"
	"testing"
)

// TestProjectsAreIsolated tries everything that another project has with a token of
// full rights in its own.
func TestProjectsAreIsolated(t *testing.T) {
	h := newHarness(t)
	h.wire()
	event := h.publish(`{"order":"7"}`)
	if h.knock("wrong", "{}") != http.StatusUnauthorized {
		t.Fatal("a wrong token was accepted")
	}
	var deliveries, refused struct{ Data []struct{ ID string } }
	h.call("GET", "/delivery", "").want(http.StatusOK).into(&deliveries)
	h.call("GET", "/refused", "").want(http.StatusOK).into(&refused)
	if len(deliveries.Data) != 1 || len(refused.Data) != 1 {
		t.Fatalf("%d deliveries, %d refused", len(deliveries.Data), len(refused.Data))
	}
	ids := map[string][]string{
		"source":      {"shop", h.call("GET", "/source/shop", "").id()},
		"destination": {"erp", h.call("GET", "/destination/erp", "").id()},
		"connection":  {"orders", h.call("GET", "/connection/orders", "").id()},
		"event":       {event}, "delivery": {deliveries.Data[0].ID}, "refused": {refused.Data[0].ID},
		"token": {"test-admin"},
	}

	other := h.call("POST", "/project", `{"name":"other"}`).want(http.StatusCreated).id()
	var made struct{ Token string }
	h.call("POST", "/token", `{"name":"theirs","role":"admin"}`, "Malote-Project", other).want(http.StatusCreated).into(&made)
	theirs := []string{"Authorization", "Bearer " + made.Token}

	tried := 0
	for _, e := range (&server{}).table() {
		noun, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(e.Path, "/"), "stats/"), "/")
		if !strings.Contains(e.Path, "{id}") || ids[noun] == nil {
			continue
		}
		for _, id := range ids[noun] {
			body := ""
			if e.In != nil {
				body = "{}"
			}
			h.call(e.Method, strings.ReplaceAll(e.Path, "{id}", id), body, theirs...).want(http.StatusNotFound)
			tried++
		}
	}
	if tried < 40 {
		t.Errorf("only %d tries: the table has changed", tried)
	}
	for _, list := range []string{
		"/destination", "/connection", "/event", "/delivery", "/refused", "/stats/destination", "/stats/backlog", "/stats/health", "/key?parked=true", "/replay",
	} {
		h.call("GET", list, "", theirs...).want(http.StatusOK).has(`"data":[]`)
	}
	for _, list := range []string{"/source", "/stats/source"} { // the system's own is theirs
		h.call("GET", list, "", theirs...).want(http.StatusOK).hasNot("shop", ids["source"][1])
	}
	h.call("GET", "/audit", "", theirs...).want(http.StatusOK).hasNot("connection.create", ids["destination"][1])
	h.call("GET", "/token", "", theirs...).want(http.StatusOK).hasNot("test-admin")
	h.call("POST", "/event", `{"source":"`+ids["source"][1]+`","payload":1}`, theirs...).want(http.StatusUnprocessableEntity)
	h.call("POST", "/connection", `{"name":"x","source":"`+ids["source"][1]+`","destination":"`+ids["destination"][1]+`"}`, theirs...).
		want(http.StatusUnprocessableEntity)
	h.call("POST", "/delivery/retry", `{"ids":["`+deliveries.Data[0].ID+`"]}`, theirs...).want(http.StatusUnprocessableEntity)
	h.call("POST", "/delivery/retry", `{"filter":{"state":"held"}}`, theirs...).want(http.StatusOK).has(`"selected":0`)
	h.call("GET", "/event?source="+ids["source"][1], "", theirs...).want(http.StatusOK).has(`"data":[]`)
	h.call("GET", "/flow/export", "", theirs...).want(http.StatusOK).hasNot("erp")

	// And nothing of it has changed anything.
	h.call("GET", "/delivery/"+deliveries.Data[0].ID, "").want(http.StatusOK).has(`"state":"pending"`)
	h.call("GET", "/destination/erp", "").want(http.StatusOK).has(`"version":1`)
}
