// Package body reads the JSON bodies of requests into Go values, and says for every
// mistake where it is and how to mend it: unknown fields with the nearest known name,
// values of the wrong kind, texts that do not parse. It finds all mistakes at once.
//
// The limits of a body's size are the caller's; its depth is bounded by the types
// that it is read into and by encoding/json.
package body

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// maxProblems is how many mistakes are listed at once.
const maxProblems = 50

// Decode reads a JSON object into the struct that into points to. The error is a
// hook.KindInvalid error whose problems name the fields by their dotted paths. A null
// is the same as an absent field.
func Decode(text []byte, into any) error {
	if err := check(text); err != nil {
		return err
	}
	var d decoder
	d.value("", text, reflect.ValueOf(into).Elem())
	return hook.Invalid("the body cannot be read", d.problems)
}

// check refuses what is not one JSON object, and says where a syntax error is.
func check(text []byte) error {
	text = bytes.TrimSpace(text)
	var probe json.RawMessage
	if err := json.Unmarshal(text, &probe); err != nil {
		message := "it is not JSON: " + err.Error()
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			message = fmt.Sprintf("it is not JSON: %s, at byte %d", syntax.Error(), syntax.Offset)
		}
		return hook.Invalid("the body cannot be read", []hook.Problem{{Message: message}})
	}
	if text[0] != '{' {
		return hook.Invalid("the body cannot be read", []hook.Problem{{Message: "it must be a JSON object, not " + describe(text)}})
	}
	return nil
}

type decoder struct{ problems []hook.Problem }

func (d *decoder) failf(path, format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, hook.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

func (d *decoder) value(path string, text json.RawMessage, into reflect.Value) {
	text = bytes.TrimSpace(text)
	if string(text) == "null" {
		into.SetZero()
		return
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		d.value(path, text, into.Elem())
		return
	}
	object := text[0] == '{'
	if reader, ok := into.Addr().Interface().(json.Unmarshaler); ok && (!object || into.Kind() != reflect.Struct) {
		d.own(path, text, into, reader)
		return
	}
	if reader, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(path, text, reader)
		return
	}
	switch {
	case into.Kind() == reflect.Struct:
		d.structure(path, text, into)
	case into.Kind() == reflect.Map:
		d.mapping(path, text, into)
	case into.Kind() == reflect.Slice && into.Type().Elem().Kind() != reflect.Uint8:
		d.list(path, text, into)
	default:
		d.leaf(path, text, into)
	}
}

// own lets a type read its own short form.
func (d *decoder) own(path string, text json.RawMessage, into reflect.Value, reader json.Unmarshaler) {
	if err := reader.UnmarshalJSON(text); err != nil {
		message := plain(err)
		if into.Kind() == reflect.Struct && text[0] != '"' {
			message = fmt.Sprintf("must be %s, not %s", expected(into), describe(text))
		}
		d.failf(path, "%s", message)
	}
}

// text reads a type that parses its own text.
func (d *decoder) text(path string, text json.RawMessage, reader encoding.TextUnmarshaler) {
	var value string
	if err := json.Unmarshal(text, &value); err != nil {
		d.failf(path, "must be a text, not %s", describe(text))
		return
	}
	if err := reader.UnmarshalText([]byte(value)); err != nil {
		d.failf(path, "%s", plain(err))
	}
}

func (d *decoder) structure(path string, text json.RawMessage, into reflect.Value) {
	members, ok := d.members(path, text)
	if !ok {
		return
	}
	fields := map[string][]int{}
	for _, field := range strict.Fields(into.Type()) {
		if _, hidden := fields[field.Name]; !hidden {
			fields[field.Name] = field.Index
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		index, known := fields[name]
		if !known {
			d.failf(join(path, name), "is not a field that is known here%s", strict.Suggest(name, strict.Keys(into.Type())))
			continue
		}
		d.value(join(path, name), members[name], into.FieldByIndex(index))
	}
}

func (d *decoder) members(path string, text json.RawMessage) (map[string]json.RawMessage, bool) {
	var members map[string]json.RawMessage
	if text[0] != '{' || json.Unmarshal(text, &members) != nil {
		d.failf(path, "must be an object, not %s", describe(text))
		return nil, false
	}
	return members, true
}

func (d *decoder) mapping(path string, text json.RawMessage, into reflect.Value) {
	members, ok := d.members(path, text)
	if !ok {
		return
	}
	into.Set(reflect.MakeMapWithSize(into.Type(), len(members)))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := reflect.New(into.Type().Elem()).Elem()
		d.value(join(path, name), members[name], value)
		into.SetMapIndex(reflect.ValueOf(name).Convert(into.Type().Key()), value)
	}
}

func (d *decoder) list(path string, text json.RawMessage, into reflect.Value) {
	var items []json.RawMessage
	if text[0] != '[' || json.Unmarshal(text, &items) != nil {
		d.failf(path, "must be a list, not %s", describe(text))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(items), len(items)))
	for i, item := range items {
		d.value(join(path, strconv.Itoa(i)), item, into.Index(i))
	}
}

func (d *decoder) leaf(path string, text json.RawMessage, into reflect.Value) {
	if err := json.Unmarshal(text, into.Addr().Interface()); err != nil {
		d.failf(path, "must be %s, not %s", expected(into), describe(text))
	}
}

// expected names the kind of value that a field takes.
func expected(into reflect.Value) string {
	switch into.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a text in base64"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Struct:
		if strict.TakesText(into.Type()) {
			return "a text or an object"
		}
		return "a text"
	default:
		return "a whole number in range"
	}
}

// describe names the kind of a JSON value without repeating it: it may be a secret.
func describe(text json.RawMessage) string {
	switch text[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a text"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	default:
		return "the number " + string(text[:min(len(text), 40)])
	}
}

// plain drops the package's name that encoding/json puts before its messages.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "json: ") }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
