package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
	other := h.token(h.home, "another", hook.RoleAdmin)
	h.call("POST", "/source", shopBody, "Idempotency-Key", "k1", "Authorization", "Bearer "+other).want(http.StatusConflict)
	// A failure is not remembered: the mended request may use its key again.
	h.call("POST", "/source", `{"name":"?"}`, "Idempotency-Key", "k3").want(http.StatusUnprocessableEntity)
	h.call("POST", "/source", `{"name":"mended","verify":"none"}`, "Idempotency-Key", "k3").want(http.StatusCreated)
	h.call("POST", "/source", shopBody, "Idempotency-Key", strings.Repeat("k", 257)).want(http.StatusUnprocessableEntity).has(`["header","idempotency-key"]`)
	// Only POST has keys.
	h.call("GET", "/source/shop", "", key...).want(http.StatusOK)
}

func post(key string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/x", http.NoBody)
	r.Header.Set("Idempotency-Key", key)
	return r
}

func TestConcurrentRepetitionsWaitForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newAnswers(time.Now)
		var calls atomic.Int32
		release := make(chan struct{})
		handler := func(w http.ResponseWriter, _ *http.Request) {
			n := calls.Add(1)
			<-release
			fmt.Fprintf(w, "answer %d", n)
		}
		var all sync.WaitGroup
		bodies := make([]string, 5)
		for i := range bodies {
			all.Go(func() {
				w := httptest.NewRecorder()
				memory.serve(w, post("k"), "k", handler)
				bodies[i] = w.Body.String()
			})
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if calls.Load() != 1 {
			t.Errorf("the handler ran %d times", calls.Load())
		}
		for _, body := range bodies {
			if body != "answer 1" {
				t.Errorf("answers %q", bodies)
			}
		}
	})
}

func TestAnswersAreForgotten(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	memory := newAnswers(func() time.Time { return now })
	calls := 0
	serve := func(key string, size int) {
		memory.serve(httptest.NewRecorder(), post(key), key, func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.Write(make([]byte, size))
		})
	}
	serve("k", 1)
	now = now.Add(answerLife - time.Second)
	serve("k", 1)
	if calls != 1 {
		t.Fatalf("%d calls within the time", calls)
	}
	now = now.Add(time.Second)
	serve("k", 1)
	if calls != 2 {
		t.Errorf("%d calls after the time", calls)
	}
	for i := range 2 * maxAnswersMem / maxAnswer {
		serve(fmt.Sprint("big", i), maxAnswer)
	}
	if memory.size > maxAnswersMem {
		t.Errorf("%d bytes are kept", memory.size)
	}
	for i := range maxAnswers + 10 {
		serve(fmt.Sprint("small", i), 1)
	}
	if len(memory.byKey) > maxAnswers || memory.recent.Len() != len(memory.byKey) {
		t.Errorf("%d answers are kept, %d in the list", len(memory.byKey), memory.recent.Len())
	}
	calls = 0
	serve("long", maxAnswer+1)
	serve("long", maxAnswer+1)
	if calls != 2 {
		t.Error("an answer that is too long was kept")
	}
}

func TestPanicReleasesTheKey(t *testing.T) {
	memory := newAnswers(time.Now)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		memory.serve(httptest.NewRecorder(), post("k"), "k", func(http.ResponseWriter, *http.Request) { panic("no") })
	}()
	w := httptest.NewRecorder()
	memory.serve(w, post("k"), "k", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	if w.Code != http.StatusCreated {
		t.Errorf("status %d", w.Code)
	}
}
