package api

import (
	"net/http"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
)

func TestIdempotencyKey(t *testing.T) {
	h := newHarness(t)
	key := []string{"Idempotency-Key", "k1"}
	first := h.call("POST", "/source", shopBody, key...).want(http.StatusCreated)
	again := h.call("POST", "/source", shopBody, key...).want(http.StatusCreated)
	if again.body != first.body || again.header.Get("Etag") != first.header.Get("Etag") {
		t.Errorf("the repetition was answered %s", again.body)
	}
	if again.header.Get("Idempotent-Replayed") != "true" || again.header.Get("X-Request-Id") == first.header.Get("X-Request-Id") {
		t.Error("the repetition does not say that it is one, or has the first one's id")
	}
	h.call("POST", "/source", shopBody, "Idempotency-Key", "k2").want(http.StatusConflict)
	// The same key elsewhere, or of somebody else, is another request.
	h.call("POST", "/destination", erpBody, key...).want(http.StatusCreated).has("erp")
	other := h.token(h.home.ID, "another", hook.RoleAdmin)
	h.call("POST", "/source", shopBody, "Idempotency-Key", "k1", "Authorization", "Bearer "+other).want(http.StatusConflict)
	// A failure is not remembered: the mended request may use its key again.
	h.call("POST", "/source", `{"name":"?"}`, "Idempotency-Key", "k3").want(http.StatusUnprocessableEntity)
	h.call("POST", "/source", `{"name":"mended","verify":"none"}`, "Idempotency-Key", "k3").want(http.StatusCreated)
	h.call("POST", "/source", shopBody, "Idempotency-Key", strings.Repeat("k", 257)).want(http.StatusUnprocessableEntity).has(`["header","idempotency-key"]`)
	// Only POST has keys.
	h.call("GET", "/source/shop", "", key...).want(http.StatusOK)
}
