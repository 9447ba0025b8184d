package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/replay"
	"malote.dev/malote/internal/shell"
)

// replaying is what the flags of "malote replay" say.
type replaying struct {
	request    control.ReplayIn
	window     shell.Window
	state      string
	events     []string
	deliveries []string
	retry      bool
	edit       string
	rate       string
	stopErrors string
	stopAfter  int
	dryRun     bool
	yes        bool
	detach     bool
}

func (c *cli) replayCommand() *cobra.Command {
	r := &replaying{}
	command := &cobra.Command{
		Use:   "replay",
		Short: "Deliver a chosen part of what happened once more",
		Long: `Deliver a chosen part of what happened once more, from the oldest to the newest, at a
rate: each chosen event anew, over the connections that it went over then, or with --retry
the chosen deliveries themselves.

The plan comes first: how much is chosen, where it goes, how long it takes, and a sample.
Then it asks, or goes on with --yes, and shows the progress until the end. Ctrl-C leaves
it running on the server; "malote replay cancel" ends it.

The exit code is 0 when everything was delivered.`,
		Args: noArguments,
		Example: `  malote replay --source shop --after 3h --dry-run
  malote replay --state failed --destination erp --to erp-new --rate 50/s --stop-errors 10%
  malote replay --source shop --type 'orders/*' --filter 'data.total > 100.0' --rules now --edit '{"currency": "BRL"}'
  malote replay --retry --destination erp --after 2h --yes --detach`,
	}
	r.flags(command)
	command.AddCommand(c.replayList(), c.replayShow(), c.replayCancel())
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		if err := r.read(c, command); err != nil {
			return err
		}
		return r.run(c, command, server)
	}))
}

func (r *replaying) flags(command *cobra.Command) {
	flags := command.Flags()
	s := &r.request.Select
	flags.StringVar(&s.Source, "source", "", "events of this `SOURCE`: name or id")
	flags.StringVar(&s.Type, "type", "", "events of this `TYPE`; * stands for any run of characters")
	flags.StringVar(&s.Key, "key", "", "events with this business `KEY`")
	flags.StringVar(&s.Text, "text", "", "events with this `TEXT` in the payload")
	flags.StringVar(&s.Filter, "filter", "", "events that this CEL `EXPRESSION` is true for")
	r.window.Times(command, "received since this `TIME`, or since so long ago (2h, 7d)", "received before this `TIME`, or before so long ago")
	flags.StringVar(&s.Connection, "connection", "", "deliveries over this `CONNECTION`: name or id")
	flags.StringVar(&s.Destination, "destination", "", "deliveries to this `DESTINATION`: name or id")
	flags.StringVar(&r.state, "state", "", "deliveries in this `STATE`, such as failed, the default with --retry")
	flags.StringSliceVar(&r.events, "event", nil, "exactly this event, by its `ID` (repeatable)")
	flags.StringSliceVar(&r.deliveries, "delivery", nil, "exactly this delivery, by its `ID` (repeatable)")
	flags.BoolVar(&r.retry, "retry", false, "send the deliveries themselves again, instead of making new ones")
	flags.StringVar(&r.request.Rules, "rules", "", "follow these `RULES`: then (default), the connections that matched then, or now, those that match now")
	flags.StringVar(&r.request.To, "to", "", "to this `DESTINATION` in place of those of the connections: name or id")
	flags.StringVar(&r.edit, "edit", "", "JSON merge patch of every payload: a `JSON` object, @FILE, or - for the standard input")
	flags.StringVar(&r.rate, "rate", "", "how many deliveries are begun, as a `RATE` (default "+hook.DefaultReplayRate().String()+")")
	flags.StringVar(&r.stopErrors, "stop-errors", "", "stop when more than this share of the attempts fail, in `PERCENT`: 10%")
	flags.IntVar(&r.stopAfter, "stop-after", 0, "look at the share after so many attempts, as a `NUMBER` (default 20)")
	flags.BoolVar(&r.dryRun, "dry-run", false, "show the plan, and do nothing")
	flags.BoolVarP(&r.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&r.detach, "detach", false, "start it and do not wait for its end")
}

