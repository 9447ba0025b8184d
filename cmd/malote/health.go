package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/api/stats"
	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

// maxWorst is how many destinations the overview shows at the most.
const maxWorst = 250

func (c *cli) healthCommand() *cobra.Command {
	since, limit := "", 0
	command := &cobra.Command{
		Use:   "health [DESTINATION]",
		Short: "Say how bad it is at the destinations, or at one of them",
		Long: `Say how bad it is: what waits at each destination and for how long, what arrives and
leaves, and when it will be through; the worst first. With a destination also what its
failures are, each kind with an example.`,
		Example: `  malote health
  malote health erp --since 24h`,
		Args: func(command *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%q takes one argument, the name or ID of a destination: remove %q", command.CommandPath(), args[1])
			}
			return nil
		},
	}
	command.Flags().StringVar(&since, "since", "", "rates of success and times since this `TIME`, or since so long ago (2h, 7d); default 1h")
	command.Flags().IntVar(&limit, "limit", shell.DefaultLimit, "how many destinations at the most, as a `NUMBER` up to 250")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if limit < 1 || limit > maxWorst {
			return shell.WrongUsage(command, "--limit: %d is not a number of destinations from 1 to %d", limit, maxWorst)
		}
		from, err := c.Moment(command, "since", since)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			health, err := server.Health(command.Context(), args[0], from)
			if err != nil {
				return err
			}
			return c.showHealth(&health)
		}
		worst, err := server.Worst(command.Context(), from, limit)
		if err != nil {
			return err
		}
		return c.healthTable(&worst)
	}))
}

func (c *cli) healthTable(worst *stats.HealthList) error {
	rows := shell.NewTable("DESTINATION", "CIRCUIT", "WAITING", "OLDEST", "IN/S", "OUT/S", "DRAINED", "SUCCESS", "P95", "NOTE")
	for i := range worst.Data {
		health := &worst.Data[i]
		if c.JSON {
			if err := c.PrintJSON(health); err != nil {
				return err
			}
			continue
		}
		note := health.Stalled
		if health.Circuit.State != hook.CircuitClosed && health.Circuit.Reason != "" {
			note = health.Circuit.Reason
		}
		rows.Add(shell.Text(health.Name), circuitCell(health), shell.Text(health.Waiting), c.Ago(shell.Or(health.Oldest)),
			perSecond(health.Arriving), perSecond(health.Leaving), drained(health), success(health),
			milliseconds(health.P95), shell.Cell{Text: note, Color: shell.Faint})
	}
	if c.JSON {
		return nil
	}
	if err := rows.Write(c.Shell, "There are no destinations."); err != nil || worst.Done {
		return err
	}
	return c.Printf("There are more, which are better: see --limit.\n")
}

func (c *cli) showHealth(health *stats.DestinationHealthDetail) error {
	if c.JSON {
		return c.PrintJSON(health)
	}
	d := &shell.Details{}
	d.Add("destination", shell.Text(health.Name+" ("+health.ID+")"))
	if health.Paused {
		d.Add("paused", shell.Cell{Text: health.PauseReason, Color: shell.Yellow})
	}
	d.Add("circuit", circuitCell(&health.DestinationHealth))
	if health.Circuit.Reason != "" && health.Circuit.State != hook.CircuitClosed {
		d.Add("because", shell.Text(health.Circuit.Reason))
		d.Add("since", shell.Text(c.Stamp(health.Circuit.Since)))
	}
	if !health.Circuit.ProbeAt.IsZero() && health.Circuit.State == hook.CircuitOpen {
		d.Add("next probe", shell.Text(c.Stamp(health.Circuit.ProbeAt)+" ("+c.Ago(health.Circuit.ProbeAt).Text+")"))
	}
	d.Add("waiting", shell.Text(waiting(&health.DestinationHealth)))
	if health.Oldest != nil {
		d.Add("oldest", shell.Text(c.Stamp(*health.Oldest)+" ("+c.Ago(*health.Oldest).Text+")"))
	}
	d.Add("arriving", shell.Text(perSecond(health.Arriving).Text+" a second"))
	d.Add("leaving", shell.Text(perSecond(health.Leaving).Text+" a second"))
	if health.Stalled != "" {
		d.Add("stalled", shell.Cell{Text: health.Stalled, Color: shell.Yellow})
	} else {
		d.Add("drained", drained(&health.DestinationHealth))
	}
	d.Add("lane", shell.Text(c.lane(&health.Lane)))
	d.Add("attempts", shell.Text(fmt.Sprintf("%d since %s", health.Attempts, c.Stamp(health.From))))
	d.Add("success", success(&health.DestinationHealth))
	if health.P50 != nil {
		d.Add("took", shell.Text(fmt.Sprintf("half up to %s, 95 %% up to %s, 99 %% up to %s",
			milliseconds(health.P50).Text, milliseconds(health.P95).Text, milliseconds(health.P99).Text)))
	}
	if err := d.Write(c.Shell); err != nil || len(health.Failures) == 0 {
		return err
	}
	if err := c.Printf("\n"); err != nil {
		return err
	}
	rows := shell.NewTable("FAILURE", "STATUS", "ATTEMPTS", "LAST", "EXAMPLE", "WHAT HAPPENED")
	for i := range health.Failures {
		failure := &health.Failures[i]
		rows.Add(shell.OutcomeCell(failure.Outcome), shell.Status(failure.Status), shell.Text(failure.Attempts), c.Ago(failure.At),
			shell.Text(fmt.Sprintf("%s #%d", failure.Delivery, failure.Number)), shell.Cell{Text: failure.Text, Color: shell.Faint})
	}
	return rows.Write(c.Shell, "")
}

