package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"malote.dev/malote/internal/hook"
)

// Field is the declaration of one setting.
type Field struct {
	Key     string // in the file, and as the flag --key
	Env     string // the environment variable
	Metavar string // what stands for the value in help texts; "" for a switch
	Default string // as it would be written; "" for none
	Group   string
	Help    string
	List    bool // may be given several times; separated by commas in the variable
	Switch  bool // true or false
	Secret  bool // never shown

	index int
}

// Fields returns the declarations of all settings in their order.
func Fields() []Field {
	t := reflect.TypeFor[Settings]()
	fields := make([]Field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("key")
		fields = append(fields, Field{
			Key:     key,
			Env:     envPrefix + strings.ToUpper(strings.ReplaceAll(key, "-", "_")),
			Metavar: f.Tag.Get("metavar"),
			Default: f.Tag.Get("default"),
			Group:   f.Tag.Get("group"),
			Help:    f.Tag.Get("help"),
			List:    f.Type.Kind() == reflect.Slice,
			Switch:  f.Type.Kind() == reflect.Bool,
			Secret:  f.Type == reflect.TypeFor[hook.Secret](),
			index:   i,
		})
	}
	return fields
}

func keys(fields []Field) []string {
	keys := make([]string, len(fields))
	for i := range fields {
		keys[i] = fields[i].Key
	}
	return keys
}

func findField(key string) (Field, bool) {
	for _, field := range Fields() {
		if field.Key == key {
			return field, true
		}
	}
	return Field{}, false
}

// Get returns the setting's value in s as it would be written; a list has its values
// separated by commas. A secret is shown as hook.Secret shows itself.
func (f *Field) Get(s *Settings) string {
	value := reflect.ValueOf(s).Elem().Field(f.index)
	switch {
	case f.List:
		values, _ := value.Interface().([]string)
		return strings.Join(values, ", ")
	case f.Switch:
		return strconv.FormatBool(value.Bool())
	default:
		return fmt.Sprint(value.Interface())
	}
}

// Set gives the setting a value from its texts: one, or any number for a list.
func (f *Field) Set(s *Settings, texts ...string) error {
	value := reflect.ValueOf(s).Elem().Field(f.index)
	if f.List {
		value.Set(reflect.ValueOf(append([]string(nil), texts...)))
		return nil
	}
	if len(texts) != 1 {
		return fmt.Errorf("one value is needed, not %d", len(texts))
	}
	switch reader, reads := value.Addr().Interface().(encoding.TextUnmarshaler); {
	case reads:
		return reader.UnmarshalText([]byte(texts[0]))
	case f.Switch:
		on, err := strconv.ParseBool(texts[0])
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", texts[0])
		}
		value.SetBool(on)
	default:
		value.SetString(texts[0])
	}
	return nil
}

// Default returns the settings of a run that is given none.
func Default() Settings {
	var s Settings
	for _, field := range Fields() {
		if field.Default == "" {
			continue
		}
		if err := field.Set(&s, field.Default); err != nil {
			panic(fmt.Sprintf("config: the default of %s: %v", field.Key, err)) // a test reads them all
		}
	}
	return s
}
