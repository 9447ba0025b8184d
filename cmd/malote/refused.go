package main

import (
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

func (c *cli) refusedCommand() *cobra.Command {
	list := c.refusedList("refused")
	list.Example = `  malote refused --source shop
  malote refused get rfd_…
  malote refused admit rfd_…`
	list.AddCommand(c.refusedList("list"), c.refusedGet(), c.refusedAdmit())
	return list
}

func (c *cli) refusedList(use string) *cobra.Command {
	source, limit := "", shell.DefaultLimit
	command := &cobra.Command{Use: use, Short: "List refused requests and why, the newest first", Args: noArguments}
	command.Flags().StringVar(&source, "source", "", "only of this `SOURCE`: name or id")
	command.Flags().IntVar(&limit, "limit", limit, "how many at the most, as a `NUMBER`; 0 for all")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		names, err := c.Names(command, server)
		if err != nil {
			return err
		}
		row := func(r hook.Refusal) []shell.Cell {
			admitted := shell.Dash("")
			if r.Admitted != 0 {
				admitted = shell.Text(r.Admitted)
			}
			return []shell.Cell{
				shell.Text(r.ID), c.Ago(r.ReceivedAt), shell.Text(shell.Named(names.Sources, r.Source)),
				{Text: r.Reason, Color: shell.Red},
				shell.Dash(r.Remote), admitted,
				{Text: strings.Join(r.Explanation, " "), Color: shell.Faint},
			}
		}
		table := shell.Columns[hook.Refusal]{Head: []string{"ID", "RECEIVED", "SOURCE", "REASON", "FROM", "ADMITTED AS", "EXPLANATION"}, Row: row}
		return shell.Show(c.Shell, server.Refused(command.Context(), source, limit), table, "There are no refused requests.")
	}))
}

func (c *cli) refusedGet() *cobra.Command {
	payload := false
	command := &cobra.Command{Use: "get ID", Short: "Show one refused request with the explanation, or its body", Args: shell.One("the ID of a refused request")}
	command.Flags().BoolVar(&payload, "payload", false, "print the body as it came, and nothing else")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if payload {
			return server.RefusedPayload(command.Context(), args[0], c.Out)
		}
		refusal, err := server.Refusal(command.Context(), args[0])
		if err != nil {
			return err
		}
		if c.JSON {
			return c.PrintJSON(refusal)
		}
		names, err := server.Names(command.Context())
		if err != nil {
			return err
		}
		d := &shell.Details{}
		d.Add("id", shell.Text(refusal.ID))
		d.Add("source", shell.Text(shell.Named(names.Sources, refusal.Source)))
		d.Add("reason", shell.Cell{Text: refusal.Reason, Color: shell.Red})
		for _, sentence := range refusal.Explanation {
			d.Add("because", shell.Text(sentence))
		}
		d.Add("received", shell.Text(c.Stamp(refusal.ReceivedAt)))
		d.Add("request", shell.Text(strings.TrimSpace(refusal.Method+" "+requestPath(refusal.Path, refusal.Query))))
		d.Add("from", shell.Dash(refusal.Remote))
		if refusal.Admitted != 0 {
			d.Add("admitted as", shell.Text(refusal.Admitted))
		}
		d.Headers(refusal.Headers)
		return d.Write(c.Shell)
	}))
}

func (c *cli) refusedAdmit() *cobra.Command {
	command := &cobra.Command{
		Use:   "admit ID…",
		Short: "Accept refused requests, once their source is mended",
		Args:  shell.Several("the ID of a refused request"),
	}
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		for _, id := range args {
			receipt, err := server.Admit(command.Context(), id)
			if err != nil {
				return err
			}
			if c.JSON {
				err = c.PrintJSON(receipt)
			} else {
				err = c.Printf("%s was accepted as %s.\n", id, receipt.ID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}
