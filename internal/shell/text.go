package shell

import (
	"fmt"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
)

// Stamp writes a time for people, in their own zone.
func (s *Shell) Stamp(at time.Time) string {
	return at.In(s.Zone).Format("2006-01-02 15:04:05.000 -07:00")
}

// Size writes a number of bytes for people.
func Size[N int | int64](bytes N) string {
	const kibi = 1024
	switch {
	case bytes < kibi:
		return fmt.Sprintf("%d B", bytes)
	case bytes < kibi*kibi:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/kibi)
	case int64(bytes) < kibi*kibi*kibi:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/kibi/kibi)
	default:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/kibi/kibi/kibi)
	}
}

// Plural writes a number with its noun.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Took rounds a duration for people.
func Took(duration hook.Duration) string {
	d := time.Duration(duration)
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

// Or returns the time that is pointed to; the zero time when there is none.
func Or(at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return *at
}

// Lines makes each line of a text printable.
func Lines(value string) string {
	all := strings.Split(value, "\n")
	for i := range all {
		all[i] = Printable(all[i])
	}
	return strings.Join(all, "\n")
}

// OutcomeCell shows what became of an attempt.
func OutcomeCell(outcome hook.Outcome) Cell {
	if outcome == hook.OutcomeSuccess {
		return Cell{Text: string(outcome), Color: Green}
	}
	return Cell{Text: string(outcome), Color: Red}
}

// Status shows the status of an answer; 0 is none.
func Status(code int) Cell {
	if code == 0 {
		return Cell{Text: "-", Color: Faint}
	}
	return Text(code)
}
