// Crash ends the built program at random moments, most often as kill -9 does, starts it
// again on the same data, and counts what became of every event that it acknowledged.
//
// Meanwhile events come from several sources, receivers fail in every way, each for a
// moment or down for seconds, and an operator pauses, resumes, retries, cancels, deletes,
// replays, closes and probes circuits, and decides over keys that are stuck. At the end
// everything is looked up by its id: each delivery of an acknowledged event has reached
// its receiver or says why not; the receiver has seen no two attempts of one delivery, or
// of one ordered key, at once, and the events of every such key in their order; what a
// provider repeated is one event; and the counters agree with the log.
//
// Chance comes from a seed, which is printed: the same seed makes the same decisions,
// as far as the timing of processes allows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// settings are what a run is asked for.
type settings struct {
	rounds int
	births int // crashes during a first start
	rate   int // events a second
	seed   uint64
	binary string
	dir    string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*settings, error) {
	set := &settings{}
	flags := flag.NewFlagSet("crash", flag.ContinueOnError)
	flags.IntVar(&set.rounds, "rounds", 100, "how often the program is ended and started again")
	flags.IntVar(&set.births, "births", 5, "how often it is ended during the first start on an empty folder")
	flags.IntVar(&set.rate, "rate", 60, "events a second")
	flags.Uint64Var(&set.seed, "seed", 0, "of chance; 0 chooses one")
	flags.StringVar(&set.binary, "malote", "bin/malote", "the program to end")
	flags.StringVar(&set.dir, "dir", "bin", "where the data lies: a real disk, not a file system in memory")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if set.rounds < 1 || set.rate < 1 {
		return nil, errors.New("-rounds and -rate go from 1")
	}
	if set.seed == 0 {
		set.seed = rand.Uint64()
	}
	return set, os.MkdirAll(set.dir, 0o750)
}

// Each part takes its chances from a stream of its own, so that one which decides more
// often does not change what the others decide.
const (
	chanceOfEnds = iota + 1
	chanceOfReceiver
	chanceOfLoad
	chanceOfOperator
	chanceOfBirths
)

func (set *settings) chance(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(set.seed, stream)) }

func run(ctx context.Context, args []string) error {
	set, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(set.dir, "crash-")
	if err != nil {
		return fmt.Errorf("making a folder for the data: %w", err)
	}
	if set.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	fmt.Printf("seed %d, %d rounds, %d events a second\n", set.seed, set.rounds, set.rate)
	faults := &faults{}
	if err := births(ctx, set, faults); err != nil {
		return err
	}
	result, err := crash(ctx, set, faults)
	if err != nil {
		return fmt.Errorf("%w (seed %d; data and logs are left in %s)", err, set.seed, set.dir)
	}
	result.print()
	if count := faults.count(); count > 0 || result.lost > 0 || result.disordered > 0 {
		return fmt.Errorf("%d lost, %d out of order, %d faults (seed %d; data and logs are left in %s)",
			result.lost, result.disordered, count, set.seed, set.dir)
	}
	return os.RemoveAll(set.dir)
}

// crash runs all rounds and looks at what is left.
func crash(ctx context.Context, set *settings, faults *faults) (*result, error) {
	receiver, err := newReceiver(ctx, set.chance(chanceOfReceiver))
	if err != nil {
		return nil, err
	}
	defer receiver.close()
	system, err := newSystem(set, receiver, faults)
	if err != nil {
		return nil, err
	}
	defer system.kill()
	began := time.Now()
	if err := system.start(ctx); err != nil {
		return nil, err
	}
	ledger := newLedger()
	working, rest := context.WithCancel(ctx)
	var group sync.WaitGroup
	sender := &sender{system: system, ledger: ledger, faults: faults, rate: set.rate}
	group.Go(func() { sender.run(working, set.chance(chanceOfLoad)) })
	operator := newOperator(system, receiver, set.chance(chanceOfOperator))
	group.Go(func() { operator.run(working) })
	err = rounds(ctx, set, system)
	rest()
	group.Wait()
	if err != nil {
		return nil, err
	}
	audit := &audit{system: system, receiver: receiver, ledger: ledger, operator: operator, faults: faults, began: began}
	return audit.run(ctx)
}

// faults are what should not have happened, told as they are found.
type faults struct {
	mu    sync.Mutex
	total int
}

func (f *faults) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	const most = 100
	switch {
	case f.total < most:
		fmt.Printf("FAULT: "+format+"\n", args...)
	case f.total == most:
		fmt.Println("FAULT: … and more")
	}
}

func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// pause waits, or reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// between returns a chance duration.
func between(chance *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(chance.Int64N(int64(to-from)))
}
