package shell

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/hook"
)

// UsageError is a mistake in how the program was called.
type UsageError struct {
	error

	Command *cobra.Command // whose help says how
}

// Unwrap returns the cause.
func (u *UsageError) Unwrap() error { return u.error }

// Misused makes wrong usage of an error.
func Misused(command *cobra.Command, err error) error {
	return &UsageError{error: err, Command: command}
}

// WrongUsage is an error about how a command was called.
func WrongUsage(command *cobra.Command, format string, args ...any) error {
	return Misused(command, fmt.Errorf(format, args...))
}

// NeedsSubCommand is the work of a command that only has sub-commands.
func NeedsSubCommand(command *cobra.Command, _ []string) error {
	return WrongUsage(command, "%q does nothing by itself: name one of its commands", command.CommandPath())
}

// One is for commands that take a single argument: what names it in a sentence, such as
// "the ID of an event".
func One(what string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("%q takes one argument, %s: remove %q", command.CommandPath(), what, args[1])
		}
		return Several(what)(command, args)
	}
}

// Several is for commands that take one argument or more.
func Several(what string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%q needs %s", command.CommandPath(), what)
		}
		return nil
	}
}

// FlagProblem puts what the flag package says of a number into words for people.
func FlagProblem(command *cobra.Command, err error) error {
	if number := (*strconv.NumError)(nil); errors.As(err, &number) {
		what := "it is not a whole number"
		if errors.Is(number, strconv.ErrRange) {
			what = "it is too large a number"
		}
		said, _, _ := strings.Cut(err.Error(), ": strconv.")
		err = fmt.Errorf("%s: %s", said, what)
	}
	return Misused(command, err)
}

// Moment reads a time as people write it: RFC 3339, a date, or how long ago.
func (s *Shell) Moment(command *cobra.Command, flag, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	if span, err := hook.ParseDuration(value); err == nil {
		return s.Now().Add(-time.Duration(span)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, value, s.Zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, WrongUsage(command, "--%s: %q is not a time: write how long ago (2h, 7d), a date, or 2026-01-02T15:04:05Z", flag, value)
}

// Window is the flags --after, --before and --limit of a list.
type Window struct {
	After, Before time.Time // as Read found them
	Limit         int

	after, before string // as they were given
}

// DefaultLimit is how many items a list shows unless it is told otherwise.
const DefaultLimit = 20

// Flags gives a command the flags.
func (w *Window) Flags(command *cobra.Command, noun string) {
	w.Times(command, "only "+noun+" since this `TIME`, or since so long ago (2h, 7d)", "only "+noun+" before this `TIME`, or before so long ago")
	command.Flags().IntVar(&w.Limit, "limit", DefaultLimit, "how many at the most, as a `NUMBER`; 0 for all")
}

// Times gives a command the flags of the times alone, with their help.
func (w *Window) Times(command *cobra.Command, after, before string) {
	command.Flags().StringVar(&w.after, "after", "", after)
	command.Flags().StringVar(&w.before, "before", "", before)
}

// Bounded reports whether one of the times was given.
func (w *Window) Bounded() bool { return w.after != "" || w.before != "" }

// Read reads what was given.
func (w *Window) Read(s *Shell, command *cobra.Command) (err error) {
	if w.Limit < 0 {
		return WrongUsage(command, "--limit: %d is not a number of %s: write 0 for all", w.Limit, command.Name())
	}
	if w.After, err = s.Moment(command, "after", w.after); err != nil {
		return err
	}
	w.Before, err = s.Moment(command, "before", w.before)
	return err
}
