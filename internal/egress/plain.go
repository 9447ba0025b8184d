package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPlainBody is the largest request that plain sends itself. It fits into the
	// buffer of any socket, so that writing it never waits for the receiver.
	maxPlainBody = 16 << 10
	// plainBuffer is the size of a connection's two buffers: most requests and answers
	// need one system call each.
	plainBuffer = 4 << 10
	// maxInterim bounds the 1xx answers before the answer.
	maxInterim = 5
)

// plain is the transport of small requests without TLS, which is what most deliveries
// inside of a company are; it hands all others on. net/http's own transport leads each
// exchange through three goroutines, because it has to read while it writes and lets
// requests share a connection. For a request that fits into the socket's buffer neither
// is needed, and an exchange in the caller's goroutine takes half of the processor time.
// Requests are written and answers are read by net/http all the same.
type plain struct {
	guard   *Guard
	rest    *http.Transport
	maxIdle int

	mu      sync.Mutex
	idle    map[string][]*plainConn // by address, what was used last at the end
	count   int                     // of idle connections
	sweeper *time.Timer             // closes what was idle for long; nil while nothing is idle
}

// RoundTrip implements http.RoundTripper.
func (p *plain) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" || req.ContentLength < 0 || req.ContentLength > maxPlainBody || req.Header["Expect"] != nil {
		return p.rest.RoundTrip(req)
	}
	address, ok := plainAddress(req.URL.Host)
	if !ok {
		return p.rest.RoundTrip(req)
	}
	conn, err := p.connect(req.Context(), address)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	return conn.exchange(req)
}

// CloseIdleConnections closes what is not in use, as http.Client expects it.
func (p *plain) CloseIdleConnections() {
	p.sweep(0)
	p.rest.CloseIdleConnections()
}

// plainAddress adds the port to a host; false for what net/http should look into.
func plainAddress(host string) (string, bool) {
	for i := range len(host) {
		if host[i] >= 0x80 {
			return "", false
		}
	}
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host, true
	}
	if host == "" || host[0] == '[' {
		return "", false
	}
	return net.JoinHostPort(host, "80"), true
}

// connect returns a connection that is idle and alive, or a new one.
func (p *plain) connect(ctx context.Context, address string) (*plainConn, error) {
	for {
		conn := p.take(address)
		if conn == nil {
			break
		}
		if conn.alive() {
			return conn, nil
		}
		_ = conn.net.Close()
	}
	network, err := p.guard.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn := &plainConn{owner: p, address: address, net: network}
	conn.reader = bufio.NewReaderSize(conn, plainBuffer)
	conn.writer = bufio.NewWriterSize(network, plainBuffer)
	return conn, nil
}

// take takes the idle connection that was used last.
func (p *plain) take(address string) *plainConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[address]
	if len(list) == 0 {
		return nil
	}
	conn := list[len(list)-1]
	list[len(list)-1] = nil
	p.idle[address] = list[:len(list)-1]
	p.count--
	return conn
}

// put keeps a connection for the next request.
func (p *plain) put(conn *plainConn) {
	conn.idleSince = time.Now()
	p.mu.Lock()
	keep := p.count < p.maxIdle && len(p.idle[conn.address]) < maxIdlePerHost
	if keep {
		p.idle[conn.address] = append(p.idle[conn.address], conn)
		p.count++
		if p.sweeper == nil {
			p.sweeper = time.AfterFunc(idleTimeout, func() { p.sweep(idleTimeout) })
		}
	}
	p.mu.Unlock()
	if !keep {
		_ = conn.net.Close()
	}
}

