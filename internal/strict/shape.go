package strict

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// Field is one key of a struct as it stands in JSON and YAML.
type Field struct {
	Name  string       // the key
	Type  reflect.Type // of the value
	Index []int        // for reflect.Value.FieldByIndex
	Of    reflect.Type // the struct that declares it
	Go    string       // the Go name of the field in Of
}

// Fields returns the keys of a struct type in their order, those of embedded structs
// in the place of the struct.
func Fields(t reflect.Type) []Field {
	var fields []Field
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			for _, inner := range Fields(f.Type) {
				inner.Index = append([]int{i}, inner.Index...)
				fields = append(fields, inner)
			}
		default:
			if name == "" {
				name = f.Name
			}
			fields = append(fields, Field{Name: name, Type: f.Type, Index: []int{i}, Of: t, Go: f.Name})
		}
	}
	return fields
}

// Keys returns the names of a struct type's keys in their order.
func Keys(t reflect.Type) []string {
	fields := Fields(t)
	keys := make([]string, len(fields))
	for i := range fields {
		keys[i] = fields[i].Name
	}
	return keys
}

// IsText reports whether values of the type are written as one text that the type
// itself reads, such as a duration.
func IsText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// TakesText reports whether a struct type also accepts a plain text for short, as its
// own UnmarshalJSON defines.
func TakesText(t reflect.Type) bool {
	value := reflect.New(t)
	reader, ok := value.Interface().(json.Unmarshaler)
	return ok && reader.UnmarshalJSON([]byte(`"none"`)) == nil
}
