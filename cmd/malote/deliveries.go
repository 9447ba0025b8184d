package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

func (c *cli) deliveriesCommand() *cobra.Command {
	list := c.deliveryList("deliveries")
	list.Example = `  malote deliveries --state failed --destination erp
  malote deliveries retry dlv_…
  malote deliveries retry --state failed --destination erp --after 2h`
	list.AddCommand(c.deliveryList("list"), c.deliveryGet(), c.deliveryRetry(), c.deliveryCancel())
	return list
}

// deliveryFilter adds the flags that select deliveries.
func deliveryFilter(command *cobra.Command, filter *client.DeliveryFilter) {
	flags := command.Flags()
	flags.StringVar(&filter.State, "state", "", "only in this `STATE`: pending, sending, succeeded, failed, held or canceled")
	flags.StringVar(&filter.Cause, "cause", "", "only held for this `CAUSE`: paused, circuit or parked")
	flags.StringVar(&filter.Event, "event", "", "only of this `EVENT`")
	flags.StringVar(&filter.Connection, "connection", "", "only over this `CONNECTION`: name or id")
	flags.StringVar(&filter.Destination, "destination", "", "only to this `DESTINATION`: name or id")
}

func checkState(command *cobra.Command, state string) error {
	var parsed hook.State
	if state == "" {
		return nil
	}
	if err := parsed.UnmarshalText([]byte(state)); err != nil {
		return shell.WrongUsage(command, "--state: %s", err)
	}
	return nil
}

// checkFilter checks the flags that are one of some words.
func checkFilter(command *cobra.Command, filter *client.DeliveryFilter) error {
	var cause hook.Cause
	if err := cause.UnmarshalText([]byte(filter.Cause)); err != nil {
		return shell.WrongUsage(command, "--cause: %s", err)
	}
	return checkState(command, filter.State)
}

func (c *cli) deliveryList(use string) *cobra.Command {
	filter, period, watch := &client.DeliveryFilter{}, &shell.Window{}, false
	command := &cobra.Command{Use: use, Short: "List deliveries, the newest first", Args: noArguments}
	deliveryFilter(command, filter)
	command.Flags().StringVar(&filter.Replay, "replay", "", "only made or retried by this `REPLAY`; without --state those that have not ended")
	command.Flags().BoolVar(&watch, "follow", false, "go on and show new deliveries as they come, the newest last")
	period.Flags(command, "deliveries")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		if err := checkFilter(command, filter); err != nil {
			return err
		}
		if err := period.Read(c.Shell, command); err != nil {
			return err
		}
		filter.After, filter.Before = period.After, period.Before
		names, err := c.Names(command, server)
		if err != nil {
			return err
		}
		row := func(d api.DeliveryOut) []shell.Cell {
			return []shell.Cell{
				shell.Text(d.ID), deliveryState(&d.Delivery), c.Ago(d.CreatedAt), shell.Text(d.Event), shell.Text(shell.Named(names.Connections, d.Connection)),
				shell.Text(shell.Named(names.Destinations, d.Destination)), shell.Text(d.Attempts), c.Ago(shell.Or(d.NextAttemptAt)),
				{Text: cmp.Or(d.Reason, d.Waits), Color: shell.Faint},
			}
		}
		table := shell.Columns[api.DeliveryOut]{
			Head: []string{"ID", "STATE", "CREATED", "EVENT", "CONNECTION", "DESTINATION", "ATTEMPTS", "NEXT", "REASON"}, Row: row,
		}
		if watch {
			return shell.Show(c.Shell, server.FollowDeliveries(command.Context(), filter, period.Limit), table, shell.Stream)
		}
		return shell.Show(c.Shell, server.Deliveries(command.Context(), filter, period.Limit), table, "There are no such deliveries.")
	}))
}

