package egress

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"time"
)

// Limits of the transports.
const (
	// MaxResponseHeader is how many bytes of header an answer may have.
	MaxResponseHeader = 64 << 10

	maxIdle             = 1024
	maxIdlePerHost      = 128
	idleTimeout         = 90 * time.Second
	tlsHandshakeTimeout = 10 * time.Second
	pingAfter           = 10 * time.Second
	pingTimeout         = 5 * time.Second
)

// ClientOptions tune a client. The zero value is right for almost everything, and
// one client made with it serves all destinations that need nothing special.
type ClientOptions struct {
	RootCAs      *x509.CertPool    // authorities in place of the system's
	Certificates []tls.Certificate // that we show when asked
	Timeout      time.Duration     // for a whole exchange; 0 leaves it to the context
	MaxIdle      int               // connections kept open in all; default 1,024
	// Transport replaces the network, for tests in virtual time. Nothing is dialled
	// then, so nothing is guarded.
	Transport http.RoundTripper
}

// NewClient returns a client whose every connection passes the guard. It follows no
// redirects, uses no proxy, asks for no compression, speaks TLS 1.2 at least, and
// takes at most MaxResponseHeader bytes of header. Bodies are the caller's to cap.
func NewClient(guard *Guard, options ClientOptions) *http.Client {
	client := &http.Client{
		Timeout:       options.Timeout,
		Transport:     options.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if client.Transport != nil {
		return client
	}
	idle := options.MaxIdle
	if idle <= 0 {
		idle = maxIdle
	}
	rest := &http.Transport{
		Proxy:                  nil, // a proxy would be dialled instead of the address that is judged
		DialContext:            guard.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: options.RootCAs, Certificates: options.Certificates},
		TLSHandshakeTimeout:    tlsHandshakeTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           idle,
		MaxIdleConnsPerHost:    min(idle, maxIdlePerHost),
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: MaxResponseHeader,
		// A request that is given up closes its connection in HTTP/1 and not in HTTP/2, where a connection that died in
		// silence would take all further requests with it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	client.Transport = &plain{guard: guard, rest: rest, maxIdle: idle, idle: map[string][]*plainConn{}}
	return client
}
