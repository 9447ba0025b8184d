package webhook

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
)

// encoding turns a message into a body, its content type, and headers beside it.
type encoding func(m *destination.Message) (encoded, error)

type encoded struct {
	body        []byte
	contentType string
	headers     hook.Headers
}

// encodeRaw sends the bytes as they are.
func encodeRaw(m *destination.Message) (encoded, error) {
	return encoded{body: m.Body, contentType: contentType(m)}, nil
}

const (
	typeJSON       = "application/json"
	typeBytes      = "application/octet-stream"
	typeCloudEvent = "application/cloudevents+json; charset=utf-8"
)

// contentType returns the type that the event came with; without one, or with one
// that cannot stand in a header, it is told from the first byte.
func contentType(m *destination.Message) string {
	if given := m.Event.Headers.Get("Content-Type"); given != "" && hook.IsHeaderValue(given) {
		return given
	}
	for _, b := range m.Body {
		switch b {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', '[':
			return typeJSON
		}
		break
	}
	return typeBytes
}

// Attributes of CloudEvents 1.0 that every event has.
const specVersion = "1.0"

// encodeBinary is the binary mode of the CloudEvents HTTP binding 1.0.2: the data is
// the body, the attributes are headers.
func encodeBinary(m *destination.Message) (encoded, error) {
	headers := hook.Headers{
		{Name: "Ce-Specversion", Value: specVersion},
		{Name: "Ce-Id", Value: m.Event.ID.String()},
		{Name: "Ce-Source", Value: percent(m.Source)},
		{Name: "Ce-Type", Value: percent(m.Event.Type)},
		{Name: "Ce-Time", Value: eventTime(m)},
	}
	if m.Event.Key != "" {
		headers = append(headers, hook.Header{Name: "Ce-Partitionkey", Value: percent(m.Event.Key)})
	}
	return encoded{body: m.Body, contentType: contentType(m), headers: headers}, nil
}

func eventTime(m *destination.Message) string {
	return m.Event.ReceivedAt.UTC().Format(time.RFC3339Nano)
}

// percent encodes an attribute's value for a header (HTTP binding, section 3.1.3.2):
// everything but printable ASCII, and the space, the quotation mark and the percent
// sign.
func percent(value string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; c > ' ' && c < 0x7f && c != '"' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// cloudEvent is the JSON format of CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Time        string          `json:"time"`
	Key         string          `json:"partitionkey,omitempty"`
	ContentType string          `json:"datacontenttype,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
	DataBase64  string          `json:"data_base64,omitempty"`
}

// encodeStructured is the structured mode: attributes and data in one JSON object.
// JSON data stands in it as it is, other text as a JSON text, all else as base64.
func encodeStructured(m *destination.Message) (encoded, error) {
	event := cloudEvent{
		SpecVersion: specVersion, ID: m.Event.ID.String(), Source: m.Source, Type: m.Event.Type,
		Time: eventTime(m), Key: m.Event.Key,
	}
	if len(m.Body) > 0 {
		event.ContentType = contentType(m)
		switch {
		case isJSONType(event.ContentType) && json.Valid(m.Body):
			event.Data = m.Body
		case utf8.Valid(m.Body):
			text, err := json.Marshal(string(m.Body))
			if err != nil {
				return encoded{}, err
			}
			event.Data = text
		default:
			event.DataBase64 = base64.StdEncoding.EncodeToString(m.Body)
		}
	}
	body, err := json.Marshal(event)
	if err != nil {
		return encoded{}, err
	}
	return encoded{body: body, contentType: typeCloudEvent}, nil
}

// isJSONType reports whether a media type holds JSON (RFC 6839, section 3.1).
func isJSONType(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return media == typeJSON || strings.HasSuffix(media, "+json")
}