// circuitCell shows a destination's circuit, or that it is paused.
func circuitCell(health *stats.DestinationHealth) shell.Cell {
	switch {
	case health.Circuit.State == hook.CircuitOpen:
		return shell.Cell{Text: health.Circuit.State.String(), Color: shell.Red}
	case health.Circuit.State != hook.CircuitClosed:
		return shell.Cell{Text: health.Circuit.State.String(), Color: shell.Yellow}
	case health.Paused:
		return shell.Cell{Text: "paused", Color: shell.Yellow}
	default:
		return shell.Cell{Text: health.Circuit.State.String(), Color: shell.Green}
	}
}

// waiting says how many deliveries wait, by their states.
func waiting(health *stats.DestinationHealth) string {
	var parts []string
	for _, state := range []hook.State{hook.StatePending, hook.StateSending, hook.StateHeld} {
		if n := health.States[state.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	if len(parts) == 0 {
		return "0"
	}
	return fmt.Sprintf("%d: %s", health.Waiting, strings.Join(slices.Clip(parts), ", "))
}

// lane says what a destination's lane does.
func (c *cli) lane(lane *stats.LaneOut) string {
	said := fmt.Sprintf("%d in hand, %d of at most %d in flight", lane.InHand, lane.InFlight, lane.Limit)
	if lane.Gap > 0 {
		said += ", one every " + shell.Took(lane.Gap)
	}
	if lane.ClosedUntil.After(c.Now()) {
		said += ", closed until " + c.Stamp(lane.ClosedUntil)
	}
	return said
}

// perSecond rounds a rate for people.
func perSecond(rate float64) shell.Cell {
	const many = 10
	switch {
	case rate == 0:
		return shell.Cell{Text: "0", Color: shell.Faint}
	case rate >= many:
		return shell.Text(fmt.Sprintf("%.0f", rate))
	default:
		return shell.Text(fmt.Sprintf("%.2g", rate))
	}
}

// drained says when nothing will wait any more.
func drained(health *stats.DestinationHealth) shell.Cell {
	switch {
	case health.TimeToDrain == nil:
		return shell.Cell{Text: "stalled", Color: shell.Yellow}
	case *health.TimeToDrain == 0:
		return shell.Cell{Text: "-", Color: shell.Faint}
	default:
		return shell.Text("in " + shell.Rough(time.Duration(*health.TimeToDrain)))
	}
}

func success(health *stats.DestinationHealth) shell.Cell {
	if health.SuccessRate == nil {
		return shell.Cell{Text: "-", Color: shell.Faint}
	}
	const percent, well, badly = 100, 0.99, 0.5
	shown := shell.Cell{Text: fmt.Sprintf("%.1f %%", *health.SuccessRate*percent), Color: shell.Yellow}
	switch {
	case *health.SuccessRate >= well:
		shown.Color = shell.Green
	case *health.SuccessRate < badly:
		shown.Color = shell.Red
	}
	return shown
}

func milliseconds(value *int64) shell.Cell {
	if value == nil {
		return shell.Cell{Text: "-", Color: shell.Faint}
	}
	return shell.Text((time.Duration(*value) * time.Millisecond).String())
}
