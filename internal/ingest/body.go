package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
)

// errTooLarge means that a body is above the source's limit.
var errTooLarge = errors.New("the body is too large")

// trustedLength is how many bytes are allocated on the word of a sender; for more, the
// bytes have to come first.
const trustedLength = 64 << 10

// bodyLimit is how many bytes a source takes: its own limit, within the operator's.
func (h *Handler) bodyLimit(source *route.Source) int64 {
	if h.options.MaxBody > 0 {
		return min(source.BodyLimit(), h.options.MaxBody)
	}
	return source.BodyLimit()
}

// readBody reads the raw body within the source's limit and the time allowed. What it
// returns is the caller's for good. With an error it returns what it had read.
func (x *exchange) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := x.bodyLimit(x.source)
	switch {
	case r.ContentLength > limit:
		return nil, errTooLarge
	case r.ContentLength == 0:
		return nil, nil
	}
	// The server's own deadlines know nothing of bodies; where the connection has none,
	// as in tests, there is nothing to limit.
	deadline := http.NewResponseController(w)
	limited := deadline.SetReadDeadline(time.Now().Add(x.options.ReadTimeout)) == nil
	body, err := x.readAll(r, limit)
	if limited && err == nil {
		// With an error the deadline stays: the server still reads what is left of the body.
		_ = deadline.SetReadDeadline(time.Time{})
	}
	return body, err
}

// readAll reads the body and notes in the exchange what memory that took.
func (x *exchange) readAll(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > 0 && r.ContentLength <= trustedLength {
		if !x.memory.take(r.ContentLength, true) {
			return nil, errBusy
		}
		x.taken = r.ContentLength
		body := make([]byte, r.ContentLength)
		n, err := io.ReadFull(r.Body, body)
		return body[:n], err
	}
	from := &charged{from: r.Body, room: x.memory}
	body, err := readGrowing(from, limit)
	x.taken = from.taken
	return body, err
}

// scratch holds buffers for bodies whose length is unknown or not to be trusted.
type scratch struct{ bytes.Buffer }

//nolint:gochecknoglobals // a pool is shared by nature
var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxPooledScratch keeps buffers that one huge body has grown out of the pool.
const maxPooledScratch = 1 << 20

func readGrowing(from io.Reader, limit int64) ([]byte, error) {
	buffer := scratches.Get().(*scratch) //nolint:forcetypeassert // the pool holds nothing else
	defer func() {
		if buffer.Cap() <= maxPooledScratch {
			buffer.Reset()
			scratches.Put(buffer)
		}
	}()
	n, err := buffer.ReadFrom(io.LimitReader(from, limit+1))
	if err == nil && n > limit {
		err = errTooLarge
	}
	// The event keeps its payload, the pool keeps the buffer.
	return bytes.Clone(buffer.Bytes()), err
}

// refuseBody answers a request whose body could not be read.
func (x *exchange) refuseBody(w http.ResponseWriter, r *http.Request, err error) {
	// What is left of the body is not read, so the connection is of no further use.
	w.Header().Set("Connection", "close")
	switch {
	case errors.Is(err, errBusy):
		x.numbers.refused(ReasonBusy)
		w.Header().Set("Retry-After", retryAfter)
		answerProblem(w, http.StatusServiceUnavailable, hook.KindUnavailable.String(), "too many requests are in flight, send it again later")
	case errors.Is(err, errTooLarge):
		x.refuse(r.Context(), refused{
			reason:      ReasonTooLarge,
			explanation: []string{fmt.Sprintf("The body is larger than %d bytes, the limit of this source; maxBody raises it.", x.bodyLimit(x.source))},
			truncated:   true,
		})
		answerProblem(w, http.StatusRequestEntityTooLarge, hook.KindTooLarge.String(), "the body is larger than this source takes")
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.refuse(r.Context(), refused{
			reason:      ReasonSlow,
			explanation: []string{fmt.Sprintf("The body did not come within %s.", x.options.ReadTimeout)},
			truncated:   true,
		})
		answerProblem(w, http.StatusRequestTimeout, "request_timeout", "the body came too slowly")
	default:
		x.numbers.refused(ReasonBroken)
		answerProblem(w, http.StatusBadRequest, hook.KindInvalid.String(), "the body ended early")
	}
}
