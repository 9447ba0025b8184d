package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Limits of a Fetcher.
const (
	// MaxFetch is the largest document that a Fetcher takes, in bytes.
	MaxFetch = 1 << 20

	fetchTimeout = 10 * time.Second
	maxDocuments = 256
	maxKept      = 16 << 20 // bytes of all documents that are kept
	maxFetches   = 16       // requests at the same time

	minAge      = time.Minute      // a document is used at least so long
	maxAge      = time.Hour        // … and at most so long before it is asked for again
	failedAge   = 15 * time.Second // how long a failure is remembered
	staleAge    = 24 * time.Hour   // how long an old document stands in while its server fails
	userAgent   = "Malote"
	etagHeader  = "Etag"
	cacheHeader = "Cache-Control"
)

// Fetcher reads small public documents, such as key sets and certificates, and keeps
// them for as long as their servers say, within bounds. Callers who ask for the same
// document at the same time share one request. It is safe for concurrent use.
type Fetcher struct {
	client *http.Client
	flight singleflight.Group

	slots chan struct{} // one for each request under way

	mu        sync.Mutex
	documents map[string]document
	size      int // bytes of their bodies
}

// document is what is known of one URL.
type document struct {
	body    []byte
	etag    string
	fetched time.Time // when body was last confirmed; zero: never
	expires time.Time // when to ask again
	err     error     // the last failure, until expires
}

// NewFetcher returns a fetcher that asks through the client.
func NewFetcher(client *http.Client) *Fetcher {
	return &Fetcher{client: client, slots: make(chan struct{}, maxFetches), documents: make(map[string]document)}
}

// Fetch returns the document at an http or https URL. The bytes are shared: callers
// do not change them.
func (f *Fetcher) Fetch(ctx context.Context, rawURL string) ([]byte, error) {
	known := f.known(rawURL)
	if time.Now().Before(known.expires) {
		return known.body, known.err
	}
	return f.share(ctx, rawURL)
}

// Refresh is Fetch for a caller to whom the kept document is no use, such as one who
// looks for a key that it lacks. It asks again, yet not sooner than a minute after the
// last time, so that nobody can make us hammer a server.
func (f *Fetcher) Refresh(ctx context.Context, rawURL string) ([]byte, error) {
	known := f.known(rawURL)
	now := time.Now()
	if known.err == nil && now.Sub(known.fetched) >= minAge {
		return f.share(ctx, rawURL)
	}
	return f.Fetch(ctx, rawURL)
}

func (f *Fetcher) known(rawURL string) document {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.documents[rawURL]
}

// share makes one request for all who wait for the same document. It outlives a
// caller who gives up, because others may wait for it.
func (f *Fetcher) share(ctx context.Context, rawURL string) ([]byte, error) {
	result := f.flight.DoChan(rawURL, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return f.renew(ctx, rawURL)
	})
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case r := <-result:
		body, _ := r.Val.([]byte)
		return body, r.Err
	}
}

// renew asks the server and keeps what it said.
func (f *Fetcher) renew(ctx context.Context, rawURL string) ([]byte, error) {
	// Some addresses are named by requests that nobody has verified yet. A flood of them
	// does not become a flood of ours.
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		return nil, errTooManyFetches
	}
	old := f.known(rawURL)
	fresh, err := f.get(ctx, rawURL, old)
	now := time.Now()
	switch {
	case err == nil:
		fresh.fetched = now
	case old.body != nil && now.Sub(old.fetched) < staleAge:
		fresh = old
		fresh.expires = now.Add(failedAge)
	default:
		fresh = document{err: fmt.Errorf("fetch %s: %w", publicURL(rawURL), err), expires: now.Add(failedAge)}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropLocked(rawURL)
	for len(f.documents) > 0 && (len(f.documents) >= maxDocuments || f.size+len(fresh.body) > maxKept) {
		f.evictLocked()
	}
	f.documents[rawURL] = fresh
	f.size += len(fresh.body)
	return fresh.body, fresh.err
}

// errTooManyFetches means that this many documents are being asked for already.
var errTooManyFetches = errors.New("too many documents are being fetched, try again later")

// dropLocked forgets a document. f.mu is held.
func (f *Fetcher) dropLocked(rawURL string) {
	f.size -= len(f.documents[rawURL].body)
	delete(f.documents, rawURL)
}

// evictLocked drops the document that expires first. f.mu is held.
func (f *Fetcher) evictLocked() {
	var first string
	var when time.Time
	for url, doc := range f.documents {
		if first == "" || doc.expires.Before(when) {
			first, when = url, doc.expires
		}
	}
	f.dropLocked(first)
}

// get makes one conditional request.
func (f *Fetcher) get(ctx context.Context, rawURL string, old document) (document, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, http.NoBody)
	if err != nil {
		return document{}, errors.New("this is not a URL")
	}
	req.Header.Set("User-Agent", userAgent)
	if old.etag != "" {
		req.Header.Set("If-None-Match", old.etag)
	}
	res, err := f.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return document{}, err
	}
	defer func() { _ = res.Body.Close() }()
	expires := time.Now().Add(freshFor(res.Header))
	if res.StatusCode == http.StatusNotModified && old.body != nil {
		return document{body: old.body, etag: old.etag, expires: expires}, nil
	}
	if res.StatusCode != http.StatusOK {
		return document{}, fmt.Errorf("the server answered %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxFetch+1))
	if err != nil {
		return document{}, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > MaxFetch {
		return document{}, fmt.Errorf("the document is larger than %d bytes", MaxFetch)
	}
	return document{body: body, etag: res.Header.Get(etagHeader), expires: expires}, nil
}

// freshFor returns how long an answer may be used, by its Cache-Control and Age
// (RFC 9111), within minAge and maxAge.
func freshFor(header http.Header) time.Duration {
	age := maxAge
	for directive := range strings.SplitSeq(header.Get(cacheHeader), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minAge
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
			if err == nil {
				age = time.Duration(seconds) * time.Second
			}
		}
	}
	if spent, err := strconv.ParseInt(header.Get("Age"), 10, 32); err == nil && spent > 0 {
		age -= time.Duration(spent) * time.Second
	}
	return min(max(age, minAge), maxAge)
}

// publicURL is a URL without what may hold a secret (user, query), for errors.
func publicURL(rawURL string) string {
	parsed, err := url.Parse(rawURL)
	if err != nil {
		return "a malformed URL"
	}
	return parsed.Scheme + "://" + parsed.Host + parsed.EscapedPath()
}
