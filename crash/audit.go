package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The parts of the API's nouns that the audit looks at.
type (
	event struct {
		ID         string    `json:"id"`
		Source     string    `json:"source"`
		Type       string    `json:"type"`
		ProviderID string    `json:"providerId"`
		Replay     string    `json:"replay"`
		ReceivedAt time.Time `json:"receivedAt"`
		Duplicates int64     `json:"duplicates"`
		Targets    []target  `json:"targets"`
	}
	target struct {
		Delivery   string `json:"delivery"`
		Connection string `json:"connection"`
	}
	delivery struct {
		ID          string `json:"id"`
		Event       string `json:"event"`
		Connection  string `json:"connection"`
		Destination string `json:"destination"`
		State       string `json:"state"`
		Cause       string `json:"cause"`
		Reason      string `json:"reason"`
		OrderKey    string `json:"orderKey"`
		Replay      string `json:"replay"`
		Attempts    int64  `json:"attempts"`
		Probes      int64  `json:"probes"`
	}
	replay struct {
		ID       string `json:"id"`
		State    string `json:"state"`
		Mode     string `json:"mode"`
		Reason   string `json:"reason"`
		Progress struct {
			Made      int64 `json:"made"`
			Succeeded int64 `json:"succeeded"`
			Failed    int64 `json:"failed"`
			Canceled  int64 `json:"canceled"`
		} `json:"progress"`
	}
	noun struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Source string `json:"source"`
		Paused bool   `json:"paused"`
	}
	counts struct {
		ID         string           `json:"id"`
		Name       string           `json:"name"`
		Accepted   int64            `json:"accepted"`
		Duplicates int64            `json:"duplicates"`
		Deliveries int64            `json:"deliveries"`
		Succeeded  int64            `json:"succeeded"`
		Failed     int64            `json:"failed"`
		Canceled   int64            `json:"canceled"`
		Attempts   int64            `json:"attempts"`
		Outcomes   map[string]int64 `json:"outcomes"`
	}
	backlog struct {
		ID     string           `json:"id"`
		Name   string           `json:"name"`
		States map[string]int64 `json:"states"`
	}
)

// drainTime is how long what waits may take to leave once the receivers are well.
const drainTime = 3 * time.Minute

// result is what a run came to.
type result struct {
	acknowledged, repeated, requests int
	deliveries                       int
	states                           map[string]int
	duplicated, askedFor             int
	lost, disordered                 int
	overlapping, stranded            int
	ordered, keys                    int            // deliveries whose order was looked at, and their keys
	notices                          map[string]int // by type
	replays                          map[string]int // by state
	operated                         string         // what the operator did
}

func plural(count int, what string) string { return fmt.Sprintf("%d × %s", count, what) }

// listed tells how many of each kind there are.
func listed(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, plural(counts[name], name))
	}
	return strings.Join(parts, ", ")
}

func (r *result) print() {
	fmt.Printf("operator     %s\n", r.operated)
	fmt.Printf("system       %s\n", listed(r.notices))
	fmt.Printf("replays      %s\n", listed(r.replays))
	fmt.Printf("acknowledged %d events (and %d repetitions of them)\n", r.acknowledged, r.repeated)
	fmt.Printf("delivered    %d of %d deliveries, in %d requests", r.states["succeeded"], r.deliveries, r.requests)
	for _, state := range slices.Sorted(maps.Keys(r.states)) {
		if state != "succeeded" {
			fmt.Printf("; %d %s", r.states[state], state)
		}
	}
	fmt.Printf("\nduplicated   %d (besides %d that were asked for)\n", r.duplicated, r.askedFor)
	fmt.Printf("overlapping  %d\nstranded     %d\n", r.overlapping, r.stranded)
	fmt.Printf("lost         %d\nout of order %d (of %d deliveries of %d keys)\n", r.lost, r.disordered, r.ordered, r.keys)
}

// audit compares what the providers and the receivers know with what the program says.
type audit struct {
	system   *system
	receiver *receiver
	ledger   *ledger
	operator *operator
	faults   *faults
	began    time.Time

	events      map[string]*event
	deliveries  map[string]*delivery
	sources     map[string]string // name by id
	connections map[string]string // name by id
}

