package main

import (
	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
)

func (c *cli) auditCommand() *cobra.Command {
	filter, period := &client.AuditFilter{}, &window{}
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
	period.flags(command, "entries")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		if err := period.read(c, command); err != nil {
			return err
		}
		filter.After, filter.Before = period.after, period.before
		row := func(entry hook.AuditEntry) []cell {
			return []cell{
				text(c.stamp(entry.At)), text(entry.Actor), text(entry.Action), dash(entry.Subject), dash(entry.Remote),
				{text: string(entry.Detail), color: faint},
			}
		}
		table := columns[hook.AuditEntry]{head: []string{"WHEN", "WHO", "ACTION", "SUBJECT", "FROM", "ASKED FOR"}, row: row}
		return show(c, server.Audit(command.Context(), filter, period.limit), table, "Nobody did anything.")
	}))
}
