package main

import (
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
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
	source, limit := "", defaultLimit
	command := &cobra.Command{Use: use, Short: "List refused requests and why, the newest first", Args: noArguments}
	command.Flags().StringVar(&source, "source", "", "only of this `SOURCE`: name or id")
	command.Flags().IntVar(&limit, "limit", limit, "how many at the most, as a `NUMBER`; 0 for all")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		names, err := c.names(command, server)
		if err != nil {
			return err
		}
		row := func(r hook.Refusal) []cell {
			admitted := dash("")
			if r.Admitted != 0 {
				admitted = text(r.Admitted)
			}
			return []cell{
				text(r.ID), c.ago(r.ReceivedAt), text(named(names.Sources, r.Source)),
				{text: r.Reason, color: red},
				dash(r.Remote), admitted,
				{text: strings.Join(r.Explanation, " "), color: faint},
			}
		}
		table := columns[hook.Refusal]{head: []string{"ID", "RECEIVED", "SOURCE", "REASON", "FROM", "ADMITTED AS", "EXPLANATION"}, row: row}
		return show(c, server.Refused(command.Context(), source, limit), table, "There are no refused requests.")
	}))
}

func (c *cli) refusedGet() *cobra.Command {
	payload := false
	command := &cobra.Command{Use: "get ID", Short: "Show one refused request with the explanation, or its body", Args: one("the ID of a refused request")}
	command.Flags().BoolVar(&payload, "payload", false, "print the body as it came, and nothing else")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if payload {
			return server.RefusedPayload(command.Context(), args[0], c.out)
		}
		refusal, err := server.Refusal(command.Context(), args[0])
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(refusal)
		}
		names, err := server.Names(command.Context())
		if err != nil {
			return err
		}
		d := &details{}
		d.add("id", text(refusal.ID))
		d.add("source", text(named(names.Sources, refusal.Source)))
		d.add("reason", cell{text: refusal.Reason, color: red})
		for _, sentence := range refusal.Explanation {
			d.add("because", text(sentence))
		}
		d.add("received", text(c.stamp(refusal.ReceivedAt)))
		d.add("request", text(strings.TrimSpace(refusal.Method+" "+requestPath(refusal.Path, refusal.Query))))
		d.add("from", dash(refusal.Remote))
		if refusal.Admitted != 0 {
			d.add("admitted as", text(refusal.Admitted))
		}
		d.headers(refusal.Headers)
		return d.write(c)
	}))
}

func (c *cli) refusedAdmit() *cobra.Command {
	command := &cobra.Command{
		Use:   "admit ID…",
		Short: "Accept refused requests, once their source is mended",
		Args:  several("the ID of a refused request"),
	}
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		for _, id := range args {
			receipt, err := server.Admit(command.Context(), id)
			if err != nil {
				return err
			}
			if c.json {
				err = c.printJSON(receipt)
			} else {
				err = c.printf("%s was accepted as %s.\n", id, receipt.ID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}
