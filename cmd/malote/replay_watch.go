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
	"malote.dev/malote/internal/shell"
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
		if !c.JSON {
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
	if c.JSON {
		return c.PrintJSON(r)
	}
	return c.Printf("\n%s goes on: \"malote replay show %s\" tells how far it is, \"malote replay cancel %s\" ends it.\n", r.ID, r.ID, r.ID)
}

// show prints how far the replay is: on a terminal over the line before, else a line
// from time to time.
func (w *watched) show(c *cli) error {
	line := w.text(c.Colored)
	if c.Colored {
		end := ""
		if w.replay.State.Final() {
			end = "\n"
		}
		padding := strings.Repeat(" ", max(0, len([]rune(w.line))-len([]rune(line))))
		w.line = line
		return c.Printf("\r%s%s%s", line, padding, end)
	}
	if line == w.line || !w.replay.State.Final() && w.line != "" && c.Now().Sub(w.lineAt) < linePause {
		return nil
	}
	w.line, w.lineAt = line, c.Now()
	return c.Printf("%s\n", line)
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
	known := w.planned > 0 || w.replay.State.Final()
	if bar && known {
		full := int(min(barWidth, barWidth*ended/total))
		fmt.Fprintf(&b, "[%s%s] ", strings.Repeat("█", full), strings.Repeat("░", barWidth-full))
	}
	fmt.Fprintf(&b, "%s: %d", w.replay.State, p.Succeeded)
	if known {
		fmt.Fprintf(&b, " of %d", total)
	}
	b.WriteString(" delivered")
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
	if c.JSON {
		if err := c.PrintJSON(r); err != nil {
			return err
		}
	}
	switch {
	case r.State != hook.ReplayCompleted:
		return hook.Errorf(hook.KindInternal, "%s was %s: %s", r.ID, r.State, r.Reason)
	case r.Progress.Failed > 0:
		return hook.Errorf(hook.KindInternal, "%d of %s failed: \"malote deliveries --state failed\" shows them",
			r.Progress.Failed, shell.Plural(int(r.Progress.Made), "delivery"))
	default:
		return nil
	}
}

func (c *cli) replayList() *cobra.Command {
	limit := shell.DefaultLimit
	command := &cobra.Command{Use: "list", Short: "List replays, the newest first", Args: noArguments}
	command.Flags().IntVar(&limit, "limit", limit, "how many at the most, as a `NUMBER`; 0 for all")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		row := func(r hook.Replay) []shell.Cell {
			p := &r.Progress
			return []shell.Cell{
				shell.Text(r.ID), replayCell(r.State), c.Ago(r.CreatedAt), shell.Text(r.CreatedBy), shell.Text(r.Mode),
				shell.Text(p.Made), shell.Text(p.Succeeded), shell.Text(p.Failed), shell.Text(p.Open()),
				{Text: r.Reason, Color: shell.Faint},
			}
		}
		table := shell.Columns[hook.Replay]{
			Head: []string{"ID", "STATE", "STARTED", "BY", "MODE", "MADE", "SUCCEEDED", "FAILED", "OPEN", "REASON"}, Row: row,
		}
		return shell.Show(c.Shell, server.Replays(command.Context(), limit), table, "There are no replays.")
	}))
}

func replayCell(state hook.ReplayState) shell.Cell {
	colors := map[hook.ReplayState]shell.Color{
		hook.ReplayRunning: shell.Yellow, hook.ReplayCompleted: shell.Green, hook.ReplayStopped: shell.Red, hook.ReplayCanceled: shell.Faint,
	}
	return shell.Cell{Text: string(state), Color: colors[state]}
}

func (c *cli) replayShow() *cobra.Command {
	watch := false
	command := &cobra.Command{Use: "show ID", Short: "Show one replay and how far it is", Args: shell.One("the ID of a replay")}
	command.Flags().BoolVar(&watch, "watch", false, "show the progress until it has ended")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		r, err := server.Replay(command.Context(), args[0])
		if err != nil {
			return err
		}
		if watch {
			return c.watchReplay(command, server, &watched{replay: r})
		}
		if c.JSON {
			return c.PrintJSON(r)
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
	d := &shell.Details{}
	d.Add("id", shell.Text(r.ID))
	d.Add("state", replayCell(r.State))
	d.Add("reason", shell.Dash(r.Reason))
	d.Add("mode", shell.Text(r.Mode))
	for _, line := range c.selectionLines(r, names) {
		d.Add(line[0], shell.Text(line[1]))
	}
	d.Add("rate", shell.Text(r.Rate))
	if r.Stop != nil {
		d.Add("stops", shell.Text(fmt.Sprintf("when more than %g %% of its attempts fail", r.Stop.ErrorPercent)))
	}
	d.Add("started", shell.Text(c.Stamp(r.CreatedAt)+" by "+r.CreatedBy))
	if r.EndedAt != nil {
		d.Add("ended", shell.Text(c.Stamp(*r.EndedAt)))
	}
	d.Add("looked at", shell.Text(fmt.Sprintf("%d, of which %d were chosen, and %d of these left out", p.Looked, p.Selected, p.Skipped)))
	d.Add("deliveries", shell.Text(fmt.Sprintf("%d made: %d succeeded, %d failed, %d canceled, %d under way",
		p.Made, p.Succeeded, p.Failed, p.Canceled, p.Open())))
	d.Add("attempts", shell.Text(fmt.Sprintf("%d, of which %d were errors", p.Attempts, p.Errors)))
	return d.Write(c.Shell)
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
		return c.Stamp(at)
	}
	s := &r.Select
	if s.Source != 0 {
		add("source", shell.Named(names.Sources, s.Source))
	}
	add("type", s.Type)
	add("key", s.Key)
	add("text", s.Text)
	add("filter", s.Filter)
	add("after", moment(s.After))
	add("before", moment(s.Before))
	if s.Connection != 0 {
		add("connection", shell.Named(names.Connections, s.Connection))
	}
	if s.Destination != 0 {
		add("destination", shell.Named(names.Destinations, s.Destination))
	}
	if s.State != 0 {
		add("in state", s.State.String())
	}
	if n := len(s.Events); n > 0 {
		add("events", shell.Plural(n, "event")+" by id")
	}
	if n := len(s.Deliveries); n > 0 {
		add("deliveries", shell.Plural(n, "delivery")+" by id")
	}
	add("rules", string(r.Rules))
	if r.To != 0 {
		add("to", shell.Named(names.Destinations, r.To))
	}
	add("edit", string(r.Edit))
	return lines
}

func (c *cli) replayCancel() *cobra.Command {
	command := &cobra.Command{
		Use: "cancel ID", Short: "Cancel a replay, and what it made and has not begun", Args: shell.One("the ID of a replay"),
	}
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		r, err := server.CancelReplay(command.Context(), args[0])
		if err != nil {
			return err
		}
		if c.JSON {
			return c.PrintJSON(r)
		}
		return c.Printf("%s is %s: %d of the %d deliveries that it made succeeded.\n", r.ID, r.State, r.Progress.Succeeded, r.Progress.Made)
	}))
}
