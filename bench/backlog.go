package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// The bounds of a drain: bytes of memory at its peak, time from the start of the process
// to the first delivery, and the rate as a share of that of fresh events.
const (
	drainMemory = 200 << 20
	drainStart  = 2 * time.Second
	drainShare  = 0.8
)

// slowest is the rate in deliveries a second at which a drain is given up.
const slowest = 500

// drained is what draining a backlog measured.
type drained struct {
	count, lost, repeated int

	first  time.Duration // from the start of the process to the first delivery
	listen time.Duration // from there until the process listened
	span   time.Duration // from the first delivery to the last one
	cpu    time.Duration
	peak   int64
}

func (d *drained) perSecond() float64 {
	return float64(d.count-d.lost) / max(d.span, time.Millisecond).Seconds()
}

// measureBacklog drains a backlog between rounds of fresh events to the same receiver.
func measureBacklog(ctx context.Context, set *settings) (string, error) {
	receiver, err := newReceiver(ctx)
	if err != nil {
		return "", err
	}
	defer receiver.close()
	fresh, err := startMalote(ctx, set, filepath.Join(set.dir, "fresh"), receiver.url)
	if err != nil {
		return "", err
	}
	defer fresh.kill()
	var rounds []*sample
	run := func() error {
		for range (set.rounds + 1) / 2 {
			l := load{url: fresh.url, clients: set.clients, length: set.load, most: int(set.load.Seconds()*mostPerSecond) + 1}
			measured, err := l.drive(ctx, fresh, receiver)
			if err != nil {
				return fmt.Errorf("fresh events: %w", err)
			}
			fmt.Printf("fresh   %6.0f/s  %s CPU an event\n", measured.perSecond(), micro(measured.cpuPerEvent()))
			rounds = append(rounds, measured)
		}
		return nil
	}
	dir, number := filepath.Join(set.dir, "backlog"), receiver.runs.Add(1)
	if err := fillBacklog(ctx, set, dir, receiver.url, number); err != nil {
		return "", err
	}
	if err := run(); err != nil {
		return "", err
	}
	result, err := drainBacklog(ctx, set, receiver, drain{dir: dir, run: number})
	if err != nil {
		return "", err
	}
	fmt.Printf("backlog %6.0f/s  first after %s\n", result.perSecond(), result.first)
	if err := run(); err != nil {
		return "", err
	}
	text := backlogReport(set, result, rounds)
	if result.lost > 0 {
		return text, fmt.Errorf("%d of %d deliveries that waited did not arrive", result.lost, result.count)
	}
	return text, nil
}

// fillBacklog makes a store in which deliveries wait that were accepted while nobody
// sent them.
func fillBacklog(ctx context.Context, set *settings, dir, target string, run int64) error {
	first, err := startMalote(ctx, set, dir, target) // applies the flow
	if err != nil {
		return err
	}
	if err := first.stop(); err != nil {
		return err
	}
	_, err = fill(ctx, dir, filling{events: set.backlog, run: run, waiting: true})
	return err
}

// drain says which backlog is drained: the folder of its store, and the run that its
// events name.
type drain struct {
	dir string
	run int64
}

// drainBacklog starts the program on a backlog and follows it to the end.
func drainBacklog(ctx context.Context, set *settings, receiver *receiver, what drain) (*drained, error) {
	l := load{most: set.backlog}
	t := l.newTrack(what.run)
	for i := range t.acked {
		t.acked[i] = 1
	}
	receiver.track.Store(t)
	server, err := startMalote(ctx, set, what.dir, receiver.url)
	if err != nil {
		return nil, err
	}
	defer server.kill()
	if err := t.drain(ctx, drainTime+time.Duration(set.backlog)*time.Second/slowest); err != nil {
		return nil, err
	}
	result := &drained{count: set.backlog, repeated: int(t.again.Load()), listen: server.took}
	first, last := int64(0), int64(0)
	for i := range t.sent {
		arrived, missing := t.end(i)
		result.lost += missing
		if arrived != 0 && (first == 0 || arrived < first) {
			first = arrived
		}
		last = max(last, arrived)
	}
	result.first = t.began.Add(time.Duration(first)).Sub(server.began)
	result.span = time.Duration(last - first)
	var errs [3]error
	result.peak, errs[0] = server.peak()
	result.cpu, errs[1] = server.cpu()
	errs[2] = server.stop()
	return result, errors.Join(errs[:]...)
}

// backlogReport writes the figures as a section of the page.
func backlogReport(set *settings, d *drained, fresh []*sample) string {
	var b strings.Builder
	rate := median(fresh, (*sample).perSecond)
	fmt.Fprintf(&b, "| | %d waiting | bound |\n|---|---:|---:|\n", d.count)
	fmt.Fprintf(&b, "| from the start of the process to its first delivery | %.2f s | under %.0f s |\n", d.first.Seconds(), drainStart.Seconds())
	fmt.Fprintf(&b, "| peak memory | %s | under %s |\n", mebibytes(d.peak), mebibytes(drainMemory))
	fmt.Fprintf(&b, "| deliveries/s | %.0f | |\n| fresh events/s, end to end, to the same receiver | %.0f | |\n", d.perSecond(), rate)
	fmt.Fprintf(&b, "| of the rate of fresh events | %.0f %% | at least %.0f %% |\n", 100*d.perSecond()/rate, 100*drainShare)
	fmt.Fprintf(&b, "| CPU a delivery | %s | |\n", micro(d.cpu/time.Duration(d.count)))
	fmt.Fprintf(&b, "| CPU a fresh event, delivery included | %s | |\n", micro(median(fresh, (*sample).cpuPerEvent)))
	fmt.Fprintf(&b, "| lost / delivered more than once | %d / %d | 0 / 0 |\n", d.lost, d.repeated)
	fmt.Fprintf(&b, "\nThe backlog is drained once. %d rounds of fresh events, each %s at saturation (%d connections), half of them before and half after; "+
		"the median. The process listened %.2f s after its start. %s.\n",
		len(fresh), set.load, set.clients, d.listen.Seconds(), machine())
	return b.String()
}
