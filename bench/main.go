// Bench measures what the way of an event costs. In one run, on one machine, it drives
// three systems in turn with the same load and the same receiver:
//
//   - relay: receives, sends on, answers. No storage.
//   - append: receives, appends to a file, shares an fdatasync, answers, then sends on.
//   - malote: the program itself, with all that it does to an event.
//
// The first two are the floor: what any program in Go that does so little has to pay.
// Each system is a process of its own; load and receiver are this process, the same
// for all. Every acknowledged event must arrive, and is looked for by its id.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are what a run of the benchmark is asked for.
type settings struct {
	variants []string
	rounds   int
	load     time.Duration // of one round at saturation
	paced    time.Duration // of one round at a fixed rate
	rate     int           // events a second of the paced rounds
	clients  int           // connections of the load at saturation
	binary   string
	dir      string
	out      string
	stored   int
	kept     string // folder of a filled store that outlives the run; empty: none
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == "serve" {
		return serveReference(ctx, args[1], args[2])
	}
	set, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(set.dir, "bench-")
	if err != nil {
		return fmt.Errorf("making a folder for the data: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if set.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if set.stored > 0 {
		return compareStored(ctx, set)
	}
	return compareVariants(ctx, set)
}

func parse(args []string) (*settings, error) {
	set := &settings{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	variants := flags.String("variants", "relay,append,malote", "what to measure")
	quick := flags.Bool("quick", false, "one short round: shows that it works, measures nothing")
	flags.IntVar(&set.rounds, "rounds", 5, "interleaved rounds; medians are reported")
	flags.DurationVar(&set.load, "load", 8*time.Second, "length of a round at saturation")
	flags.DurationVar(&set.paced, "paced", 8*time.Second, "length of a round at the fixed rate")
	flags.IntVar(&set.rate, "rate", 200, "events a second of the fixed rate")
	flags.IntVar(&set.clients, "clients", 64, "connections of the load at saturation")
	flags.StringVar(&set.binary, "malote", "bin/malote", "the program to measure")
	flags.StringVar(&set.dir, "dir", "bin", "where the data lies while it runs: a real disk, not a file system in memory")
	flags.StringVar(&set.out, "out", "docs/benchmarks.md", "the page to write; empty for none")
	flags.IntVar(&set.stored, "stored", 0, "compare an empty store with one of so many events instead")
	flags.StringVar(&set.kept, "kept", "", "with -stored: keep the filled store in this folder, and use the one that is there")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *quick {
		set.rounds, set.load, set.paced = 1, time.Second, time.Second
	}
	set.variants = strings.Split(*variants, ",")
	return set, os.MkdirAll(set.dir, 0o750)
}

// compareVariants runs the interleaved rounds and reports them.
func compareVariants(ctx context.Context, set *settings) error {
	receiver, err := newReceiver(ctx)
	if err != nil {
		return err
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
			return err
		}
		results = append(results, &result{name: name, system: system})
	}
	for round := range set.rounds {
		for _, r := range results {
			if err := r.round(ctx, set, receiver); err != nil {
				return fmt.Errorf("%s, round %d: %w", r.name, round+1, err)
			}
			fmt.Printf("round %d  %-7s %s\n", round+1, r.name, r.last())
		}
	}
	for _, r := range results {
		if err := r.finish(); err != nil {
			return err
		}
	}
	text := variantsReport(set, results)
	fmt.Println("\n" + text)
	if err := publish(set.out, "variants", text); err != nil {
		return err
	}
	if i := slices.IndexFunc(results, func(r *result) bool { return r.lost() > 0 }); i >= 0 {
		return fmt.Errorf("%s lost %d acknowledged events", results[i].name, results[i].lost())
	}
	return nil
}
