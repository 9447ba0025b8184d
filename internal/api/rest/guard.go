package rest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
)

// projectHeader lets an admin of the default project work in another one.
const projectHeader = "malote-project"

// Caller is who makes a request, and where it acts.
type Caller struct {
	Token   hook.Token
	Project hook.ProjectID
}

type (
	callerKey  struct{}
	requestKey struct{}
)

// CallerOf returns the caller of a request that passed the guard.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// ProjectOf returns the project that a request acts in.
func ProjectOf(ctx context.Context) hook.ProjectID { return CallerOf(ctx).Project }

// RequestID returns the id that the log and the answer of a request share.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// guard is what every route passes before its handler: who calls, may they, in which
// project, with what kind of body, and was this asked before.
func (s *Server) guard(e *Route, next http.HandlerFunc) http.HandlerFunc {
	next = s.audited(e, next) // a repetition that gets the first answer does nothing
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.admit(r, e)
		if err != nil {
			writeProblem(w, s.report(r.Context(), err))
			return
		}
		ctx := context.WithValue(r.Context(), callerKey{}, c)
		if !e.Stream {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, deadline)
			defer cancel()
		}
		r = r.WithContext(ctx)
		if key := r.Header.Get("Idempotency-Key"); key != "" && r.Method == http.MethodPost {
			s.answers.serve(w, r, key, next)
			return
		}
		next(w, r)
	}
}

// admit says who the caller is, or why the route is closed to them.
func (s *Server) admit(r *http.Request, e *Route) (Caller, error) {
	text, ok := bearer(r.Header.Values("Authorization"))
	if !ok {
		return Caller{}, hook.Errorf(hook.KindUnauthorized, "send an API token as Authorization: Bearer mlt_…")
	}
	token, err := s.options.Authenticate(r.Context(), text)
	if err != nil {
		return Caller{}, err
	}
	if !token.Role.Includes(e.Role) {
		return Caller{}, hook.Errorf(hook.KindForbidden, "this needs the role %s, and the token %q has the role %s", e.Role, token.Name, token.Role)
	}
	c := Caller{Token: token, Project: token.Project}
	chief := token.Project == s.options.Home.ID && token.Role.Includes(hook.RoleAdmin)
	if e.Global && !chief {
		return Caller{}, hook.Errorf(hook.KindForbidden, "only admins of the project %q may do this", s.options.Home.Name)
	}
	if ref := r.Header.Get(projectHeader); ref != "" {
		if c.Project, err = s.otherProject(r.Context(), token, chief, ref); err != nil {
			return Caller{}, err
		}
	}
	return c, bodyKind(r, e)
}

// otherProject resolves the project that a caller asks to work in.
func (s *Server) otherProject(ctx context.Context, token hook.Token, chief bool, ref string) (hook.ProjectID, error) {
	if ref == token.Project.String() {
		return token.Project, nil
	}
	if !chief {
		return 0, hook.Errorf(hook.KindForbidden, "the token works in its own project only; admins of the project %q may name another one", s.options.Home.Name)
	}
	return s.options.Project(ctx, ref)
}

// bodyKind refuses bodies that claim to be something other than JSON.
func bodyKind(r *http.Request, e *Route) error {
	text := r.Header.Get("Content-Type")
	if e.In == nil || text == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(text)
	if err != nil || (kind != "application/json" && !strings.HasSuffix(kind, "+json")) {
		return &problem{
			status: http.StatusUnsupportedMediaType, code: "unsupported_media_type",
			detail: fmt.Sprintf("the body is %q: send JSON with Content-Type: application/json", text),
		}
	}
	return nil
}

// bearer reads the token of exactly one Authorization header (RFC 6750).
func bearer(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, text, ok := strings.Cut(values[0], " ")
	text = strings.TrimSpace(text)
	return text, ok && strings.EqualFold(scheme, "Bearer") && text != ""
}

// serve is what every request passes, the description and the pages included.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		s.mux.ServeHTTP(w, r)
		return
	}
	if trimmed := strings.TrimRight(r.URL.Path, "/"); trimmed != r.URL.Path && trimmed != "/api" {
		r = r.Clone(r.Context())
		r.URL.Path, r.URL.RawPath = trimmed, ""
	}
	id := newRequestID()
	harden(w.Header(), id)
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, id))
	seen := &observer{ResponseWriter: w}
	started := s.options.Now()
	defer func() { s.finish(seen, r, started, recover()) }()
	s.mux.ServeHTTP(seen, r)
}

// harden sets the headers of every answer of the API.
func harden(header http.Header, id string) {
	header.Set("X-Request-Id", id)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	header.Set("Referrer-Policy", "no-referrer")
}

// finish answers a request whose handler panicked, and logs every request that
// changed something.
func (s *Server) finish(w *observer, r *http.Request, started time.Time, cause any) {
	ctx := r.Context()
	if cause != nil {
		if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(cause)
		}
		s.options.Logger.ErrorContext(ctx, "a handler of the API panicked", slog.String("request_id", RequestID(ctx)),
			slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
		if w.status == 0 {
			writeProblem(w, problemOf(fmt.Errorf("panic: %v", cause)))
		}
	}
	level := slog.LevelInfo
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		level = slog.LevelDebug
	}
	s.options.Logger.LogAttrs(ctx, level, "answered a request to the API", slog.String("request_id", RequestID(ctx)),
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", w.status),
		slog.Duration("duration", s.options.Now().Sub(started)))
}

// observer remembers the status of an answer.
type observer struct {
	http.ResponseWriter

	status int
}

// WriteHeader implements http.ResponseWriter.
func (o *observer) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (o *observer) Write(text []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	return o.ResponseWriter.Write(text)
}

// Unwrap lets http.ResponseController reach the connection.
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func newRequestID() string {
	var random [8]byte
	rand.Read(random[:])
	return "req_" + hex.EncodeToString(random[:])
}