func (c *cli) deliveryGet() *cobra.Command {
	command := &cobra.Command{Use: "get ID", Short: "Show one delivery with its attempts", Args: shell.One("the ID of a delivery")}
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		delivery, err := server.Delivery(command.Context(), args[0])
		if err != nil {
			return err
		}
		if c.JSON {
			return c.PrintJSON(delivery)
		}
		names, err := server.Names(command.Context())
		if err != nil {
			return err
		}
		if err := c.showDelivery(&delivery, names); err != nil {
			return err
		}
		attempts, err := server.Attempts(command.Context(), args[0])
		if err != nil || len(attempts) == 0 {
			return err
		}
		if err := c.Printf("\n"); err != nil {
			return err
		}
		return c.attemptTable(attempts)
	}))
}

// deliveryState shows a delivery's state, with the cause if it is held.
func deliveryState(d *hook.Delivery) shell.Cell {
	shown := shell.StateCell(d.State)
	if d.State == hook.StateHeld && d.Cause != hook.CauseNone {
		shown.Text += ": " + d.Cause.String()
	}
	return shown
}

func (c *cli) showDelivery(delivery *api.DeliveryOut, names *client.Names) error {
	d := &shell.Details{}
	d.Add("id", shell.Text(delivery.ID))
	d.Add("state", deliveryState(&delivery.Delivery))
	d.Add("reason", shell.Dash(delivery.Reason))
	if delivery.Waits != "" {
		d.Add("waits", shell.Text(delivery.Waits))
	}
	if delivery.OrderKey != "" {
		d.Add("order key", shell.Text(delivery.OrderKey))
	}
	if delivery.Replay != 0 {
		d.Add("replay", shell.Text(delivery.Replay))
	}
	d.Add("event", shell.Text(delivery.Event))
	d.Add("connection", shell.Text(shell.Named(names.Connections, delivery.Connection)))
	d.Add("destination", shell.Text(shell.Named(names.Destinations, delivery.Destination)))
	d.Add("attempts", shell.Text(delivery.Attempts))
	if delivery.Probes > 0 {
		d.Add("probes", shell.Text(fmt.Sprintf("%d of these, which used up nothing of the schedule", delivery.Probes)))
	}
	if delivery.NextAttemptAt != nil {
		d.Add("next attempt", shell.Text(c.Stamp(*delivery.NextAttemptAt)+" ("+c.Ago(*delivery.NextAttemptAt).Text+")"))
	}
	d.Add("created", shell.Text(c.Stamp(delivery.CreatedAt)))
	d.Add("updated", shell.Text(c.Stamp(delivery.UpdatedAt)))
	return d.Write(c.Shell)
}

func (c *cli) deliveryRetry() *cobra.Command {
	filter, period := &client.DeliveryFilter{}, &shell.Window{}
	command := &cobra.Command{
		Use:   "retry [ID…]",
		Short: "Send deliveries again: those named, or those that the flags select",
		Long: `Send deliveries again at once: those named by id, or those that the flags select (failed
ones unless --state says canceled or held; with --limit the newest). One attempt is made.
More than 1,000 are sent again by a replay, which "malote replay" shows, and which can be
planned, paced and stopped there.`,
	}
	deliveryFilter(command, filter)
	period.Flags(command, "deliveries")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if err := period.Read(c.Shell, command); err != nil {
			return err
		}
		request := &api.RetryIn{IDs: args, Limit: period.Limit}
		selected := *filter != (client.DeliveryFilter{}) || period.Bounded()
		switch {
		case len(args) > 0 && selected:
			return shell.WrongUsage(command, "give ids, or flags that select deliveries, not both")
		case len(args) == 0 && !selected:
			return shell.WrongUsage(command, "name the deliveries, or select them: --state failed selects all that failed")
		case selected:
			request.Filter = &api.RetryFilter{
				State: filter.State, Cause: filter.Cause, Event: filter.Event, Connection: filter.Connection, Destination: filter.Destination,
				After: period.After, Before: period.Before,
			}
			if !command.Flags().Changed("limit") {
				request.Limit = 0
			}
		default:
			request.Limit = 0
		}
		done, err := server.RetryMany(command.Context(), request)
		if err != nil {
			return err
		}
		if c.JSON {
			return c.PrintJSON(done)
		}
		if done.Replay != nil {
			return c.Printf("%s sends them again at %s: \"malote replay show %s\" tells how far it is.\n", done.Replay.ID, done.Replay.Rate, done.Replay.ID)
		}
		more := ""
		if done.More {
			more = " There are more: repeat the command."
		}
		return c.Printf("%d of %s due now.%s\n", done.Retried, shell.Plural(done.Selected, "delivery"), more)
	}))
}

