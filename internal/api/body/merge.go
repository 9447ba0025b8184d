package body

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Patch applies a JSON merge patch (RFC 7396) to the JSON form of current and reads
// the result into into: absent keeps, null clears. The dotted paths in whole are
// fields that a patch replaces as a whole, because their value is one of several
// kinds that do not mix.
func Patch(current any, patch []byte, whole []string, into any) error {
	if err := check(patch); err != nil {
		return err
	}
	text, err := json.Marshal(current)
	if err != nil {
		return fmt.Errorf("writing the stored value: %w", err)
	}
	var stored, changes map[string]json.RawMessage
	if err := json.Unmarshal(text, &stored); err != nil {
		return fmt.Errorf("reading the stored value: %w", err)
	}
	if err := json.Unmarshal(patch, &changes); err != nil {
		return fmt.Errorf("reading the patch: %w", err)
	}
	replaced := make(map[string]bool, len(whole))
	for _, path := range whole {
		replaced[path] = true
	}
	merge("", stored, changes, replaced)
	merged, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("writing the patched value: %w", err)
	}
	return Decode(merged, into)
}

func merge(path string, stored, changes map[string]json.RawMessage, whole map[string]bool) {
	for name, change := range changes {
		at := join(path, name)
		if string(change) == "null" {
			delete(stored, name)
			continue
		}
		var below, old map[string]json.RawMessage
		if whole[at] || json.Unmarshal(change, &below) != nil {
			stored[name] = change
			continue
		}
		if json.Unmarshal(stored[name], &old) != nil || old == nil {
			old = map[string]json.RawMessage{}
		}
		merge(at, old, below, whole)
		merged, err := json.Marshal(old)
		if err != nil { // unreachable: every member was valid JSON
			merged = change
		}
		stored[name] = merged
	}
}

// Fields is the tree of the members that a body names, whatever their values. It
// tells an absent field from an empty one.
type Fields struct{ members map[string]json.RawMessage }

// Named reads the members of a JSON object; of anything else, there are none.
func Named(text []byte) Fields {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return Fields{}
	}
	return Fields{members: members}
}

// Has reports whether the body names the field with the dotted path, be its value
// null.
func (f Fields) Has(path string) bool {
	head, rest, deeper := strings.Cut(path, ".")
	value, ok := f.members[head]
	if !ok || !deeper {
		return ok
	}
	if items := []json.RawMessage(nil); json.Unmarshal(value, &items) == nil {
		return Fields{members: indexed(items)}.Has(rest)
	}
	return Named(value).Has(rest)
}

// indexed turns a list into members that are named by their position.
func indexed(items []json.RawMessage) map[string]json.RawMessage {
	members := make(map[string]json.RawMessage, len(items))
	for i, item := range items {
		members[strconv.Itoa(i)] = item
	}
	return members
}
