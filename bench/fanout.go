package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// fanRate is how many events a second are sent at the fixed rate of a fan-out, the same
// however many destinations they go to.
const fanRate = 10

// fan is a program that delivers each event to so many destinations.
type fan struct {
	copies int
	system *system
	loaded []*sample
	paced  []*sample
	peak   int64
}

// compareFanOut measures events that go to one destination, to ten, and to a hundred,
// in turn.
func compareFanOut(ctx context.Context, set *settings) (string, error) {
	receiver, err := newReceiver(ctx)
	if err != nil {
		return "", err
	}
	defer receiver.close()
	all := []*fan{{copies: 1}, {copies: 10}, {copies: 100}}
	defer func() {
		for _, f := range all {
			if f.system != nil {
				f.system.kill()
			}
		}
	}()
	for _, f := range all {
		f.system, err = startFlow(ctx, set, filepath.Join(set.dir, fmt.Sprintf("fan-%d", f.copies)), f.flow(receiver.url))
		if err != nil {
			return "", err
		}
	}
	for round := range set.rounds {
		for _, f := range all {
			if err := f.round(ctx, set, receiver); err != nil {
				return "", fmt.Errorf("%d destinations, round %d: %w", f.copies, round+1, err)
			}
		}
	}
	lost := 0
	for _, f := range all {
		for i := range f.loaded {
			lost += f.loaded[i].lost + f.paced[i].lost
		}
		if f.peak, err = f.system.peak(); err != nil {
			return "", err
		}
	}
	text := fanReport(set, all)
	if lost > 0 {
		return text, fmt.Errorf("%d deliveries of acknowledged events are lost", lost)
	}
	return text, nil
}

// flow returns the flow: every connection takes every event, to a path of its own.
func (f *fan) flow(target string) string {
	var destinations, connections strings.Builder
	for i := range f.copies {
		fmt.Fprintf(&destinations, "  d-%d: { http: { url: %q } }\n", i, fmt.Sprintf("%s%d", target, i))
		fmt.Fprintf(&connections, "  c-%d: { from: shop, to: d-%d, types: [%s] }\n", i, i, defaultType)
	}
	return "sources:\n  shop: { provider: github, secret: \"${BENCH_SECRET}\" }\ndestinations:\n" + destinations.String() +
		"connections:\n" + connections.String()
}

// round measures the fan-out once each way.
func (f *fan) round(ctx context.Context, set *settings, receiver *receiver) error {
	loaded := load{
		url: f.system.url, clients: set.clients, length: set.load, copies: f.copies,
		most: int(set.load.Seconds()*mostPerSecond)/f.copies + 1,
	}
	paced := load{
		url: f.system.url, clients: set.clients, length: set.paced, copies: f.copies, rate: fanRate,
		most: int(set.paced.Seconds()*2*fanRate) + 1,
	}
	first, err := loaded.drive(ctx, f.system, receiver)
	if err != nil {
		return err
	}
	second, err := paced.drive(ctx, f.system, receiver)
	if err != nil {
		return err
	}
	f.loaded, f.paced = append(f.loaded, first), append(f.paced, second)
	fmt.Printf("round %d  %3d destinations  %6.0f deliveries/s  %s CPU a delivery  paced %s%s\n", len(f.loaded), f.copies,
		first.perSecond(), micro(first.cpuPerDelivery()), pair(second.ends), remarks(first, second))
	return nil
}

// fanReport writes the comparison as a section of the page.
func fanReport(set *settings, all []*fan) string {
	var b strings.Builder
	row := func(name string, value func(*fan) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, f := range all {
			fmt.Fprintf(&b, " %s |", value(f))
		}
		b.WriteString("\n")
	}
	acks := func(s *sample) []time.Duration { return s.acks }
	ends := func(s *sample) []time.Duration { return s.ends }
	row("destinations of each event", func(f *fan) string { return fmt.Sprint(f.copies) })
	b.WriteString("|---|" + strings.Repeat("---:|", len(all)) + "\n")
	row("deliveries/s", func(f *fan) string { return fmt.Sprintf("%.0f", median(f.loaded, (*sample).perSecond)) })
	row("CPU a delivery", func(f *fan) string { return micro(median(f.loaded, (*sample).cpuPerDelivery)) })
	row(fmt.Sprintf("at %d events/s, answer p50 / p99", fanRate), func(f *fan) string { return latencies(f.paced, acks) })
	row(fmt.Sprintf("at %d events/s, to the last destination p50 / p99", fanRate), func(f *fan) string { return latencies(f.paced, ends) })
	row("at saturation, to the last destination p50 / p99", func(f *fan) string { return latencies(f.loaded, ends) })
	row("peak memory", func(f *fan) string { return mebibytes(f.peak) })
	fmt.Fprintf(&b, "\n%d rounds for each in turn, each %s at saturation (%d connections) and %s at %d events/s; medians. %s.\n",
		set.rounds, set.load, set.clients, set.paced, fanRate, machine())
	return b.String()
}
