package body

import (
	"reflect"
	"strconv"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// Carry copies the secrets of a stored noun into a changed one where the request does
// not name them: answers never show secrets, so whoever sends back what was read
// leaves them out, and means to keep them. A null clears.
func Carry[T any](stored, changed *T, named Fields) {
	carryValue("", reflect.ValueOf(stored).Elem(), reflect.ValueOf(changed).Elem(), named)
}

func carryValue(path string, from, to reflect.Value, named Fields) {
	switch {
	case from.Type() == reflect.TypeFor[hook.Secret](), from.Type() == reflect.TypeFor[[]hook.Secret]():
		if to.IsZero() && !named.Has(path) {
			to.Set(from)
		}
	case from.Type() == reflect.TypeFor[hook.CustomHeaders]():
		carryHeaders(from, to)
	case from.Kind() == reflect.Pointer:
		if !from.IsNil() && !to.IsNil() {
			carryValue(path, from.Elem(), to.Elem(), named)
		}
	case from.Type() == reflect.TypeFor[hook.Auth]():
		carryAuth(path, from, to, named)
	case from.Kind() == reflect.Struct:
		carryFields(path, from, to, named)
	case from.Kind() == reflect.Slice:
		for i := range min(from.Len(), to.Len()) {
			carryValue(path+"."+strconv.Itoa(i), from.Index(i), to.Index(i), named)
		}
	}
}

func carryFields(path string, from, to reflect.Value, named Fields) {
	for _, field := range strict.Fields(from.Type()) {
		below := field.Name
		if path != "" {
			below = path + "." + below
		}
		carryValue(below, from.FieldByIndex(field.Index), to.FieldByIndex(field.Index), named)
	}
}

// carryHeaders keeps the values of credentials that come back empty, as answers show
// them.
func carryHeaders(from, to reflect.Value) {
	stored, _ := from.Interface().(hook.CustomHeaders)
	changed, _ := to.Interface().(hook.CustomHeaders)
	for name, value := range changed {
		if value == "" && hook.CredentialHeader(name) {
			changed[name] = stored[name]
		}
	}
}

// carryAuth does not bring back the bearer token beside a new kind of authentication.
func carryAuth(path string, from, to reflect.Value, named Fields) {
	auth, ok := to.Addr().Interface().(*hook.Auth)
	carryFields(path, from, to, named)
	if ok && (auth.Basic != nil || auth.Header != nil || auth.OAuth2 != nil) && !named.Has(path+".bearer") {
		auth.Bearer = ""
	}
}

// CountSecrets returns how many secrets a value holds.
func CountSecrets(value any) int { return countSecrets(reflect.ValueOf(value)) }

func countSecrets(v reflect.Value) int {
	switch {
	case v.Type() == reflect.TypeFor[hook.Secret]():
		if v.IsZero() {
			return 0
		}
		return 1
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			return 0
		}
		return countSecrets(v.Elem())
	}
	count := 0
	if v.Kind() == reflect.Struct {
		for _, field := range strict.Fields(v.Type()) {
			count += countSecrets(v.FieldByIndex(field.Index))
		}
	}
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			count += countSecrets(v.Index(i))
		}
	}
	return count
}
