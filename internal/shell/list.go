package shell

import (
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
)

// Columns say how items become rows.
type Columns[T any] struct {
	Head []string       // their titles
	Row  func(T) []Cell // the cells of an item, one for each of them
}

// Stream in the place of a text for no rows means that rows are shown as they come.
const Stream = ""

// Show prints a list: as JSON, as a table, or row by row as they come.
func Show[T any](s *Shell, items iter.Seq2[T, error], columns Columns[T], nothing string) error {
	rows := NewTable(columns.Head...)
	widths := make([]int, len(columns.Head))
	for item, err := range items {
		switch {
		case err != nil:
			return err
		case s.JSON:
			if err := s.PrintJSON(item); err != nil {
				return err
			}
		case nothing == Stream:
			if err := s.line(columns.Row(item), widths); err != nil {
				return err
			}
		default:
			rows.Add(columns.Row(item)...)
		}
	}
	if s.JSON || nothing == Stream {
		return nil
	}
	return rows.Write(s, nothing)
}

// line prints one row of a table that has no end; its columns widen as they must.
func (s *Shell) line(row []Cell, widths []int) error {
	var b strings.Builder
	for i := range row {
		row[i].Text = clip(row[i].Text, i == len(row)-1)
		widths[i] = max(widths[i], utf8.RuneCountInString(row[i].Text))
	}
	writeRow(&b, row, widths, s.Color())
	return s.Printf("%s", b.String())
}

// Names returns the catalogue's names, which JSON output does not need.
func (s *Shell) Names(command *cobra.Command, server *client.Client) (*client.Names, error) {
	if s.JSON {
		return &client.Names{}, nil
	}
	return server.Names(command.Context())
}

// Named returns a noun's name; its id when it is gone.
func Named[I interface {
	comparable
	String() string
}](names map[I]string, id I) string {
	if name := names[id]; name != "" {
		return name
	}
	return id.String()
}

// Details are lines of "name: value".
type Details struct {
	names  []string
	values []Cell
}

// Add adds a line.
func (d *Details) Add(name string, value Cell) {
	d.names, d.values = append(d.names, name), append(d.values, value)
}

// Headers adds a line for each header.
func (d *Details) Headers(headers hook.Headers) {
	for _, header := range headers {
		d.Add("header", Text(header.Name+": "+header.Value))
	}
}

// Write prints the lines.
func (d *Details) Write(s *Shell) error {
	width := 0
	for _, name := range d.names {
		width = max(width, len(name))
	}
	var b strings.Builder
	for i, name := range d.names {
		value := d.values[i]
		value.Text = Printable(value.Text)
		if i > 0 && d.names[i-1] == name && slices.Contains([]string{"header", "because"}, name) {
			name = ""
		}
		b.WriteString(name + strings.Repeat(" ", width-len(name)+2) + Paint(value, s.Color()) + "\n")
	}
	return s.Printf("%s", b.String())
}
