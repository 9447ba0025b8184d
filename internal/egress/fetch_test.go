package egress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// library is a server in virtual time.
type library struct {
	mu     sync.Mutex
	asked  int
	status int
	header http.Header
	body   string
	wait   time.Duration
	fail   error
}

func (l *library) RoundTrip(req *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if l.wait > 0 {
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-time.After(l.wait):
		}
	}
	if l.fail != nil {
		return nil, l.fail
	}
	status, body := l.status, l.body
	if etag := l.header.Get("Etag"); etag != "" && req.Header.Get("If-None-Match") == etag {
		status, body = http.StatusNotModified, ""
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: l.header, Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}, nil
}

const keys = "https://id.example.com/keys?secret=hunter2"

// fetching runs a test in virtual time.
func fetching(t *testing.T, test func(t *testing.T, l *library, f *Fetcher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &library{status: 200, body: "keys", header: http.Header{}}
		test(t, l, NewFetcher(NewClient(nil, ClientOptions{Transport: l})))
	})
}

func mustFetch(t *testing.T, f *Fetcher) string {
	t.Helper()
	body, err := f.Fetch(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestFetchKeepsForAsLongAsTheServerSays(t *testing.T) {
	tests := []struct {
		cache string
		keeps time.Duration
	}{
		{"", time.Hour},
		{"max-age=600", 10 * time.Minute},
		{"public, max-age=600, must-revalidate", 10 * time.Minute},
		{"max-age=5", time.Minute},
		{"max-age=-1", time.Minute},
		{"max-age=31536000", time.Hour},
		{"no-store", time.Minute},
		{"max-age=nonsense", time.Hour},
	}
	for _, test := range tests {
		t.Run(test.cache, func(t *testing.T) {
			fetching(t, func(t *testing.T, l *library, f *Fetcher) {
				t.Helper()
				l.header.Set("Cache-Control", test.cache)
				mustFetch(t, f)
				<-time.After(test.keeps - time.Second)
				mustFetch(t, f)
				if l.asked != 1 {
					t.Errorf("asked %d times within %v", l.asked, test.keeps)
				}
				<-time.After(2 * time.Second)
				mustFetch(t, f)
				if l.asked != 2 {
					t.Errorf("asked %d times after %v, want twice", l.asked, test.keeps)
				}
			})
		})
	}
}

func TestFetchRevalidates(t *testing.T) {
	fetching(t, func(t *testing.T, l *library, f *Fetcher) {
		t.Helper()
		l.header.Set("Etag", `"1"`)
		mustFetch(t, f)
		<-time.After(2 * time.Hour)
		l.body = "must not be seen, because the tag is the same"
		if got := mustFetch(t, f); got != "keys" || l.asked != 2 {
			t.Errorf("got %q after %d requests", got, l.asked)
		}
		<-time.After(2 * time.Hour)
		l.header.Set("Etag", `"2"`)
		l.body = "new"
		if got := mustFetch(t, f); got != "new" {
			t.Errorf("got %q, want the new document", got)
		}
	})
}

func TestFetchRemembersFailures(t *testing.T) {
	fetching(t, func(t *testing.T, l *library, f *Fetcher) {
		t.Helper()
		l.status = 500
		for range 5 {
			if _, err := f.Fetch(t.Context(), keys); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("got the error %v", err)
			}
		}
		if l.asked != 1 {
			t.Errorf("asked %d times, want once", l.asked)
		}
		<-time.After(20 * time.Second)
		l.status = 200
		mustFetch(t, f)
	})
}

func TestFetchServesTheOldWhileTheServerFails(t *testing.T) {
	fetching(t, func(t *testing.T, l *library, f *Fetcher) {
		t.Helper()
		mustFetch(t, f)
		l.fail = errors.New("connection refused")
		<-time.After(20 * time.Hour)
		if got := mustFetch(t, f); got != "keys" {
			t.Errorf("got %q, want the old document", got)
		}
		<-time.After(5 * time.Hour)
		if _, err := f.Fetch(t.Context(), keys); err == nil {
			t.Error("a document of yesterday is served")
		}
	})
}

func TestFetchCaps(t *testing.T) {
	fetching(t, func(t *testing.T, l *library, f *Fetcher) {
		t.Helper()
		l.body = strings.Repeat("x", MaxFetch)
		mustFetch(t, f)
		l.body += "x"
		if _, err := f.Fetch(t.Context(), keys+"&large"); err == nil || !strings.Contains(err.Error(), "larger") {
			t.Errorf("got %v for a document beyond the cap", err)
		}
		l.wait = time.Hour
		start := time.Now()
		if _, err := f.Fetch(t.Context(), keys+"&slow"); err == nil || time.Since(start) != fetchTimeout {
			t.Errorf("got %v after %v for a server that does not answer", err, time.Since(start))
		}
	})
}

func TestFetchSharesRequests(t *testing.T) {
	fetching(t, func(t *testing.T, l *library, f *Fetcher) {
		t.Helper()
		l.wait = time.Second
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := f.Fetch(impatient, keys); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the caller's deadline", err)
			}
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				if body, err := f.Fetch(t.Context(), keys); err != nil || string(body) != "keys" {
					t.Errorf("got %q, %v", body, err)
				}
			})
		}
		wg.Wait()
		if l.asked != 1 {
			t.Errorf("asked %d times, want once", l.asked)
		}
	})
}

