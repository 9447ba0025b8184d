package webhook

import (
	"context"
	"encoding/base64"
	"strings"

	"malote.dev/malote/internal/hook"
)

// authorizer says which header proves who sends a request.
type authorizer interface {
	// header returns the header to set.
	header(ctx context.Context) (hook.Header, error)
	// refuted is told that the header was answered 401. It reports whether another try
	// with a new one is worth it.
	refuted(header hook.Header) bool
}

// fixedAuth is a header that never changes.
type fixedAuth hook.Header

func (a fixedAuth) header(context.Context) (hook.Header, error) { return hook.Header(a), nil }
func (a fixedAuth) refuted(hook.Header) bool                    { return false }

const authorizationHeader = "Authorization"

// auth compiles how requests prove who sends them.
func (c *compiler) auth(d *driver, auth *hook.Auth) {
	if auth == nil {
		return
	}
	kinds := 0
	if auth.Bearer != "" {
		kinds++
		d.auth = fixedAuth{Name: authorizationHeader, Value: "Bearer " + auth.Bearer.Reveal()}
		c.secretValue("http.auth.bearer", auth.Bearer)
	}
	if auth.Basic != nil {
		kinds++
		d.auth = c.basic(auth.Basic)
	}
	if auth.Header != nil {
		kinds++
		c.header("http.auth.header.name", auth.Header.Name, "")
		c.secretValue("http.auth.header.value", auth.Header.Value)
		d.auth = fixedAuth{Name: auth.Header.Name, Value: auth.Header.Value.Reveal()}
	}
	if auth.OAuth2 != nil {
		kinds++
		if source := c.oauth2(d, auth.OAuth2); source != nil {
			d.auth = source
		}
	}
	if kinds > 1 {
		c.wrong("http.auth", "more than one kind is set: choose one of bearer, basic, header, oauth2")
	}
	if kinds == 0 && auth.MTLS == nil {
		c.wrong("http.auth", "no kind is set: choose one of bearer, basic, header, oauth2, mtls")
	}
	c.authConflict(d)
}

// authConflict finds a custom header that auth would set, too.
func (c *compiler) authConflict(d *driver) {
	name := authorizationHeader
	if fixed, ok := d.auth.(fixedAuth); ok {
		name = fixed.Name
	}
	if d.auth == nil || d.headers.Get(name) == "" {
		return
	}
	c.wrong("http.headers."+name, "it is set by http.auth, too; remove one of them")
}

// secretValue judges a secret that stands in a header.
func (c *compiler) secretValue(path string, secret hook.Secret) {
	switch value := secret.Reveal(); {
	case value == "":
		c.wrong(path, "it is empty")
	case len(value) > maxHeaderValue:
		c.wrong(path, "it is longer than %d bytes", maxHeaderValue)
	case !hook.IsHeaderValue(value):
		c.wrong(path, "it has a line break or another control character; was it read from a file?")
	}
}

func (c *compiler) basic(auth *hook.BasicAuth) authorizer {
	if auth.Username == "" && auth.Password == "" {
		c.wrong("http.auth.basic", "it is empty: a username and a password are needed")
	}
	if strings.Contains(auth.Username, ":") {
		c.wrong("http.auth.basic.username", "a user name cannot have a colon (RFC 7617)")
	}
	pair := auth.Username + ":" + auth.Password.Reveal()
	return fixedAuth{Name: authorizationHeader, Value: "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}
}
