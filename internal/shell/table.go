package shell

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"malote.dev/malote/internal/hook"
)

// Color is an SGR parameter of a terminal (ECMA-48).
type Color string

// The colors.
const (
	Plain  Color = ""
	Red    Color = "31"
	Green  Color = "32"
	Yellow Color = "33"
	Faint  Color = "2"
)

// Cell is one field of a table.
type Cell struct {
	Text  string
	Color Color
}

// Text returns a cell with a value as fmt prints it.
func Text(value any) Cell { return Cell{Text: fmt.Sprint(value)} }

// Table prints rows in aligned columns.
type Table struct {
	head []string
	rows [][]Cell
}

// NewTable returns a table with the titles of its columns.
func NewTable(head ...string) *Table { return &Table{head: head} }

// Add adds a row.
func (t *Table) Add(cells ...Cell) { t.rows = append(t.rows, cells) }

// Empty reports whether the table has no rows.
func (t *Table) Empty() bool { return len(t.rows) == 0 }

// How wide columns may become, in characters.
const (
	maxCell = 60
	maxLast = 200 // of the last one, which pushes nothing aside
)

// Write prints the table. Without rows it prints what stands for nothing.
func (t *Table) Write(s *Shell, nothing string) error {
	if len(t.rows) == 0 {
		return s.Printf("%s\n", nothing)
	}
	widths := make([]int, len(t.head))
	head := make([]Cell, len(t.head))
	for i, title := range t.head {
		head[i] = Cell{Text: title, Color: Faint}
		widths[i] = utf8.RuneCountInString(title)
	}
	for _, row := range t.rows {
		for i := range row {
			row[i].Text = clip(row[i].Text, i == len(row)-1)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].Text))
		}
	}
	var b strings.Builder
	for _, row := range append([][]Cell{head}, t.rows...) {
		writeRow(&b, row, widths, s.Color())
	}
	return s.Printf("%s", b.String())
}

// writeRow writes one line of cells, each as wide as its column.
func writeRow(b *strings.Builder, row []Cell, widths []int, colored bool) {
	gap := 0
	for i, each := range row {
		if each.Text != "" {
			b.WriteString(strings.Repeat(" ", gap) + Paint(each, colored))
			gap = 0
		}
		gap += widths[i] - utf8.RuneCountInString(each.Text) + 2
	}
	b.WriteString("\n")
}

// clip makes one short line of a text that may come from anywhere.
func clip(value string, last bool) string {
	limit := maxCell
	if last {
		limit = maxLast
	}
	value = Printable(value)
	if utf8.RuneCountInString(value) <= limit {
		return value
	}
	return string([]rune(value)[:limit-1]) + "…"
}

// Printable replaces what could move the cursor or change the terminal.
func Printable(value string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, value)
}

// Paint returns the text of a cell, in its color if that is wanted.
func Paint(each Cell, colored bool) string {
	if !colored || each.Color == Plain || each.Text == "" {
		return each.Text
	}
	return "\x1b[" + string(each.Color) + "m" + each.Text + "\x1b[0m"
}

// Color reports whether output is colored: on a terminal, unless NO_COLOR is set
// (no-color.org).
func (s *Shell) Color() bool {
	value, _ := s.LookupEnv("NO_COLOR")
	return s.Colored && value == ""
}

// StateCell shows the state of a delivery.
func StateCell(state hook.State) Cell {
	colors := map[hook.State]Color{
		hook.StateSucceeded: Green, hook.StateFailed: Red, hook.StatePending: Yellow, hook.StateSending: Yellow,
		hook.StateHeld: Yellow, hook.StateCanceled: Faint,
	}
	return Cell{Text: state.String(), Color: colors[state]}
}

// Ago says how long ago a time is, or how far ahead.
func (s *Shell) Ago(at time.Time) Cell {
	if at.IsZero() {
		return Cell{Text: "-", Color: Faint}
	}
	span := s.Now().Sub(at)
	if span < 0 {
		return Text("in " + Rough(-span))
	}
	if span < time.Second {
		return Text("now")
	}
	return Text(Rough(span) + " ago")
}

// Rough rounds a span to its greatest unit.
func Rough(span time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case span < time.Minute:
		return fmt.Sprintf("%ds", span/time.Second)
	case span < time.Hour:
		return fmt.Sprintf("%dm", span/time.Minute)
	case span < 2*day:
		return fmt.Sprintf("%dh", span/time.Hour)
	default:
		return fmt.Sprintf("%dd", span/day)
	}
}

// Dash shows a value, or a dash for nothing.
func Dash(value string) Cell {
	if value == "" {
		return Cell{Text: "-", Color: Faint}
	}
	return Text(value)
}

// PrintJSON writes one value as one line.
func (s *Shell) PrintJSON(value any) error {
	encoder := json.NewEncoder(s.Out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// Printf writes to the output.
func (s *Shell) Printf(format string, args ...any) error {
	_, err := fmt.Fprintf(s.Out, format, args...)
	return err
}