func TestRefresh(t *testing.T) {
	fetching(t, func(t *testing.T, l *library, f *Fetcher) {
		t.Helper()
		mustFetch(t, f)
		l.body = "rotated"
		if body, err := f.Refresh(t.Context(), keys); err != nil || string(body) != "keys" {
			t.Errorf("got %q, %v within the first minute", body, err)
		}
		<-time.After(time.Minute)
		if body, err := f.Refresh(t.Context(), keys); err != nil || string(body) != "rotated" {
			t.Errorf("got %q, %v, want the new document", body, err)
		}
	})
}

func TestFetchIsBounded(t *testing.T) {
	fetching(t, func(t *testing.T, _ *library, f *Fetcher) {
		t.Helper()
		for i := range 3 * maxDocuments {
			if _, err := f.Fetch(t.Context(), keys+strings.Repeat("x", i)); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.documents) > maxDocuments {
			t.Errorf("%d documents are kept", len(f.documents))
		}
	})
}

// patient answers after a second, to everybody at once.
type patient struct{ asked atomic.Int32 }

func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	p.asked.Add(1)
	<-time.After(time.Second)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// The addresses of some keys are named by the sender, who could name thousands.
func TestAFloodOfAddressesIsNoFloodOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &patient{}
		f := NewFetcher(NewClient(nil, ClientOptions{Transport: server}))
		var refused atomic.Int32
		var wg sync.WaitGroup
		for i := range 10 * maxFetches {
			wg.Go(func() {
				if _, err := f.Fetch(t.Context(), keys+strings.Repeat("x", i)); err != nil {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if server.asked.Load() != maxFetches || refused.Load() != 9*maxFetches {
			t.Errorf("%d requests were made and %d refused, want %d at once", server.asked.Load(), refused.Load(), maxFetches)
		}
		if _, err := f.Fetch(t.Context(), keys+"&later"); err != nil {
			t.Errorf("after the flood: %v", err)
		}
	})
}

func TestGreatDocumentsDoNotTakeAllMemory(t *testing.T) {
	fetching(t, func(t *testing.T, l *library, f *Fetcher) {
		t.Helper()
		l.body = strings.Repeat("x", MaxFetch)
		for i := range 3 * maxKept / MaxFetch {
			if _, err := f.Fetch(t.Context(), keys+strings.Repeat("x", i)); err != nil {
				t.Fatal(err)
			}
		}
		size := 0
		for _, doc := range f.documents {
			size += len(doc.body)
		}
		if size != f.size || size > maxKept || size < maxKept/2 {
			t.Errorf("%d bytes are kept, %d counted, at most %d should be", size, f.size, maxKept)
		}
	})
}
