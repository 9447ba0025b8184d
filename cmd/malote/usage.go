package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/hook"
)

// wrongUsage is an error about how a command was called.
func wrongUsage(command *cobra.Command, format string, args ...any) error {
	return &usageError{error: fmt.Errorf(format, args...), command: command}
}

// needsSubCommand is the work of a command that only has sub-commands.
func needsSubCommand(command *cobra.Command, _ []string) error {
	return wrongUsage(command, "%q does nothing by itself: name one of its commands", command.CommandPath())
}

// one is for commands that take a single argument, and several for those that take one
// or more: what names it in a sentence, such as "the ID of an event".
func one(what string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("%q takes one argument, %s: remove %q", command.CommandPath(), what, args[1])
		}
		return several(what)(command, args)
	}
}

func several(what string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%q needs %s", command.CommandPath(), what)
		}
		return nil
	}
}

// flagProblem puts what the flag package says of a number into words for people.
func flagProblem(command *cobra.Command, err error) error {
	if number := (*strconv.NumError)(nil); errors.As(err, &number) {
		what := "it is not a whole number"
		if errors.Is(number, strconv.ErrRange) {
			what = "it is too large a number"
		}
		said, _, _ := strings.Cut(err.Error(), ": strconv.")
		err = fmt.Errorf("%s: %s", said, what)
	}
	return &usageError{error: err, command: command}
}

// moment reads a time as people write it: RFC 3339, a date, or how long ago.
func (c *cli) moment(command *cobra.Command, flag, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	if span, err := hook.ParseDuration(value); err == nil {
		return c.now().Add(-time.Duration(span)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, value, c.zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, wrongUsage(command, "--%s: %q is not a time: write how long ago (2h, 7d), a date, or 2026-01-02T15:04:05Z", flag, value)
}

// window is the flags --after, --before and --limit of a list.
type window struct {
	afterText, beforeText string
	after, before         time.Time
	limit                 int
}

// defaultLimit is how many items a list shows unless it is told otherwise.
const defaultLimit = 20

func (w *window) flags(command *cobra.Command, noun string) {
	command.Flags().StringVar(&w.afterText, "after", "", "only "+noun+" since this `TIME`, or since so long ago (2h, 7d)")
	command.Flags().StringVar(&w.beforeText, "before", "", "only "+noun+" before this `TIME`, or before so long ago")
	command.Flags().IntVar(&w.limit, "limit", defaultLimit, "how many at the most, as a `NUMBER`; 0 for all")
}

func (w *window) read(c *cli, command *cobra.Command) (err error) {
	if w.limit < 0 {
		return wrongUsage(command, "--limit: %d is not a number of %s: write 0 for all", w.limit, command.Name())
	}
	if w.after, err = c.moment(command, "after", w.afterText); err != nil {
		return err
	}
	w.before, err = c.moment(command, "before", w.beforeText)
	return err
}
