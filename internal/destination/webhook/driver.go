package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

// maxDrain is how much of an answer is read so that its connection can be used again.
// A longer answer costs its sender the connection.
const maxDrain = 1 << 20

// Headers that every request has, besides those of the signature. Names are in Go's
// canonical form, because that is the only one that a Header's methods find.
const (
	headerUserAgent   = "User-Agent"
	headerContentType = "Content-Type"
	headerID          = "Webhook-Id"
	headerEvent       = "Malote-Event-Id"
	headerEventType   = "Malote-Event-Type"
	headerAttempt     = "Malote-Attempt"
)

// usualHeaders is how many headers a request has room for before its list grows.
const usualHeaders = 16

// driver sends to one HTTP destination. It implements destination.Driver.
type driver struct {
	client    *http.Client
	private   bool // the client is this driver's own
	userAgent string
	method    string
	bodiless  bool
	url       *url.URL
	target    string // url as text
	encode    encoding
	headers   hook.Headers
	forward   []string
	auth      authorizer // nil: none
	signer    *signature.Signer
}

// Send implements destination.Driver.
func (d *driver) Send(ctx context.Context, m *destination.Message) (*destination.Answer, error) {
	answer := &destination.Answer{Method: d.method, URL: d.target}
	content, err := d.encode(m)
	if err != nil {
		return answer, &destination.Failure{Outcome: hook.OutcomeConfig, Message: "the event cannot be encoded: " + err.Error(), Err: err}
	}
	if d.bodiless {
		content.body = nil
	}
	answer.Sent, err = d.list(m, &content)
	if err != nil {
		return answer, &destination.Failure{Outcome: hook.OutcomeConfig, Message: "the delivery cannot be signed: " + err.Error(), Err: err}
	}
	if d.auth == nil {
		return answer, d.exchange(ctx, answer, answer.Sent, content.body)
	}
	return answer, d.authorized(ctx, answer, content.body)
}

// authorized makes the exchange with credentials, and once more with new ones where
// those were withdrawn before their time.
func (d *driver) authorized(ctx context.Context, answer *destination.Answer, body []byte) error {
	plain := answer.Sent
	for again := true; ; again = false {
		header, err := d.auth.header(ctx)
		if err != nil {
			return err
		}
		answer.Sent = append(slices.Clip(plain), hook.Header{Name: header.Name, Value: destination.Mask(header.Value)})
		if err := d.exchange(ctx, answer, append(slices.Clip(plain), header), body); err != nil {
			return err
		}
		if answer.Status != http.StatusUnauthorized || !again || !d.auth.refuted(header) {
			return nil
		}
		answer.Status, answer.Headers, answer.Body = 0, nil, nil
	}
}

// list returns the headers of the request, credentials apart.
func (d *driver) list(m *destination.Message, content *encoded) (hook.Headers, error) {
	list := make(hook.Headers, 0, usualHeaders)
	list = append(list, hook.Header{Name: headerUserAgent, Value: d.userAgent})
	if !d.bodiless {
		list = append(list, hook.Header{Name: headerContentType, Value: content.contentType})
	}
	id := m.Delivery.String()
	list = append(
		list,
		hook.Header{Name: headerID, Value: id},
		hook.Header{Name: headerEvent, Value: m.Event.ID.String()},
		hook.Header{Name: headerAttempt, Value: strconv.Itoa(m.Attempt)},
	)
	if m.Event.Type != "" && hook.IsHeaderValue(m.Event.Type) {
		list = append(list, hook.Header{Name: headerEventType, Value: m.Event.Type})
	}
	list = append(list, content.headers...)
	list = append(list, d.headers...)
	for _, name := range d.forward {
		for _, value := range m.Event.Headers.Values(name) {
			if hook.IsHeaderValue(value) {
				list = append(list, hook.Header{Name: name, Value: value})
			}
		}
	}
	message := signature.Message{ID: id, Time: m.Time, Method: d.method, URL: d.target, Body: content.body}
	err := d.signer.Sign(&message, func(name, value string) {
		name = canonical(name)
		if name != headerID || value != id {
			list = append(list, hook.Header{Name: name, Value: value})
		}
	})
	return list, err
}

// canonical is textproto.CanonicalMIMEHeaderKey, without memory for the names of the
// usual signatures.
func canonical(name string) string {
	switch name {
	case "webhook-id":
		return headerID
	case "webhook-timestamp":
		return "Webhook-Timestamp"
	case "webhook-signature":
		return "Webhook-Signature"
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// exchange makes one request and fills the answer from what comes back.
func (d *driver) exchange(ctx context.Context, answer *destination.Answer, headers hook.Headers, body []byte) error {
	req := (&http.Request{
		Method: d.method, URL: d.url, Host: d.url.Host, Header: toHeader(headers),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}).WithContext(ctx)
	if len(body) > 0 {
		req.ContentLength = int64(len(body))
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	// The transport itself, not the client: there is no redirect to follow, and its
	// errors do not repeat the URL.
	res, err := d.client.Transport.RoundTrip(req) //nolint:bodyclose // readBody closes it
	if err != nil {
		return err
	}
	answer.Status = res.StatusCode
	answer.Headers = fromHeader(res.Header)
	answer.Body = readBody(res)
	return nil
}

// toHeader turns a list into a Header whose values share one array.
func toHeader(list hook.Headers) http.Header {
	header := make(http.Header, len(list))
	values := make([]string, len(list))
	for i := range list {
		name := list[i].Name
		if earlier, ok := header[name]; ok {
			header[name] = append(earlier, list[i].Value)
			continue
		}
		values[i] = list[i].Value
		header[name] = values[i : i+1 : i+1]
	}
	return header
}

// fromHeader turns a Header into a list in the order of the names.
func fromHeader(header http.Header) hook.Headers {
	list := make(hook.Headers, 0, len(header))
	for name, values := range header {
		for _, value := range values {
			list = append(list, hook.Header{Name: name, Value: value})
		}
	}
	slices.SortStableFunc(list, func(a, b hook.Header) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// bodyBuffers holds *[]byte of hook.MaxKeptResponse bytes for answers of unknown length.
//
//nolint:gochecknoglobals // a pool holds memory, not state
var bodyBuffers = sync.Pool{New: func() any {
	buffer := make([]byte, hook.MaxKeptResponse)
	return &buffer
}}

// readBody returns the beginning of an answer's body and reads the rest as far as that
// is cheaper than a new connection. An answer that breaks off has still been given: its
// status counts.
func readBody(res *http.Response) []byte {
	defer func() { _ = res.Body.Close() }()
	if res.ContentLength == 0 {
		return nil
	}
	pooled := bodyBuffers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer bodyBuffers.Put(pooled)
	n, err := io.ReadFull(res.Body, *pooled)
	if err == nil && res.ContentLength <= maxDrain {
		_, _ = io.CopyN(io.Discard, res.Body, maxDrain-hook.MaxKeptResponse)
	}
	if n == 0 {
		return nil
	}
	return bytes.Clone((*pooled)[:n])
}

// Close implements destination.Driver.
func (d *driver) Close() error {
	if d.private {
		d.client.CloseIdleConnections()
	}
	return nil
}

// String names the driver's target in logs, without its path, which may hold a secret.
func (d *driver) String() string { return fmt.Sprintf("%s %s", d.method, d.url.Host) }
