package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// compareVariants runs the interleaved rounds and reports them.
func compareVariants(ctx context.Context, set *settings) (string, error) {
	receiver, err := newReceiver(ctx)
	if err != nil {
		return "", err
	}
	defer receiver.close()
	results := make([]*result, 0, len(set.variants))
	defer func() {
		for _, r := range results {
			r.system.kill()
		}
	}()
	for _, name := range set.variants {
		system, err := start(ctx, set, name, receiver.url)
		if err != nil {
			return "", err
		}
		results = append(results, &result{name: name, system: system})
	}
	for round := range set.rounds {
		for _, r := range results {
			if err := r.round(ctx, set, receiver); err != nil {
				return "", fmt.Errorf("%s, round %d: %w", r.name, round+1, err)
			}
			fmt.Printf("round %d  %-7s %s\n", round+1, r.name, r.last())
		}
	}
	for _, r := range results {
		if err := r.finish(); err != nil {
			return "", err
		}
	}
	text := variantsReport(set, results)
	if i := slices.IndexFunc(results, func(r *result) bool { return r.lost() > 0 }); i >= 0 {
		return text, fmt.Errorf("%s lost %d acknowledged events", results[i].name, results[i].lost())
	}
	return text, nil
}

// result is what all rounds of one system measured.
type result struct {
	name   string
	system *system
	loaded []*sample // at saturation
	paced  []*sample // at the fixed rate
	peak   int64     // bytes resident, at the most
	bytes  int64     // on the disk for each event
}

// mostPerSecond bounds the events that one run has room for.
const mostPerSecond = 50_000

// round measures the system once each way.
func (r *result) round(ctx context.Context, set *settings, receiver *receiver) error {
	loads := []struct {
		load load
		into *[]*sample
	}{
		{load{clients: set.clients, length: set.load}, &r.loaded},
		{load{clients: set.clients, length: set.paced, rate: set.rate}, &r.paced},
	}
	for _, l := range loads {
		l.load.url = r.system.url
		l.load.most = int(l.load.length.Seconds()*cmp.Or(float64(2*l.load.rate), mostPerSecond)) + 1
		measured, err := l.load.drive(ctx, r.system, receiver)
		if err != nil {
			return err
		}
		*l.into = append(*l.into, measured)
	}
	if receiver.forged.Load() > 0 {
		return errors.New("a delivery has a signature that does not fit")
	}
	if r.system.name == "malote" && receiver.signed.Load() == 0 {
		return errors.New("no delivery is signed")
	}
	return nil
}

// last describes the last round in a line.
func (r *result) last() string {
	loaded, paced := r.loaded[len(r.loaded)-1], r.paced[len(r.paced)-1]
	return fmt.Sprintf("%6.0f/s  ack %s  end to end %s  %s CPU an event  paced %s%s",
		loaded.perSecond(), pair(loaded.acks), pair(loaded.ends), micro(loaded.cpuPerEvent()), pair(paced.ends), remarks(loaded, paced))
}

// remarks tells what a good round has nothing of.
func remarks(samples ...*sample) string {
	lost, repeated, failures := 0, 0, 0
	for _, s := range samples {
		lost, repeated, failures = lost+s.lost, repeated+s.repeated, failures+s.failures
	}
	if lost+repeated+failures == 0 {
		return ""
	}
	return fmt.Sprintf("  (%d lost, %d repeated, %d not acknowledged)", lost, repeated, failures)
}

// finish reads what the system leaves behind, and ends it.
func (r *result) finish() error {
	var err error
	if r.peak, err = r.system.peak(); err != nil {
		return err
	}
	if err := r.system.stop(); err != nil {
		return err
	}
	size, err := r.system.size()
	r.bytes = size / int64(max(1, r.total(func(s *sample) int { return s.accepted })))
	return err
}

func (r *result) total(count func(*sample) int) int {
	sum := 0
	for _, s := range slices.Concat(r.loaded, r.paced) {
		sum += count(s)
	}
	return sum
}

func (r *result) lost() int { return r.total(func(s *sample) int { return s.lost }) }

func (r *result) perSecond() float64 { return median(r.loaded, (*sample).perSecond) }

// variantsReport writes the results as a section of the page.
func variantsReport(set *settings, results []*result) string {
	var b strings.Builder
	row := func(name string, value func(*result) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, r := range results {
			fmt.Fprintf(&b, " %s |", value(r))
		}
		b.WriteString("\n")
	}
	row("", func(r *result) string { return r.name })
	b.WriteString("|---|" + strings.Repeat("---:|", len(results)) + "\n")
	acks := func(s *sample) []time.Duration { return s.acks }
	ends := func(s *sample) []time.Duration { return s.ends }
	row("events/s, end to end", func(r *result) string { return fmt.Sprintf("%.0f", r.perSecond()) })
	for _, reference := range results[:max(0, len(results)-1)] {
		row("share of "+reference.name, func(r *result) string { return fmt.Sprintf("%.0f %%", 100*r.perSecond()/reference.perSecond()) })
	}
	row("CPU an event", func(r *result) string { return micro(median(r.loaded, (*sample).cpuPerEvent)) })
	row("at saturation, answer p50 / p99", func(r *result) string { return latencies(r.loaded, acks) })
	row("at saturation, end to end p50 / p99", func(r *result) string { return latencies(r.loaded, ends) })
	row(fmt.Sprintf("at %d/s, answer p50 / p99", set.rate), func(r *result) string { return latencies(r.paced, acks) })
	row(fmt.Sprintf("at %d/s, end to end p50 / p99", set.rate), func(r *result) string { return latencies(r.paced, ends) })
	row("peak memory", func(r *result) string { return mebibytes(r.peak) })
	row("bytes on the disk, an event", func(r *result) string { return fmt.Sprint(r.bytes) })
	row("events acknowledged", func(r *result) string { return fmt.Sprint(r.total(func(s *sample) int { return s.accepted })) })
	row("of these lost", func(r *result) string { return fmt.Sprint(r.lost()) })
	row("delivered more than once", func(r *result) string { return fmt.Sprint(r.total(func(s *sample) int { return s.repeated })) })
	fmt.Fprintf(&b, "\n%d rounds, each %s at saturation (%d connections) and %s at %d events/s for each system in turn; medians of the rounds. %s.\n",
		set.rounds, set.load, set.clients, set.paced, set.rate, machine())
	return b.String()
}
