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
	command.Flags().IntVar(&limit, "limit", defaultLimit, "how many destinations at the most, as a `NUMBER` up to 250")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if limit < 1 || limit > maxWorst {
			return wrongUsage(command, "--limit: %d is not a number of destinations from 1 to %d", limit, maxWorst)
		}
		from, err := c.moment(command, "since", since)
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
	rows := newTable("DESTINATION", "CIRCUIT", "WAITING", "OLDEST", "IN/S", "OUT/S", "DRAINED", "SUCCESS", "P95", "NOTE")
	for i := range worst.Data {
		health := &worst.Data[i]
		if c.json {
			if err := c.printJSON(health); err != nil {
				return err
			}
			continue
		}
		note := health.Stalled
		if health.Circuit.State != hook.CircuitClosed && health.Circuit.Reason != "" {
			note = health.Circuit.Reason
		}
		rows.add(text(health.Name), circuitCell(health), text(health.Waiting), c.ago(or(health.Oldest)), perSecond(health.Arriving), perSecond(health.Leaving),
			drained(health), success(health), milliseconds(health.P95), cell{text: note, color: faint})
	}
	if c.json {
		return nil
	}
	if err := rows.write(c.out, c.color(), "There are no destinations."); err != nil || worst.Done {
		return err
	}
	return c.printf("There are more, which are better: see --limit.\n")
}

func (c *cli) showHealth(health *stats.DestinationHealthDetail) error {
	if c.json {
		return c.printJSON(health)
	}
	d := &details{}
	d.add("destination", text(health.Name+" ("+health.ID+")"))
	if health.Paused {
		d.add("paused", cell{text: health.PauseReason, color: yellow})
	}
	d.add("circuit", circuitCell(&health.DestinationHealth))
	if health.Circuit.Reason != "" && health.Circuit.State != hook.CircuitClosed {
		d.add("because", text(health.Circuit.Reason))
		d.add("since", text(c.stamp(health.Circuit.Since)))
	}
	if !health.Circuit.ProbeAt.IsZero() && health.Circuit.State == hook.CircuitOpen {
		d.add("next probe", text(c.stamp(health.Circuit.ProbeAt)+" ("+c.ago(health.Circuit.ProbeAt).text+")"))
	}
	d.add("waiting", text(waiting(&health.DestinationHealth)))
	if health.Oldest != nil {
		d.add("oldest", text(c.stamp(*health.Oldest)+" ("+c.ago(*health.Oldest).text+")"))
	}
	d.add("arriving", text(perSecond(health.Arriving).text+" a second"))
	d.add("leaving", text(perSecond(health.Leaving).text+" a second"))
	if health.Stalled != "" {
		d.add("stalled", cell{text: health.Stalled, color: yellow})
	} else {
		d.add("drained", drained(&health.DestinationHealth))
	}
	d.add("lane", text(c.lane(&health.Lane)))
	d.add("attempts", text(fmt.Sprintf("%d since %s", health.Attempts, c.stamp(health.From))))
	d.add("success", success(&health.DestinationHealth))
	if health.P50 != nil {
		d.add("took", text(fmt.Sprintf("half up to %s, 95 %% up to %s, 99 %% up to %s",
			milliseconds(health.P50).text, milliseconds(health.P95).text, milliseconds(health.P99).text)))
	}
	if err := d.write(c); err != nil || len(health.Failures) == 0 {
		return err
	}
	if err := c.printf("\n"); err != nil {
		return err
	}
	rows := newTable("FAILURE", "STATUS", "ATTEMPTS", "LAST", "EXAMPLE", "WHAT HAPPENED")
	for i := range health.Failures {
		failure := &health.Failures[i]
		rows.add(outcomeCell(failure.Outcome), status(failure.Status), text(failure.Attempts), c.ago(failure.At),
			text(fmt.Sprintf("%s #%d", failure.Delivery, failure.Number)), cell{text: failure.Text, color: faint})
	}
	return rows.write(c.out, c.color(), "")
}

// circuitCell shows a destination's circuit, or that it is paused.
func circuitCell(health *stats.DestinationHealth) cell {
	switch {
	case health.Circuit.State == hook.CircuitOpen:
		return cell{text: health.Circuit.State.String(), color: red}
	case health.Circuit.State != hook.CircuitClosed:
		return cell{text: health.Circuit.State.String(), color: yellow}
	case health.Paused:
		return cell{text: "paused", color: yellow}
	default:
		return cell{text: health.Circuit.State.String(), color: green}
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
		said += ", one every " + took(lane.Gap)
	}
	if lane.ClosedUntil.After(c.now()) {
		said += ", closed until " + c.stamp(lane.ClosedUntil)
	}
	return said
}

// perSecond rounds a rate for people.
func perSecond(rate float64) cell {
	const many = 10
	switch {
	case rate == 0:
		return cell{text: "0", color: faint}
	case rate >= many:
		return text(fmt.Sprintf("%.0f", rate))
	default:
		return text(fmt.Sprintf("%.2g", rate))
	}
}

// drained says when nothing will wait any more.
func drained(health *stats.DestinationHealth) cell {
	switch {
	case health.TimeToDrain == nil:
		return cell{text: "stalled", color: yellow}
	case *health.TimeToDrain == 0:
		return cell{text: "-", color: faint}
	default:
		return text("in " + rough(time.Duration(*health.TimeToDrain)))
	}
}

func success(health *stats.DestinationHealth) cell {
	if health.SuccessRate == nil {
		return cell{text: "-", color: faint}
	}
	const percent, well, badly = 100, 0.99, 0.5
	shown := cell{text: fmt.Sprintf("%.1f %%", *health.SuccessRate*percent), color: yellow}
	switch {
	case *health.SuccessRate >= well:
		shown.color = green
	case *health.SuccessRate < badly:
		shown.color = red
	}
	return shown
}

func milliseconds(value *int64) cell {
	if value == nil {
		return cell{text: "-", color: faint}
	}
	return text((time.Duration(*value) * time.Millisecond).String())
}
