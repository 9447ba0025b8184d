package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
)

// Limits of an exchange with the server.
const (
	timeout   = 2 * time.Minute // for one request
	maxAnswer = 64 << 20        // bytes of a JSON answer
	prefix    = "/api/v1"
)

// Options say which server to talk to, and as whom.
type Options struct {
	Server    string      // base address, such as http://127.0.0.1:8420
	Token     hook.Secret // API token; "" for none
	TokenHint string      // completes "…: get a token" for people, such as the file where one lies
	Version   string      // of the program, for the User-Agent
	Transport http.RoundTripper
}

// Client calls the API of one server. It is safe for concurrent use.
type Client struct {
	options Options
	base    *url.URL
	http    *http.Client
}

// New returns a client.
func New(options Options) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(options.Server, "/"))
	if err != nil || base.Host == "" {
		return nil, hook.Errorf(hook.KindInvalid, "%q is not the address of a server: write http://HOST:PORT", options.Server)
	}
	return &Client{
		options: options, base: base,
		http: egress.NewClient(egress.NewOpenGuard(), egress.ClientOptions{Timeout: timeout, Transport: options.Transport}),
	}, nil
}

// call is one request.
type call struct {
	method string
	path   string // below the server's address
	query  url.Values
	body   io.Reader
	header http.Header
}

// do sends a request and returns its answer when that is a success.
func (c *Client) do(ctx context.Context, in *call) (*http.Response, error) {
	target := c.base.JoinPath(in.path)
	target.RawQuery = in.query.Encode()
	req, err := http.NewRequestWithContext(ctx, in.method, target.String(), in.body)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	maps.Copy(req.Header, in.header)
	req.Header.Set("User-Agent", "malote/"+c.options.Version)
	if c.options.Token != "" && strings.HasPrefix(in.path, prefix) {
		req.Header.Set("Authorization", "Bearer "+c.options.Token.Reveal())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	return nil, errors.Join(c.failure(resp), resp.Body.Close())
}

// exchange sends a JSON body, if in is not nil, and reads a JSON answer into into, if
// that is not nil.
func (c *Client) exchange(ctx context.Context, request *call, in, into any) (err error) {
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
		request.body = bytes.NewReader(text)
		request.header = http.Header{"Content-Type": {"application/json"}}
	}
	resp, err := c.do(ctx, request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if into == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return hook.Errorf(hook.KindInternal, "%s did not answer as a malote server does: %w; is --server right?", c.options.Server, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	return c.exchange(ctx, &call{method: http.MethodGet, path: prefix + path, query: query}, nil, into)
}

func (c *Client) post(ctx context.Context, path string, in, into any) error {
	return c.exchange(ctx, &call{method: http.MethodPost, path: prefix + path}, in, into)
}

// copyTo writes an answer's bytes as they come.
func (c *Client) copyTo(ctx context.Context, path string, w io.Writer) (err error) {
	resp, err := c.do(ctx, &call{method: http.MethodGet, path: prefix + path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// segment makes a part of a path out of an id or name.
func segment(ref string) string { return url.PathEscape(ref) }
