package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
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
		return wrongUsage(command, "--state: %s", err)
	}
	return nil
}

func (c *cli) deliveryList(use string) *cobra.Command {
	filter, period, watch := &client.DeliveryFilter{}, &window{}, false
	command := &cobra.Command{Use: use, Short: "List deliveries, the newest first", Args: noArguments}
	deliveryFilter(command, filter)
	command.Flags().StringVar(&filter.Replay, "replay", "", "only made or retried by this `REPLAY`; without --state those that have not ended")
	command.Flags().BoolVar(&watch, "follow", false, "go on and show new deliveries as they come, the newest last")
	period.flags(command, "deliveries")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		if err := checkState(command, filter.State); err != nil {
			return err
		}
		if err := period.read(c, command); err != nil {
			return err
		}
		filter.After, filter.Before = period.after, period.before
		names, err := c.names(command, server)
		if err != nil {
			return err
		}
		row := func(d api.DeliveryOut) []cell {
			return []cell{
				text(d.ID), deliveryState(&d.Delivery), c.ago(d.CreatedAt), text(d.Event), text(named(names.Connections, d.Connection)),
				text(named(names.Destinations, d.Destination)), text(d.Attempts), c.ago(or(d.NextAttemptAt)),
				{text: cmp.Or(d.Reason, d.Waits), color: faint},
			}
		}
		table := columns[api.DeliveryOut]{head: []string{"ID", "STATE", "CREATED", "EVENT", "CONNECTION", "DESTINATION", "ATTEMPTS", "NEXT", "REASON"}, row: row}
		if watch {
			return show(c, server.FollowDeliveries(command.Context(), filter, period.limit), table, stream)
		}
		return show(c, server.Deliveries(command.Context(), filter, period.limit), table, "There are no such deliveries.")
	}))
}

func (c *cli) deliveryGet() *cobra.Command {
	command := &cobra.Command{Use: "get ID", Short: "Show one delivery with its attempts", Args: one("the ID of a delivery")}
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		delivery, err := server.Delivery(command.Context(), args[0])
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(delivery)
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
		if err := c.printf("\n"); err != nil {
			return err
		}
		return c.attemptTable(attempts)
	}))
}

// deliveryState shows a delivery's state, with the cause if it is held.
func deliveryState(d *hook.Delivery) cell {
	shown := stateCell(d.State)
	if d.State == hook.StateHeld && d.Cause != hook.CauseNone {
		shown.text += ": " + d.Cause.String()
	}
	return shown
}

func (c *cli) showDelivery(delivery *api.DeliveryOut, names *client.Names) error {
	d := &details{}
	d.add("id", text(delivery.ID))
	d.add("state", deliveryState(&delivery.Delivery))
	d.add("reason", dash(delivery.Reason))
	if delivery.Waits != "" {
		d.add("waits", text(delivery.Waits))
	}
	if delivery.OrderKey != "" {
		d.add("order key", text(delivery.OrderKey))
	}
	if delivery.Replay != 0 {
		d.add("replay", text(delivery.Replay))
	}
	d.add("event", text(delivery.Event))
	d.add("connection", text(named(names.Connections, delivery.Connection)))
	d.add("destination", text(named(names.Destinations, delivery.Destination)))
	d.add("attempts", text(delivery.Attempts))
	if delivery.Probes > 0 {
		d.add("probes", text(fmt.Sprintf("%d of these, which used up nothing of the schedule", delivery.Probes)))
	}
	if delivery.NextAttemptAt != nil {
		d.add("next attempt", text(c.stamp(*delivery.NextAttemptAt)+" ("+c.ago(*delivery.NextAttemptAt).text+")"))
	}
	d.add("created", text(c.stamp(delivery.CreatedAt)))
	d.add("updated", text(c.stamp(delivery.UpdatedAt)))
	return d.write(c)
}

