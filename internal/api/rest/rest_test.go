package rest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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

func TestPanicIsAnswered(t *testing.T) {
	var log bytes.Buffer
	server, err := New(Options{
		Title: "Test", Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Routes: []*Route{{
			Method: http.MethodGet, Path: "/panic", ID: "panic", Role: hook.RoleViewer,
			Bind: Raw[NoInput](func(http.ResponseWriter, *http.Request) error { panic("a secret cause") }),
		}},
		Authenticate: func(context.Context, string) (hook.Token, error) { return hook.Token{Role: hook.RoleViewer}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, Prefix+"/panic", http.NoBody)
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"code":"server_error"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), "secret cause") || !strings.Contains(log.String(), "a secret cause") {
		t.Errorf("the cause belongs into the log: %s, %s", w.Body, log.String())
	}
}
