package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malote.dev/malote/internal/account"
	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/demo"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/ingest"
	"malote.dev/malote/internal/notice"
	"malote.dev/malote/internal/replay"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/run"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/telemetry"
	"malote.dev/malote/internal/upkeep"
)

// Options are what Run needs besides the settings.
type Options struct {
	Out     io.Writer // for what the person at the terminal must see; logs go to Log
	Log     io.Writer
	Version string
	Environ []string // as os.Environ returns it; variables that may be misspelt settings are told
	Demo    bool     // play the demo's shop and ERP around the server
}

// AdminTokenFile is the file in the data folder with the admin token of the first start.
const AdminTokenFile = "admin-token"

// storeGrace is how long the store may take to write what was handed over to it.
const storeGrace = 30 * time.Second

// server is everything that runs, wired together.
type server struct {
	settings config.Settings
	options  Options
	logger   *slog.Logger
	registry *prometheus.Registry
	demo     *demo.Demo

	guard     *egress.Guard
	gallery   *signature.Gallery
	fetcher   *egress.Fetcher
	store     *sqlite.Store
	router    *route.Router
	engine    *deliver.Engine
	replays   *replay.Engine
	announcer *notice.Announcer
	watcher   *notice.Watcher
	ingest    *ingest.Handler
	accounts  *account.Accounts
	api       http.Handler
	live      *api.Live
	webhooks  *webhook.Factory
	ids       *hook.IDs
	project   hook.ProjectID // the default one
	token     string         // the admin token, on the first start only
}

// Run builds the server, serves until ctx is done, and stops it. What it returns is
// for people: what could not be done, and how to mend it.
func Run(ctx context.Context, settings config.Settings, options Options) (err error) {
	s := &server{settings: settings, options: options}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.build(ctx); err != nil {
		return err
	}
	if err := s.applyFlows(ctx); err != nil {
		return err
	}
	return s.serve(ctx)
}

// build makes every part, from the ground up.
func (s *server) build(ctx context.Context) error {
	for _, step := range []func(context.Context) error{s.buildTools, s.openStore, s.buildEngines, s.buildAPI} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// buildTools makes what needs neither database nor network.
func (s *server) buildTools(ctx context.Context) (err error) {
	s.logger, err = telemetry.NewLogger(s.options.Log, telemetry.LogFormat(s.settings.LogFormat), s.settings.LogLevel)
	if err != nil {
		return err
	}
	for _, unknown := range config.UnknownVariables(s.options.Environ) {
		s.logger.WarnContext(ctx, "a variable of the environment is no setting", "variable", unknown.Name, "nearest", unknown.Nearest)
	}
	s.registry = telemetry.NewRegistry(telemetry.ReadBuild(s.options.Version))
	allow := s.settings.AllowPrivate
	if s.options.Demo {
		if s.demo, err = demo.New(ctx, s.logger); err != nil {
			return err
		}
		allow = append(allow[:len(allow):len(allow)], s.demo.Allow())
	}
	if s.guard, err = egress.NewGuard(allow); err != nil {
		return err
	}
	s.fetcher = egress.NewFetcher(egress.NewClient(s.guard, egress.ClientOptions{}))
	if s.settings.Profiles != "" {
		s.gallery, err = signature.NewGallery(os.DirFS(s.settings.Profiles))
	} else {
		s.gallery, err = signature.NewGallery()
	}
	return err
}

// openStore opens the data folder, which nobody else may be using. The key file is left
// to the store, which reads it under its lock: before, it may be about to be replaced.
func (s *server) openStore(ctx context.Context) (err error) {
	s.ids = hook.NewIDs(0)
	s.store, err = sqlite.Open(ctx, sqlite.Options{Dir: s.settings.Data, IDs: s.ids, Logger: s.logger})
	if err != nil {
		return err
	}
	project, err := s.store.Projects().Get(ctx, 0, route.DefaultProject)
	if err != nil {
		return fmt.Errorf("look for the project %q: %w", route.DefaultProject, err)
	}
	s.project = project.ID
	return nil
}

var _ signature.KeyRefresher = (*egress.Fetcher)(nil)

// compile is signature.Compile with what this server knows.
func (s *server) compile(spec *hook.SourceSpec) (*signature.Verifier, error) {
	return signature.Compile(spec, s.gallery, s.fetcher)
}

// version is the build's, as people see it.
func (s *server) version() string { return telemetry.ReadBuild(s.options.Version).Version }

// rules are what the catalogue is held to before anything of it is stored.
func (s *server) rules() flow.Rules {
	return flow.Rules{
		Source: func(spec *hook.SourceSpec) error {
			_, err := s.compile(spec)
			return err
		},
		Destination: s.webhooks.Check,
	}
}

// OfflineRules are what a flow is held to where no server is at hand. The server judges
// the rest: which addresses it may reach, and what it knows of the providers.
func OfflineRules() flow.Rules {
	return flow.Rules{Destination: webhook.NewFactory(webhook.Options{Guard: egress.NewOpenGuard()}).Check}
}

// suspend pauses a destination that asked to get nothing more.
func (s *server) suspend(ctx context.Context, id hook.DestinationID, reason string) error {
	for {
		current, ok := s.router.Current().Destination(id)
		if !ok || current.Paused {
			return nil
		}
		dst, err := s.store.Destinations().Get(ctx, current.Project, id.String())
		if err != nil {
			return err
		}
		dst.Paused, dst.PauseReason = true, reason
		err = s.store.Destinations().Update(ctx, &dst)
		if hook.KindOf(err) == hook.KindConflict {
			continue // somebody changed it meanwhile: look again
		}
		if err != nil {
			return fmt.Errorf("pause the destination: %w", err)
		}
		if err := s.router.Reload(ctx); err != nil {
			return err
		}
		scope := store.Scope{Project: dst.Project, Destination: id}
		if _, err := s.store.Hold(ctx, scope, reason); err != nil {
			return fmt.Errorf("hold what waits for the destination: %w", err)
		}
		s.audit(ctx, &hook.AuditEntry{Project: dst.Project, Action: "destination.pause", Subject: id.String()}, reason)
		return nil
	}
}

// services adds what runs, in the order in which it starts; it stops in reverse.
func (s *server) services(group *run.Group, http run.Service) {
	grace := time.Duration(s.settings.ShutdownGrace)
	group.Add("upkeep", grace, upkeep.New(upkeep.Options{
		Store: s.store, Space: upkeep.SpaceOf(s.settings.Data), Interval: time.Duration(s.settings.RetentionSweep),
		Logger: s.logger, Metrics: s.registry,
	}))
	group.Add("notice", grace, s.announcer) // it outlives everything that has something to tell
	group.Add("deliver", grace+5*time.Second, s.engine)
	group.Add("resume", grace, deliver.NewResumer(deliver.ResumerOptions{
		Store: s.store, Routes: catalogue{s.router}.routes, Wake: s.engine.Wake, Resume: s.engine.Resume, Logger: s.logger,
	}))
	group.Add("replay", grace, s.replays)
	group.Add("watch", grace, s.watcher)
	group.Add("http", grace, http)
}

// close ends what build began.
func (s *server) close() error {
	if s.store == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- s.store.Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(storeGrace):
		return fmt.Errorf("the store did not close within %s; the next start repairs what is left", storeGrace)
	}
}
