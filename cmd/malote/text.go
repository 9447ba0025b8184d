package main

import (
	"fmt"
	"strings"
	"time"
)

// stamp writes a time for people, in their own zone.
func (c *cli) stamp(at time.Time) string {
	return at.In(c.zone).Format("2006-01-02 15:04:05.000 -07:00")
}

// size writes a number of bytes for people.
func size[N int | int64](bytes N) string {
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

// plural writes a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
