package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// receiver is where all deliveries of all systems go. It notes when each event
// arrived, and holds a sample of malote's signatures to the secret.
type receiver struct {
	url    string
	server *http.Server
	runs   atomic.Int64
	track  atomic.Pointer[track]
	bodies sync.Pool
	forged atomic.Int64 // signatures that did not fit
	signed atomic.Int64 // signatures that were looked at
}

// signingKey is the key of signingSecret.
const (
	signingKey    = "0123456789abcdef0123456789abcdef"
	checkOneOf    = 64 // signatures looked at: one of so many
	patience      = 10 * time.Second
	loopback      = "127.0.0.1:0"
	signingPrefix = "whsec_"
)

// signingSecret is the Standard Webhooks secret that malote signs with.
func signingSecret() string {
	return signingPrefix + base64.StdEncoding.EncodeToString([]byte(signingKey))
}

// newReceiver starts a receiver on a loopback port.
func newReceiver(ctx context.Context) (*receiver, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", loopback)
	if err != nil {
		return nil, fmt.Errorf("starting the receiver: %w", err)
	}
	r := &receiver{url: "http://" + listener.Addr().String() + "/"}
	// Ids of events must differ from those of earlier benchmarks on a kept store. A run
	// takes longer than a second, so that counting on from the clock does not repeat them.
	r.runs.Store(time.Now().Unix())
	r.bodies.New = func() any {
		buffer := make([]byte, 2*bodySize)
		return &buffer
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: patience}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// ServeHTTP takes one delivery.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	buffer, _ := r.bodies.Get().(*[]byte)
	defer r.bodies.Put(buffer)
	n, err := io.ReadFull(req.Body, *buffer)
	if !errors.Is(err, io.ErrUnexpectedEOF) { // the body is shorter than the buffer
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	body := (*buffer)[:n]
	run, number, ok := readID(body)
	if !ok {
		http.Error(w, "not a body of this benchmark", http.StatusBadRequest)
		return
	}
	t := r.track.Load()
	if t == nil || t.run != run {
		return // late, of a run that was given up, or of one that nobody follows
	}
	t.arrive(number, copyOf(req.URL.Path))
	if number%checkOneOf == 0 {
		r.check(req.Header, body)
	}
}

// copyOf reads which copy of an event goes to a path: the first one to "/", others to
// their number.
func copyOf(path string) int64 {
	number, _ := strconv.ParseUint(strings.TrimPrefix(path, "/"), 10, 31)
	return int64(number)
}

// check looks at the signature of a delivery that has one.
func (r *receiver) check(headers http.Header, body []byte) {
	signature, found := strings.CutPrefix(headers.Get("webhook-signature"), "v1,")
	if !found {
		return
	}
	mac := hmac.New(sha256.New, []byte(signingKey))
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", headers.Get("webhook-id"), headers.Get("webhook-timestamp"), body)
	r.signed.Add(1)
	if signature != base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		r.forged.Add(1)
	}
}