func (c *cli) deliveryRetry() *cobra.Command {
	filter, period := &client.DeliveryFilter{}, &window{}
	command := &cobra.Command{
		Use:   "retry [ID…]",
		Short: "Send deliveries again: those named, or those that the flags select",
		Long: `Send deliveries again at once: those named by id, or those that the flags select (failed
ones unless --state says canceled or held; with --limit the newest). One attempt is made.
More than 1,000 are sent again by a replay, which "malote replay" shows, and which can be
planned, paced and stopped there.`,
	}
	deliveryFilter(command, filter)
	period.flags(command, "deliveries")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if err := period.read(c, command); err != nil {
			return err
		}
		request := &api.RetryIn{IDs: args, Limit: period.limit}
		selected := *filter != (client.DeliveryFilter{}) || period.afterText != "" || period.beforeText != ""
		switch {
		case len(args) > 0 && selected:
			return wrongUsage(command, "give ids, or flags that select deliveries, not both")
		case len(args) == 0 && !selected:
			return wrongUsage(command, "name the deliveries, or select them: --state failed selects all that failed")
		case selected:
			request.Filter = &api.RetryFilter{
				State: filter.State, Cause: filter.Cause, Event: filter.Event, Connection: filter.Connection, Destination: filter.Destination,
				After: period.after, Before: period.before,
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
		if c.json {
			return c.printJSON(done)
		}
		if done.Replay != nil {
			return c.printf("%s sends them again at %s: \"malote replay show %s\" tells how far it is.\n", done.Replay.ID, done.Replay.Rate, done.Replay.ID)
		}
		more := ""
		if done.More {
			more = " There are more: repeat the command."
		}
		return c.printf("%d of %s due now.%s\n", done.Retried, plural(done.Selected, "delivery"), more)
	}))
}

func (c *cli) deliveryCancel() *cobra.Command {
	reason := ""
	command := &cobra.Command{Use: "cancel ID…", Short: "Cancel deliveries that wait", Args: several("the ID of a delivery")}
	command.Flags().StringVar(&reason, "reason", "", "the `REASON`, in a sentence that stays with the delivery")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		for _, id := range args {
			delivery, err := server.Cancel(command.Context(), id, reason)
			if err != nil {
				return err
			}
			if c.json {
				err = c.printJSON(delivery)
			} else {
				err = c.printf("%s is %s.\n", delivery.ID, delivery.State)
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
	command := &cobra.Command{Use: "attempts DELIVERY", Short: "List the attempts of a delivery", Args: one("the ID of a delivery")}
	command.Flags().BoolVar(&bodies, "full", false, "show requests and answers, too")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		attempts, err := server.Attempts(command.Context(), args[0])
		if err != nil {
			return err
		}
		switch {
		case c.json:
			for i := range attempts {
				if err := c.printJSON(attempts[i]); err != nil {
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
	rows := newTable("#", "STARTED", "OUTCOME", "STATUS", "TOOK", "BY", "ERROR")
	for i := range attempts {
		attempt := &attempts[i]
		by := "schedule"
		switch {
		case attempt.Manual:
			by = "hand"
		case attempt.Probe:
			by = "probe"
		}
		rows.add(text(attempt.Number), text(c.stamp(attempt.StartedAt)), outcomeCell(attempt.Outcome), status(attempt.ResponseStatus),
			text(took(attempt.Duration)), text(by), cell{text: attempt.Error, color: faint})
	}
	return rows.write(c.out, c.color(), "There was no attempt yet.")
}

func (c *cli) showAttempts(attempts []hook.Attempt) error {
	for i := range attempts {
		attempt := &attempts[i]
		d := &details{}
		d.add("attempt", text(attempt.Number))
		d.add("started", text(c.stamp(attempt.StartedAt)))
		d.add("outcome", outcomeCell(attempt.Outcome))
		d.add("took", text(took(attempt.Duration)))
		d.add("request", dash(strings.TrimSpace(attempt.Method+" "+attempt.URL)))
		d.headers(attempt.RequestHeaders)
		d.add("answer", status(attempt.ResponseStatus))
		d.headers(attempt.ResponseHeaders)
		if attempt.Error != "" {
			d.add("error", cell{text: attempt.Error, color: red})
		}
		if err := d.write(c); err != nil {
			return err
		}
		if body := strings.TrimSpace(string(attempt.ResponseBody)); body != "" {
			if err := c.printf("\n%s\n", lines(body)); err != nil {
				return err
			}
		}
		if i < len(attempts)-1 {
			if err := c.printf("\n"); err != nil {
				return err
			}
		}
	}
	return nil
}

// lines makes each line of a text printable.
func lines(value string) string {
	all := strings.Split(value, "\n")
	for i := range all {
		all[i] = printable(all[i])
	}
	return strings.Join(all, "\n")
}

func outcomeCell(outcome hook.Outcome) cell {
	if outcome == hook.OutcomeSuccess {
		return cell{text: string(outcome), color: green}
	}
	return cell{text: string(outcome), color: red}
}

func status(code int) cell {
	if code == 0 {
		return cell{text: "-", color: faint}
	}
	return text(code)
}

// took rounds a duration for people.
func took(duration hook.Duration) string {
	d := time.Duration(duration)
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}
