package rest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"time"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/hook"
)

// Limits of the audit.
const (
	maxDetail     = 4 << 10         // bytes of a body that are kept
	recordTimeout = 5 * time.Second // to store an entry; the answer waits for it
)

// Recorder stores what somebody did.
type Recorder interface {
	Record(ctx context.Context, entry *hook.AuditEntry) error
}

// trail is what a handler adds to the audit of its request.
type trail struct {
	subject string
	looked  bool // nothing was changed
}

type trailKey struct{}

// Acted notes to which noun a request did something: in the log, and in the audit.
func Acted(ctx context.Context, logger *slog.Logger, what string, noun fmt.Stringer) {
	if t, ok := ctx.Value(trailKey{}).(*trail); ok {
		t.subject = noun.String()
	}
	c := CallerOf(ctx)
	logger.LogAttrs(ctx, slog.LevelInfo, "somebody acted through the API", slog.String("action", what), slog.String("id", noun.String()),
		slog.String("project", c.Project.String()), slog.String("token", c.Token.ID.String()), slog.String("request_id", RequestID(ctx)))
}

// Looked notes that a request which could have changed something did not, as one that
// asks for a plan. It is not audited.
func Looked(ctx context.Context) {
	if t, ok := ctx.Value(trailKey{}).(*trail); ok {
		t.looked = true
	}
}

// Audited reports whether successful calls of the route are recorded.
func (e *Route) Audited() bool {
	if e.Method == http.MethodGet {
		return e.Reveals
	}
	return e.Unaudited == ""
}

// audited records what a route did once its handler has succeeded. The answer, unless
// it is long, leaves after that. What cannot be recorded is logged: the change is made,
// and saying that it failed would have it made again.
func (s *Server) audited(e *Route, next http.HandlerFunc) http.HandlerFunc {
	if !e.Audited() || s.options.Audit == nil {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) {
		t, seen, asked := &trail{}, &observer{ResponseWriter: w}, &bytes.Buffer{}
		r = r.WithContext(context.WithValue(r.Context(), trailKey{}, t))
		if e.In != nil {
			r.Body = &copied{ReadCloser: r.Body, into: asked, limit: int(e.bodyLimit())}
		}
		next(seen, r)
		if t.looked || seen.status < http.StatusOK || seen.status >= http.StatusMultipleChoices {
			return
		}
		if t.subject == "" {
			t.subject = r.PathValue("id")
		}
		s.record(r, e, t.subject, asked.Bytes())
	}
}

func (s *Server) record(r *http.Request, e *Route, subject string, asked []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), recordTimeout)
	defer cancel()
	c := CallerOf(ctx)
	entry := &hook.AuditEntry{
		Project: c.Project, At: s.options.Now().UTC(), Token: c.Token.ID, Actor: c.Token.Name,
		Action: e.ID, Subject: subject, Remote: s.options.Remote(r),
	}
	if e.In != nil {
		entry.Detail = body.Mask(asked, reflect.TypeOf(e.In), maxDetail)
	}
	if err := s.options.Audit.Record(ctx, entry); err != nil {
		s.options.Logger.ErrorContext(ctx, "what somebody did could not be recorded in the audit", slog.String("action", e.ID), slog.String("id", subject),
			slog.String("token", c.Token.ID.String()), slog.String("request_id", RequestID(ctx)), slog.Any("error", err))
	}
}

// peer is the address of the other end of the connection.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// copied is a body of which a copy is kept as it is read, up to the limit that the
// adapter reads it to.
type copied struct {
	io.ReadCloser

	into  *bytes.Buffer
	limit int
}

// Read implements io.Reader.
func (c *copied) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.into.Write(p[:min(n, max(0, c.limit-c.into.Len()))])
	return n, err
}
