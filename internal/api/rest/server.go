package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"malote.dev/malote/internal/hook"
)

// Limits of requests.
const (
	maxBody     = 1 << 20          // bytes of a body, unless the route says otherwise
	bodyTimeout = 20 * time.Second // to send a body
	deadline    = 60 * time.Second // for an answer, streams apart
)

// Options are what a Server works with. All fields are needed unless they say otherwise.
type Options struct {
	Title   string // of the API
	About   string // a sentence or two
	Version string
	Routes  []*Route
	// Authenticate returns the token with this text, or a hook.KindUnauthorized error.
	Authenticate func(ctx context.Context, text string) (hook.Token, error)
	// Project returns the id of a project by id or name.
	Project func(ctx context.Context, ref string) (hook.ProjectID, error)
	Home    hook.Project               // the default project, whose admins reach all others
	Audit   Recorder                   // of what succeeded; nil: nothing is recorded
	Remote  func(*http.Request) string // address of a caller for the audit; nil: the connection's other end
	UI      http.Handler               // what is served outside of the API; nil: nothing
	Logger  *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Server serves the routes, the description at /openapi.json and the page at /docs
// that renders it.
type Server struct {
	options Options
	mux     *http.ServeMux
	answers *answers
}

// New returns a server of the routes.
func New(options Options) (*Server, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Remote == nil {
		options.Remote = peer
	}
	s := &Server{options: options, mux: http.NewServeMux(), answers: newAnswers(options.Now)}
	description, err := json.Marshal(newAdapter(s, s.mux).OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	s.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(description) // when it fails, the caller has gone
	})
	for path, file := range docsPages() {
		s.mux.Handle("GET "+path, docs(file))
	}
	s.mux.HandleFunc("/api/", s.unknown)
	if options.UI != nil {
		s.mux.Handle("/", options.UI)
	}
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r) }

// Pattern returns the method and path of the route that a request reaches, such as
// "GET /api/v1/source/{id}".
func (s *Server) Pattern(r *http.Request) string {
	_, pattern := s.mux.Handler(r)
	return pattern
}

// methods are those that routes use.
func methods() []string {
	return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
}

// unknown answers paths and methods that no route has.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	for _, method := range methods() {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := s.mux.Handler(probe); pattern != "" && pattern != "/api/" && pattern != "/" {
			w.Header().Add("Allow", method)
		}
	}
	if len(w.Header()["Allow"]) > 0 {
		writeProblem(w, &problem{
			status: http.StatusMethodNotAllowed, code: "method_not_allowed",
			detail: fmt.Sprintf("%s does not take %s", r.URL.Path, r.Method),
		})
		return
	}
	writeProblem(w, &problem{
		status: http.StatusNotFound, code: hook.KindNotFound.String(),
		detail: fmt.Sprintf("the API has no path %s: see /docs", r.URL.Path),
	})
}

// report turns an error into the answer, and logs what the caller is not told.
func (s *Server) report(ctx context.Context, err error) *problem {
	p := problemOf(err)
	if p.status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		s.options.Logger.ErrorContext(ctx, "a request to the API failed", slog.String("request_id", RequestID(ctx)), slog.Any("error", err))
	}
	return p
}
