// Package message is the request as the rules of verification see it, and the templates
// that put parts of it together: the text that was signed, the answer to a handshake.
package message

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"malote.dev/malote/internal/hook"
)

// Request is what verification looks at. What it finds while reading is kept in it,
// so one Request serves one goroutine.
type Request struct {
	Method       string
	URL          string // absolute, as the sender knows it: called, or registered
	Path         string // what follows /in/{source}
	Query        string // raw, without "?"
	Headers      hook.Headers
	Body         []byte              // raw
	Remote       netip.Addr          // the sender
	Peer         netip.Addr          // the other end of the connection when that is a proxy; zero: Remote
	Certificates []*x509.Certificate // the client's chain, leaf first
	Now          time.Time

	query url.Values
	form  url.Values
	whole bool // form is all that the body holds
	kind  bodyKind
}

// bodyKind is how fields of a body are read; it is found on first use.
type bodyKind uint8

const (
	kindUnknown bodyKind = iota
	kindJSON
	kindForm
)

// WithBody returns a copy of the request that carries another body.
func (r *Request) WithBody(body []byte) *Request {
	other := *r
	other.Body, other.form, other.whole, other.kind = body, nil, false, kindUnknown
	return &other
}

// Connected returns the address at the other end of the connection.
func (r *Request) Connected() netip.Addr {
	if r.Peer.IsValid() {
		return r.Peer
	}
	return r.Remote
}

// QueryValue returns the first value of a query parameter.
func (r *Request) QueryValue(name string) string {
	if r.query == nil {
		// What is malformed is dropped and the rest is kept, which is all that is wanted here.
		r.query, _ = url.ParseQuery(r.Query)
	}
	return r.query.Get(name)
}

// Field returns a scalar of the body by its dotted path: of JSON, or of a form, where
// the path is the whole name. Numbers are returned as they are written.
func (r *Request) Field(path string) (string, bool) {
	if r.bodyKind() == kindForm {
		return r.formField(path)
	}
	return scalar(gjson.GetBytes(r.Body, gjsonPath(path)))
}

// formField finds a form's field by its name, by its name in brackets ("data[id]" for
// data.id), or inside a field that holds JSON ("payload.type").
func (r *Request) formField(path string) (string, bool) {
	if r.form.Has(path) {
		return r.form.Get(path), true
	}
	first, rest, deep := strings.Cut(path, ".")
	if !deep {
		return "", false
	}
	if bracketed := first + "[" + strings.ReplaceAll(rest, ".", "][") + "]"; r.form.Has(bracketed) {
		return r.form.Get(bracketed), true
	}
	// Not gjson.Valid: that recurses for every bracket, and a sender could exhaust the stack.
	if text := r.form.Get(first); text != "" && json.Valid([]byte(text)) {
		return scalar(gjson.Get(text, gjsonPath(rest)))
	}
	return "", false
}

func scalar(found gjson.Result) (string, bool) {
	switch found.Type {
	case gjson.String:
		return found.Str, true
	case gjson.Number, gjson.True, gjson.False:
		return found.Raw, true
	case gjson.Null, gjson.JSON:
		return "", false
	default:
		return "", false
	}
}

// gjsonPath takes the meaning off the characters that gjson gives one; only dots, and
// backslashes before a dot in a name, keep it.
func gjsonPath(path string) string {
	if !strings.ContainsAny(path, `*?|#@!{}[]()%=<>"`) {
		return path
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		if strings.IndexByte(`*?|#@!{}[]()%=<>"`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// Limits of multipart bodies: only short texts are of interest.
const (
	maxFormParts = 200
	maxFormValue = 64 << 10
)

// Form returns the parameters of an URL-encoded body; false when the body is none, or
// has pairs that cannot be read. Where parameters are signed rather than bytes, a pair
// that is passed over here could be read by somebody else.
func (r *Request) Form() (url.Values, bool) {
	whole := r.bodyKind() == kindForm && r.whole
	return r.form, whole
}

func (r *Request) bodyKind() bodyKind {
	if r.kind != kindUnknown {
		return r.kind
	}
	r.kind = kindJSON
	media, params, err := mime.ParseMediaType(r.Headers.Get("Content-Type"))
	if err != nil {
		return r.kind
	}
	switch media {
	case "application/x-www-form-urlencoded":
		r.kind = kindForm
		r.form, err = url.ParseQuery(string(r.Body)) // malformed pairs are dropped
		r.whole = err == nil
	case "multipart/form-data":
		r.kind = kindForm
		r.form = readMultipart(r.Body, params["boundary"])
	}
	return r.kind
}

func readMultipart(body []byte, boundary string) url.Values {
	values := url.Values{}
	if boundary == "" {
		return values
	}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxFormParts {
		part, err := reader.NextPart()
		if err != nil {
			break
		}
		if part.FileName() != "" || part.FormName() == "" {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(part, maxFormValue+1))
		if err != nil || len(text) > maxFormValue {
			continue
		}
		values.Add(part.FormName(), string(text))
	}
	return values
}
