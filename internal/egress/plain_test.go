package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// answerer is a server of one's own making: it reads whole requests and answers each
// with the bytes that it is told.
type answerer struct {
	url    string
	opened atomic.Int64 // connections
	closed chan struct{}
}

// silence is an answer that does not come.
const silence = "…"

// answering starts a server whose answer to the n-th request of a connection, from 1,
// is what answer returns; with "" it closes the connection instead.
func answering(t testing.TB, answer func(n int) string) *answerer {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &answerer{url: "http://" + listener.Addr().String(), closed: make(chan struct{}, 64)}
	var serving sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]struct{}{}
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			a.opened.Add(1)
			mu.Lock()
			open[conn] = struct{}{}
			mu.Unlock()
			serving.Go(func() {
				a.serve(conn, answer)
				_ = conn.Close()
				a.closed <- struct{}{}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return a
}

func (*answerer) serve(conn net.Conn, answer func(n int) string) {
	reader := bufio.NewReader(conn)
	for n := 1; ; n++ {
		req, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		text := answer(n)
		switch text {
		case "":
			return
		case silence:
			continue
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

func newPlain(t testing.TB) *plain {
	t.Helper()
	transport, ok := NewClient(NewOpenGuard(), ClientOptions{}).Transport.(*plain)
	if !ok {
		t.Fatal("the client has another transport")
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// post sends a small body and returns the answer with its whole body.
func post(ctx context.Context, transport http.RoundTripper, url string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("event"))
	if err != nil {
		return nil, "", err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestPlainAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		status int
		body   string
		opened int64 // connections that three requests take
		fails  string
	}{
		"with a length":        {answer: fine, status: 200, body: "ok", opened: 1},
		"without a body":       {answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, opened: 1},
		"in chunks":            {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 200, body: "ok", opened: 1},
		"after interim ones":   {answer: "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + fine, status: 200, body: "ok", opened: 1},
		"that close":           {answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok", opened: 3},
		"of HTTP/1.0":          {answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok", opened: 3},
		"with more than asked": {answer: fine + "HTTP/1.1 500 Not Asked For\r\n\r\n", status: 200, body: "ok", opened: 3},
		"that upgrade":         {answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", status: 101, opened: 3},
		"that are no HTTP":     {answer: "SSH-2.0-OpenSSH\r\n\r\n", fails: "malformed HTTP"},
		"too many interim":     {answer: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 10) + fine, fails: "interim"},
		"with a long header":   {answer: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*MaxResponseHeader) + "\r\n\r\n", fails: "header is longer"},
		"that break off":       {answer: "HTTP/1.1 200 OK\r\nContent-", fails: "EOF"},
		"none":                 {answer: "", fails: "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			server := answering(t, func(n int) string {
				if test.answer == "HTTP/1.1 200 OK\r\nContent-" && n > 1 {
					return ""
				}
				return test.answer
			})
			transport := newPlain(t)
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				res, body, err := post(ctx, transport, server.url)
				cancel()
				switch {
				case test.fails == "EOF" && err != nil: // it may also time out, where the server waits for more
					continue
				case test.fails != "":
					if err == nil || !strings.Contains(err.Error(), test.fails) {
						t.Fatalf("error %v, want one with %q", err, test.fails)
					}
					continue
				case err != nil:
					t.Fatal(err)
				case res.StatusCode != test.status || test.status != 101 && body != test.body:
					t.Fatalf("%d %q, want %d %q", res.StatusCode, body, test.status, test.body)
				}
			}
			if opened := server.opened.Load(); test.fails == "" && opened != test.opened {
				t.Errorf("three requests took %d connections, want %d", opened, test.opened)
			}
		})
	}
}

// TestPlainNoticesAClosedConnection sends over a connection that the other side closed
// while it was idle.
func TestPlainNoticesAClosedConnection(t *testing.T) {
	server := answering(t, func(n int) string {
		if n == 2 {
			return ""
		}
		return fine
	})
	transport := newPlain(t)
	if _, _, err := post(t.Context(), transport, server.url); err != nil {
		t.Fatal(err)
	}
	// The second request over the same connection finds it closed before an answer,
	// which is an error: whether it was received is not known.
	if _, _, err := post(t.Context(), transport, server.url); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("error %v, want an unexpected end", err)
	}
	<-server.closed
	idle := answering(t, func(int) string { return fine })
	if _, _, err := post(t.Context(), transport, idle.url); err != nil {
		t.Fatal(err)
	}
	transport.mu.Lock()
	conn := transport.idle[strings.TrimPrefix(idle.url, "http://")][0]
	transport.mu.Unlock()
	if tcp, ok := conn.net.(*net.TCPConn); !ok || tcp.CloseRead() != nil { // as if the other side had ended it
		t.Fatal("the connection is no TCP connection")
	}
	if _, _, err := post(t.Context(), transport, idle.url); err != nil || idle.opened.Load() != 2 {
		t.Errorf("error %v, %d connections; want a new one", err, idle.opened.Load())
	}
}

var errEnough = errors.New("enough")

func TestPlainEndsWithItsContext(t *testing.T) {
	for name, answer := range map[string]string{
		"before the answer":  silence,
		"within the header":  "HTTP/1.1 200 OK\r\nX: ",
		"before the body":    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
		"within the body":    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
		"within interim one": "HTTP/1.1 103 Early Hints\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server := answering(t, func(int) string { return answer })
			transport := newPlain(t)
			ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errEnough)
			defer cancel()
			_, _, err := post(ctx, transport, server.url)
			if err == nil || strings.Contains(name, "body") != (err != errEnough) { //nolint:errorlint // a body's error is the connection's
				t.Errorf("error %v", err)
			}
			<-server.closed // the connection is not left to the next request
		})
	}
}

