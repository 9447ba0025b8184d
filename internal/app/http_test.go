package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory, so that its connections live in virtual time.
type pipes struct {
	mu      sync.Mutex
	closed  bool
	waiting chan net.Conn
}

func (p *pipes) Accept() (net.Conn, error) {
	connection, ok := <-p.waiting
	if !ok {
		return nil, net.ErrClosed
	}
	return connection, nil
}

func (p *pipes) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.waiting)
	}
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestStrangersCannotHoldConnections plays callers who begin something and then do
// nothing more, against handlers that do not care.
func TestStrangersCannotHoldConnections(t *testing.T) {
	large := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1<<20)) // fails when the caller is cut off
	})
	ignore := http.NotFoundHandler()
	for name, c := range map[string]struct {
		handler http.Handler
		text    string
		reads   bool // takes what is answered
		most    time.Duration
	}{
		"header that does not end":  {ignore, "POST /in/none HTTP/1.1\r\nHost: x\r\n", true, readHeaderTimeout},
		"body that nobody reads":    {ignore, "POST /in/none HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegin", true, readTimeout},
		"chunk that does not end":   {ignore, "POST /in/none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true, readTimeout},
		"answer that is not taken":  {large, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, writeTimeout},
		"nothing after the request": {ignore, "", true, readHeaderTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := &pipes{waiting: make(chan net.Conn)}
				server := newServer(c.handler, slog.New(slog.DiscardHandler))
				ended := make(chan struct{})
				server.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateClosed {
						close(ended)
					}
				}
				served := make(chan error, 1)
				go func() { served <- server.Serve(listener) }()
				ours, theirs := net.Pipe()
				listener.waiting <- theirs
				if c.reads {
					go func() { _, _ = io.Copy(io.Discard, ours) }()
				}
				began := time.Now()
				if _, err := io.WriteString(ours, c.text); err != nil {
					t.Fatal(err)
				}
				select {
				case <-ended:
				case <-time.After(time.Hour):
					t.Error("the connection is still open after an hour")
				}
				if took := time.Since(began); took > c.most+time.Second {
					t.Errorf("it was closed after %v, want %v", took, c.most)
				}
				_ = ours.Close()
				if err := server.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
		})
	}
}
