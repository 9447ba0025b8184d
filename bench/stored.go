package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
)

// readings is how often each list is read in a round.
const readings = 200

// question is a list that the interface and the API offer, as a path under /api/v1.
type question struct{ name, path string }

// questions returns the lists that are timed. Each shows the newest page but the last
// one, which goes on from a page in the middle.
func questions(middle string) []question {
	return []question{
		{"newest events", "/event?limit=50"},
		{"events of a source", "/event?limit=50&source=shop"},
		{"events of a type", "/event?limit=50&type=push"},
		{"events of a type that never came", "/event?limit=50&type=never"},
		{"newest deliveries", "/delivery?limit=50"},
		{"deliveries to a destination", "/delivery?limit=50&destination=erp"},
		{"failed deliveries, of which there are none", "/delivery?limit=50&state=failed"},
		{"events from the middle on", "/event?limit=50&iterator=" + middle},
	}
}

// stock is one of the two servers that are compared.
type stock struct {
	name    string
	system  *system
	middle  string // id of an event half way through the store
	loaded  []*sample
	answers map[string][]time.Duration
}

// compareStored measures an empty store and one of many events in turn.
func compareStored(ctx context.Context, set *settings) (string, error) {
	receiver, err := newReceiver(ctx)
	if err != nil {
		return "", err
	}
	defer receiver.close()
	stocks := make([]*stock, 0, 2)
	defer func() {
		for _, s := range stocks {
			s.system.kill()
		}
	}()
	for name, events := range map[string]int{"empty": 0, "full": set.stored} {
		dir := filepath.Join(set.dir, name)
		if events > 0 && set.kept != "" {
			dir = set.kept
		}
		s, err := startStock(ctx, set, dir, stocking{events: events, target: receiver.url})
		if err != nil {
			return "", fmt.Errorf("%s store: %w", name, err)
		}
		s.name = name
		stocks = append(stocks, s)
	}
	slices.SortFunc(stocks, func(a, b *stock) int { return strings.Compare(a.name, b.name) })
	for round := range set.rounds {
		for _, s := range stocks {
			if err := s.round(ctx, set, receiver); err != nil {
				return "", fmt.Errorf("%s store, round %d: %w", s.name, round+1, err)
			}
			fmt.Printf("round %d  %-5s  %6.0f/s\n", round+1, s.name, s.loaded[round].perSecond())
		}
	}
	return storedReport(set, stocks), nil
}

// stocking says what a store is filled with, and where its server delivers to.
type stocking struct {
	events int
	target string
}

// startStock makes a store of so many events, and starts a server on it.
func startStock(ctx context.Context, set *settings, dir string, stocking stocking) (*stock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	var middle hook.EventID
	if stocking.events > 0 {
		first, err := startMalote(ctx, set, dir, stocking.target) // applies the flow
		if err != nil {
			return nil, err
		}
		if err := first.stop(); err != nil {
			return nil, err
		}
		if middle, err = fillOnce(ctx, dir, stocking.events); err != nil {
			return nil, fmt.Errorf("filling it: %w", err)
		}
	}
	server, err := startMalote(ctx, set, dir, stocking.target)
	if err != nil {
		return nil, err
	}
	return &stock{system: server, middle: middle.String(), answers: map[string][]time.Duration{}}, nil
}

// middleFile says which event is half way through the store in the same folder.
const middleFile = "bench-middle"

// fillOnce fills the store in a folder unless an earlier run has.
func fillOnce(ctx context.Context, dir string, events int) (hook.EventID, error) {
	path := filepath.Join(dir, middleFile)
	if text, err := os.ReadFile(path); err == nil {
		return hook.ParseID[hook.EventID](string(text))
	}
	middle, err := fill(ctx, dir, filling{events: events})
	if err != nil {
		return 0, err
	}
	return middle, os.WriteFile(path, []byte(middle.String()), 0o600)
}

// round measures ingest and lists once.
func (s *stock) round(ctx context.Context, set *settings, receiver *receiver) error {
	l := load{url: s.system.url, clients: set.clients, length: set.load, most: int(set.load.Seconds()*mostPerSecond) + 1}
	measured, err := l.drive(ctx, s.system, receiver)
	if err != nil {
		return err
	}
	s.loaded = append(s.loaded, measured)
	token, err := os.ReadFile(filepath.Join(s.system.data, "admin-token"))
	if err != nil {
		return err
	}
	reader := &reader{client: newPooledClient(), base: s.system.base, token: strings.TrimSpace(string(token))}
	if s.middle == "" {
		if s.middle, err = reader.newest(ctx); err != nil {
			return err
		}
	}
	for _, q := range questions(s.middle) {
		for range readings {
			took, err := reader.read(ctx, q.path, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			s.answers[q.name] = append(s.answers[q.name], took)
		}
	}
	return nil
}

// reader asks the API for lists.
type reader struct {
	client *http.Client
	base   string
	token  string
}

// read gets one page, and says how long that took.
func (r *reader) read(ctx context.Context, path string, into any) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/api/v1"+path, http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	began := time.Now()
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	took := time.Since(began)
	switch {
	case err != nil:
		return 0, err
	case resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("GET %s: %s: %s", path, resp.Status, text)
	case into != nil:
		return took, json.Unmarshal(text, into)
	default:
		return took, nil
	}
}

// newest returns the id of the last event of the newest page.
func (r *reader) newest(ctx context.Context) (string, error) {
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if _, err := r.read(ctx, fmt.Sprintf("/event?limit=%d", page.DefaultLimit), &list); err != nil {
		return "", err
	}
	if len(list.Data) == 0 {
		return "", errors.New("the list of events is empty")
	}
	return list.Data[len(list.Data)-1].ID, nil
}

// storedReport writes the comparison as a section of the page.
func storedReport(set *settings, stocks []*stock) string {
	var b strings.Builder
	empty, full := stocks[0], stocks[1]
	fmt.Fprintf(&b, "| | empty | %d events | |\n|---|---:|---:|---:|\n", set.stored)
	rate := func(s *stock) float64 { return median(s.loaded, (*sample).perSecond) }
	fmt.Fprintf(&b, "| events/s, end to end | %.0f | %.0f | %+.0f %% |\n", rate(empty), rate(full), 100*(rate(full)/rate(empty)-1))
	for _, q := range questions("") {
		before, after := quantile(empty.answers[q.name], 0.5), quantile(full.answers[q.name], 0.5)
		fmt.Fprintf(&b, "| %s, p50 / p99 | %s / %s | %s / %s | %+.0f %% |\n", q.name,
			milli(before), milli(quantile(empty.answers[q.name], 0.99)), milli(after), milli(quantile(full.answers[q.name], 0.99)),
			100*(float64(after)/float64(max(1, before))-1))
	}
	if size, err := full.system.size(); err == nil {
		fmt.Fprintf(&b, "\nThe full store takes %.1f GiB on the disk. ", float64(size)/(1<<30))
	}
	fmt.Fprintf(&b, "%d rounds for each store in turn, each %s of ingest at saturation (%d connections) and %d readings of every list; medians. %s.\n",
		set.rounds, set.load, set.clients, readings, machine())
	return b.String()
}
