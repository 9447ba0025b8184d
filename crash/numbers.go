package main

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"time"
)

// checkNumbers compares the counters with the log.
func (a *audit) checkNumbers(ctx context.Context) error {
	sources, err := a.totals(ctx, "source")
	if err != nil {
		return err
	}
	accepted, duplicates := map[string]int64{}, map[string]int64{}
	for _, ev := range a.events {
		accepted[ev.Source]++
		duplicates[ev.Source] += ev.Duplicates
	}
	for _, n := range sources {
		a.compare(n.Name, "accepted", n.Accepted, accepted[n.ID])
		a.compare(n.Name, "duplicates", n.Duplicates, duplicates[n.ID])
	}
	for kind, of := range map[string]func(*delivery) string{
		"connection":  func(d *delivery) string { return d.Connection },
		"destination": func(d *delivery) string { return d.Destination },
	} {
		counted, err := a.totals(ctx, kind)
		if err != nil {
			return err
		}
		a.compareDeliveries(counted, of)
	}
	return a.checkBacklog(ctx)
}

// totals returns the counters of each noun of a kind.
func (a *audit) totals(ctx context.Context, kind string) ([]counts, error) {
	var found struct {
		Data []counts `json:"data"`
	}
	span := url.Values{
		"from": {a.began.Add(-2 * time.Minute).UTC().Format(time.RFC3339)},
		"to":   {time.Now().Add(2 * time.Minute).UTC().Format(time.RFC3339)},
	}
	err := a.system.must(ctx, http.MethodGet, "/stats/"+kind+"?"+span.Encode(), &found)
	return found.Data, err
}

// tally is what the log says of one noun.
type tally struct {
	deliveries, attempts, ended, asked int64
}

// compareDeliveries compares counters of deliveries with the log. A delivery that was
// asked for again can have ended more than once.
func (a *audit) compareDeliveries(counted []counts, of func(*delivery) string) {
	tallies := map[string]*tally{}
	for _, n := range counted {
		tallies[n.ID] = &tally{}
	}
	for _, d := range a.deliveries {
		t := tallies[of(d)]
		if t == nil {
			continue // its connection was deleted
		}
		t.deliveries++
		t.attempts += d.Attempts
		t.asked += int64(a.operator.asked[d.ID])
		if d.State == "succeeded" || d.State == "failed" || d.State == "canceled" {
			t.ended++
		}
	}
	for _, n := range counted {
		t := tallies[n.ID]
		a.compare(n.Name, "deliveries", n.Deliveries, t.deliveries)
		a.compare(n.Name, "attempts", n.Attempts, t.attempts)
		var outcomes int64
		for _, times := range n.Outcomes {
			outcomes += times
		}
		a.compare(n.Name, "outcomes", outcomes, n.Attempts)
		if ended := n.Succeeded + n.Failed + n.Canceled; ended < t.ended || ended > t.ended+t.asked {
			a.faults.add("%s: %d deliveries ended by the counters, from %d to %d by the log", n.Name, ended, t.ended, t.ended+t.asked)
		}
	}
}

func (a *audit) compare(name, what string, counter, log int64) {
	if counter != log {
		a.faults.add("%s: the counter of %s says %d, the log %d", name, what, counter, log)
	}
}

// checkBacklog compares the counters of what waits, and of what failed, with the log.
func (a *audit) checkBacklog(ctx context.Context) error {
	var all struct {
		Data []backlog `json:"data"`
	}
	if err := a.system.must(ctx, http.MethodGet, "/stats/backlog", &all); err != nil {
		return err
	}
	inLog := map[string]map[string]int64{}
	for _, d := range a.deliveries {
		if inLog[d.Destination] == nil {
			inLog[d.Destination] = map[string]int64{}
		}
		if d.State != "succeeded" && d.State != "canceled" {
			inLog[d.Destination][d.State]++
		}
	}
	for _, b := range all.Data {
		maps.DeleteFunc(b.States, func(_ string, n int64) bool { return n == 0 })
		if !maps.Equal(b.States, inLog[b.ID]) {
			a.faults.add("%s: the backlog says %v, the log %v", b.Name, b.States, inLog[b.ID])
		}
	}
	return nil
}
