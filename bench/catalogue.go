package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// filtered is how many connections of a large catalogue have a filter: one in so many.
const filtered = 10

// catalogue is a program with many connections or with one, all of one source.
type catalogue struct {
	name        string
	connections int
	types       int // how many types of event it gets
	system      *system
	rounds      []*sample
	applied     time.Duration // from the first start until it listened: the flow is applied before
	started     time.Duration // the same with everything there
	resident    int64         // bytes after the second start
	peak        int64
}

// compareCatalogues measures what an event costs among many connections and beside
// none, in turn.
func compareCatalogues(ctx context.Context, set *settings) (string, error) {
	receiver, err := newReceiver(ctx)
	if err != nil {
		return "", err
	}
	defer receiver.close()
	many := set.destinations
	all := []*catalogue{
		{name: "1", connections: 1, types: 1},
		{name: fmt.Sprintf("%d, events for one", many), connections: many, types: 1},
		{name: fmt.Sprintf("%d, events for all", many), connections: many, types: many},
	}
	defer func() {
		for _, c := range all {
			if c.system != nil {
				c.system.kill()
			}
		}
	}()
	for i, c := range all {
		if err := c.start(ctx, set, filepath.Join(set.dir, fmt.Sprintf("catalogue-%d", i)), receiver.url); err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Printf("%-24s  flow applied in %.2f s, started in %.2f s, %s resident\n", c.name, c.applied.Seconds(), c.started.Seconds(), mebibytes(c.resident))
	}
	for round := range set.rounds {
		for _, c := range all {
			if err := c.round(ctx, set, receiver); err != nil {
				return "", fmt.Errorf("%s, round %d: %w", c.name, round+1, err)
			}
		}
	}
	lost := 0
	for _, c := range all {
		for _, s := range c.rounds {
			lost += s.lost
		}
		if c.peak, err = c.system.peak(); err != nil {
			return "", err
		}
	}
	text := catalogueReport(set, all)
	if lost > 0 {
		return text, fmt.Errorf("%d acknowledged events are lost", lost)
	}
	return text, nil
}

// flow returns the flow: a type of event for each connection, a destination for each,
// and a filter on some, the first one among them.
func (c *catalogue) flow(target string) string {
	var destinations, connections strings.Builder
	for i := range c.connections {
		fmt.Fprintf(&destinations, "  d-%d: { http: { url: %q } }\n", i, target)
		filter := ""
		if i%filtered == 0 {
			filter = fmt.Sprintf(`, filter: 'data.action == "created" && double(data.total_price) >= %d.0'`, 1+i%100)
		}
		fmt.Fprintf(&connections, "  c-%d: { from: shop, to: d-%d, types: [%s]%s }\n", i, i, typeName(int64(i)), filter)
	}
	return "sources:\n  shop: { provider: github, secret: \"${BENCH_SECRET}\" }\ndestinations:\n" + destinations.String() +
		"connections:\n" + connections.String()
}

// start begins the program twice: the first time it applies the flow.
func (c *catalogue) start(ctx context.Context, set *settings, dir, target string) error {
	first, err := startFlow(ctx, set, dir, c.flow(target))
	if err != nil {
		return err
	}
	c.applied = first.took
	if err := first.stop(); err != nil {
		return err
	}
	if c.system, err = startFlow(ctx, set, dir, ""); err != nil {
		return err
	}
	c.started = c.system.took
	c.resident, err = c.system.resident()
	return err
}

// round measures the system once at saturation.
func (c *catalogue) round(ctx context.Context, set *settings, receiver *receiver) error {
	l := load{
		url: c.system.url, clients: set.clients, length: set.load, types: c.types,
		most: int(set.load.Seconds()*mostPerSecond) + 1,
	}
	measured, err := l.drive(ctx, c.system, receiver)
	if err != nil {
		return err
	}
	c.rounds = append(c.rounds, measured)
	fmt.Printf("round %d  %-24s  %6.0f/s  %s CPU an event  end to end %s%s\n", len(c.rounds), c.name,
		measured.perSecond(), micro(measured.cpuPerEvent()), pair(measured.ends), remarks(measured))
	return nil
}

// catalogueReport writes the comparison as a section of the page.
func catalogueReport(set *settings, all []*catalogue) string {
	var b strings.Builder
	row := func(name string, value func(*catalogue) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range all {
			fmt.Fprintf(&b, " %s |", value(c))
		}
		b.WriteString("\n")
	}
	rate := func(c *catalogue) float64 { return median(c.rounds, (*sample).perSecond) }
	cost := func(c *catalogue) time.Duration { return median(c.rounds, (*sample).cpuPerEvent) }
	row("connections, destinations", func(c *catalogue) string { return c.name })
	b.WriteString("|---|" + strings.Repeat("---:|", len(all)) + "\n")
	row("events/s, end to end", func(c *catalogue) string { return fmt.Sprintf("%.0f", rate(c)) })
	row("share of one connection", func(c *catalogue) string { return fmt.Sprintf("%.0f %%", 100*rate(c)/rate(all[0])) })
	row("CPU an event", func(c *catalogue) string { return micro(cost(c)) })
	row("of it more than with one", func(c *catalogue) string { return micro(cost(c) - cost(all[0])) })
	row("end to end p50 / p99", func(c *catalogue) string {
		return latencies(c.rounds, func(s *sample) []time.Duration { return s.ends })
	})
	row("first start, the flow applied", func(c *catalogue) string { return fmt.Sprintf("%.2f s", c.applied.Seconds()) })
	row("start", func(c *catalogue) string { return fmt.Sprintf("%.2f s", c.started.Seconds()) })
	row("memory after the start", func(c *catalogue) string { return mebibytes(c.resident) })
	row("peak memory", func(c *catalogue) string { return mebibytes(c.peak) })
	fmt.Fprintf(&b, "\n%d rounds for each in turn, each %s at saturation (%d connections of the load); medians. One in %d connections has a filter. %s.\n",
		set.rounds, set.load, set.clients, filtered, machine())
	return b.String()
}
