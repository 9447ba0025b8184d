package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
)

// How often the progress of a replay is asked for: soon at first, because most are
// short. And how often a line is printed where nobody watches.
const (
	firstPause = 50 * time.Millisecond
	watchPause = 500 * time.Millisecond
	linePause  = 5 * time.Second
)

// watched is a replay whose progress is shown.
type watched struct {
	replay  hook.Replay
	planned int64 // deliveries; 0: not known
	line    string
	lineAt  time.Time
}

// watchReplay shows the progress of a replay until it ends. When the person leaves, it
// goes on.
func (c *cli) watchReplay(command *cobra.Command, server *client.Client, w *watched) error {
	pause := firstPause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	ctx := command.Context()
	for {
		if !c.json {
			if err := w.show(c); err != nil {
				return err
			}
		}
		if w.replay.State.Final() {
			return c.replayEnded(&w.replay)
		}
		select {
		case <-ctx.Done():
			return c.detached(&w.replay)
		case <-timer.C:
		}
		pause = min(2*pause, watchPause)
		timer.Reset(pause)
		next, err := server.Replay(ctx, w.replay.ID.String())
		switch {
		case err != nil && errors.Is(err, context.Canceled) && ctx.Err() != nil:
			return c.detached(&w.replay)
		case err != nil:
			return errors.Join(err, c.detached(&w.replay))
		}
		w.replay = next
	}
}

// detached says how to come back to a replay that goes on.
func (c *cli) detached(r *hook.Replay) error {
	if c.json {
		return c.printJSON(r)
	}
	return c.printf("\n%s goes on: \"malote replay show %s\" tells how far it is, \"malote replay cancel %s\" ends it.\n", r.ID, r.ID, r.ID)
}

// show prints how far the replay is: on a terminal over the line before, else a line
// from time to time.
func (w *watched) show(c *cli) error {
	line := w.text(c.colored)
	if c.colored {
		end := ""
		if w.replay.State.Final() {
			end = "\n"
		}
		padding := strings.Repeat(" ", max(0, len([]rune(w.line))-len([]rune(line))))
		w.line = line
		return c.printf("\r%s%s%s", line, padding, end)
	}
	if line == w.line || !w.replay.State.Final() && w.line != "" && c.now().Sub(w.lineAt) < linePause {
		return nil
	}
	w.line, w.lineAt = line, c.now()
	return c.printf("%s\n", line)
}

// barWidth is how wide the bar is, in characters.
const barWidth = 30

// text says how far the replay is, in a line.
func (w *watched) text(bar bool) string {
	p := &w.replay.Progress
	ended := p.Succeeded + p.Failed + p.Canceled
	total := max(w.planned, p.Made, 1)
	if w.replay.State.Final() {
		total = max(p.Made, 1)
	}
	var b strings.Builder
	if bar {
		full := int(min(barWidth, barWidth*ended/total))
		fmt.Fprintf(&b, "[%s%s] ", strings.Repeat("█", full), strings.Repeat("░", barWidth-full))
	}
	fmt.Fprintf(&b, "%s: %d of %d delivered", w.replay.State, p.Succeeded, total)
	if p.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed", p.Failed)
	}
	if p.Canceled > 0 {
		fmt.Fprintf(&b, ", %d canceled", p.Canceled)
	}
	if open := p.Open(); open > 0 {
		fmt.Fprintf(&b, ", %d under way", open)
	}
	if p.Errors > 0 {
		fmt.Fprintf(&b, "; %d of %d attempts were errors", p.Errors, p.Attempts)
	}
	return b.String()
}

// replayEnded says how a replay ended; what is less than everything is a failure.
func (c *cli) replayEnded(r *hook.Replay) error {
	if c.json {
		if err := c.printJSON(r); err != nil {
			return err
		}
	}
	switch {
	case r.State != hook.ReplayCompleted:
		return hook.Errorf(hook.KindInternal, "%s was %s: %s", r.ID, r.State, r.Reason)
	case r.Progress.Failed > 0:
		return hook.Errorf(hook.KindInternal, "%d of %s failed: \"malote deliveries --state failed\" shows them",
			r.Progress.Failed, plural(int(r.Progress.Made), "delivery"))
	default:
		return nil
	}
}

