package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"malote.dev/malote/internal/account"
	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/api/stats"
	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature/profiles"
	"malote.dev/malote/internal/store"
)

// Options are what the API works with. All fields are needed unless they say otherwise.
type Options struct {
	Store    store.Store
	Accounts *account.Accounts
	Router   *route.Router
	Gallery  *profiles.Gallery
	Ingest   Ingester
	Deliver  Deliverer
	Replayer control.Replayer
	Rules    flow.Rules // what sources, destinations and connections are held to before they are stored
	// Senders makes the sender of a destination, for tests of the destination.
	Senders func(*hook.Destination) (*destination.Sender, error)
	Live    *Live
	// Remote returns the address of a caller for the audit; nil: that of the connection.
	Remote  func(*http.Request) string
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

// Deliverer is the engine that sends.
type Deliverer interface {
	control.Deliverer
	stats.Lanes
}

// server is what the handlers share.
type server struct {
	Options

	home hook.Project // the default one
}

const about = "Receives, routes and delivers webhooks. Lists come in pages: pass the iterator of one to get the next."

// New returns the handler of the API, of its description and of the user interface.
// The default project must exist.
func New(ctx context.Context, options Options) (http.Handler, error) {
	s, err := newServer(ctx, options)
	if err != nil {
		return nil, err
	}
	return s.handler() //nolint:contextcheck // the routes take the context of each request
}

func newServer(ctx context.Context, options Options) (*server, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	home, err := options.Store.Projects().Get(ctx, 0, route.DefaultProject)
	if err != nil {
		return nil, fmt.Errorf("looking for the project %q: %w", route.DefaultProject, err)
	}
	return &server{Options: options, home: home}, nil
}

// handler returns the routes as they are served.
func (s *server) handler() (*rest.Server, error) {
	return rest.New(rest.Options{
		Title: "Malote", About: about, Version: s.Version, Routes: s.table(),
		Authenticate: s.Accounts.Authenticate, Project: s.projectRef, Home: s.home,
		Audit: s.Store, Remote: s.Remote, UI: s.UI, Logger: s.Logger, Now: s.Now,
	})
}

// projectRef turns the id or name of a project into its id.
func (s *server) projectRef(ctx context.Context, ref string) (hook.ProjectID, error) {
	project, err := s.Store.Projects().Get(ctx, 0, ref)
	return project.ID, err
}