// read turns the flags into the request.
func (r *replaying) read(c *cli, command *cobra.Command) (err error) {
	if err := r.window.Read(c.Shell, command); err != nil {
		return err
	}
	r.request.Select.After, r.request.Select.Before = r.window.After, r.window.Before
	if err := checkState(command, r.state); err != nil {
		return err
	}
	if r.state != "" {
		if err := r.request.Select.State.UnmarshalText([]byte(r.state)); err != nil {
			return err
		}
	}
	if r.retry {
		r.request.Mode = string(hook.ReplayRetry)
	}
	if err := r.request.Rate.UnmarshalText([]byte(r.rate)); err != nil {
		return shell.WrongUsage(command, "--rate: %s", err)
	}
	if r.request.Select.Events, err = ids[hook.EventID](command, "event", r.events); err != nil {
		return err
	}
	if r.request.Select.Deliveries, err = ids[hook.DeliveryID](command, "delivery", r.deliveries); err != nil {
		return err
	}
	if err := r.readStop(command); err != nil {
		return err
	}
	return r.readEdit(c, command)
}

// ids reads the ids that a flag gave.
func ids[I ~int64, P interface {
	*I
	UnmarshalText(text []byte) error
}](command *cobra.Command, flag string, texts []string) ([]I, error) {
	var all []I
	for _, text := range texts {
		id, err := hook.ParseID[I, P](text)
		if err != nil {
			return nil, shell.WrongUsage(command, "--%s: %s", flag, err)
		}
		all = append(all, id)
	}
	return all, nil
}

func (r *replaying) readStop(command *cobra.Command) error {
	if r.stopErrors == "" {
		if r.stopAfter != 0 {
			return shell.WrongUsage(command, "--stop-after goes with --stop-errors: say how many may fail")
		}
		return nil
	}
	percent, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(r.stopErrors, "%")), 64)
	if err != nil {
		return shell.WrongUsage(command, "--stop-errors: %q is no percentage: write 10%%", r.stopErrors)
	}
	r.request.Stop = &hook.StopRule{ErrorPercent: percent, After: r.stopAfter}
	return nil
}

// maxEdit is how much of a file with an edit is read, in bytes: more than the server takes.
const maxEdit = 1 << 20

func (r *replaying) readEdit(c *cli, command *cobra.Command) error {
	name, isFile := strings.CutPrefix(r.edit, "@")
	text := []byte(r.edit)
	var err error
	switch {
	case r.edit == "":
		return nil
	case r.edit == "-":
		if !r.yes && !r.dryRun {
			return shell.WrongUsage(command, "--edit - leaves nothing to answer with: add --yes or --dry-run")
		}
		text, err = io.ReadAll(io.LimitReader(c.In, maxEdit))
	case isFile:
		text, err = c.ReadFile(name)
	}
	if err != nil {
		return hook.Errorf(hook.KindInvalid, "the edit cannot be read: %w", err)
	}
	if !json.Valid(text) {
		return shell.WrongUsage(command, `--edit: it is not JSON: write an object that names what changes, such as '{"status": "open"}'`)
	}
	r.request.Edit = text
	return nil
}

// run plans, asks, starts and watches.
func (r *replaying) run(c *cli, command *cobra.Command, server *client.Client) error {
	if !r.yes && !r.dryRun && (c.JSON || !c.Asks) {
		return shell.WrongUsage(command, "nobody is there to confirm the plan: add --yes, or --dry-run to see it")
	}
	plan, err := server.PlanReplay(command.Context(), r.request)
	if err != nil {
		return err
	}
	if r.dryRun && c.JSON {
		return c.PrintJSON(plan)
	}
	if !c.JSON {
		if err := c.showPlan(&plan.Plan, r.retry); err != nil {
			return err
		}
	}
	if r.dryRun {
		return nil
	}
	if err := r.agree(c, &plan.Plan); err != nil {
		return err
	}
	started, err := server.StartReplay(command.Context(), r.request)
	if err != nil {
		return err
	}
	if r.detach {
		if c.JSON {
			return c.PrintJSON(started)
		}
		return c.Printf("%s is running: \"malote replay show %s\" tells how far it is.\n", started.ID, started.ID)
	}
	return c.watchReplay(command, server, &watched{replay: started, planned: plan.Deliveries})
}