func (a *audit) run(ctx context.Context) (*result, error) {
	a.receiver.healed.Store(true)
	got := &result{
		acknowledged: len(a.ledger.known), repeated: a.ledger.repeats, operated: a.operator.summary(),
		states: map[string]int{}, notices: map[string]int{}, replays: map[string]int{},
	}
	for _, step := range []func(context.Context, *result) error{a.resume, a.drain, a.read, a.checkReplays} {
		if err := step(ctx, got); err != nil {
			return nil, err
		}
	}
	a.checkEvents(got)
	a.checkDeliveries(got)
	a.checkEnds()
	a.checkOrder(got)
	if err := a.checkNumbers(ctx); err != nil {
		return nil, err
	}
	if err := a.system.stop(ctx); err != nil {
		return nil, err
	}
	a.system.doctor(ctx)
	a.receiver.suspicions.Wait()
	a.receiver.mu.Lock()
	defer a.receiver.mu.Unlock()
	got.requests = a.receiver.requests
	for name, times := range a.receiver.overlaps {
		got.overlapping += times
		a.faults.add("%s: an attempt began while another one was under way, %d times", name, times)
	}
	return got, nil
}

// drain waits until nothing is under way and nothing is held. What is parked waits for
// a person, and is released.
func (a *audit) drain(ctx context.Context, _ *result) error {
	for deadline := time.Now().Add(drainTime); ; {
		if err := a.releaseParked(ctx); err != nil {
			return err
		}
		open, err := a.open(ctx)
		if err != nil || open == 0 {
			return err
		}
		if time.Now().After(deadline) {
			a.faults.add("%d deliveries and replays are still under way %s after the end", open, drainTime)
			return a.showOpen(ctx)
		}
		if !pause(ctx, 250*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// open counts deliveries and replays that have not ended.
func (a *audit) open(ctx context.Context) (int64, error) {
	var all struct {
		Data []backlog `json:"data"`
	}
	if err := a.system.must(ctx, http.MethodGet, "/stats/backlog", &all); err != nil {
		return 0, err
	}
	open := int64(0)
	for _, b := range all.Data {
		open += b.States["pending"] + b.States["sending"] + b.States["held"]
	}
	replays, err := list[replay](ctx, a.system, "/replay")
	for i := range replays {
		if replays[i].State == "running" {
			open++
		}
	}
	return open, err
}

// showOpen tells some of the deliveries that have not ended.
func (a *audit) showOpen(ctx context.Context) error {
	for _, state := range []string{"held", "pending", "sending"} {
		var found page[delivery]
		if err := a.system.must(ctx, http.MethodGet, "/delivery?limit=5&state="+state, &found); err != nil {
			return err
		}
		for i := range found.Data {
			fmt.Printf("  still open: %+v\n", found.Data[i])
		}
	}
	return nil
}

// releaseParked releases the keys whose heads are parked.
func (a *audit) releaseParked(ctx context.Context) error {
	keys, err := list[key](ctx, a.system, "/key?parked=true")
	if err != nil {
		return err
	}
	for _, k := range keys {
		call := exchange{http.MethodPost, "/connection/" + k.Connection + "/key/release", map[string]string{"key": k.Key}}
		if _, err := a.system.exchange(ctx, call, nil); err != nil {
			return err
		}
	}
	return nil
}

// resume looks whether whatever is held by a pause is held for one that lasts, and ends
// that.
func (a *audit) resume(ctx context.Context, got *result) error {
	paused := map[string]bool{}
	for _, kind := range []string{"connection", "destination"} {
		nouns, err := list[noun](ctx, a.system, "/"+kind)
		if err != nil {
			return err
		}
		for _, n := range nouns {
			paused[n.ID] = n.Paused
		}
	}
	stranded, err := a.stranded(ctx, paused)
	if err != nil {
		return err
	}
	got.stranded = len(stranded)
	for _, d := range stranded {
		a.faults.add("%s of %s is held (%s) while nothing is paused", d.ID, d.Event, d.Reason)
	}
	for id, is := range paused {
		if !is {
			continue
		}
		path := "/connection/"
		if strings.HasPrefix(id, "dst_") {
			path = "/destination/"
		}
		if err := a.system.must(ctx, http.MethodPost, path+id+"/resume", nil); err != nil {
			return err
		}
	}
	return nil
}

// strandTime is how long a delivery may be held after what held it was resumed.
const strandTime = 20 * time.Second

// stranded returns the deliveries that stay held by a pause although nothing is paused.
func (a *audit) stranded(ctx context.Context, paused map[string]bool) ([]delivery, error) {
	for deadline := time.Now().Add(strandTime); ; {
		held, err := list[delivery](ctx, a.system, "/delivery?state=held")
		if err != nil {
			return nil, err
		}
		held = slices.DeleteFunc(held, func(d delivery) bool {
			return d.Cause != "paused" || paused[d.Connection] || paused[d.Destination]
		})
		if len(held) == 0 || time.Now().After(deadline) {
			return held, nil
		}
		if !pause(ctx, time.Second) {
			return nil, ctx.Err()
		}
	}
}

// list reads all pages of a list.
func list[T any](ctx context.Context, s *system, path string) ([]T, error) {
	address, err := url.Parse(path)
	if err != nil {
		return nil, err
	}
	query := address.Query()
	query.Set("limit", "250")
	var all []T
	for {
		address.RawQuery = query.Encode()
		var got page[T]
		if err := s.must(ctx, http.MethodGet, address.String(), &got); err != nil {
			return nil, err
		}
		all = append(all, got.Data...)
		if got.Done {
			return all, nil
		}
		if got.Iterator == nil {
			return nil, errors.New("a list is not done and does not go on")
		}
		query.Set("iterator", *got.Iterator)
	}
}

// read reads the whole log.
func (a *audit) read(ctx context.Context, got *result) error {
	a.events, a.deliveries = map[string]*event{}, map[string]*delivery{}
	var err error
	if a.sources, err = a.names(ctx, "/source"); err != nil {
		return err
	}
	if a.connections, err = a.names(ctx, "/connection"); err != nil {
		return err
	}
	events, err := list[event](ctx, a.system, "/event")
	if err != nil {
		return err
	}
	for i := range events {
		a.events[events[i].ID] = &events[i]
		if a.sources[events[i].Source] == "malote" {
			got.notices[events[i].Type]++
		}
	}
	deliveries, err := list[delivery](ctx, a.system, "/delivery")
	if err != nil {
		return err
	}
	for i := range deliveries {
		a.deliveries[deliveries[i].ID] = &deliveries[i]
	}
	if len(a.events) != len(events) || len(a.deliveries) != len(deliveries) {
		a.faults.add("the lists name an item twice")
	}
	return nil
}

// names returns the names of a kind of noun by their ids.
func (a *audit) names(ctx context.Context, path string) (map[string]string, error) {
	nouns, err := list[noun](ctx, a.system, path)
	found := map[string]string{}
	for _, n := range nouns {
		found[n.ID] = n.Name
	}
	return found, err
}

// checkEvents looks for each acknowledged order, and for orders that became two events.
func (a *audit) checkEvents(got *result) {
	wanted := targets()
	for _, o := range a.ledger.known {
		ev := a.events[o.event]
		switch {
		case ev == nil:
			got.lost++
			a.faults.add("the order %s was acknowledged as %s, which is not there", o.id, o.event)
		case ev.ProviderID != o.id || a.sources[ev.Source] != o.source:
			a.faults.add("%s is the order %s of %s, not %s of %s", ev.ID, ev.ProviderID, a.sources[ev.Source], o.id, o.source)
		case len(ev.Targets) < wanted[o.source]:
			got.lost++
			a.faults.add("%s has %d deliveries, want at least %d", ev.ID, len(ev.Targets), wanted[o.source])
		}
	}
	first := map[[2]string]string{}
	for _, ev := range a.events {
		if ev.Replay != "" || a.sources[ev.Source] == "malote" {
			continue
		}
		order := [2]string{ev.Source, ev.ProviderID}
		if other := first[order]; other != "" {
			a.faults.add("the order %s became two events, %s and %s", ev.ProviderID, other, ev.ID)
		}
		first[order] = ev.ID
	}
}

// checkDeliveries looks for each delivery of each event, and for those that replays
// made.
func (a *audit) checkDeliveries(got *result) {
	a.receiver.mu.Lock()
	defer a.receiver.mu.Unlock()
	got.deliveries = len(a.deliveries)
	named := map[string]bool{}
	for _, ev := range a.events {
		for _, t := range ev.Targets {
			named[t.Delivery] = true
			if a.deliveries[t.Delivery] == nil {
				got.lost++
				a.faults.add("%s of %s is not there", t.Delivery, ev.ID)
			}
		}
	}
	for _, d := range a.deliveries {
		got.states[d.State]++
		if problem := judge(d, a.receiver.taken[d.ID]); problem != "" {
			got.lost++
			a.faults.add("%s of %s is %s, %s", d.ID, d.Event, d.State, problem)
		}
		if a.events[d.Event] == nil || !named[d.ID] && d.Replay == "" {
			a.faults.add("%s belongs to no event", d.ID)
		}
	}
	for id, times := range a.receiver.taken {
		switch {
		case a.deliveries[id] == nil:
			a.faults.add("the receiver took %s, which is not there", id)
		case times > 1 && a.operator.asked[id] > 0:
			got.askedFor++
		case times > 1:
			got.duplicated++
		}
	}
}

// judge says what is wrong with a delivery that the receiver took so many times.
func judge(d *delivery, taken int) string {
	switch d.State {
	case "succeeded":
		if taken == 0 {
			return "and the receiver never took it"
		}
	case "failed", "canceled":
		if d.Reason == "" {
			return "without a reason"
		}
	default:
		return "when nothing should be under way"
	}
	return ""
}
