package rule

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// tokenCheck compares a shared token.
type tokenCheck struct {
	header, query, path string
	prefix              string
	tokens              []indexed
}

// indexed is a secret's text and its 1-based place; 0 for the rule's own.
type indexed struct {
	text   string
	secret int
}

// shared returns the source's secrets and the rule's own one.
func (c *compiler) shared(own hook.Secret, p *problems) []indexed {
	out := make([]indexed, 0, len(c.Secrets)+1)
	for i, secret := range c.Secrets {
		out = append(out, indexed{secret.Value.Reveal(), i + 1})
	}
	if own != "" {
		out = append(out, indexed{own.Reveal(), 0})
	}
	if len(out) == 0 {
		c.needSecrets(p)
	}
	return out
}

// match returns the secret that equals the text. Every one is compared, so that the
// time tells nothing.
func match(secrets []indexed, text string) (indexed, bool) {
	var fit indexed
	ok := false
	for _, one := range secrets {
		if one.text != "" && subtle.ConstantTimeCompare([]byte(one.text), []byte(text)) == 1 {
			fit, ok = one, true
		}
	}
	return fit, ok
}

func (c *compiler) token(spec *hook.TokenRule, p *problems) node {
	check := &tokenCheck{
		header: spec.Header, query: spec.Query, path: spec.Path, prefix: spec.Prefix,
		tokens: c.shared(spec.Secret, p),
	}
	if count(spec.Header != "", spec.Query != "", spec.Path != "") != 1 {
		p.addf("", "say where the token is: one of header, query or path")
	}
	out := node{check: check}
	if spec.Header != "" {
		out.headers = []string{spec.Header}
	}
	return out
}

func (t *tokenCheck) locate(req *message.Request) (text, place string) {
	switch {
	case t.header != "":
		return req.Headers.Get(t.header), "the header " + t.header
	case t.query != "":
		return req.QueryValue(t.query), "the query parameter " + t.query
	default:
		text, _ = req.Field(t.path) // absent and empty are the same
		return text, "the field " + t.path
	}
}

func (t *tokenCheck) verify(_ context.Context, req *message.Request) (hook.Verdict, error) {
	text, place := t.locate(req)
	if text == "" {
		return hook.Verdict{}, refusef(MissingToken, "There is no token: %s is missing.", place)
	}
	text, ok := cutPrefixFold(text, t.prefix)
	if !ok {
		return hook.Verdict{}, refusef(BadToken, "The token in %s does not begin with %q.", place, t.prefix)
	}
	fit, ok := match(t.tokens, text)
	if !ok {
		return hook.Verdict{}, refusef(BadToken, "The token in %s is not one of the source's secrets.", place)
	}
	return hook.Verdict{Scheme: "token", Verified: true, Secret: fit.secret}, nil
}

func cutPrefixFold(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

// basicCheck is HTTP Basic authentication (RFC 7617).
type basicCheck struct {
	username  string
	passwords []indexed
}

func (c *compiler) basic(spec *hook.BasicRule, p *problems) node {
	check := &basicCheck{username: c.expand(spec.Username, "username", p), passwords: c.shared(spec.Password, p)}
	return node{check: check, headers: []string{"Authorization"}}
}

func (b *basicCheck) verify(_ context.Context, req *message.Request) (hook.Verdict, error) {
	encoded, ok := cutPrefixFold(req.Headers.Get("Authorization"), "Basic ")
	if !ok {
		return hook.Verdict{}, refusef(MissingCredential, "There are no HTTP Basic credentials: the header Authorization is missing or of another kind.")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	username, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return hook.Verdict{}, refusef(BadCredential, "The HTTP Basic credentials cannot be read.")
	}
	fit, known := match(b.passwords, password)
	named := b.username == "" || subtle.ConstantTimeCompare([]byte(b.username), []byte(username)) == 1
	switch {
	case !named && !known:
		return hook.Verdict{}, refusef(BadCredential, "The HTTP Basic user and password are wrong.")
	case !named:
		return hook.Verdict{}, refusef(BadCredential, "The HTTP Basic user is wrong.")
	case !known:
		return hook.Verdict{}, refusef(BadCredential, "The HTTP Basic password is not one of the source's secrets.")
	}
	return hook.Verdict{Scheme: "basic", Verified: true, Secret: fit.secret}, nil
}
