package hook

import (
	"maps"
	"reflect"
)

// Secret is a text that must not be shown: keys, tokens, passwords. Printing and
// logging it shows only that it is there. Marshalling to JSON reveals it, because
// that is how it is stored (sealed) and submitted: whatever leaves the program
// passes through Redact first.
type Secret string

// Masked stands in texts for people where a secret was.
const Masked = "[secret]"

// String hides the secret from fmt, and with it from logs, which package telemetry
// makes print through fmt.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Masked
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Redact returns a deep copy of v in which every Secret is empty, however deep it
// lies in structs, pointers, slices and maps, and every credential of CustomHeaders. Nouns pass through it on their way out.
func Redact[T any](v T) T {
	out := reflect.New(reflect.TypeFor[T]()).Elem()
	redact(reflect.ValueOf(&v).Elem(), out)
	return out.Interface().(T) //nolint:forcetypeassert // out was made as a T
}

// redacted returns a copy in which the credentials are empty.
func (h CustomHeaders) redacted() CustomHeaders {
	shown := maps.Clone(h)
	for name := range shown {
		if CredentialHeader(name) {
			shown[name] = ""
		}
	}
	return shown
}

var secretType = reflect.TypeFor[Secret]() //nolint:gochecknoglobals // a constant

func redact(from, to reflect.Value) {
	if from.Type() == secretType {
		return
	}
	switch from.Kind() {
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(from.Type().Elem()))
			redact(from.Elem(), to.Elem())
		}
	case reflect.Struct:
		to.Set(from)
		for i := range from.NumField() {
			if from.Type().Field(i).IsExported() {
				to.Field(i).SetZero()
				redact(from.Field(i), to.Field(i))
			}
		}
	case reflect.Slice:
		if from.IsNil() {
			return
		}
		if from.Type().Elem() == secretType {
			return
		}
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		for i := range from.Len() {
			redact(from.Index(i), to.Index(i))
		}
	case reflect.Map:
		if from.IsNil() {
			return
		}
		redactMap(from, to)
	default:
		to.Set(from)
	}
}

func redactMap(from, to reflect.Value) {
	if headers, ok := from.Interface().(CustomHeaders); ok {
		to.Set(reflect.ValueOf(headers.redacted()))
		return
	}
	to.Set(reflect.MakeMapWithSize(from.Type(), from.Len()))
	for entries := from.MapRange(); entries.Next(); {
		value := reflect.New(from.Type().Elem()).Elem()
		redact(entries.Value(), value)
		to.SetMapIndex(entries.Key(), value)
	}
}
