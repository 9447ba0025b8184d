package rest

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
)

// Limits of remembered answers.
const (
	answerLife    = 12 * time.Hour
	maxAnswers    = 10_000
	maxAnswersMem = 16 << 20  // bytes of all bodies
	maxAnswer     = 256 << 10 // bytes of one body; a greater one is not remembered
	maxKeyLength  = 256
)

// answers makes repetitions of a POST with the same idempotency-key harmless: they
// get the first answer. Only successes are remembered, so that a mended request may
// use its key again; while the first request runs, repetitions wait for it. The
// memory is this process's own and bounded: after a restart, or when ten thousand
// newer answers came, a repetition is a new request.
type answers struct {
	now func() time.Time

	mu     sync.Mutex
	byKey  map[answerKey]*list.Element // of *answer
	recent *list.List                  // of *answer, the newest first
	size   int                         // bytes of all bodies
}

// answerKey identifies a request: who, where, which key.
type answerKey [sha256.Size]byte

// answer is the first answer to a key.
type answer struct {
	key    answerKey
	done   chan struct{} // closed when the first request has been answered
	at     time.Time
	status int // 0: it did not succeed
	header http.Header
	body   []byte
}

func newAnswers(now func() time.Time) *answers {
	return &answers{now: now, byKey: map[answerKey]*list.Element{}, recent: list.New()}
}

func keyOf(r *http.Request, key string) answerKey {
	c := CallerOf(r.Context())
	parts := []string{c.Token.ID.String(), c.Project.String(), r.URL.Path, r.URL.RawQuery, key}
	return sha256.Sum256([]byte(strings.Join(parts, "\x00")))
}

// serve answers a request by its key: from memory, or by next.
func (a *answers) serve(w http.ResponseWriter, r *http.Request, key string, next http.HandlerFunc) {
	if len(key) > maxKeyLength {
		writeProblem(w, &problem{
			status: http.StatusUnprocessableEntity,
			fields: []FieldError{{Loc: []string{"header", "idempotency-key"}, Msg: "is longer than 256 characters", Type: valueError}},
		})
		return
	}
	id := keyOf(r, key)
	for {
		entry, first := a.claim(id)
		if first {
			a.first(w, r, entry, next)
			return
		}
		if err := wait(r.Context(), entry.done); err != nil {
			writeProblem(w, &problem{
				status: http.StatusServiceUnavailable, code: hook.KindUnavailable.String(),
				detail: "the first request with this idempotency-key is still at work",
			})
			return
		}
		if entry.status != 0 {
			entry.write(w)
			return
		}
	}
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// claim returns the entry of a key, and whether the caller is its first request.
func (a *answers) claim(id answerKey) (entry *answer, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if element, ok := a.byKey[id]; ok {
		entry, _ = element.Value.(*answer)
		if entry.at.IsZero() || a.now().Sub(entry.at) < answerLife {
			return entry, false
		}
		a.drop(element)
	}
	entry = &answer{key: id, done: make(chan struct{})}
	a.byKey[id] = a.recent.PushFront(entry)
	return entry, true
}

// first runs a request and keeps its answer if it succeeded.
func (a *answers) first(w http.ResponseWriter, r *http.Request, entry *answer, next http.HandlerFunc) {
	rec := &recorder{ResponseWriter: w}
	defer func() { // also when the handler panics
		a.mu.Lock()
		defer a.mu.Unlock()
		defer close(entry.done)
		if element := a.byKey[entry.key]; !rec.succeeded() {
			a.drop(element)
			return
		}
		entry.at, entry.status, entry.header, entry.body = a.now(), rec.status, rec.header, rec.body.Bytes()
		a.size += len(entry.body)
		a.trim()
	}()
	next(rec, r)
}

// drop forgets an entry. The caller holds the lock.
func (a *answers) drop(element *list.Element) {
	entry, _ := a.recent.Remove(element).(*answer)
	delete(a.byKey, entry.key)
	a.size -= len(entry.body)
}

// trim forgets the oldest answers beyond the limits; requests under way stay. The
// caller holds the lock.
func (a *answers) trim() {
	for element := a.recent.Back(); element != nil && (a.recent.Len() > maxAnswers || a.size > maxAnswersMem); {
		older := element.Prev()
		if entry, ok := element.Value.(*answer); ok && !entry.at.IsZero() {
			a.drop(element)
		}
		element = older
	}
}

// write sends a remembered answer, under the new request's own id.
func (e *answer) write(w http.ResponseWriter) {
	header := w.Header()
	for name, values := range e.header {
		if name != "X-Request-Id" {
			header[name] = values
		}
	}
	header.Set("Idempotent-Replayed", "true")
	w.WriteHeader(e.status)
	w.Write(e.body) //nolint:errcheck // the caller is gone
}

// recorder passes an answer on and keeps a copy.
type recorder struct {
	http.ResponseWriter

	status int
	header http.Header
	body   bytes.Buffer
	long   bool // the body is too long to keep
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status, r.header = status, r.Header().Clone()
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(text []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.body.Len()+len(text) > maxAnswer {
		r.long = true
	} else {
		r.body.Write(text)
	}
	return r.ResponseWriter.Write(text)
}

// Unwrap lets http.ResponseController reach the connection, and with it the limits of time.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) succeeded() bool { return r.status >= 200 && r.status < 300 && !r.long }