func (c *cli) replayList() *cobra.Command {
	limit := defaultLimit
	command := &cobra.Command{Use: "list", Short: "List replays, the newest first", Args: noArguments}
	command.Flags().IntVar(&limit, "limit", limit, "how many at the most, as a `NUMBER`; 0 for all")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		row := func(r hook.Replay) []cell {
			p := &r.Progress
			return []cell{
				text(r.ID), replayCell(r.State), c.ago(r.CreatedAt), text(r.CreatedBy), text(r.Mode),
				text(p.Made), text(p.Succeeded), text(p.Failed), text(p.Open()),
				{text: r.Reason, color: faint},
			}
		}
		table := columns[hook.Replay]{
			head: []string{"ID", "STATE", "STARTED", "BY", "MODE", "MADE", "SUCCEEDED", "FAILED", "OPEN", "REASON"}, row: row,
		}
		return show(c, server.Replays(command.Context(), limit), table, "There are no replays.")
	}))
}

func replayCell(state hook.ReplayState) cell {
	colors := map[hook.ReplayState]color{
		hook.ReplayRunning: yellow, hook.ReplayCompleted: green, hook.ReplayStopped: red, hook.ReplayCanceled: faint,
	}
	return cell{text: string(state), color: colors[state]}
}

func (c *cli) replayShow() *cobra.Command {
	watch := false
	command := &cobra.Command{Use: "show ID", Short: "Show one replay and how far it is", Args: one("the ID of a replay")}
	command.Flags().BoolVar(&watch, "watch", false, "show the progress until it has ended")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		r, err := server.Replay(command.Context(), args[0])
		if err != nil {
			return err
		}
		if watch {
			return c.watchReplay(command, server, &watched{replay: r})
		}
		if c.json {
			return c.printJSON(r)
		}
		names, err := server.Names(command.Context())
		if err != nil {
			return err
		}
		return c.showReplay(&r, names)
	}))
}

func (c *cli) showReplay(r *hook.Replay, names *client.Names) error {
	p := &r.Progress
	d := &details{}
	d.add("id", text(r.ID))
	d.add("state", replayCell(r.State))
	d.add("reason", dash(r.Reason))
	d.add("mode", text(r.Mode))
	for _, line := range c.selectionLines(r, names) {
		d.add(line[0], text(line[1]))
	}
	d.add("rate", text(r.Rate))
	if r.Stop != nil {
		d.add("stops", text(fmt.Sprintf("when more than %g %% of its attempts fail", r.Stop.ErrorPercent)))
	}
	d.add("started", text(c.stamp(r.CreatedAt)+" by "+r.CreatedBy))
	if r.EndedAt != nil {
		d.add("ended", text(c.stamp(*r.EndedAt)))
	}
	d.add("looked at", text(fmt.Sprintf("%d, of which %d were chosen, and %d of these left out", p.Looked, p.Selected, p.Skipped)))
	d.add("deliveries", text(fmt.Sprintf("%d made: %d succeeded, %d failed, %d canceled, %d under way",
		p.Made, p.Succeeded, p.Failed, p.Canceled, p.Open())))
	d.add("attempts", text(fmt.Sprintf("%d, of which %d were errors", p.Attempts, p.Errors)))
	return d.write(c)
}

// selectionLines says what a replay chose and what it does with it.
func (c *cli) selectionLines(r *hook.Replay, names *client.Names) (lines [][2]string) {
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, [2]string{name, value})
		}
	}
	moment := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return c.stamp(at)
	}
	s := &r.Select
	if s.Source != 0 {
		add("source", named(names.Sources, s.Source))
	}
	add("type", s.Type)
	add("key", s.Key)
	add("text", s.Text)
	add("filter", s.Filter)
	add("after", moment(s.After))
	add("before", moment(s.Before))
	if s.Connection != 0 {
		add("connection", named(names.Connections, s.Connection))
	}
	if s.Destination != 0 {
		add("destination", named(names.Destinations, s.Destination))
	}
	if s.State != 0 {
		add("in state", s.State.String())
	}
	if n := len(s.Events); n > 0 {
		add("events", plural(n, "event")+" by id")
	}
	if n := len(s.Deliveries); n > 0 {
		add("deliveries", plural(n, "delivery")+" by id")
	}
	add("rules", string(r.Rules))
	if r.To != 0 {
		add("to", named(names.Destinations, r.To))
	}
	add("edit", string(r.Edit))
	return lines
}

func (c *cli) replayCancel() *cobra.Command {
	command := &cobra.Command{
		Use: "cancel ID", Short: "Cancel a replay, and what it made and has not begun", Args: one("the ID of a replay"),
	}
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		r, err := server.CancelReplay(command.Context(), args[0])
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(r)
		}
		return c.printf("%s is %s: %d of the %d deliveries that it made succeeded.\n", r.ID, r.State, r.Progress.Succeeded, r.Progress.Made)
	}))
}