// agree fails unless what the plan says is wanted.
func (r *replaying) agree(c *cli, plan *replay.Plan) error {
	if plan.Deliveries == 0 {
		return hook.Errorf(hook.KindInvalid, "nothing was started: the plan has no deliveries")
	}
	if r.yes {
		return nil
	}
	agreed, err := c.confirm(fmt.Sprintf("Start %s? [y/N] ", shell.Plural(int(plan.Deliveries), "delivery")))
	if err == nil && !agreed {
		err = errors.New("nothing was started")
	}
	return err
}

// confirm asks a yes-or-no question; no is the default.
func (c *cli) confirm(question string) (bool, error) {
	if err := c.Printf("\n%s", question); err != nil {
		return false, err
	}
	line, err := bufio.NewReader(io.LimitReader(c.In, maxAnswer)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

// maxAnswer is how much of an answer to a question is read, in bytes.
const maxAnswer = 1 << 10

// showPlan prints a plan for people.
func (c *cli) showPlan(plan *replay.Plan, retry bool) error {
	about := ""
	if !plan.Exact {
		about = "about "
	}
	d := &shell.Details{}
	d.Add("looked at", shell.Text(about+strconv.FormatInt(plan.Looked, 10)))
	d.Add("chosen", shell.Text(about+strconv.FormatInt(plan.Selected, 10)))
	d.Add("deliveries", shell.Text(about+strconv.FormatInt(plan.Deliveries, 10)))
	d.Add("takes", shell.Text(fmt.Sprintf("about %s at %s", plan.Duration, plan.Rate)))
	if err := d.Write(c.Shell); err != nil {
		return err
	}
	destinations := shell.NewTable("DESTINATION", "DELIVERIES")
	for i := range plan.Destinations {
		destinations.Add(shell.Text(plan.Destinations[i].Name), shell.Text(plan.Destinations[i].Deliveries))
	}
	connections := shell.NewTable("CONNECTION", "DELIVERIES")
	for i := range plan.Connections {
		connections.Add(shell.Text(plan.Connections[i].Name), shell.Text(plan.Connections[i].Deliveries))
	}
	tables := []*shell.Table{destinations, connections, sampleTable(plan, retry)}
	for _, t := range tables {
		if t.Empty() {
			continue
		}
		if err := c.Printf("\n"); err != nil {
			return err
		}
		if err := t.Write(c.Shell, ""); err != nil {
			return err
		}
	}
	if len(plan.Warnings) > 0 {
		if err := c.Printf("\n"); err != nil {
			return err
		}
	}
	for _, warning := range plan.Warnings {
		if err := c.Printf("%s %s\n", shell.Paint(shell.Cell{Text: "Note:", Color: shell.Yellow}, c.Color()), shell.Printable(warning)); err != nil {
			return err
		}
	}
	return nil
}

// sampleTable shows some of what is chosen, and what an edit makes of it.
func sampleTable(plan *replay.Plan, retry bool) *shell.Table {
	head := []string{"EVENT", "TYPE", "KEY", "PAYLOAD"}
	if retry {
		head[0] = "DELIVERY"
	}
	t := shell.NewTable(head...)
	for i := range plan.Sample {
		s := &plan.Sample[i]
		id := shell.Text(s.Event)
		if retry && len(s.Deliveries) > 0 {
			id = shell.Text(s.Deliveries[0])
		}
		t.Add(id, shell.Text(s.Type), shell.Dash(s.Key), shell.Text(s.Before))
		switch {
		case s.Skipped != "":
			t.Add(shell.Cell{}, shell.Cell{}, shell.Cell{}, shell.Cell{Text: "left out: " + s.Skipped, Color: shell.Yellow})
		case s.After != "":
			t.Add(shell.Cell{}, shell.Cell{}, shell.Cell{}, shell.Cell{Text: s.After, Color: shell.Green})
		}
	}
	return t
}
