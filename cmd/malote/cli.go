package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
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
	*shell.Shell

	serve   func(ctx context.Context, settings config.Settings, options app.Options) error
	examine examine
}

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
	usage := (*shell.UsageError)(nil)
	errors.As(err, &usage)
	c.complain(err, usage)
	if usage != nil {
		return exitUsage
	}
	return exitFailed
}

// complain says on the error output what went wrong, where, and how to mend it.
func (c *cli) complain(err error, usage *shell.UsageError) {
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
	if usage != nil && usage.Command != nil {
		fmt.Fprintf(&b, "See \"%s --help\".\n", usage.Command.CommandPath())
	}
	_, _ = io.WriteString(c.Err, b.String()) // there is nowhere left to complain to
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
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	root.SetFlagErrorFunc(shell.FlagProblem)
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
			command.Args, command.RunE = noArguments, shell.NeedsSubCommand // cobra's own answers an unknown shell with the help
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
				return shell.Misused(command, err)
			}
			return nil
		}
	}
	for _, sub := range command.Commands() {
		checkArguments(sub)
	}
}

// isTerminal reports whether a file is one.
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
