package filter

import (
	"bytes"
	"mime"
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

// jsonSpace is the white space of JSON (RFC 8259, section 2).
const jsonSpace = " \t\r\n"

// look finds out what the payload is. A sender that declares a form and sends JSON
// (the default of curl -d) is believed by its bytes: an unescaped brace does not begin
// a form.
func (b *body) look() {
	if b.known {
		return
	}
	b.known = true
	payload := bytes.Trim(bytes.TrimPrefix(b.in.event.Payload, []byte("\xef\xbb\xbf")), jsonSpace)
	if len(payload) == 0 {
		b.kind = bodyEmpty
		return
	}
	switch mediaType, boundary := mediaTypeOf(b.in.event.Headers); {
	case payload[0] == '{' || payload[0] == '[':
	case mediaType == "application/x-www-form-urlencoded":
		b.kind, b.form = bodyForm, parseForm(string(payload))
		return
	case mediaType == "multipart/form-data":
		b.kind, b.form = bodyForm, parseMultipart(payload, boundary)
		return
	}
	text := alias(payload)
	if parts, ok := b.in.scan(text); ok {
		b.kind, b.root = bodyJSON, b.in.valueOf(text)
		switch root := b.root.(type) {
		case *object:
			root.parts, root.known = parts, true
		case *list:
			root.parts, root.known = parts, true
		}
	}
}

// alias is string(payload) without the copy, which would cost more than a filter does.
// It is sound because nobody changes the bytes of an event.
func alias(payload []byte) string {
	return unsafe.String(unsafe.SliceData(payload), len(payload)) //nolint:gosec // audited: see above
}

// mediaTypeOf reads a Content-Type. JSON, which is the most of them, needs no parsing.
func mediaTypeOf(headers hook.Headers) (mediaType, boundary string) {
	text := headers.Get("Content-Type")
	if text == "application/json" {
		return text, ""
	}
	mediaType, parameters, err := mime.ParseMediaType(text)
	if err != nil {
		return "", ""
	}
	return mediaType, parameters["boundary"]
}

// value returns the variable data: the JSON value, the form as a map, null for an
// empty body, and an error for what is neither.
func (b *body) value() ref.Val {
	b.look()
	if b.root != nil {
		return b.root
	}
	switch b.kind {
	case bodyForm:
		b.root = &texts[form]{b.form}
	case bodyEmpty:
		b.root = types.NullValue
	case bodyOther, bodyJSON:
		b.root = types.NewErr("the body is neither JSON nor a form, so data cannot be read")
	}
	return b.root
}

// valueOf turns a checked JSON text into a CEL value. Objects and arrays stay text
// until they are looked into. A number without fraction or exponent is an int, so that
// long ids keep all their digits.
func (in *Input) valueOf(raw string) ref.Val {
	value := gjson.Parse(raw)
	switch value.Type {
	case gjson.String:
		return types.String(value.Str)
	case gjson.Number:
		return numberOf(value)
	case gjson.True:
		return types.True
	case gjson.False:
		return types.False
	case gjson.JSON:
		if raw[0] == '[' {
			return &list{text: text{in: in, raw: raw}}
		}
		return &object{text: text{in: in, raw: raw}}
	case gjson.Null:
		return types.NullValue
	default:
		return types.NullValue
	}
}

func numberOf(value gjson.Result) ref.Val {
	if !strings.ContainsAny(value.Raw, ".eE") {
		if n, err := strconv.ParseInt(value.Raw, 10, 64); err == nil {
			return types.Int(n)
		}
		if n, err := strconv.ParseUint(value.Raw, 10, 64); err == nil {
			return types.Uint(n)
		}
	}
	return types.Double(value.Num)
}
