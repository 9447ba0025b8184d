package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Errors of payloads that cannot be edited.
var (
	errNotJSON   = errors.New("the payload is not JSON")
	errNotObject = errors.New("the payload is not a JSON object, so an edit would replace all of it")
)

// edit applies a merge patch to a payload, which has to be an object: of anything else
// RFC 7396 leaves nothing, and that is hardly what somebody who edits a field wants.
func edit(payload, patch []byte) ([]byte, error) {
	payload = trim(payload)
	if !json.Valid(payload) {
		return nil, errNotJSON
	}
	if payload[0] != '{' {
		return nil, errNotObject
	}
	return merge(payload, patch)
}

// trim takes away the white space of JSON, and no other.
func trim(text []byte) []byte { return bytes.Trim(text, " \t\r\n") }

// merge applies a JSON merge patch (RFC 7396). What the patch does not name keeps its
// bytes, so that numbers stay as they were written, and its place. Both texts must be
// valid JSON.
func merge(target, patch json.RawMessage) (json.RawMessage, error) {
	patch = trim(patch)
	if patch[0] != '{' {
		return patch, nil
	}
	changes, err := membersOf(patch)
	if err != nil {
		return nil, err
	}
	var members []member
	if target = trim(target); len(target) > 0 && target[0] == '{' {
		if members, err = membersOf(target); err != nil {
			return nil, err
		}
	}
	for i := range changes {
		if members, err = change(members, &changes[i]); err != nil {
			return nil, err
		}
	}
	return join(members), nil
}

// change applies one member of a patch to the members of an object. A name that occurs
// more than once is one member afterwards, the last of them, as readers take it.
func change(members []member, by *member) ([]member, error) {
	same := func(m member) bool { return m.name == by.name }
	at := slices.IndexFunc(members, same)
	if string(by.value) == "null" {
		return slices.DeleteFunc(members, same), nil
	}
	var before json.RawMessage
	for i := range members {
		if members[i].name == by.name {
			before = members[i].value
		}
	}
	after, err := merge(before, by.value)
	if err != nil {
		return nil, err
	}
	if at < 0 {
		return append(members, member{name: by.name, key: by.key, value: after}), nil
	}
	members[at].value = after
	rest := slices.DeleteFunc(members[at+1:], same)
	return members[:at+1+len(rest)], nil
}

// member is one member of an object.
type member struct {
	name  string
	key   []byte // the name as it was written, quotation marks included
	value json.RawMessage
}

// membersOf reads an object's members in their order.
func membersOf(object []byte) ([]member, error) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if _, err := decoder.Token(); err != nil {
		return nil, fmt.Errorf("read an object: %w", err)
	}
	var members []member
	for decoder.More() {
		before := decoder.InputOffset()
		token, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("read a name: %w", err)
		}
		name, _ := token.(string) // in an object nothing else can stand here
		m := member{name: name, key: bytes.TrimLeft(object[before:decoder.InputOffset()], " \t\r\n,")}
		if err := decoder.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("read %q: %w", name, err)
		}
		members = append(members, m)
	}
	return members, nil
}

// join writes an object.
func join(members []member) json.RawMessage {
	text := []byte{'{'}
	for i := range members {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, members[i].key...)
		text = append(text, ':')
		text = append(text, members[i].value...)
	}
	return append(text, '}')
}

// Limits of an edit.
const (
	maxEdit      = 64 << 10 // bytes
	maxEditDepth = 32       // objects in objects
)

// checkEdit returns what is wrong with a merge patch; "" when it can be applied.
func checkEdit(patch []byte) string {
	patch = trim(patch)
	switch {
	case len(patch) > maxEdit:
		return fmt.Sprintf("it has %d bytes, %d is the most", len(patch), maxEdit)
	case !json.Valid(patch):
		return "it is not JSON"
	case patch[0] != '{':
		return `it must be a JSON object that names what changes, such as {"status": "open"}`
	case depth(patch) > maxEditDepth:
		return fmt.Sprintf("it has objects or lists more than %d deep", maxEditDepth)
	}
	return ""
}

// depth returns how deep a valid JSON text goes.
func depth(text []byte) int {
	deepest, now := 0, 0
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			now++
			deepest = max(deepest, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}
