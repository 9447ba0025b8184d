package flow

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// leaf is one value of a spec with its dotted path.
type leaf struct {
	path   string
	text   string // exact
	secret bool
}

// leaves lists the values of a spec in their order. What the JSON form leaves out is
// left out here, so that an absent value and an empty one are the same.
func leaves(path string, value reflect.Value) []leaf {
	switch {
	case value.Kind() == reflect.Pointer:
		return pointed(path, value)
	case value.Type() == reflect.TypeFor[hook.Secret]():
		return []leaf{{path: path, text: value.String(), secret: true}}
	case strict.IsText(value.Type()):
		return []leaf{{path: path, text: written(value)}}
	case value.Kind() == reflect.Struct:
		return fields(path, value)
	case value.Kind() == reflect.Map:
		return entries(path, value)
	case value.Kind() == reflect.Slice:
		return items(path, value)
	default:
		return []leaf{{path: path, text: fmt.Sprint(value.Interface())}}
	}
}

// pointed lists what a pointer points to; that something is there counts, even if it is empty.
func pointed(path string, value reflect.Value) []leaf {
	if value.IsNil() {
		return nil
	}
	if inner := leaves(path, value.Elem()); len(inner) > 0 {
		return inner
	}
	return []leaf{{path: path, text: "{}"}}
}

func fields(path string, value reflect.Value) []leaf {
	var all []leaf
	for _, field := range strict.Fields(value.Type()) {
		inner := value.FieldByIndex(field.Index)
		if !inner.IsZero() {
			all = append(all, leaves(strings.TrimPrefix(path+"."+field.Name, "."), inner)...)
		}
	}
	return all
}

func entries(path string, value reflect.Value) []leaf {
	keys := make(map[string]reflect.Value, value.Len())
	for _, key := range value.MapKeys() {
		keys[key.String()] = value.MapIndex(key)
	}
	all := make([]leaf, 0, len(keys))
	for _, key := range names(keys) {
		inner := leaves(path+"."+key, keys[key])
		for i := range inner {
			inner[i].secret = inner[i].secret || isCredential(path, key)
		}
		all = append(all, inner...)
	}
	return all
}

// isCredential reports whether an entry of the mapping at path is a secret although
// its type does not say so: a header that proves who we are.
func isCredential(path, key string) bool {
	return strings.HasSuffix(path, "http.headers") && hook.CredentialHeader(key)
}

// items lists a list of plain values as one leaf, so that a person sees it whole.
func items(path string, value reflect.Value) []leaf {
	element := value.Type().Elem()
	whole := element != reflect.TypeFor[hook.Secret]() && (strict.IsText(element) || element.Kind() == reflect.String)
	var all []leaf
	var texts []string
	for i := range value.Len() {
		if whole {
			texts = append(texts, quoted(written(value.Index(i))))
			continue
		}
		at := path + "." + strconv.Itoa(i)
		if inner := leaves(at, value.Index(i)); len(inner) > 0 {
			all = append(all, inner...)
		} else {
			all = append(all, leaf{path: at, text: "{}"})
		}
	}
	if whole && len(texts) > 0 {
		return []leaf{{path: path, text: "[" + strings.Join(texts, ", ") + "]"}}
	}
	return all
}

// written returns a value's text as it stands in a file.
func written(value reflect.Value) string {
	if writer, ok := value.Interface().(encoding.TextMarshaler); ok {
		if text, err := writer.MarshalText(); err == nil {
			return string(text)
		}
	}
	return value.String()
}

func quoted(text string) string {
	if text == "" || strings.ContainsAny(text, ",[]\"\n\t ") {
		return strconv.Quote(text)
	}
	return text
}

// differences lists the fields in which two specs of one type differ.
func differences(old, next reflect.Value) []FieldChange {
	before := map[string]leaf{}
	for _, l := range leaves("", old) {
		before[l.path] = l
	}
	var changes []FieldChange
	for _, l := range leaves("", next) {
		was, there := before[l.path]
		delete(before, l.path)
		switch {
		case there && was.text == l.text:
		case l.secret && there:
			changes = append(changes, FieldChange{Path: l.path, Old: "(secret)", New: "(secret changed)"})
		default:
			changes = append(changes, FieldChange{Path: l.path, Old: shown(was), New: shown(l)})
		}
	}
	for _, l := range leaves("", old) {
		if _, gone := before[l.path]; gone {
			changes = append(changes, FieldChange{Path: l.path, Old: shown(l)})
		}
	}
	return changes
}

// maxShown is how much of a long text a plan shows, in characters.
const maxShown = 80

func shown(l leaf) string {
	switch {
	case l.path == "":
		return ""
	case l.secret:
		return "(secret)"
	case l.text == "":
		return `""`
	}
	text := l.text
	if strings.ContainsAny(text, "\n\r\t") {
		text = strconv.Quote(text)
	}
	if utf8.RuneCountInString(text) > maxShown {
		text = string([]rune(text)[:maxShown-1]) + "…"
	}
	return text
}
