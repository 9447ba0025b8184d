package route

import (
	"net/url"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
)

// Confidential names the places where a source's requests carry a secret as it is.
// What is kept of a request has them masked, once the request is verified.
type Confidential struct {
	headers []string
	query   []string
}

// newConfidential finds the places in a rule. Credentials of HTTP itself are always
// among them: a sender may give them although nothing asks for them.
func newConfidential(rule *hook.Verify) Confidential {
	c := Confidential{headers: []string{"Authorization", "Proxy-Authorization", "Cookie"}}
	if rule != nil {
		c.collect(rule)
	}
	return c
}

func (c *Confidential) collect(rule *hook.Verify) {
	if rule.Token != nil {
		c.headers = appendName(c.headers, rule.Token.Header)
		c.query = appendName(c.query, rule.Token.Query)
	}
	if rule.JWT != nil {
		c.headers = appendName(c.headers, rule.JWT.Header)
		c.query = appendName(c.query, rule.JWT.Query)
	}
	for _, rules := range [][]hook.Verify{rule.AnyOf, rule.AllOf} {
		for i := range rules {
			c.collect(&rules[i])
		}
	}
}

func appendName(names []string, name string) []string {
	if name == "" || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

// MaskHeaders returns headers with the values of the confidential ones masked, which
// is headers itself when there are none.
func (c *Confidential) MaskHeaders(headers hook.Headers) hook.Headers {
	copied := false
	for i := range headers {
		if !c.hides(headers[i].Name) {
			continue
		}
		if !copied {
			headers, copied = slices.Clone(headers), true
		}
		headers[i].Value = hook.Masked
	}
	return headers
}

func (c *Confidential) hides(header string) bool {
	for _, name := range c.headers {
		if len(name) == len(header) && strings.EqualFold(name, header) {
			return true
		}
	}
	return false
}

// MaskQuery returns a query with the values of the confidential parameters masked.
func (c *Confidential) MaskQuery(query string) string {
	if len(c.query) == 0 || query == "" {
		return query
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, _, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		plain, err := url.QueryUnescape(name) // as those who read the parameter do
		if err == nil && slices.Contains(c.query, plain) {
			pairs[i] = name + "=" + hook.Masked
		}
	}
	return strings.Join(pairs, "&")
}
