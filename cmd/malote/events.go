package main

import (
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
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
	filter, period, watch := &client.EventFilter{}, &window{}, false
	command := &cobra.Command{Use: use, Short: "List events, the newest first", Args: noArguments}
	flags := command.Flags()
	flags.StringVar(&filter.Source, "source", "", "only of this `SOURCE`: name or id")
	flags.StringVar(&filter.Type, "type", "", "only of this `TYPE`; * stands for any run of characters")
	flags.StringVar(&filter.Key, "key", "", "only with this business `KEY`")
	flags.StringVar(&filter.Text, "text", "", "only with this `TEXT` in the payload")
	flags.BoolVar(&watch, "follow", false, "go on and show new events as they come, the newest last")
	period.flags(command, "events")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		if err := period.read(c, command); err != nil {
			return err
		}
		filter.After, filter.Before = period.after, period.before
		names, err := c.names(command, server)
		if err != nil {
			return err
		}
		row := func(event hook.Event) []cell {
			return []cell{
				text(event.ID), c.ago(event.ReceivedAt), text(named(names.Sources, event.Source)), text(event.Type), dash(event.Key),
				text(len(event.Targets)), text(size(event.PayloadSize)), c.noteOf(&event),
			}
		}
		table := columns[hook.Event]{head: []string{"ID", "RECEIVED", "SOURCE", "TYPE", "KEY", "DELIVERIES", "SIZE", "NOTE"}, row: row}
		if watch {
			return show(c, server.FollowEvents(command.Context(), filter, period.limit), table, stream)
		}
		return show(c, server.Events(command.Context(), filter, period.limit), table, "There are no such events.")
	}))
}

// noteOf says what is unusual about an event.
func (c *cli) noteOf(event *hook.Event) cell {
	var notes []string
	if event.Duplicates > 0 {
		notes = append(notes, plural(event.Duplicates, "duplicate"))
	}
	if len(event.Unmatched) > 0 {
		notes = append(notes, plural(len(event.Unmatched), "filter")+" failed")
	}
	switch {
	case event.Verdict.Admitted:
		notes = append(notes, "re-admitted")
	case !event.Verdict.Verified:
		notes = append(notes, "not verified")
	}
	return cell{text: strings.Join(notes, ", "), color: faint}
}

func (c *cli) eventGet() *cobra.Command {
	payload := false
	command := &cobra.Command{Use: "get ID", Short: "Show one event, or its payload", Args: one("the ID of an event")}
	command.Flags().BoolVar(&payload, "payload", false, "print the payload as it came, and nothing else")
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if payload {
			return server.Payload(command.Context(), args[0], c.out)
		}
		event, err := server.Event(command.Context(), args[0])
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(event)
		}
		names, err := server.Names(command.Context())
		if err != nil {
			return err
		}
		return c.showEvent(&event, names)
	}))
}

func (c *cli) showEvent(event *hook.Event, names *client.Names) error {
	d := &details{}
	d.add("id", text(event.ID))
	d.add("source", text(named(names.Sources, event.Source)))
	d.add("type", text(event.Type))
	d.add("key", dash(event.Key))
	d.add("received", text(c.stamp(event.ReceivedAt)))
	d.add("provider's id", dash(event.ProviderID))
	d.add("verified", verdict(event.Verdict))
	d.add("request", text(strings.TrimSpace(event.Method+" "+requestPath(event.Path, event.Query))))
	d.add("from", dash(event.Remote))
	d.add("size", text(size(event.PayloadSize)))
	d.add("duplicates", text(event.Duplicates))
	for _, target := range event.Targets {
		d.add("delivery", text(target.Delivery.String()+" over "+named(names.Connections, target.Connection)+" to "+named(names.Destinations, target.Destination)))
	}
	for _, miss := range event.Unmatched {
		d.add("filter failed", cell{text: named(names.Connections, miss.Connection) + ": " + miss.Error, color: yellow})
	}
	d.headers(event.Headers)
	return d.write(c)
}

func verdict(v hook.Verdict) cell {
	switch {
	case v.Admitted:
		return cell{text: "re-admitted by a person (" + v.Scheme + ")", color: yellow}
	case !v.Verified:
		return cell{text: "not checked (" + v.Scheme + ")", color: yellow}
	default:
		return cell{text: v.Scheme, color: green}
	}
}

func requestPath(path, query string) string {
	if query != "" {
		query = "?" + query
	}
	return path + query
}

// columns say how items become rows.
type columns[T any] struct {
	head []string
	row  func(T) []cell
}

// stream in the place of a text for no rows means that rows are shown as they come.
const stream = ""

// show prints a list: as JSON, as a table, or row by row as they come.
func show[T any](c *cli, items iter.Seq2[T, error], columns columns[T], nothing string) error {
	rows := newTable(columns.head...)
	widths := make([]int, len(columns.head))
	for item, err := range items {
		switch {
		case err != nil:
			return err
		case c.json:
			if err := c.printJSON(item); err != nil {
				return err
			}
		case nothing == stream:
			if err := c.line(columns.row(item), widths); err != nil {
				return err
			}
		default:
			rows.add(columns.row(item)...)
		}
	}
	if c.json || nothing == stream {
		return nil
	}
	return rows.write(c.out, c.color(), nothing)
}

// line prints one row of a table that has no end; its columns widen as they must.
func (c *cli) line(row []cell, widths []int) error {
	var b strings.Builder
	for i := range row {
		row[i].text = clip(row[i].text, i == len(row)-1)
		widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
	}
	writeRow(&b, row, widths, c.color())
	return c.printf("%s", b.String())
}

// names returns the catalogue's names, which JSON output does not need.
func (c *cli) names(command *cobra.Command, server *client.Client) (*client.Names, error) {
	if c.json {
		return &client.Names{}, nil
	}
	return server.Names(command.Context())
}

// named returns a noun's name; its id when it is gone.
func named[I interface {
	comparable
	String() string
}](names map[I]string, id I) string {
	if name := names[id]; name != "" {
		return name
	}
	return id.String()
}

// attempt's and event's details are lines of "name: value".
type details struct {
	names  []string
	values []cell
}

func (d *details) add(name string, value cell) {
	d.names, d.values = append(d.names, name), append(d.values, value)
}

func (d *details) headers(headers hook.Headers) {
	for _, header := range headers {
		d.add("header", text(header.Name+": "+header.Value))
	}
}

func (d *details) write(c *cli) error {
	width := 0
	for _, name := range d.names {
		width = max(width, len(name))
	}
	var b strings.Builder
	for i, name := range d.names {
		value := d.values[i]
		value.text = printable(value.text)
		if i > 0 && d.names[i-1] == name && slices.Contains([]string{"header", "because"}, name) {
			name = ""
		}
		b.WriteString(name + strings.Repeat(" ", width-len(name)+2) + paint(value, c.color()) + "\n")
	}
	return c.printf("%s", b.String())
}
