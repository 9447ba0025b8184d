package main

import (
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

func (c *cli) eventsCommand() *cobra.Command {
	list := c.eventList("events")
	list.Example = `  malote events --source shop --type 'orders/*' --after 1h
  malote events --follow
  malote events get evt_… --payload`
	sub := c.eventList("list")
	list.AddCommand(sub, c.eventGet())
	return list
}

func (c *cli) eventList(use string) *cobra.Command {
	filter, period, watch := &client.EventFilter{}, &shell.Window{}, false
	command := &cobra.Command{Use: use, Short: "List events, the newest first", Args: noArguments}
	flags := command.Flags()
	flags.StringVar(&filter.Source, "source", "", "only of this `SOURCE`: name or id")
	flags.StringVar(&filter.Type, "type", "", "only of this `TYPE`; * stands for any run of characters")
	flags.StringVar(&filter.Key, "key", "", "only with this business `KEY`")
	flags.StringVar(&filter.Text, "text", "", "only with this `TEXT` in the payload")
	flags.BoolVar(&watch, "follow", false, "go on and show new events as they come, the newest last")
	period.Flags(command, "events")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		if err := period.Read(c.Shell, command); err != nil {
			return err
		}
		filter.After, filter.Before = period.After, period.Before
		names, err := c.Names(command, server)
		if err != nil {
			return err
		}
		row := func(event hook.Event) []shell.Cell {
			return []shell.Cell{
				shell.Text(event.ID), c.Ago(event.ReceivedAt), shell.Text(shell.Named(names.Sources, event.Source)), shell.Text(event.Type), shell.Dash(event.Key),
				shell.Text(len(event.Targets)), shell.Text(shell.Size(event.PayloadSize)), c.noteOf(&event),
			}
		}
		table := shell.Columns[hook.Event]{Head: []string{"ID", "RECEIVED", "SOURCE", "TYPE", "KEY", "DELIVERIES", "SIZE", "NOTE"}, Row: row}
		if watch {
			return shell.Show(c.Shell, server.FollowEvents(command.Context(), filter, period.Limit), table, shell.Stream)
		}
		return shell.Show(c.Shell, server.Events(command.Context(), filter, period.Limit), table, "There are no such events.")
	}))
}

// noteOf says what is unusual about an event.
func (c *cli) noteOf(event *hook.Event) shell.Cell {
	var notes []string
	if event.Duplicates > 0 {
		notes = append(notes, shell.Plural(event.Duplicates, "duplicate"))
	}
	if len(event.Unmatched) > 0 {
		notes = append(notes, shell.Plural(len(event.Unmatched), "filter")+" failed")
	}
	switch {
	case event.Verdict.Admitted:
		notes = append(notes, "re-admitted")
	case !event.Verdict.Verified:
		notes = append(notes, "not verified")
	}
	return shell.Cell{Text: strings.Join(notes, ", "), Color: shell.Faint}
}

func (c *cli) eventGet() *cobra.Command {
	payload := false
	command := &cobra.Command{Use: "get ID", Short: "Show one event, or its payload", Args: shell.One("the ID of an event")}
	command.Flags().BoolVar(&payload, "payload", false, "print the payload as it came, and nothing else")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if payload {
			return server.Payload(command.Context(), args[0], c.Out)
		}
		event, err := server.Event(command.Context(), args[0])
		if err != nil {
			return err
		}
		if c.JSON {
			return c.PrintJSON(event)
		}
		names, err := server.Names(command.Context())
		if err != nil {
			return err
		}
		return c.showEvent(&event, names)
	}))
}

func (c *cli) showEvent(event *hook.Event, names *client.Names) error {
	d := &shell.Details{}
	d.Add("id", shell.Text(event.ID))
	d.Add("source", shell.Text(shell.Named(names.Sources, event.Source)))
	d.Add("type", shell.Text(event.Type))
	d.Add("key", shell.Dash(event.Key))
	d.Add("received", shell.Text(c.Stamp(event.ReceivedAt)))
	d.Add("provider's id", shell.Dash(event.ProviderID))
	d.Add("verified", verdict(event.Verdict))
	d.Add("request", shell.Text(strings.TrimSpace(event.Method+" "+requestPath(event.Path, event.Query))))
	d.Add("from", shell.Dash(event.Remote))
	d.Add("size", shell.Text(shell.Size(event.PayloadSize)))
	d.Add("duplicates", shell.Text(event.Duplicates))
	for _, target := range event.Targets {
		over, to := shell.Named(names.Connections, target.Connection), shell.Named(names.Destinations, target.Destination)
		d.Add("delivery", shell.Text(target.Delivery.String()+" over "+over+" to "+to))
	}
	for _, miss := range event.Unmatched {
		d.Add("filter failed", shell.Cell{Text: shell.Named(names.Connections, miss.Connection) + ": " + miss.Error, Color: shell.Yellow})
	}
	d.Headers(event.Headers)
	return d.Write(c.Shell)
}

func verdict(v hook.Verdict) shell.Cell {
	switch {
	case v.Admitted:
		return shell.Cell{Text: "re-admitted by a person (" + v.Scheme + ")", Color: shell.Yellow}
	case !v.Verified:
		return shell.Cell{Text: "not checked (" + v.Scheme + ")", Color: shell.Yellow}
	default:
		return shell.Cell{Text: v.Scheme, Color: shell.Green}
	}
}

func requestPath(path, query string) string {
	if query != "" {
		query = "?" + query
	}
	return path + query
}
