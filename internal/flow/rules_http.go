package flow

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/strict"
)

func (c *check) destination(spec *hook.DestinationSpec) {
	c.needf(spec.Concurrency >= 0 && spec.Concurrency <= maxConcurrency, "concurrency",
		"%d is out of range: it goes from 1 to %d", spec.Concurrency, maxConcurrency)
	if spec.HTTP == nil {
		c.failf("", "the destination has no kind: write http: and its url")
		return
	}
	if c.rules.Destination != nil {
		c.failed("", c.rules.Destination(spec))
		return
	}
	c.httpTarget(spec.HTTP)
}

func (c *check) httpTarget(target *hook.HTTPTarget) {
	c.link("http.url", target.URL)
	c.method(target.Method)
	for _, name := range names(target.Headers) {
		c.header("http.headers."+name, name, target.Headers[name])
	}
	if target.Auth != nil {
		c.auth(target.Auth)
	}
	if target.Sign != nil {
		c.sign(*target.Sign)
	}
	encodings := []string{"raw", "cloudevents-binary", "cloudevents-structured"}
	c.needf(target.Encoding == "" || slices.Contains(encodings, target.Encoding), "http.encoding",
		"unknown encoding %q%s", target.Encoding, strict.Suggest(target.Encoding, encodings))
	c.needf(target.Timeout <= hook.MaxTimeout, "http.timeout", "%s is too long: %s is the most", target.Timeout, hook.MaxTimeout)
	c.needf(target.CA == "" || x509.NewCertPool().AppendCertsFromPEM([]byte(target.CA)), "http.ca",
		"there is no certificate here: write PEM blocks that begin with -----BEGIN CERTIFICATE-----, or ${file:/path/ca.pem}")
}

// link checks an address that requests go to.
func (c *check) link(path, text string) {
	if text == "" {
		c.failf(path, "an address is needed, such as https://erp.example.com/orders")
		return
	}
	link, err := url.Parse(text)
	if err != nil || (link.Scheme != "https" && link.Scheme != "http") || link.Hostname() == "" {
		// The text is not repeated: it may hold credentials.
		c.failf(path, "this is not an address: write https://, the host, and the path")
		return
	}
	if c.rules.URL != nil {
		c.failed(path, c.rules.URL(text))
	}
}

func (c *check) method(method string) {
	methods := []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions}
	if method != "" && !slices.Contains(methods, method) {
		c.failf("http.method", "unknown method %q%s", method, strict.Suggest(method, methods))
	}
}

// header checks a header field by the grammar of RFC 9110, section 5.
func (c *check) header(path, name, value string) {
	c.needf(isToken(name), path, "%q cannot be a header's name: use letters, digits and '-'", name)
	c.needf(!strings.ContainsAny(value, "\r\n\x00"), path, "a header's value is one line")
	switch strings.ToLower(name) {
	case "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer":
		c.failf(path, "the header %s belongs to the connection and cannot be set: remove it", name)
	}
}

func isToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return text != ""
}

func (c *check) auth(auth *hook.Auth) {
	kinds := 0
	if auth.Bearer != "" {
		kinds++
		c.needf(!strings.ContainsAny(auth.Bearer.Reveal(), "\r\n\x00"), "http.auth.bearer", "a token is one line")
	}
	if basic := auth.Basic; basic != nil {
		kinds++
		c.needf(basic.Username != "" || basic.Password != "", "http.auth.basic", "a username and a password are needed")
		c.needf(!strings.Contains(basic.Username, ":"), "http.auth.basic.username", "a username of HTTP Basic has no colon (RFC 7617)")
	}
	if header := auth.Header; header != nil {
		kinds++
		c.needf(header.Value != "", "http.auth.header.value", "a value is needed")
		c.header("http.auth.header.name", header.Name, header.Value.Reveal())
	}
	if oauth := auth.OAuth2; oauth != nil {
		kinds++
		c.link("http.auth.oauth2.tokenUrl", oauth.TokenURL)
		c.needf(oauth.ClientID != "", "http.auth.oauth2.clientId", "the client's id is needed")
	}
	c.needf(kinds <= 1, "http.auth", "bearer, basic, header and oauth2 exclude each other: keep one of them")
	if cert := auth.MTLS; cert != nil {
		_, err := tls.X509KeyPair([]byte(cert.Cert), []byte(cert.Key.Reveal()))
		c.needf(err == nil, "http.auth.mtls", "the certificate and the key are not a pair of PEM texts: %v", err)
	}
}

// sign checks a signature; a secret that is missing stands for a generated one.
func (c *check) sign(sign hook.Sign) {
	if !sign.None && len(sign.AllSecrets()) == 0 {
		secret, err := signature.GenerateSecret(sign.Scheme)
		if err != nil {
			c.failed("http.sign", err)
			return
		}
		sign.Secret = secret
	}
	_, err := signature.NewSigner(&sign)
	c.failed("http.sign", err)
}
