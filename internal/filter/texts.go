package filter

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"mime/multipart"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"malote.dev/malote/internal/hook"
)

// maxFormFields bounds the fields that are read from a form body or a query.
const maxFormFields = 10_000

// form is the fields of a form body or a query, the first value of each name.
type form map[string]string

// parseForm reads what it can: a field that is not properly escaped is left out,
// because the rest may still say what the event is.
func parseForm(text string) form {
	fields := form{}
	for text != "" && len(fields) < maxFormFields {
		var pair string
		pair, text, _ = strings.Cut(text, "&")
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, nameErr := url.QueryUnescape(rawName)
		value, valueErr := url.QueryUnescape(rawValue)
		if errors.Join(nameErr, valueErr) != nil {
			continue
		}
		if _, ok := fields[name]; !ok {
			fields[name] = value
		}
	}
	return fields
}

// maxFormValue is the longest value that is read from a part of a multipart form.
// Longer ones are files.
const maxFormValue = 64 << 10

// parseMultipart reads the texts of a multipart form (RFC 7578) as far as it is well
// formed, and leaves its files out.
func parseMultipart(body []byte, boundary string) form {
	fields := form{}
	if boundary == "" {
		return fields
	}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for len(fields) < maxFormFields {
		part, err := reader.NextPart()
		if err != nil {
			break
		}
		name := part.FormName()
		if _, seen := fields[name]; seen || name == "" || part.FileName() != "" {
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, maxFormValue+1))
		if err == nil && len(value) <= maxFormValue {
			fields[name] = string(value)
		}
	}
	return fields
}

func (f form) text(name string) (string, bool) {
	value, ok := f[name]
	return value, ok
}

func (f form) names() []string { return slices.Sorted(maps.Keys(f)) }

// headerFields is a request's headers as expressions see them: names in lower case,
// the values of a repeated header joined by commas (RFC 9110, section 5.3).
type headerFields hook.Headers

func (h headerFields) text(name string) (string, bool) {
	first, found := "", false
	var more []string
	for i := range h {
		switch {
		case !strings.EqualFold(h[i].Name, name):
		case found:
			more = append(more, h[i].Value)
		default:
			first, found = h[i].Value, true
		}
	}
	if len(more) > 0 {
		return first + ", " + strings.Join(more, ", "), true
	}
	return first, found
}

func (h headerFields) names() []string {
	names := make([]string, len(h))
	for i := range h {
		names[i] = strings.ToLower(h[i].Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// textFields is a map of texts by name.
type textFields interface {
	text(name string) (string, bool)
	names() []string
}

// texts is textFields as a CEL map. It is used by pointer, because CEL compares values.
type texts[F textFields] struct{ fields F }

// FindStringKey lets CEL look up constant names without boxing them.
func (m *texts[F]) FindStringKey(name string) (any, bool) {
	value, ok := m.fields.text(name)
	if !ok {
		return nil, false
	}
	return types.String(value), true
}

// Find implements traits.Mapper.
func (m *texts[F]) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	value, ok := m.fields.text(string(name))
	if !ok {
		return nil, false
	}
	return types.String(value), true
}

// Get implements traits.Indexer.
func (m *texts[F]) Get(key ref.Val) ref.Val { return getFrom(m, key) }

// Contains implements traits.Container.
func (m *texts[F]) Contains(key ref.Val) ref.Val {
	_, ok := m.Find(key)
	return types.Bool(ok)
}

// Size implements traits.Sizer.
func (m *texts[F]) Size() ref.Val { return types.Int(len(m.fields.names())) }

// Iterator implements traits.Iterable.
func (m *texts[F]) Iterator() traits.Iterator { return &nameIterator{names: m.fields.names()} }

// ConvertToNative implements ref.Val.
func (m *texts[F]) ConvertToNative(target reflect.Type) (any, error) {
	return types.NewStringStringMap(types.DefaultTypeAdapter, m.native()).ConvertToNative(target)
}

// ConvertToType implements ref.Val.
func (m *texts[F]) ConvertToType(target ref.Type) ref.Val { return convertMap(m, target) }

// Equal implements ref.Val.
func (m *texts[F]) Equal(other ref.Val) ref.Val { return equalMaps(m, other) }

// Type implements ref.Val.
func (*texts[F]) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (m *texts[F]) Value() any { return m.native() }

func (m *texts[F]) native() map[string]string {
	native := map[string]string{}
	for _, name := range m.fields.names() {
		native[name], _ = m.fields.text(name)
	}
	return native
}
