package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"malote.dev/malote/internal/hook"
)

// color is an SGR parameter of a terminal (ECMA-48).
type color string

const (
	plain  color = ""
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	faint  color = "2"
)

// cell is one field of a table.
type cell struct {
	text  string
	color color
}

func text(value any) cell { return cell{text: fmt.Sprint(value)} }

// table prints rows in aligned columns.
type table struct {
	head []string
	rows [][]cell
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// How wide columns may become, in characters.
const (
	maxCell = 60
	maxLast = 200 // of the last one, which pushes nothing aside
)

// write prints the table, colored if that is wanted. Without rows it says so.
func (t *table) write(w io.Writer, colored bool, nothing string) error {
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(w, nothing)
		return err
	}
	widths := make([]int, len(t.head))
	head := make([]cell, len(t.head))
	for i, title := range t.head {
		head[i] = cell{text: title, color: faint}
		widths[i] = utf8.RuneCountInString(title)
	}
	for _, row := range t.rows {
		for i := range row {
			row[i].text = clip(row[i].text, i == len(row)-1)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	var b strings.Builder
	for _, row := range append([][]cell{head}, t.rows...) {
		writeRow(&b, row, widths, colored)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRow writes one line of cells, each as wide as its column.
func writeRow(b *strings.Builder, row []cell, widths []int, colored bool) {
	gap := 0
	for i, each := range row {
		if each.text != "" {
			b.WriteString(strings.Repeat(" ", gap) + paint(each, colored))
			gap = 0
		}
		gap += widths[i] - utf8.RuneCountInString(each.text) + 2
	}
	b.WriteString("\n")
}

// clip makes one short line of a text that may come from anywhere.
func clip(value string, last bool) string {
	limit := maxCell
	if last {
		limit = maxLast
	}
	value = printable(value)
	if utf8.RuneCountInString(value) <= limit {
		return value
	}
	return string([]rune(value)[:limit-1]) + "…"
}

// printable replaces what could move the cursor or change the terminal.
func printable(value string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, value)
}

func paint(each cell, colored bool) string {
	if !colored || each.color == plain || each.text == "" {
		return each.text
	}
	return "\x1b[" + string(each.color) + "m" + each.text + "\x1b[0m"
}

// color reports whether output is colored: on a terminal, unless NO_COLOR is set
// (no-color.org).
func (c *cli) color() bool {
	value, _ := c.lookupEnv("NO_COLOR")
	return c.colored && value == ""
}

func stateCell(state hook.State) cell {
	colors := map[hook.State]color{
		hook.StateSucceeded: green, hook.StateFailed: red, hook.StatePending: yellow, hook.StateSending: yellow,
		hook.StateHeld: yellow, hook.StateCanceled: faint,
	}
	return cell{text: state.String(), color: colors[state]}
}

// ago says how long ago a time is, or how far ahead.
func (c *cli) ago(at time.Time) cell {
	if at.IsZero() {
		return cell{text: "-", color: faint}
	}
	span := c.now().Sub(at)
	if span < 0 {
		return text("in " + rough(-span))
	}
	if span < time.Second {
		return text("now")
	}
	return text(rough(span) + " ago")
}

// rough rounds a span to its greatest unit.
func rough(span time.Duration) string {
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

// dash stands for nothing.
func dash(value string) cell {
	if value == "" {
		return cell{text: "-", color: faint}
	}
	return text(value)
}

// printJSON writes one value as one line.
func (c *cli) printJSON(value any) error {
	encoder := json.NewEncoder(c.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

func (c *cli) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(c.out, format, args...)
	return err
}
