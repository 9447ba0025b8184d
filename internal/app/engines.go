package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"malote.dev/malote/internal/account"
	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/ingest"
	"malote.dev/malote/internal/replay"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/web"
)

// buildEngines makes the way of an event: router, ingest, deliver.
func (s *server) buildEngines(ctx context.Context) (err error) {
	s.live = api.NewLive()
	s.router = route.New(route.Options{
		Load:    s.store.Catalogue,
		Compile: s.compile,
		Logger:  s.logger,
	})
	if err := s.router.Reload(ctx); err != nil {
		return err
	}
	s.webhooks = webhook.NewFactory(webhook.Options{Guard: s.guard, Version: s.version(), Logger: s.logger})
	s.buildNotices()
	observed := announced{Store: s.store, live: s.live}
	s.engine = deliver.New(deliver.Options{
		Queue: observed, Holder: s.store, Catalogue: catalogue{s.router}, Senders: s.webhooks.Open,
		Suspend: s.suspend, Notify: s.announcer.Notify,
		Owner: rand.Text(), IDs: s.ids, Logger: s.logger, Metrics: s.registry, Grace: time.Duration(s.settings.ShutdownGrace),
	})
	s.replays = replay.New(replay.Options{
		Replays: observed, Log: s.store, Catalogue: s.router.Current, Circuit: s.engine.Circuit, Wake: s.engine.Wake,
		Notify: s.replayEnded, Logger: s.logger, Metrics: s.registry,
	})
	proxies, err := prefixes(s.settings.TrustedProxies)
	if err != nil {
		return err
	}
	s.ingest, err = ingest.New(ingest.Options{
		Catalogue: s.router, Store: observed, Lanes: s.engine, IDs: s.ids, Logger: s.logger, Metrics: s.registry, TrustProxy: proxies,
		PublicURL: s.settings.PublicURL, MaxBody: int64(s.settings.MaxBody),
	})
	return err
}

// buildAPI makes the management API, and the admin token on the first start.
func (s *server) buildAPI(ctx context.Context) (err error) {
	s.accounts = account.New(s.store, time.Now)
	if s.token, err = s.accounts.EnsureAdmin(ctx, s.project, s.adminTokenPath()); err != nil {
		return err
	}
	s.api, err = api.New(ctx, api.Options{
		Store: announced{Store: s.store, live: s.live}, Accounts: s.accounts, Router: s.router, Gallery: s.gallery,
		Ingest: s.ingest, Deliver: s.engine, Replayer: s.replays, Remote: s.ingest.Remote, Rules: s.rules(), Senders: s.webhooks.Open, Live: s.live,
		UI: web.Handler(), Version: s.version(), Logger: s.logger,
	})
	return err
}

func (s *server) adminTokenPath() string { return filepath.Join(s.settings.Data, AdminTokenFile) }

// prefixes reads ranges of addresses.
func prefixes(texts []string) ([]netip.Prefix, error) {
	ranges := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		prefix, err := egress.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("trusted-proxies: %w", err)
		}
		ranges = append(ranges, prefix.Masked())
	}
	return ranges, nil
}
