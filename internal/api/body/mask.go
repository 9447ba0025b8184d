package body

import (
	"bytes"
	"encoding/json"
	"reflect"
	"unicode/utf8"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// Mask returns a body that was read into a value of the shape for people to look at:
// every secret is replaced by hook.Masked, and so is every member that the shape does
// not have. One that is longer than limit bytes is cut, and says so: it becomes an
// object with the number of its bytes and its beginning as a text. A body that is
// empty or no JSON is nil.
func Mask(text []byte, shape reflect.Type, limit int) json.RawMessage {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // as it was written
	if decoder.Decode(&value) != nil {
		return nil
	}
	masked, err := json.Marshal(mask(value, shape))
	if err != nil {
		return nil
	}
	if len(masked) <= limit {
		return masked
	}
	return cut(masked, limit)
}

// cut keeps the beginning of a text that is too long.
func cut(text []byte, limit int) json.RawMessage {
	for keep := limit; keep > 0; keep /= 2 {
		begin := text[:keep]
		for len(begin) > 0 && !utf8.Valid(begin) {
			begin = begin[:len(begin)-1]
		}
		short, err := json.Marshal(map[string]any{"bytes": len(text), "begin": string(begin)})
		if err == nil && len(short) <= limit {
			return short
		}
	}
	return nil
}

// mask returns a parsed JSON value without the secrets that a value of the shape may hold.
func mask(value any, shape reflect.Type) any {
	for shape.Kind() == reflect.Pointer {
		shape = shape.Elem()
	}
	if value == nil || shape == reflect.TypeFor[json.RawMessage]() {
		return value
	}
	if shape == reflect.TypeFor[hook.Secret]() {
		return hook.Masked
	}
	switch given := value.(type) {
	case map[string]any:
		return maskObject(given, shape)
	case []any:
		if kind := shape.Kind(); kind == reflect.Slice || kind == reflect.Array {
			for i := range given {
				given[i] = mask(given[i], shape.Elem())
			}
		}
		return given
	default:
		if kind := shape.Kind(); kind == reflect.Slice || kind == reflect.Map {
			return hook.Masked // no such value was read, and it may stand for a list of secrets
		}
		return value
	}
}

func maskObject(given map[string]any, shape reflect.Type) any {
	switch {
	case shape == reflect.TypeFor[hook.CustomHeaders]():
		for name := range given {
			if hook.CredentialHeader(name) {
				given[name] = hook.Masked
			}
		}
	case shape.Kind() == reflect.Map:
		for name := range given {
			given[name] = mask(given[name], shape.Elem())
		}
	case shape.Kind() == reflect.Struct:
		members := make(map[string]reflect.Type)
		for _, field := range strict.Fields(shape) {
			if _, hidden := members[field.Name]; !hidden {
				members[field.Name] = shape.FieldByIndex(field.Index).Type
			}
		}
		for name := range given {
			if member, known := members[name]; known {
				given[name] = mask(given[name], member)
			} else {
				given[name] = hook.Masked
			}
		}
	}
	return given
}
