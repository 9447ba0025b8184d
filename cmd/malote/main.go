// Command malote receives, routes and delivers webhooks.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"malote.dev/malote/internal/app"
)

// version is set by the linker for releases; the build's own information serves otherwise.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(execute(ctx, &cli{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		lookupEnv: os.LookupEnv, readFile: os.ReadFile, now: time.Now,
		zone:    time.Local, //nolint:gosmopolitan // the person at the terminal reads times in their own zone
		colored: isTerminal(os.Stdout), version: version,
		serve: app.Run, examine: examineFiles,
	}, os.Args[1:]))
}
