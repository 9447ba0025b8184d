package ingest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
)

// held is a body that gives its first bytes and then waits to be released.
type held struct {
	first   io.Reader
	came    chan struct{} // closed when the first bytes were read
	release chan struct{}
}

func hold(n int) *held {
	return &held{first: &endless{n: n}, came: make(chan struct{}), release: make(chan struct{})}
}

func (h *held) Read(p []byte) (int, error) {
	if n, err := h.first.Read(p); err == nil {
		return n, nil
	}
	close(h.came)
	<-h.release
	return 0, io.EOF
}

func TestManyGreatBodiesAtOnceDoNotTakeAllMemory(t *testing.T) {
	const limit = 1 << 20
	big := func(s *hook.Source) { s.MaxBody = 4 * limit }
	w := newWorld(t, withConnection(source(10, "shop", big)), func(o *Options) { o.Memory = limit })
	great := func(body io.Reader) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://malote.example/in/shop", io.NopCloser(body))
		r.ContentLength = -1
		return w.send(r)
	}
	first := hold(limit / 2)
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- great(first) }()
	<-first.came

	busy := great(&endless{n: limit / 2})
	if busy.Code != http.StatusServiceUnavailable || busy.Header().Get("Retry-After") == "" {
		t.Errorf("a second great body got %d", busy.Code)
	}
	if got := w.post("/in/shop", "small"); got.Code != http.StatusOK {
		t.Errorf("a small body got %d beside a great one", got.Code)
	}
	close(first.release)
	if got := <-done; got.Code != http.StatusOK {
		t.Errorf("the first body got %d", got.Code)
	}
	if got := great(&endless{n: limit / 2}); got.Code != http.StatusOK {
		t.Errorf("a great body got %d after the first had gone", got.Code)
	}
	if used := w.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}

func TestMemoryIsGivenBackHoweverARequestEnds(t *testing.T) {
	const limit = 1 << 20
	w := newWorld(t, withConnection(source(10, "shop")), func(o *Options) { o.Memory = limit })
	broken := func(length int64, n int) {
		r := httptest.NewRequest(http.MethodPost, "http://malote.example/in/shop", io.NopCloser(&endless{n: n}))
		r.ContentLength = length
		w.send(r)
	}
	for range 3 {
		broken(100, 10)                            // ends early
		broken(-1, hook.DefaultMaxBody+1)          // too large
		broken(hook.DefaultMaxBody, trustedLength) // as announced it would be large
		w.post("/in/shop", strings.Repeat("x", 100))
	}
	if used := w.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
	if !w.memory.take(limit, true) || w.memory.take(1, true) {
		t.Error("the limit is another one than was asked for")
	}
	if got := w.post("/in/shop", "x"); got.Code != http.StatusServiceUnavailable || !bytes.Contains(got.Body.Bytes(), []byte("send it again")) {
		t.Errorf("without memory a request got %d %s", got.Code, got.Body)
	}
	if got := w.counted(t, "malote_ingest_refused_total"); got == 0 {
		t.Error("nothing was counted")
	}
}
