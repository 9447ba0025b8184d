package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// batchLimit is how many bodies one fdatasync is shared by, at the most.
const batchLimit = 512

// queueLimit is how many events wait for their delivery, at the most; more make the
// sender wait.
const queueLimit = 4096

// serveReference is the process of a reference: kind is "relay", or "append" followed
// by "=" and the file's name. It prints where it listens, as malote does.
func serveReference(ctx context.Context, kind, target string) error {
	handler := http.Handler(&relay{client: newPooledClient(), target: target})
	if name, found := bytes.CutPrefix([]byte(kind), []byte("append=")); found {
		appender, err := newAppender(ctx, string(name), target)
		if err != nil {
			return err
		}
		handler = appender
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", loopback)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newPooledClient returns a client that keeps as many connections as there are
// requests under way.
func newPooledClient() *http.Client {
	return &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}
}

// forward sends a body on, and reports whether it was taken.
func forward(ctx context.Context, client *http.Client, target string, body []byte) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header["Content-Type"] = []string{"application/json"}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode < http.StatusMultipleChoices
}

// receive reads a request's body, whose length it must say.
func receive(req *http.Request) ([]byte, error) {
	if req.ContentLength < 0 || req.ContentLength > 1<<20 {
		return nil, errors.New("a Content-Length of at most 1 MiB is needed")
	}
	body := make([]byte, req.ContentLength)
	_, err := io.ReadFull(req.Body, body)
	return body, err
}

// relay sends on and answers what it was answered.
type relay struct {
	client *http.Client
	target string
}

// ServeHTTP relays one request.
func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := receive(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !forward(req.Context(), r.client, r.target, body) {
		http.Error(w, "not taken", http.StatusBadGateway)
		return
	}
}

// appender makes a request durable, answers, and sends it on.
type appender struct {
	file    *os.File
	waiting chan *entry
	queue   chan []byte
}

// entry is a body that waits to be durable.
type entry struct {
	body []byte
	done chan error
}

func newAppender(ctx context.Context, name, target string) (*appender, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the file to append to: %w", err)
	}
	a := &appender{file: file, waiting: make(chan *entry, batchLimit), queue: make(chan []byte, queueLimit)}
	go a.write()
	client := newPooledClient()
	for range concurrency {
		go func() {
			for body := range a.queue {
				for !forward(ctx, client, target, body) && ctx.Err() == nil {
					<-time.After(time.Millisecond) // the simplest retry will do for a reference
				}
			}
		}()
	}
	return a, nil
}

// write appends what waits and syncs it together, again and again.
func (a *appender) write() {
	var batch []*entry
	var text []byte
	for first := range a.waiting {
		batch, text = append(batch[:0], first), append(text[:0], first.body...)
	gather:
		for len(batch) < batchLimit {
			select {
			case next := <-a.waiting:
				batch, text = append(batch, next), append(text, next.body...)
			default:
				break gather
			}
		}
		_, err := a.file.Write(text)
		if err == nil {
			err = datasync(a.file)
		}
		for _, e := range batch {
			e.done <- err
		}
	}
}

// ServeHTTP takes one request.
func (a *appender) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := receive(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e := &entry{body: body, done: make(chan error, 1)}
	a.waiting <- e
	if err := <-e.done; err != nil {
		http.Error(w, "not stored", http.StatusServiceUnavailable)
		return
	}
	a.queue <- body
}
