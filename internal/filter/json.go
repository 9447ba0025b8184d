package filter

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unsafe"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/tidwall/gjson"

	"malote.dev/malote/internal/hook"
)

// body is an event's payload, looked at once and read lazily.
type body struct {
	in    *Input
	known bool
	kind  bodyKind
	text  string  // the payload without a byte order mark, for bodyJSON
	form  form    // for bodyForm
	root  ref.Val // the variable data
}

// bodyKind is what a payload was found to be.
type bodyKind uint8

const (
	bodyOther bodyKind = iota // neither JSON nor a form
	bodyJSON
	bodyForm
	bodyEmpty
)

const formMediaType = "application/x-www-form-urlencoded"

// look finds out what the payload is. A sender that declares a form and sends JSON
// (the default of curl -d) is believed by its bytes: an unescaped brace does not begin
// a form.
func (b *body) look() {
	if b.known {
		return
	}
	b.known = true
	payload := bytes.TrimPrefix(b.in.event.Payload, []byte("\xef\xbb\xbf"))
	if len(payload) == 0 {
		b.kind = bodyEmpty
		return
	}
	declaredForm := isForm(b.in.event.Headers)
	if declaredForm && payload[0] != '{' && payload[0] != '[' {
		b.kind, b.form = bodyForm, parseForm(string(payload))
		return
	}
	if ValidJSON(payload) {
		b.kind, b.text = bodyJSON, alias(payload)
	}
}

// alias is string(payload) without the copy, which would cost more than a filter does.
// It is sound because nobody changes the bytes of an event.
func alias(payload []byte) string {
	return unsafe.String(unsafe.SliceData(payload), len(payload))
}

func isForm(headers hook.Headers) bool {
	mediaType, _, _ := strings.Cut(headers.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), formMediaType)
}

// shallow is the nesting up to which the fast, recursive check of JSON is used.
const shallow = 1000

// ValidJSON reports whether payload is one JSON value, nested no deeper than
// encoding/json allows. What passes is safe to read with gjson.
func ValidJSON(payload []byte) bool {
	// The fast check is recursive, so that many brackets could exhaust its stack.
	if bytes.Count(payload, []byte{'{'})+bytes.Count(payload, []byte{'['}) > shallow {
		return json.Valid(payload)
	}
	return gjson.ValidBytes(payload)
}

// value returns the variable data: the JSON value, the form as a map, null for an
// empty body, and an error for what is neither.
func (b *body) value() ref.Val {
	if b.root != nil {
		return b.root
	}
	b.look()
	switch b.kind {
	case bodyJSON:
		b.root = b.in.valueOf(gjson.Parse(b.text))
	case bodyForm:
		b.root = &texts[form]{b.form}
	case bodyEmpty:
		b.root = types.NullValue
	case bodyOther:
		b.root = types.NewErr("the body is neither JSON nor a form, so data cannot be read")
	}
	return b.root
}

// valueOf turns a part of a checked JSON text into a CEL value. Objects and arrays
// stay text until they are looked into. A number without fraction or exponent is an
// int, so that long ids keep all their digits.
func (in *Input) valueOf(part gjson.Result) ref.Val {
	switch part.Type {
	case gjson.String:
		return types.String(part.Str)
	case gjson.Number:
		return numberOf(part)
	case gjson.True:
		return types.True
	case gjson.False:
		return types.False
	case gjson.JSON:
		raw := strings.TrimRight(part.Raw, " \t\r\n")
		if raw[0] == '[' {
			return &list{in: in, raw: raw}
		}
		return &object{in: in, raw: raw}
	case gjson.Null:
		return types.NullValue
	default:
		return types.NullValue
	}
}

func numberOf(part gjson.Result) ref.Val {
	if !strings.ContainsAny(part.Raw, ".eE") {
		if n, err := strconv.ParseInt(part.Raw, 10, 64); err == nil {
			return types.Int(n)
		}
		if n, err := strconv.ParseUint(part.Raw, 10, 64); err == nil {
			return types.Uint(n)
		}
	}
	return types.Double(part.Num)
}

// member returns the member of the object raw with exactly this name; the first one
// when the name comes twice.
func member(raw, name string) (gjson.Result, bool) {
	if name == "" {
		return emptyMember(raw)
	}
	// Escaped, every character of a path stands for itself: no wildcard, no query, no modifier.
	found := gjson.Get(raw, gjson.Escape(name))
	return found, found.Exists()
}

// emptyMember finds the member named "", for which gjson has no path.
func emptyMember(raw string) (found gjson.Result, ok bool) {
	gjson.Parse(raw).ForEach(func(key, value gjson.Result) bool {
		if key.Str == "" {
			found, ok = value, true
		}
		return !ok
	})
	return found, ok
}