// TestPlainDropsWhatIsNotRead closes a body before its end.
func TestPlainDropsWhatIsNotRead(t *testing.T) {
	server := answering(t, func(int) string { return fine })
	transport := newPlain(t)
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := res.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read %d bytes and %v after the end", n, err)
		}
	}
	if opened := server.opened.Load(); opened != 2 {
		t.Errorf("%d connections, want 2", opened)
	}
}

func TestPlainLeavesTheRestToNetHTTP(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, _ = w.Write(body)
		}
	})
	large := httptest.NewServer(echo)
	defer large.Close()
	transport := newPlain(t)
	body := bytes.Repeat([]byte("x"), maxPlainBody+1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, large.URL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || !bytes.Equal(back, body) {
		t.Errorf("%d bytes came back, error %v", len(back), err)
	}
	if transport.count != 0 {
		t.Error("a large request went the short way")
	}
	for host, want := range map[string]string{
		"a.example": "a.example:80", "a.example:8080": "a.example:8080", "[::1]:80": "[::1]:80", "127.0.0.1": "127.0.0.1:80",
		"[::1]": "", "": "", "münchen.example": "",
	} {
		if address, ok := plainAddress(host); address != want || ok != (want != "") {
			t.Errorf("plainAddress(%q) = %q, %v", host, address, ok)
		}
	}
}

// TestPlainSweepsIdleConnections closes what nobody used for long.
func TestPlainSweepsIdleConnections(t *testing.T) {
	server := answering(t, func(int) string { return fine })
	transport := newPlain(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, _, err := post(t.Context(), transport, server.url); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	transport.sweep(time.Hour)
	if transport.count == 0 {
		t.Fatal("connections were closed before their time")
	}
	transport.sweep(0)
	for range server.opened.Load() {
		<-server.closed
	}
	if transport.count != 0 || len(transport.idle) != 0 || transport.sweeper != nil {
		t.Errorf("%d idle connections are left", transport.count)
	}
}

func TestPlainIsGuarded(t *testing.T) {
	guard, err := NewGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = post(t.Context(), NewClient(guard, ClientOptions{}).Transport, "http://127.0.0.1:9")
	if blocked := (*BlockedError)(nil); !errors.As(err, &blocked) {
		t.Errorf("error %v, want a blocked address", err)
	}
}

// FuzzPlainAnswer reads whatever a receiver may answer.
func FuzzPlainAnswer(f *testing.F) {
	for _, seed := range []string{fine, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 103 x\r\n\r\n" + fine, "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		here, there := net.Pipe()
		go func() {
			_, _ = http.ReadRequest(bufio.NewReader(there))
			_, _ = there.Write(answer)
			_ = there.Close()
		}()
		owner := &plain{idle: map[string][]*plainConn{}, maxIdle: 1}
		conn := &plainConn{owner: owner, net: here, address: "x"}
		conn.reader, conn.writer = bufio.NewReaderSize(conn, plainBuffer), bufio.NewWriterSize(here, plainBuffer)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := conn.exchange(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		owner.sweep(0)
		_ = here.Close()
	})
}

// BenchmarkExchange compares the short way with net/http's own.
func BenchmarkExchange(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	transport := newPlain(b)
	for name, way := range map[string]http.RoundTripper{"plain": transport, "net/http": transport.rest} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, _, err := post(b.Context(), way, server.URL); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
