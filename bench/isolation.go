package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// isolationLimit is how much slower a healthy destination may be beside dead ones: its
// 99th percentile end to end, as a multiple of that alone.
const isolationLimit = 1.25

// warmUp is how long the neighbours and the healthy destination get events before it is
// measured.
const warmUp = 2 * time.Second

// healthyFlow is the flow's part for the destination that is measured. It gets the
// events of the type push, and its neighbours one type each.
const healthyFlow = `sources:
  shop:
    provider: github
    secret: ${BENCH_SECRET}
destinations:
  healthy: { http: { url: %q } }
%sconnections:
  healthy: { from: shop, to: healthy, types: [push] }
%s`

// refusing is an address where nothing listens: the port's number is too low for the
// system to give it to a client by chance.
const refusing = "http://127.0.0.1:1/"

// company is who stands beside the healthy destination.
type company struct {
	name       string
	neighbours int
	dead       bool
	rounds     []*sample
	peak       int64
}

// companies are all that are compared: nobody; a healthy neighbour, which shows what
// its traffic costs by itself; and dead ones.
func companies(set *settings) []*company {
	all := []*company{{name: "alone"}, {name: "1 healthy", neighbours: 1}}
	for _, count := range set.dead {
		all = append(all, &company{name: fmt.Sprintf("%d dead", count), neighbours: count, dead: true})
	}
	return all
}

// compareIsolation measures a healthy destination alone and in company, in turn.
func compareIsolation(ctx context.Context, set *settings) (string, error) {
	receiver, err := newReceiver(ctx)
	if err != nil {
		return "", err
	}
	defer receiver.close()
	silent, err := listenSilently(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = silent.Close() }()
	all := companies(set)
	place := place{receiver: receiver, silent: "http://" + silent.Addr().String() + "/"}
	for round := range set.rounds {
		for _, c := range all {
			if err := c.round(ctx, set, place); err != nil {
				return "", fmt.Errorf("%s, round %d: %w", c.name, round+1, err)
			}
			measured := c.rounds[round]
			fmt.Printf("round %d  %-10s  ack %s  end to end %s%s\n", round+1, c.name, pair(measured.acks), pair(measured.ends), remarks(measured))
		}
	}
	return isolationReport(set, all), lostIn(all)
}

// lostIn fails when the healthy destination missed something.
func lostIn(all []*company) error {
	var errs []error
	for _, c := range all {
		for _, s := range c.rounds {
			if s.lost > 0 {
				errs = append(errs, fmt.Errorf("%s: %d acknowledged events are lost", c.name, s.lost))
			}
		}
	}
	return errors.Join(errs...)
}

// listenSilently accepts connections and never answers: whoever calls has to give up.
func listenSilently(ctx context.Context) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", loopback)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return listener, nil
}

// place is where deliveries go.
type place struct {
	receiver *receiver
	silent   string
}

// flow returns the flow of the company. Of the dead, every other one is a black hole.
func (c *company) flow(place place) string {
	var destinations, connections strings.Builder
	for i := range c.neighbours {
		target := place.receiver.url
		if c.dead {
			target = [...]string{place.silent, refusing}[i%2]
		}
		fmt.Fprintf(&destinations, "  n-%d: { http: { url: %q, timeout: 1s } }\n", i, target)
		fmt.Fprintf(&connections, "  n-%d: { from: shop, to: n-%d, types: [%s] }\n", i, i, typeName(int64(i)))
	}
	return fmt.Sprintf(healthyFlow, place.receiver.url, destinations.String(), connections.String())
}

// round measures the company once, with a program and data of its own, so that nobody
// inherits a backlog.
func (c *company) round(ctx context.Context, set *settings, place place) error {
	dir := filepath.Join(set.dir, fmt.Sprintf("isolation-%d-%d", c.neighbours, len(c.rounds)))
	server, err := startFlow(ctx, set, dir, c.flow(place))
	if err != nil {
		return err
	}
	defer server.kill()
	warm := min(warmUp, set.paced)
	company, leave := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c.keepBusy(company, set, server, place.receiver)
	}()
	defer func() {
		leave()
		<-gone
	}()
	healthy := load{url: server.url, clients: set.clients, rate: set.rate}
	var measured *sample
	for _, healthy.length = range []time.Duration{warm, set.paced} {
		healthy.most = int(healthy.length.Seconds()*float64(2*set.rate)) + 1
		if measured, err = healthy.drive(ctx, server, place.receiver); err != nil {
			return err
		}
	}
	c.rounds = append(c.rounds, measured)
	peak, err := server.peak()
	c.peak = max(c.peak, peak)
	return err
}

// keepBusy sends the neighbours events, each in its turn, until ctx ends. Nobody looks
// for them.
func (c *company) keepBusy(ctx context.Context, set *settings, server *system, receiver *receiver) {
	if c.neighbours == 0 {
		return
	}
	length := warmUp + set.paced + drainTime
	l := load{url: server.url, clients: set.clients, length: length, rate: set.rate, types: c.neighbours}
	l.most = int(l.length.Seconds() * float64(2*set.rate))
	_, _ = l.send(ctx, l.newTrack(receiver.runs.Add(1)))
}

// isolationReport writes the comparison as a section of the page.
func isolationReport(set *settings, all []*company) string {
	var b strings.Builder
	row := func(name string, value func(*company) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range all {
			fmt.Fprintf(&b, " %s |", value(c))
		}
		b.WriteString("\n")
	}
	ends := func(s *sample) []time.Duration { return s.ends }
	last := func(c *company) time.Duration {
		return median(c.rounds, func(s *sample) time.Duration { return quantile(s.ends, 0.99) })
	}
	row("beside the healthy destination", func(c *company) string { return c.name })
	b.WriteString("|---|" + strings.Repeat("---:|", len(all)) + "\n")
	row("answer p50 / p99", func(c *company) string {
		return latencies(c.rounds, func(s *sample) []time.Duration { return s.acks })
	})
	row("end to end p50 / p99", func(c *company) string { return latencies(c.rounds, ends) })
	row(fmt.Sprintf("p99 end to end, of alone (at most %.2f)", isolationLimit), func(c *company) string {
		return fmt.Sprintf("%.2f", float64(last(c))/float64(max(1, last(all[0]))))
	})
	row("CPU of the program, a second", func(c *company) string {
		return milli(median(c.rounds, func(s *sample) time.Duration { return time.Duration(float64(s.cpu) / s.elapsed.Seconds()) }))
	})
	row("peak memory", func(c *company) string { return mebibytes(c.peak) })
	row("lost by the healthy one", func(c *company) string {
		lost := 0
		for _, s := range c.rounds {
			lost += s.lost
		}
		return fmt.Sprint(lost)
	})
	fmt.Fprintf(&b, "\n%d rounds in turn, each with an empty store, %s of warming up and %s measured; %d events/s for the healthy destination "+
		"and %d events/s for all others together; medians of the rounds. %s.\n",
		set.rounds, min(warmUp, set.paced), set.paced, set.rate, set.rate, machine())
	return b.String()
}