func (c *cli) deliveryCancel() *cobra.Command {
	reason := ""
	command := &cobra.Command{Use: "cancel ID…", Short: "Cancel deliveries that wait", Args: shell.Several("the ID of a delivery")}
	command.Flags().StringVar(&reason, "reason", "", "the `REASON`, in a sentence that stays with the delivery")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		for _, id := range args {
			delivery, err := server.Cancel(command.Context(), id, reason)
			if err != nil {
				return err
			}
			if c.JSON {
				err = c.PrintJSON(delivery)
			} else {
				err = c.Printf("%s is %s.\n", delivery.ID, delivery.State)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

func (c *cli) attemptsCommand() *cobra.Command {
	bodies := false
	command := &cobra.Command{Use: "attempts DELIVERY", Short: "List the attempts of a delivery", Args: shell.One("the ID of a delivery")}
	command.Flags().BoolVar(&bodies, "full", false, "show requests and answers, too")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		attempts, err := server.Attempts(command.Context(), args[0])
		if err != nil {
			return err
		}
		switch {
		case c.JSON:
			for i := range attempts {
				if err := c.PrintJSON(attempts[i]); err != nil {
					return err
				}
			}
			return nil
		case bodies:
			return c.showAttempts(attempts)
		default:
			return c.attemptTable(attempts)
		}
	}))
}

func (c *cli) attemptTable(attempts []hook.Attempt) error {
	rows := shell.NewTable("#", "STARTED", "OUTCOME", "STATUS", "TOOK", "BY", "ERROR")
	for i := range attempts {
		attempt := &attempts[i]
		by := "schedule"
		switch {
		case attempt.Manual:
			by = "hand"
		case attempt.Probe:
			by = "probe"
		}
		rows.Add(shell.Text(attempt.Number), shell.Text(c.Stamp(attempt.StartedAt)), shell.OutcomeCell(attempt.Outcome), shell.Status(attempt.ResponseStatus),
			shell.Text(shell.Took(attempt.Duration)), shell.Text(by), shell.Cell{Text: attempt.Error, Color: shell.Faint})
	}
	return rows.Write(c.Shell, "There was no attempt yet.")
}

func (c *cli) showAttempts(attempts []hook.Attempt) error {
	for i := range attempts {
		attempt := &attempts[i]
		d := &shell.Details{}
		d.Add("attempt", shell.Text(attempt.Number))
		d.Add("started", shell.Text(c.Stamp(attempt.StartedAt)))
		d.Add("outcome", shell.OutcomeCell(attempt.Outcome))
		d.Add("took", shell.Text(shell.Took(attempt.Duration)))
		d.Add("request", shell.Dash(strings.TrimSpace(attempt.Method+" "+attempt.URL)))
		d.Headers(attempt.RequestHeaders)
		d.Add("answer", shell.Status(attempt.ResponseStatus))
		d.Headers(attempt.ResponseHeaders)
		if attempt.Error != "" {
			d.Add("error", shell.Cell{Text: attempt.Error, Color: shell.Red})
		}
		if err := d.Write(c.Shell); err != nil {
			return err
		}
		if body := strings.TrimSpace(string(attempt.ResponseBody)); body != "" {
			if err := c.Printf("\n%s\n", shell.Lines(body)); err != nil {
				return err
			}
		}
		if i < len(attempts)-1 {
			if err := c.Printf("\n"); err != nil {
				return err
			}
		}
	}
	return nil
}
