package api

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"malote.dev/malote/internal/hook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen opens the stream and returns its lines.
func (h *harness) listen(ctx context.Context, server *httptest.Server) *bufio.Scanner {
	h.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/stream", http.NoBody)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.tokens[hook.RoleViewer])
	answer, err := server.Client().Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		h.t.Fatalf("%d %s", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Scan() // ": listening"
	return lines
}

func TestStream(t *testing.T) {
	h := newHarness(t)
	server := httptest.NewServer(h.handler)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines := h.listen(ctx, server)

	h.Live.Publish(Notice{Project: h.home.ID + 1, Event: &hook.Event{ID: 1, Type: "of another project"}})
	h.Live.Publish(Notice{Project: h.home.ID, Event: &hook.Event{
		ID: 2, Project: h.home.ID, Type: "order", Headers: hook.Headers{{Name: "X-Token", Value: "secret"}},
	}})
	h.Live.Publish(Notice{Project: h.home.ID, Delivery: &hook.Delivery{ID: 3, State: hook.StateFailed}})
	h.Live.Publish(Notice{Project: h.home.ID, Refusal: &hook.Refusal{ID: 4, Reason: "bad_signature"}})
	var text strings.Builder
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "bad_signature") {
			break
		}
	}
	got := text.String()
	for _, want := range []string{"event: event\nid: evt_", `"type":"order"`, "event: delivery\nid: dlv_", `"state":"failed"`, "event: refused\nid: rfd_"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	if strings.Contains(got, "another project") || strings.Contains(got, `"secret"`) {
		t.Errorf("too much is told: %s", got)
	}
	h.Live.Close()
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
	}
	if !strings.Contains(text.String(), "event: lagged") {
		t.Error("the end is not told")
	}
	h.call("GET", "/stream", "").want(http.StatusServiceUnavailable)
}

func TestSlowListenersAreDropped(t *testing.T) {
	live := NewLive()
	slow, end, err := live.Listen(1)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if !live.Listening() {
		t.Error("nobody listens")
	}
	for range listenerQueue + 1 {
		live.Publish(Notice{Project: 1, Event: &hook.Event{}})
	}
	if live.Listening() {
		t.Error("the slow listener was kept")
	}
	received := 0
	for range slow {
		received++
	}
	if received != listenerQueue {
		t.Errorf("%d notices, want %d and the end", received, listenerQueue)
	}
	end() // once more does no harm
}

func TestListenersAreBounded(t *testing.T) {
	live := NewLive()
	for range maxListeners {
		if _, _, err := live.Listen(1); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := live.Listen(1); hook.KindOf(err) != hook.KindUnavailable {
		t.Errorf("error %v", err)
	}
	live.Close()
	if _, _, err := live.Listen(1); hook.KindOf(err) != hook.KindUnavailable {
		t.Errorf("after the end: %v", err)
	}
}
