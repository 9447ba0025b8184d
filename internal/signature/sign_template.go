package signature

import (
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
)

// signTemplate is a text with fields in braces, "{id}.{timestamp}.{body}", taken apart.
// "{{" and "}}" stand for the braces themselves.
type signTemplate []signPart

// signPart is a literal text or a field of a signTemplate.
type signPart struct {
	field signField
	text  string // the literal, or the separator of fieldSignatures
}

// signField is a value that a template can name.
type signField uint8

const (
	fieldLiteral     signField = iota
	fieldID                    // {id}: the message's id
	fieldTimestamp             // {timestamp}: Unix time in seconds
	fieldTimestampMs           // {timestampMs}: Unix time in milliseconds
	fieldBody                  // {body}: the bytes that are sent
	fieldURL                   // {url}: the absolute URL
	fieldMethod                // {method}: the request's method
	fieldSignature             // {signature}: the newest secret's signature
	fieldSignatures            // {signatures} or {signatures:SEPARATOR}: every live secret's signature
)

// signValues are the values that a template is filled with.
type signValues struct {
	message    *Message
	timestamp  string
	signatures [][]byte
}

// contentFields are the fields that a text to sign may have.
func contentFields() []signField {
	return []signField{fieldID, fieldTimestamp, fieldTimestampMs, fieldBody, fieldURL, fieldMethod}
}

// headerFields are the fields that a header's value may have. The body is none of
// them: it may hold line ends and has no limit that fits a header.
func headerFields() []signField {
	return []signField{fieldID, fieldTimestamp, fieldTimestampMs, fieldURL, fieldMethod, fieldSignature, fieldSignatures}
}

// String returns the field's name as written between braces.
func (f signField) String() string {
	switch f {
	case fieldID:
		return "id"
	case fieldTimestamp:
		return "timestamp"
	case fieldTimestampMs:
		return "timestampMs"
	case fieldBody:
		return "body"
	case fieldURL:
		return "url"
	case fieldMethod:
		return "method"
	case fieldSignature:
		return "signature"
	case fieldSignatures:
		return "signatures"
	case fieldLiteral:
		return ""
	default:
		return ""
	}
}

// maxTemplate is the longest template that is accepted, in bytes.
const maxTemplate = 4096

// parseSignTemplate takes text apart. Only the allowed fields may stand in it.
func parseSignTemplate(text string, allowed []signField) (signTemplate, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("is %d bytes long: a template has at most %d", len(text), maxTemplate)
	}
	var parts signTemplate
	var literal strings.Builder
	for rest := text; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			literal.WriteString(rest)
			break
		}
		literal.WriteString(rest[:i])
		brace := rest[i]
		column := len(text) - len(rest) + i + 1
		rest = rest[i+1:]
		switch {
		case rest != "" && rest[0] == brace:
			literal.WriteByte(brace)
			rest = rest[1:]
		case brace == '}':
			return nil, fmt.Errorf("column %d: a %q without its %q: write %q for the brace itself", column, "}", "{", "}}")
		default:
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				return nil, fmt.Errorf("column %d: a %q without its %q: write %q for the brace itself", column, "{", "}", "{{")
			}
			part, err := parseSignField(rest[:end], allowed)
			if err != nil {
				return nil, fmt.Errorf("column %d: %w", column, err)
			}
			parts = append(parts.withLiteral(&literal), part)
			rest = rest[end+1:]
		}
	}
	return parts.withLiteral(&literal), nil
}

// withLiteral returns t with the text that has gathered in literal, and empties literal.
func (t signTemplate) withLiteral(literal *strings.Builder) signTemplate {
	if literal.Len() > 0 {
		t = append(t, signPart{text: literal.String()})
		literal.Reset()
	}
	return t
}

// parseSignField reads what stands between braces.
func parseSignField(text string, allowed []signField) (signPart, error) {
	name, separator, separated := strings.Cut(text, ":")
	for _, field := range allowed {
		if field.String() != name {
			continue
		}
		if field != fieldSignatures {
			if separated {
				break
			}
			return signPart{field: field}, nil
		}
		if !separated {
			separator = ","
		}
		return signPart{field: field, text: separator}, nil
	}
	names := make([]string, len(allowed))
	for i, field := range allowed {
		names[i] = "{" + field.String() + "}"
	}
	return signPart{}, fmt.Errorf("{%s} cannot stand here: write one of %s", text, strings.Join(names, ", "))
}

// has reports whether one of the fields stands in the template.
func (t signTemplate) has(fields ...signField) bool {
	return slices.ContainsFunc(t, func(p signPart) bool { return slices.Contains(fields, p.field) })
}

// whole returns the value of a template that is one literal or one text field, so
// that no copy is made of it.
func (t signTemplate) whole(v *signValues) (string, bool) {
	if len(t) != 1 {
		return "", false
	}
	switch t[0].field {
	case fieldLiteral:
		return t[0].text, true
	case fieldID:
		return v.message.ID, true
	case fieldTimestamp:
		return v.timestamp, true
	case fieldURL:
		return v.message.URL, true
	case fieldMethod:
		return v.message.Method, true
	case fieldTimestampMs, fieldBody, fieldSignature, fieldSignatures:
		return "", false
	default:
		return "", false
	}
}

// append appends the filled template to dst.
func (t signTemplate) append(dst []byte, v *signValues) []byte {
	for i := range t {
		dst = t[i].append(dst, v)
	}
	return dst
}

// writeTo feeds the filled template to mac. The body goes there as it is; what stands
// around it is put together in scratch, which is returned for its capacity.
func (t signTemplate) writeTo(mac hash.Hash, scratch []byte, v *signValues) []byte {
	for i := range t {
		if t[i].field != fieldBody {
			scratch = t[i].append(scratch, v)
			continue
		}
		mac.Write(scratch)
		mac.Write(v.message.Body)
		scratch = scratch[:0]
	}
	mac.Write(scratch)
	return scratch
}

// append appends the part's value to dst.
func (p *signPart) append(dst []byte, v *signValues) []byte {
	switch p.field {
	case fieldLiteral:
		return append(dst, p.text...)
	case fieldID:
		return append(dst, v.message.ID...)
	case fieldTimestamp:
		return append(dst, v.timestamp...)
	case fieldTimestampMs:
		return strconv.AppendInt(dst, v.message.Time.UnixMilli(), 10)
	case fieldBody:
		return append(dst, v.message.Body...)
	case fieldURL:
		return append(dst, v.message.URL...)
	case fieldMethod:
		return append(dst, v.message.Method...)
	case fieldSignature:
		return append(dst, v.signatures[0]...)
	case fieldSignatures:
		for i, signature := range v.signatures {
			if i > 0 {
				dst = append(dst, p.text...)
			}
			dst = append(dst, signature...)
		}
	}
	return dst
}
