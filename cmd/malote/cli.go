package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// The exit codes.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is what the commands need from outside; tests put their own in its place.
type cli struct {
	in        io.Reader
	out, err  io.Writer
	lookupEnv func(name string) (string, bool)
	environ   func() []string // all of it, as os.Environ returns it
	readFile  func(name string) ([]byte, error)
	now       func() time.Time
	zone      *time.Location // of the person, for times in tables and flags
	colored   bool           // the output is a terminal
	asks      bool           // the input is one, so that somebody is there to answer
	version   string
	serve     func(ctx context.Context, settings config.Settings, options app.Options) error
	examine   examine

	given map[string][]string // settings that were given as flags, by key
	json  bool                // output is for programs
}

// usageError is a mistake in how the program was called.
type usageError struct {
	error

	command *cobra.Command
}

// Unwrap returns the cause.
func (u *usageError) Unwrap() error { return u.error }

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, c *cli, args []string) int {
	root := c.root()                          //nolint:contextcheck // each command takes the context that cobra hands it
	root.SetArgs(append([]string{}, args...)) // nil would mean the process's own
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitFine
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitFailed // the person who pressed the keys knows why
	}
	usage := (*usageError)(nil)
	errors.As(err, &usage)
	c.complain(err, usage)
	if usage != nil {
		return exitUsage
	}
	return exitFailed
}

// complain says on the error output what went wrong, where, and how to mend it.
func (c *cli) complain(err error, usage *usageError) {
	var b strings.Builder
	invalid := (*hook.Error)(nil)
	if errors.As(err, &invalid) && len(invalid.Problems) > 0 {
		fmt.Fprintf(&b, "malote: %s\n", invalid.Message)
		for _, problem := range invalid.Problems {
			where := problem.Path
			if where != "" {
				where += ": "
			}
			fmt.Fprintf(&b, "  %s%s\n", where, problem.Message)
		}
	} else {
		fmt.Fprintf(&b, "malote: %s\n", err)
	}
	if usage != nil && usage.command != nil {
		fmt.Fprintf(&b, "See \"%s --help\".\n", usage.command.CommandPath())
	}
	_, _ = io.WriteString(c.err, b.String()) // there is nowhere left to complain to
}

// The groups of commands in the help.
const (
	groupRun     = "run"
	groupCatalog = "catalogue"
	groupLog     = "log"
	groupOther   = "other"
)

// root returns the command with all its sub-commands.
func (c *cli) root() *cobra.Command {
	c.given = map[string][]string{}
	root := &cobra.Command{
		Use:   "malote",
		Short: "Receive, route and deliver webhooks",
		Long: `Malote receives webhooks, verifies and stores them, and delivers them, signed, to your
systems: nothing is lost, and everything can be looked up.

Begin with "malote demo", or with "malote serve" and the dashboard whose address it prints.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(flagProblem)
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupCatalog, Title: "Set up:"},
		&cobra.Group{ID: groupLog, Title: "Look and act:"},
		&cobra.Group{ID: groupOther, Title: "More:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	add := func(group string, commands ...*cobra.Command) {
		for _, command := range commands {
			command.GroupID = group
			root.AddCommand(command)
		}
	}
	add(groupRun, c.serveCommand(), c.demoCommand(), c.doctorCommand())
	add(groupCatalog, c.planCommand(), c.applyCommand(), c.exportCommand(), c.schemaCommand(),
		c.tokenCommand(), c.providersCommand(), c.secretCommand(), c.keyCommand())
	add(groupLog, c.sendCommand(), c.eventsCommand(), c.deliveriesCommand(), c.attemptsCommand(), c.refusedCommand(), c.replayCommand(),
		c.healthCommand(), c.keysCommand(), c.circuitCommand(), c.auditCommand())
	add(groupOther, c.configCommand(), c.versionCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		if command.Name() == "completion" {
			command.Args, command.RunE = noArguments, needsSubCommand // cobra's own answers an unknown shell with the help
		}
	}
	checkArguments(root)
	return root
}

// noArguments is for commands that take none, which may have sub-commands.
func noArguments(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !command.HasAvailableSubCommands() {
		return fmt.Errorf("%q takes no arguments: remove %q", command.CommandPath(), args[0])
	}
	names := make([]string, 0, len(command.Commands()))
	for _, sub := range command.Commands() {
		names = append(names, sub.Name())
	}
	return fmt.Errorf("unknown command %q of %q%s", args[0], command.CommandPath(), strict.Suggest(args[0], names))
}

// checkArguments makes wrong arguments of every command wrong usage.
func checkArguments(command *cobra.Command) {
	if check := command.Args; check != nil {
		command.Args = func(command *cobra.Command, args []string) error {
			if err := check(command, args); err != nil {
				return &usageError{error: err, command: command}
			}
			return nil
		}
	}
	for _, sub := range command.Commands() {
		checkArguments(sub)
	}
}

// setting is the flag of one setting. It only notes what was given: the precedence of
// flags, variables and file is package config's.
type setting struct {
	cli   *cli
	field config.Field
}

// String implements pflag.Value.
func (s *setting) String() string { return s.field.Default }

// Set implements pflag.Value.
func (s *setting) Set(text string) error {
	s.cli.given[s.field.Key] = append(s.cli.given[s.field.Key], text)
	return nil
}

// Type implements pflag.Value.
func (s *setting) Type() string {
	if s.field.Switch {
		return "bool"
	}
	return s.field.Metavar
}

// withSettings gives a command the flags of some groups of settings.
func (c *cli) withSettings(command *cobra.Command, groups ...string) {
	for _, field := range config.Fields() {
		chosen := field.Key == "config" || field.Key == "data"
		for _, group := range groups {
			chosen = chosen || field.Group == group
		}
		if !chosen || command.Flags().Lookup(field.Key) != nil {
			continue
		}
		help := field.Help + " (" + field.Env + ")"
		command.Flags().Var(&setting{cli: c, field: field}, field.Key, help)
		if field.Switch {
			command.Flags().Lookup(field.Key).NoOptDefVal = "true"
		}
	}
}

// settings returns the effective settings of a command.
func (c *cli) settings(command *cobra.Command) (config.Settings, config.Origins, error) {
	settings, origins, err := config.Load(config.Input{Flags: c.given, LookupEnv: c.lookupEnv, ReadFile: c.readFile})
	if err != nil {
		return settings, origins, &usageError{error: err, command: command}
	}
	return settings, origins, nil
}

// isTerminal reports whether a file is one.
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
