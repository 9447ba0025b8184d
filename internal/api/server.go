package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"malote.dev/malote/internal/account"
	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature/profiles"
	"malote.dev/malote/internal/store"
)

// Limits of requests.
const (
	maxBody     = 1 << 20          // bytes of a body, publishing apart
	maxPublish  = 32 << 20         // bytes of the body of a published event, before the source's own limit
	bodyTimeout = 20 * time.Second // to send a body
	deadline    = 60 * time.Second // for an answer, streams apart
)

// Options are what the API works with. All fields are needed unless they say otherwise.
type Options struct {
	Store    store.Store
	Accounts *account.Accounts
	Router   *route.Router
	Gallery  *profiles.Gallery
	Ingest   Ingester
	Deliver  Waker
	Rules    flow.Rules // what sources, destinations and connections are held to before they are stored
	// Senders makes the sender of a destination, for tests of the destination.
	Senders func(*hook.Destination) (*destination.Sender, error)
	Live    *Live
	UI      http.Handler // nil: no user interface
	Version string
	Logger  *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Ingester takes events that come in by the API.
type Ingester interface {
	// Publish accepts an event on behalf of the source.
	Publish(ctx context.Context, source *route.Source, event *hook.Event) (hook.Receipt, error)
	// Readmit accepts a request that was refused, as its source is set up now.
	Readmit(ctx context.Context, refusal *hook.Refusal) (hook.Receipt, error)
}

// Waker is told that deliveries of a destination have become due.
type Waker interface {
	Wake(destination hook.DestinationID)
}

// server is what the handlers share.
type server struct {
	Options

	routes  []*endpoint
	mux     *http.ServeMux
	home    hook.ProjectID // the default project
	answers *answers
}

// New returns the handler of the API, of its description and of the user interface.
// The default project must exist.
func New(ctx context.Context, options Options) (http.Handler, error) {
	s, err := newServer(ctx, options)
	if err != nil {
		return nil, err
	}
	return s.wrap(s.mux), nil
}

func newServer(ctx context.Context, options Options) (*server, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	home, err := options.Store.Projects().Get(ctx, 0, route.DefaultProject)
	if err != nil {
		return nil, fmt.Errorf("looking for the project %q: %w", route.DefaultProject, err)
	}
	//nolint:contextcheck // the routes in the table take the context of each request
	s := &server{Options: options, routes: table(), mux: http.NewServeMux(), home: home.ID, answers: newAnswers(options.Now)}
	description, err := json.Marshal(newAdapter(s, s.mux, options.Version).OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	s.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(description) //nolint:errcheck // the caller is gone
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

// methods are those that routes use.
func methods() []string {
	return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
}

// unknown answers paths and methods that no route has.
func (s *server) unknown(w http.ResponseWriter, r *http.Request) {
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
func (s *server) report(ctx context.Context, err error) *problem {
	p := problemOf(err)
	if p.status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		s.Logger.ErrorContext(ctx, "a request to the API failed", slog.String("request_id", requestID(ctx)), slog.Any("error", err))
	}
	return p
}
