package hook

import (
	"fmt"
	"slices"
	"strings"
)

// MaxName is the greatest length of a noun's name in bytes.
const MaxName = 64

// CheckName reports why a text cannot name a source, destination or connection.
// Names stand in URLs and files, and must not look like ids.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a name is needed: use up to %d letters, digits, '-', '_' and '.'", MaxName)
	case len(name) > MaxName:
		return fmt.Errorf("the name is %d characters long: %d is the most", len(name), MaxName)
	case looksLikeID(name):
		return fmt.Errorf("the name %q looks like an id: choose another one", name)
	}
	for i := range len(name) {
		inside := i > 0 && strings.IndexByte("-_.", name[i]) >= 0
		if !inside && !isAlphanumeric(name[i]) {
			return fmt.Errorf("%q cannot be a name: use up to %d letters, digits, '-', '_' and '.', a letter or digit first", name, MaxName)
		}
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// looksLikeID reports whether a text has the form of some noun's id.
func looksLikeID(text string) bool {
	prefix, body, found := strings.Cut(text, "_")
	return found && len(body) == idBodyLength && slices.Contains(idPrefixes(), prefix+"_")
}

// idPrefixes returns the prefixes of all nouns' ids.
func idPrefixes() []string {
	nouns := []noun{
		projectNoun{},
		sourceNoun{},
		eventNoun{},
		connectionNoun{},
		destinationNoun{},
		deliveryNoun{},
		attemptNoun{},
		refusalNoun{},
		tokenNoun{},
		replayNoun{},
		auditNoun{},
	}
	prefixes := make([]string, len(nouns))
	for i, n := range nouns {
		prefixes[i] = n.prefix()
	}
	return prefixes
}
