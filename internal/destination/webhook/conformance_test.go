package webhook_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"malote.dev/malote/internal/destination/destinationtest"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// newGuard opens the addresses of test servers.
func newGuard(t testing.TB, allow ...string) *egress.Guard {
	t.Helper()
	guard, err := egress.NewGuard(allow)
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

// The contract, over real connections, with each way to prove who sends.
func TestConformance(t *testing.T) {
	auths := map[string]*hook.Auth{
		"none":   nil,
		"bearer": {Bearer: destinationtest.Secret},
		"basic":  {Basic: &hook.BasicAuth{Username: "malote", Password: destinationtest.Secret}},
		"header": {Header: &hook.HeaderAuth{Name: "X-Shop", Value: destinationtest.Secret}},
	}
	for name, auth := range auths {
		t.Run(name, func(t *testing.T) {
			destinationtest.Run(t, func(t *testing.T, behavior destinationtest.Behavior) destinationtest.Subject {
				t.Helper()
				return subject(t, behavior, auth)
			})
		})
	}
}

// subject is a driver and an HTTP server that behaves as asked.
func subject(t *testing.T, behavior destinationtest.Behavior, auth *hook.Auth) destinationtest.Subject {
	t.Helper()
	var mu sync.Mutex
	var received [][]byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		switch behavior {
		case destinationtest.Refuse:
			w.WriteHeader(http.StatusUnprocessableEntity)
		case destinationtest.Hang:
			<-r.Context().Done()
		case destinationtest.Break:
			panic(http.ErrAbortHandler)
		case destinationtest.Flood:
			for chunk := make([]byte, 64<<10); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		case destinationtest.Accept:
			mu.Lock()
			defer mu.Unlock()
			received = append(received, body)
		}
	}))
	t.Cleanup(server.Close)
	factory := webhook.NewFactory(webhook.Options{Guard: newGuard(t, server.Listener.Addr().String()), Logger: quiet()})
	t.Cleanup(factory.Close)
	driver, err := webhook.Driver(factory, &hook.DestinationSpec{HTTP: &hook.HTTPTarget{URL: server.URL, Auth: auth, Sign: &hook.Sign{None: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return destinationtest.Subject{Driver: driver, Received: func() [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return received
	}}
}
