package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/strict"
)

// Limits of a destination's settings.
const (
	maxURL         = 8 << 10
	maxHeaders     = 64
	maxHeaderValue = 4096
)

// The names of the encodings.
const (
	encodingRaw        = "raw"
	encodingBinary     = "cloudevents-binary"
	encodingStructured = "cloudevents-structured"
)

// compiler turns an HTTP target into a driver and collects what is wrong with it.
type compiler struct {
	factory  *Factory
	problems []hook.Problem
}

func (c *compiler) wrong(path, format string, args ...any) {
	c.problems = append(c.problems, hook.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *compiler) err() error {
	return hook.Invalid("this destination cannot be used", c.problems)
}

func (c *compiler) compile(target *hook.HTTPTarget) *driver {
	d := &driver{
		userAgent: c.factory.userAgent,
		method:    c.method(target.Method),
		url:       c.url("http.url", target.URL),
		encode:    c.encoding(target.Encoding),
		headers:   c.headers(target.Headers),
		forward:   c.forward(target.Forward),
		signer:    c.signer(target.Sign),
	}
	if d.url != nil {
		d.target = d.url.String()
	}
	d.bodiless = d.method == http.MethodGet || d.method == http.MethodHead
	if d.bodiless && target.Encoding == encodingStructured {
		c.wrong("http.encoding", "%s puts the event in the body, which a %s request does not have; use POST or PUT", encodingStructured, d.method)
	}
	c.timeout(target.Timeout)
	c.connect(d, target)
	c.auth(d, target.Auth)
	return d
}

func (c *compiler) method(method string) string {
	methods := []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions}
	switch {
	case method == "":
		return http.MethodPost
	case !slices.Contains(methods, method):
		c.wrong("http.method", "%q is not a method that can be used%s", method, strict.Suggest(method, methods))
	}
	return method
}

func (c *compiler) url(path, text string) *url.URL {
	if text == "" {
		c.wrong(path, "it is empty; write https://host/path")
		return nil
	}
	if len(text) > maxURL {
		c.wrong(path, "it is longer than %d bytes", maxURL)
		return nil
	}
	if err := c.factory.options.Guard.CheckURL(text); err != nil {
		c.wrong(path, "%s", err)
		return nil
	}
	parsed, err := url.Parse(text)
	if err != nil {
		c.wrong(path, "this is not a URL")
		return nil
	}
	parsed.Fragment, parsed.RawFragment = "", ""
	return parsed
}

func (c *compiler) encoding(name string) encoding {
	switch name {
	case "", encodingRaw:
		return encodeRaw
	case encodingBinary:
		return encodeBinary
	case encodingStructured:
		return encodeStructured
	}
	known := []string{encodingRaw, encodingBinary, encodingStructured}
	c.wrong("http.encoding", "%q is not an encoding%s", name, strict.Suggest(name, known))
	return encodeRaw
}

func (c *compiler) timeout(timeout hook.Duration) {
	if timeout < 0 || timeout > hook.MaxTimeout {
		c.wrong("http.timeout", "%s is too long; an attempt takes at most %s", timeout, hook.MaxTimeout)
	}
	if timeout > 0 && timeout < hook.Duration(time.Millisecond) {
		c.wrong("http.timeout", "%s is too short for any answer", time.Duration(timeout))
	}
}

func (c *compiler) headers(headers map[string]string) hook.Headers {
	if len(headers) > maxHeaders {
		c.wrong("http.headers", "there are %d, at most %d are possible", len(headers), maxHeaders)
		return nil
	}
	list := make(hook.Headers, 0, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		c.header("http.headers."+name, name, headers[name])
		list = append(list, hook.Header{Name: name, Value: headers[name]})
	}
	return list
}

// header judges one header that a person set.
func (c *compiler) header(path, name, value string) {
	if reason := reserved(name); reason != "" {
		c.wrong(path, "%s", reason)
	}
	switch {
	case len(value) > maxHeaderValue:
		c.wrong(path, "the value is longer than %d bytes", maxHeaderValue)
	case !hook.IsHeaderValue(value):
		c.wrong(path, "the value has a line break or another control character")
	}
}

func (c *compiler) forward(names []string) []string {
	list := make([]string, 0, len(names))
	for i, name := range names {
		path := fmt.Sprintf("http.forward.%d", i)
		if strings.EqualFold(name, "content-type") {
			continue
		}
		if reason := reserved(name); reason != "" {
			c.wrong(path, "%s", reason)
		}
		list = append(list, textproto.CanonicalMIMEHeaderKey(name))
	}
	return list
}

func (c *compiler) signer(sign *hook.Sign) *signature.Signer {
	signer, err := signature.NewSigner(sign)
	if err == nil {
		return signer
	}
	if invalid, ok := errors.AsType[*hook.Error](err); ok {
		for _, problem := range invalid.Problems {
			c.wrong(joinPath("http.sign", problem.Path), "%s", problem.Message)
		}
		return nil
	}
	c.wrong("http.sign", "%s", err)
	return nil
}

func joinPath(parent, child string) string {
	if child == "" {
		return parent
	}
	return parent + "." + child
}

// connect chooses the client: the one that all share, or one with the certificates of
// this destination.
func (c *compiler) connect(d *driver, target *hook.HTTPTarget) {
	var roots *x509.CertPool
	if target.CA != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(target.CA)) {
			c.wrong("http.ca", "there is no certificate in it; write PEM, beginning with -----BEGIN CERTIFICATE-----")
		}
	}
	var certificates []tls.Certificate
	if target.Auth != nil && target.Auth.MTLS != nil {
		pair, err := tls.X509KeyPair([]byte(target.Auth.MTLS.Cert), []byte(target.Auth.MTLS.Key.Reveal()))
		if err != nil {
			// The errors of X509KeyPair name what is missing and never the key.
			c.wrong("http.auth.mtls", "%s", strings.TrimPrefix(err.Error(), "tls: "))
		}
		certificates = append(certificates, pair)
	}
	d.client = c.factory.client
	if roots != nil || certificates != nil {
		d.client = c.factory.privateClient(roots, certificates)
		d.private = true
		if d.url != nil && d.url.Scheme != "https" {
			c.wrong("http.url", "certificates are set and the URL is not https")
		}
	}
}

// reserved returns why a header's name cannot be set; "" when it can. What the
// transport, the signature or the clouds that may stand between give a meaning to is
// not a person's to set.
func reserved(name string) string {
	if !hook.IsHeaderName(name) {
		return fmt.Sprintf("%q is not a header name", name)
	}
	lower := strings.ToLower(name)
	switch lower {
	case "user-agent", "host", "connection", "keep-alive", "te", "trailer", "trailers", "transfer-encoding", "upgrade", "expect",
		"age", "cache-control", "clear-site-data", "expires", "pragma", "warning",
		"content-length", "content-type", "content-encoding", "content-language", "content-location":
		return name + " is set by the transport and cannot be set here"
	}
	for _, prefix := range []string{
		"proxy-", "webhook-", "malote-", "ce-", "svix-", "x-svix-",
		"x-amz-", "x-amzn-", "x-google", "x-goog-", "x-gfe", "x-azure-", "x-fd-",
	} {
		if strings.HasPrefix(lower, prefix) {
			return fmt.Sprintf("names that begin with %s are reserved", prefix)
		}
	}
	return ""
}
