package route

import (
	"net/http"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
)

// Reply is what a source answers to an accepted request, compiled.
type Reply struct {
	Status  int
	Headers hook.Headers // Content-Type included, in the order of their names
	parts   []string     // the body, cut at each place of the event's id
}

// eventPlace is what becomes the event's id in a reply's body.
const eventPlace = "{event}"

const defaultReplyBody = `{"id":"` + eventPlace + `"}`

func compileReply(reply *hook.Reply) Reply {
	if reply == nil {
		reply = &hook.Reply{}
	}
	compiled := Reply{Status: reply.Status}
	if compiled.Status == 0 {
		compiled.Status = http.StatusOK
	}
	body := reply.Body
	if body == "" {
		body = defaultReplyBody
	}
	// The two statuses never have a body (RFC 9110, section 6.4.1).
	if reply.Empty || compiled.Status == http.StatusNoContent || compiled.Status == http.StatusNotModified {
		body = ""
	}
	compiled.parts = strings.Split(body, eventPlace)
	for name, value := range reply.Headers {
		compiled.Headers = append(compiled.Headers, hook.Header{Name: name, Value: value})
	}
	if body != "" && compiled.Headers.Get("Content-Type") == "" {
		compiled.Headers = append(compiled.Headers, hook.Header{Name: "Content-Type", Value: mediaType(body)})
	}
	slices.SortFunc(compiled.Headers, func(a, b hook.Header) int { return strings.Compare(a.Name, b.Name) })
	return compiled
}

func mediaType(body string) string {
	switch body[0] {
	case '{', '[', '"':
		return "application/json"
	case '<':
		return "application/xml"
	default:
		return "text/plain; charset=utf-8"
	}
}

// AppendBody appends the body for an event to dst.
func (r *Reply) AppendBody(dst []byte, event hook.EventID) []byte {
	for i, part := range r.parts {
		if i > 0 {
			dst = append(dst, event.String()...)
		}
		dst = append(dst, part...)
	}
	return dst
}