// sweep closes the connections that were idle for so long.
func (p *plain) sweep(age time.Duration) {
	now := time.Now()
	p.mu.Lock()
	var old []*plainConn
	for address, list := range p.idle {
		kept := list[:0]
		for _, conn := range list {
			if now.Sub(conn.idleSince) >= age {
				old = append(old, conn)
			} else {
				kept = append(kept, conn)
			}
		}
		clear(list[len(kept):])
		p.idle[address] = kept
		if len(kept) == 0 {
			delete(p.idle, address)
		}
	}
	p.count -= len(old)
	switch {
	case p.count > 0:
		p.sweeper.Reset(idleTimeout / 2)
	case p.sweeper != nil:
		p.sweeper.Stop()
		p.sweeper = nil
	}
	p.mu.Unlock()
	for _, conn := range old {
		_ = conn.net.Close()
	}
}

// plainConn is a connection that makes one exchange after another.
type plainConn struct {
	owner     *plain
	address   string
	net       net.Conn
	reader    *bufio.Reader
	writer    *bufio.Writer
	left      int64 // how many more bytes of the answer's header may be read
	idleSince time.Time
}

var errLongHeader = fmt.Errorf("the answer's header is longer than %d bytes", MaxResponseHeader)

// Read implements io.Reader for the buffer.
func (c *plainConn) Read(into []byte) (int, error) {
	if c.left <= 0 {
		return 0, errLongHeader
	}
	n, err := c.net.Read(into)
	c.left -= int64(n)
	return n, err
}

// alive reports whether the other side has neither closed the connection nor said
// anything that nobody asked for.
func (c *plainConn) alive() bool {
	if time.Since(c.idleSince) > idleTimeout {
		return false
	}
	raw, ok := c.net.(interface {
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return true
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = control.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		silent = errors.Is(err, unix.EAGAIN)
		return true
	})
	return err == nil && silent
}

// exchange sends the request and reads the answer up to its body. The connection is
// kept once the body has been read to its end, and closed otherwise. When the context
// ends, whatever the exchange waits for ends, and its cause is the error.
func (c *plainConn) exchange(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	stop := context.AfterFunc(ctx, func() { _ = c.net.SetDeadline(time.Unix(1, 0)) })
	res, err := c.ask(req)
	if err != nil {
		stop()
		_ = c.net.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	body := &plainBody{Reader: res.Body, conn: c, stop: stop}
	body.keep = !res.Close && !req.Close && res.StatusCode != http.StatusSwitchingProtocols
	if res.Body == http.NoBody {
		body.end(true)
		return res, nil
	}
	res.Body = body
	return res, nil
}

// ask writes the request and reads the answer's header, interim answers passed over.
func (c *plainConn) ask(req *http.Request) (*http.Response, error) {
	c.writer.Reset(c.net)
	c.left = MaxResponseHeader
	if err := req.Write(c.writer); err != nil {
		return nil, fmt.Errorf("send the request: %w", err)
	}
	if err := c.writer.Flush(); err != nil {
		return nil, fmt.Errorf("send the request: %w", err)
	}
	for range maxInterim {
		res, err := http.ReadResponse(c.reader, req)
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		if res.StatusCode >= http.StatusOK || res.StatusCode == http.StatusSwitchingProtocols {
			c.left = math.MaxInt64
			return res, nil
		}
	}
	return nil, errors.New("more interim answers than an answer needs")
}

// plainBody is an answer's body, at whose end the connection is free.
type plainBody struct {
	io.Reader

	conn *plainConn
	stop func() bool
	keep bool
	done bool
}

// Read implements io.Reader.
func (b *plainBody) Read(into []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	n, err := b.Reader.Read(into)
	if err != nil {
		b.end(errors.Is(err, io.EOF))
	}
	return n, err
}

// Close implements io.Closer. A body that was not read to its end costs the connection.
func (b *plainBody) Close() error {
	b.end(false)
	return nil
}

// end lets go of the connection.
func (b *plainBody) end(whole bool) {
	if b.done {
		return
	}
	b.done = true
	untouched := b.stop() // else the context ended, and the connection's deadline is over
	if whole && untouched && b.keep && b.conn.reader.Buffered() == 0 {
		b.conn.owner.put(b.conn)
		return
	}
	_ = b.conn.net.Close()
}
