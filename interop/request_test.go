package interop_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

// request is a webhook on its way, before it takes the form that a library wants.
type request struct {
	method       string
	url          string
	header       http.Header
	body         []byte
	certificates []*x509.Certificate // the client's
}

func newRequest(address, body string) *request {
	return &request{
		method: http.MethodPost, url: address, body: []byte(body),
		header: http.Header{"Content-Type": {"application/json"}},
	}
}

// clone returns a copy that can be tampered with.
func (r *request) clone() *request {
	out := *r
	out.header, out.body = r.header.Clone(), bytes.Clone(r.body)
	return &out
}

// http returns the request as a server's handler sees it.
func (r *request) http() *http.Request {
	out, err := http.NewRequestWithContext(context.Background(), r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		panic(fmt.Sprintf("a request of the table is not a request: %v", err))
	}
	out.Header = r.header.Clone()
	return out
}

// ours returns the request as Malote sees it.
func (r *request) ours(now time.Time) *signature.Request {
	address, err := url.Parse(r.url)
	if err != nil {
		panic(fmt.Sprintf("an address of the table is not an address: %v", err))
	}
	var headers hook.Headers
	for _, name := range slices.Sorted(maps.Keys(r.header)) {
		for _, value := range r.header[name] {
			headers = append(headers, hook.Header{Name: name, Value: value})
		}
	}
	return &signature.Request{
		Method: r.method, URL: r.url, Query: address.RawQuery, Headers: headers, Body: r.body,
		Remote: netip.MustParseAddr("203.0.113.7"), Certificates: r.certificates, Now: now,
	}
}

// keys is a KeyFetcher that knows a few addresses.
type keys map[string]string

func (k keys) Fetch(_ context.Context, address string) ([]byte, error) {
	text, ok := k[address]
	if !ok {
		return nil, errors.New("the test has no key at " + address)
	}
	return []byte(text), nil
}

// gallery returns the built-in profiles.
func gallery(t testing.TB) *signature.Gallery {
	t.Helper()
	built, err := signature.NewGallery()
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// verifier compiles a source; fetched is what the addresses of its rule answer.
func verifier(t testing.TB, spec *hook.SourceSpec, fetched keys) *signature.Verifier {
	t.Helper()
	compiled, err := signature.Compile(spec, gallery(t), fetched)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// sum returns the HMAC of content.
func sum(newHash func() hash.Hash, key []byte, content string) []byte {
	mac := hmac.New(newHash, key)
	mac.Write([]byte(content))
	return mac.Sum(nil)
}

// hex256 returns the HMAC-SHA256 of content in hex.
func hex256(secret, content string) string {
	return hex.EncodeToString(sum(sha256.New, []byte(secret), content))
}

// base256 returns the HMAC-SHA256 of content in base64.
func base256(secret, content string) string {
	return base64.StdEncoding.EncodeToString(sum(sha256.New, []byte(secret), content))
}

func unix(now time.Time) string  { return strconv.FormatInt(now.Unix(), 10) }
func milli(now time.Time) string { return strconv.FormatInt(now.UnixMilli(), 10) }

// library is the verification of somebody else's library; its error is nil when it
// accepts.
type library func(secret string, r *request) error

// refused turns a library's boolean answer into an error.
func refused(valid bool) error {
	if !valid {
		return errors.New("the library refused it")
	}
	return nil
}

// present leaves out the libraries that cannot run here.
func present(libraries map[string]library) map[string]library {
	maps.DeleteFunc(libraries, func(_ string, l library) bool { return l == nil })
	return libraries
}
