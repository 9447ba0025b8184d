// Command malote receives, routes and delivers webhooks.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
	_ "time/tzdata" // quiet hours know their zones on machines that know none

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/shell"
)

// version is set by the linker for releases; the build's own information serves otherwise.
var version string

// collectAt is how far the heap may grow between two collections, in per cent of what
// is in use. Little is: with 300 in place of Go's 100, an event costs a sixth less
// processor time, and the whole server some thirty MiB more memory (make bench). GOGC
// decides where it is set.
const collectAt = 300

// memoryAim is how much memory the runtime tries to stay below, in bytes, by collecting
// sooner than collectAt says: a burst of great bodies would otherwise leave garbage of
// twice their size. Nothing fails where it does not suffice. GOMEMLIMIT decides where it
// is set.
const memoryAim = 256 << 20

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryAim)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(execute(ctx, &cli{
		Shell: &shell.Shell{
			In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
			LookupEnv: os.LookupEnv, Environ: os.Environ, ReadFile: os.ReadFile, Now: time.Now,
			Zone:    time.Local, //nolint:gosmopolitan // the person at the terminal reads times in their own zone
			Colored: isTerminal(os.Stdout), Asks: isTerminal(os.Stdin), Version: version,
		},
		serve: app.Run, examine: examineFiles,
	}, os.Args[1:]))
}
