package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"time"

	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/run"
	"malote.dev/malote/internal/telemetry"
)

// Limits of the server's connections. Bodies have tighter limits of their own, by route,
// and streams set theirs for each write. The limits on a whole request and its answer are
// for what no handler reads, and for callers who do not take their answer.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 3 * time.Minute
	idleTimeout       = 120 * time.Second
	maxHeader         = 64 << 10
	readyTimeout      = 2 * time.Second
)

// handler routes what the server answers. Nearly all requests are events, and their
// sources are found by ingest, so that they need no pattern to be matched.
func (s *server) handler() http.Handler {
	mux := s.mux()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, route.PathPrefix) {
			s.ingest.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *server) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.ready)
	if s.settings.Metrics {
		mux.Handle("GET /metrics", telemetry.Handler(s.registry, s.logger))
	}
	mux.Handle("/", s.api)
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // a caller who is gone needs no answer
}

// ready says whether events can be stored and deliveries leave.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := errors.Join(s.store.Ready(ctx), s.engine.Ready()); err != nil {
		// Whoever may ask need not learn of paths and queries; the log has them.
		s.logger.WarnContext(r.Context(), "not ready", "error", err)
		answer(w, http.StatusServiceUnavailable, "not ready: the log says why\n")
		return
	}
	answer(w, http.StatusOK, "ready\n")
}

// serve listens, tells the person where, and runs everything until ctx is done.
func (s *server) serve(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.settings.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; choose another address with --listen", s.settings.Listen, err)
	}
	scheme := "http"
	if s.settings.TLSCert != "" {
		config, err := s.tlsConfig()
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		listener, scheme = tls.NewListener(listener, config), "https"
	}
	base := scheme + "://" + reachable(listener.Addr())
	group := run.New(s.logger)
	s.services(group, s.httpService(listener))
	if s.settings.Profiling != "" {
		group.Add("profiling", time.Second, run.Func(s.profile))
	}
	if s.demo != nil {
		group.Add("demo", time.Second, run.Func(func(ctx context.Context) error { return s.demo.Run(ctx, base+route.PathPrefix+"shop") }))
	}
	if err := s.warn(ctx); err != nil {
		return errors.Join(err, listener.Close())
	}
	group.Add("farewell", time.Second, run.Func(s.sayStopping)) // the last to start is the first to stop
	s.greet(base)
	err = group.Run(ctx)
	s.logger.Info("stopped")
	return err
}

func (s *server) sayStopping(ctx context.Context) error {
	<-ctx.Done()
	s.logger.Info("stopping; what is in flight may finish", "within", s.settings.ShutdownGrace.String())
	return nil
}

// reachable is an address that a browser on this machine can open.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return addr.String()
}

// newServer returns a server on which no connection lives longer than it is of use.
func newServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// httpService serves until its context ends, then lets requests in flight finish.
func (s *server) httpService(listener net.Listener) run.Service {
	grace := time.Duration(s.settings.ShutdownGrace)
	server := newServer(s.handler(), s.logger)
	server.RegisterOnShutdown(s.live.Close)
	return run.Func(func(ctx context.Context) error {
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		select {
		case err := <-served:
			return fmt.Errorf("serve HTTP: %w", err)
		case <-ctx.Done():
		}
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			return errors.Join(fmt.Errorf("requests were cut off: %w", err), server.Close())
		}
		return nil
	})
}

// tlsConfig reads the certificate that we show and the authorities of those that
// senders may show.
func (s *server) tlsConfig() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.settings.TLSCert, s.settings.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("read tls-cert and tls-key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if s.settings.ClientCA != "" {
		pem, err := os.ReadFile(s.settings.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("read client-ca: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("client-ca: %s holds no PEM certificate", s.settings.ClientCA)
		}
	}
	// A certificate is asked for and judged by the source's own rule, so that sources
	// without one go on working.
	config.ClientAuth = tls.RequestClientCert
	return config, nil
}

// profile serves Go's profiles on a port of their own.
func (s *server) profile(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Addr: s.settings.Profiling, Handler: mux, ReadHeaderTimeout: readHeaderTimeout}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return fmt.Errorf("serve profiles on %s: %w", s.settings.Profiling, err)
	}
	return nil
}

// greet tells the person at the terminal where to look and how to sign in.
func (s *server) greet(base string) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(s.options.Out, format+"\n", args...) } // a closed terminal stops nobody
	say("malote %s", s.version())
	say("listening on %s", base)
	switch {
	case s.token != "":
		say("sign in:     %s/#token=%s", base, s.token)
		say("This admin token is shown once. It is also in %s.", s.adminTokenPath())
	default:
		say("sign in:     %s/ with the token in %s", base, s.adminTokenPath())
	}
	if s.demo != nil {
		say("demo:        a shop sends signed orders to %s/in/shop, and they are delivered, signed, to an ERP", base)
	}
}
