package filter

import (
	"slices"
	"strings"
)

// Types is a compiled list of patterns of event types. The zero Types matches every
// type.
type Types struct {
	exact []string   // sorted
	globs [][]string // the texts between the stars of each pattern
	all   bool       // "*" is among the patterns
}

// CompileTypes compiles patterns in which "*" stands for any run of characters, also
// an empty one, and everything else for itself. No patterns match every type.
func CompileTypes(patterns []string) Types {
	var t Types
	for _, pattern := range patterns {
		switch {
		case strings.Trim(pattern, "*") == "" && pattern != "":
			t.all = true
		case strings.Contains(pattern, "*"):
			t.globs = append(t.globs, strings.Split(pattern, "*"))
		default:
			t.exact = append(t.exact, pattern)
		}
	}
	slices.Sort(t.exact)
	t.exact = slices.Compact(t.exact)
	return t
}

// Match reports whether an event type fits one of the patterns. Case matters, as it
// does to every provider.
func (t Types) Match(eventType string) bool {
	if t.all || len(t.exact) == 0 && len(t.globs) == 0 {
		return true
	}
	if _, ok := slices.BinarySearch(t.exact, eventType); ok {
		return true
	}
	for _, parts := range t.globs {
		if matchGlob(parts, eventType) {
			return true
		}
	}
	return false
}

// Exact returns the event types that match, when they can be listed: when there are
// patterns and none of them has a star.
func (t Types) Exact() ([]string, bool) {
	if t.all || len(t.globs) > 0 || len(t.exact) == 0 {
		return nil, false
	}
	return t.exact, true
}

// matchGlob matches text against the texts between the stars of a pattern, of which
// there are at least two. Taking each of them at its first place is right, because
// the stars between take up whatever lies there.
func matchGlob(parts []string, text string) bool {
	text, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return strings.HasSuffix(text, last)
}
