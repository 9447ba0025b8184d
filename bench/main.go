// Bench measures what the way of an event costs, in parts that can be run alone.
//
// The first part, variants, drives three systems in turn, in one run, on one machine,
// with the same load and the same receiver:
//
//   - relay: receives, sends on, answers. No storage.
//   - append: receives, appends to a file, shares an fdatasync, answers, then sends on.
//   - malote: the program itself, with all that it does to an event.
//
// The first two are the floor: what any program in Go that does so little has to pay.
// Each system is a process of its own; load and receiver are this process, the same
// for all. Every acknowledged event must arrive, and is looked for by its id.
//
// The other parts measure the program against itself: a healthy destination alone and
// beside dead ones, a backlog and fresh events, ten thousand connections and one, the
// fan-out to a hundred destinations and to one, a store that has grown and an empty one.
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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings are what a run of the benchmark is asked for.
type settings struct {
	parts        []string
	variants     []string
	rounds       int
	load         time.Duration // of one round at saturation
	paced        time.Duration // of one round at a fixed rate
	rate         int           // events a second of the paced rounds
	clients      int           // connections of the load at saturation
	dead         []int         // how many destinations fail beside the healthy one
	backlog      int           // deliveries that wait
	destinations int           // of the catalogue that is compared with one of a single destination
	binary       string
	dir          string
	out          string
	stored       int
	kept         string // folder of a filled store that outlives the run; empty: none
}

// part is something that the benchmark measures. What it writes goes to the section of
// the page that has its name.
type part struct {
	name    string
	measure func(context.Context, *settings) (report string, err error)
}

// parts are all parts, in their order.
func parts() []part {
	return []part{
		{"variants", compareVariants},
		{"isolation", compareIsolation},
		{"backlog", measureBacklog},
		{"catalogue", compareCatalogues},
		{"fanout", compareFanOut},
		{"stored", compareStored},
	}
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
	for _, part := range parts() {
		if !slices.Contains(set.parts, part.name) {
			continue
		}
		text, err := part.measure(ctx, set)
		if text != "" {
			fmt.Println("\n" + text)
			err = errors.Join(err, publish(set.out, part.name, text))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

func parse(args []string) (*settings, error) {
	set := &settings{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	chosen := flags.String("parts", "variants,isolation,backlog,catalogue,fanout", "what to measure; there is stored, too: see -stored")
	variants := flags.String("variants", "relay,append,malote", "the systems of the part variants")
	dead := flags.String("dead", "1,100,1000", "isolation: how many destinations fail beside the healthy one")
	quick := flags.Bool("quick", false, "one short round: shows that it works, measures nothing")
	flags.IntVar(&set.rounds, "rounds", 5, "interleaved rounds; medians are reported")
	flags.DurationVar(&set.load, "load", 8*time.Second, "length of a round at saturation")
	flags.DurationVar(&set.paced, "paced", 8*time.Second, "length of a round at the fixed rate")
	flags.IntVar(&set.rate, "rate", 200, "events a second of the fixed rate")
	flags.IntVar(&set.clients, "clients", 64, "connections of the load at saturation")
	flags.IntVar(&set.backlog, "backlog", 1_000_000, "backlog: deliveries that wait")
	flags.IntVar(&set.destinations, "destinations", 10_000, "catalogue: destinations, each with a connection")
	flags.StringVar(&set.binary, "malote", "bin/malote", "the program to measure")
	flags.StringVar(&set.dir, "dir", "bin", "where the data lies while it runs: a real disk, not a file system in memory")
	flags.StringVar(&set.out, "out", "docs/benchmarks.md", "the page to write; empty for none")
	flags.IntVar(&set.stored, "stored", 0, "measure the part stored alone: an empty store and one of so many events")
	flags.StringVar(&set.kept, "kept", "", "with -stored: keep the filled store in this folder, and use the one that is there")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	set.parts, set.variants = strings.Split(*chosen, ","), strings.Split(*variants, ",")
	if err := set.countDead(*dead); err != nil {
		return nil, err
	}
	if *quick {
		set.shorten()
	}
	if set.stored > 0 {
		set.parts = []string{"stored"}
	}
	if err := set.check(); err != nil {
		return nil, err
	}
	return set, os.MkdirAll(set.dir, 0o750)
}

// shorten asks for as little as shows that everything works.
func (set *settings) shorten() {
	set.rounds, set.load, set.paced = 1, time.Second, time.Second
	set.dead, set.backlog, set.destinations = []int{1, 10}, 2000, 200
}

// countDead reads how many dead destinations there are to be.
func (set *settings) countDead(list string) error {
	for text := range strings.SplitSeq(list, ",") {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1 {
			return fmt.Errorf("-dead: %q is no number of destinations: write numbers from 1, with commas", text)
		}
		set.dead = append(set.dead, count)
	}
	return nil
}

// check looks at what no part could do.
func (set *settings) check() error {
	if set.rounds < 1 || set.rate < 1 || set.clients < 1 || set.backlog < 1 || set.destinations < 1 {
		return errors.New("-rounds, -rate, -clients, -backlog and -destinations go from 1")
	}
	names := make([]string, 0, len(parts()))
	for _, part := range parts() {
		names = append(names, part.name)
	}
	for _, name := range set.parts {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no part %q: use %s", name, strings.Join(names, ", "))
		}
	}
	if slices.Contains(set.parts, "stored") && set.stored < 1 {
		return errors.New("the part stored needs -stored: how many events")
	}
	return nil
}
