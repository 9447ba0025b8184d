package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/shell"
)

// finding is the result of one check of the doctor.
type finding struct {
	Check  string `json:"check"`            // what was looked at
	Level  string `json:"level"`            // fine, note, warning or problem
	Detail string `json:"detail,omitempty"` // what was found
	Mend   string `json:"mend,omitempty"`   // what to do about it
}

// The levels of findings.
const (
	levelFine    = "fine"
	levelNote    = "note"    // worth knowing, nothing is wrong
	levelWarning = "warning" // works, and should be mended
	levelProblem = "problem" // does not work, or data is in danger
)

// examine checks the data folder that the settings name.
type examine func(ctx context.Context, settings *config.Settings) ([]finding, error)

func (c *cli) doctorCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Check the settings, the data folder and the server",
		Long: `Check the settings, the data folder (its files, the database's version and soundness) and
whether a server answers. Nothing is changed; a server may be running or not. The exit
code is 1 when something is wrong.`,
		Args: noArguments,
	}
	c.WithSettings(command, config.GroupFiles, config.GroupNetwork, config.GroupClient)
	command.RunE = func(command *cobra.Command, _ []string) error {
		settings, _, err := c.Settings(command)
		if err != nil {
			return err
		}
		findings := []finding{{Check: "settings", Level: levelFine, Detail: "all of them can be used"}}
		stored, err := c.examine(command.Context(), &settings)
		if err != nil {
			return err
		}
		return c.showFindings(append(append(findings, stored...), c.askServer(command)))
	}
	return c.WithJSON(command)
}

// askServer finds out whether a server answers, which need not be.
func (c *cli) askServer(command *cobra.Command) finding {
	found := finding{Check: "server", Level: levelFine, Detail: "it answers, and is ready"}
	api, err := c.Connect(command)
	if err == nil {
		err = api.Ready(command.Context())
	}
	switch {
	case err == nil:
	case errors.Is(err, client.ErrUnreachable):
		found.Level, found.Detail = levelNote, "none answers: that is as it should be while it is stopped"
	default:
		found.Level, found.Detail, found.Mend = levelProblem, err.Error(), "see the server's log"
	}
	return found
}

func (c *cli) showFindings(findings []finding) error {
	colors := map[string]shell.Color{levelFine: shell.Green, levelNote: shell.Yellow, levelWarning: shell.Yellow, levelProblem: shell.Red}
	wrong := 0
	for i, each := range findings {
		if each.Level == levelWarning || each.Level == levelProblem {
			wrong++
		}
		if c.JSON {
			if err := c.PrintJSON(each); err != nil {
				return err
			}
			continue
		}
		mark := shell.Paint(shell.Cell{Text: fmt.Sprintf("%-7s", each.Level), Color: colors[each.Level]}, c.Color())
		if err := c.Printf("%s  %s: %s\n", mark, each.Check, shell.Printable(each.Detail)); err != nil {
			return err
		}
		last := i == len(findings)-1 || findings[i+1].Mend != each.Mend // what mends several is said once, below them
		if each.Mend != "" && last {
			if err := c.Printf("         %s\n", shell.Printable(each.Mend)); err != nil {
				return err
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%s to mend", shell.Plural(wrong, "thing"))
	}
	return nil
}
