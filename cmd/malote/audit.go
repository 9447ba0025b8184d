package main

import (
	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

func (c *cli) auditCommand() *cobra.Command {
	filter, period := &client.AuditFilter{}, &shell.Window{}
	command := &cobra.Command{
		Use:   "audit",
		Short: "List who did what, the newest first",
		Long: `List who did what: every call of the API that changed something, every look at a secret,
and what the server did by itself. Secrets in what was asked for are masked.`,
		Example: `  malote audit --after 1d
  malote audit --action 'destination.*' --json`,
		Args: noArguments,
	}
	command.Flags().StringVar(&filter.Action, "action", "", "only this `OPERATION`, such as destination.pause; * stands for any run of characters")
	command.Flags().StringVar(&filter.Subject, "subject", "", "only what was done to the noun with this `ID`")
	period.Flags(command, "entries")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		if err := period.Read(c.Shell, command); err != nil {
			return err
		}
		filter.After, filter.Before = period.After, period.Before
		row := func(entry hook.AuditEntry) []shell.Cell {
			return []shell.Cell{
				shell.Text(c.Stamp(entry.At)), shell.Text(entry.Actor), shell.Text(entry.Action), shell.Dash(entry.Subject), shell.Dash(entry.Remote),
				{Text: string(entry.Detail), Color: shell.Faint},
			}
		}
		table := shell.Columns[hook.AuditEntry]{Head: []string{"WHEN", "WHO", "ACTION", "SUBJECT", "FROM", "ASKED FOR"}, Row: row}
		return shell.Show(c.Shell, server.Audit(command.Context(), filter, period.Limit), table, "Nobody did anything.")
	}))
}
