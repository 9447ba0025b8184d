// Package rule is the engine behind verification: it compiles a hook.Verify once and
// then holds requests against it. Nearly every provider is an instance of one
// declarative rule (where the signature is, how it is written, what it signs, with
// which key); the few that are not have a small verifier of their own in code_*.go.
package rule

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// Options is what a rule is compiled from.
type Options struct {
	Verify   hook.Verify
	Secrets  []Secret
	Settings map[string]string
	Keys     KeyFetcher // may be nil when nothing has to be fetched
}

// Secret is one of the source's secrets, and where it stands in the source's
// specification, for messages.
type Secret struct {
	Value hook.Secret
	Path  string
}

// KeyFetcher gets public keys and certificates by https. The program's own is guarded,
// capped and cached.
type KeyFetcher interface {
	Fetch(ctx context.Context, address string) ([]byte, error)
}

// KeyRefresher is a KeyFetcher that keeps what it got. Refresh passes over that for a
// caller who lacks a key in it, within a pace of its own: anybody can name a key.
type KeyRefresher interface {
	KeyFetcher
	Refresh(ctx context.Context, address string) ([]byte, error)
}

// Rule is a compiled hook.Verify. It is safe for concurrent use.
type Rule struct {
	check      checker
	coversBody bool
	headers    []string
}

// checker is one scheme. The error is a *Refusal.
type checker interface {
	verify(ctx context.Context, req *message.Request) (hook.Verdict, error)
}

// Compile builds the rule. The problems name the wrong fields by their path below the
// source's specification, such as "verify.hmac.encoding".
func Compile(options Options) (*Rule, []hook.Problem) {
	c := &compiler{Options: options}
	root := &problems{prefix: "verify", list: &c.found}
	node := c.compile(&options.Verify, root, 0)
	if len(c.found) > 0 {
		return nil, c.found
	}
	return &Rule{check: node.check, coversBody: node.coversBody, headers: node.headers}, nil
}

// Check verifies one request. The error is a *Refusal.
func (r *Rule) Check(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	return r.check.verify(ctx, req)
}

// CoversBody says whether a request that passes has a body that nobody changed on the
// way, as far as the scheme can tell.
func (r *Rule) CoversBody() bool { return r.coversBody }

// Headers returns the names of the header fields that the rule reads, for explanations.
func (r *Rule) Headers() []string { return r.headers }

// node is a compiled part of the tree.
type node struct {
	check      checker
	coversBody bool
	headers    []string
}

type compiler struct {
	Options

	found []hook.Problem
}

// problems collects what is wrong, below a path.
type problems struct {
	prefix string
	list   *[]hook.Problem
}

func (p *problems) addf(path, format string, args ...any) {
	p.addAtf(p.path(path), format, args...)
}

// addAtf adds a problem whose path does not stand below the prefix.
func (p *problems) addAtf(path, format string, args ...any) {
	*p.list = append(*p.list, hook.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (p *problems) at(path string) *problems {
	return &problems{prefix: p.path(path), list: p.list}
}

func (p *problems) path(path string) string {
	if path == "" {
		return p.prefix
	}
	return p.prefix + "." + path
}

// maxDepth bounds how deep anyOf and allOf nest.
const maxDepth = 4

const schemeNames = "none, standard, token, basic, hmac, public, jwt, mtls, code, anyOf or allOf"

func (c *compiler) compile(v *hook.Verify, p *problems, depth int) node {
	schemes := count(v.None, v.Standard != nil, v.Token != nil, v.Basic != nil, v.HMAC != nil, v.Public != nil,
		v.JWT != nil, v.MTLS != nil, v.Code != "", len(v.AnyOf) > 0, len(v.AllOf) > 0)
	var out node
	switch {
	case depth > maxDepth:
		p.addf("", "anyOf and allOf are nested more than %d deep", maxDepth)
		return out
	case schemes == 0 && len(v.IPs) == 0:
		p.addf("", "say how requests are verified: one of %s", schemeNames)
		return out
	case schemes > 1:
		p.addf("", "more than one scheme is given: choose one, or put them into anyOf or allOf")
		return out
	case schemes == 1:
		out = c.scheme(v, p, depth)
	}
	if len(v.IPs) > 0 {
		addresses := c.addresses(v.IPs, p.at("ips"))
		if out.check == nil || v.None {
			out.check = addressCheck{addresses}
		} else {
			out.check = guarded{addresses: addresses, next: out.check}
		}
	}
	return out
}

func (c *compiler) scheme(v *hook.Verify, p *problems, depth int) node {
	switch {
	case v.None:
		return node{check: noCheck{}}
	case v.Standard != nil:
		return c.standard(v.Standard, p.at("standard"))
	case v.Token != nil:
		return c.token(v.Token, p.at("token"))
	case v.Basic != nil:
		return c.basic(v.Basic, p.at("basic"))
	case v.HMAC != nil:
		return c.hmac(v.HMAC, p.at("hmac"))
	case v.Public != nil:
		return c.public(v.Public, p.at("public"))
	case v.JWT != nil:
		return c.jwt(v.JWT, p.at("jwt"))
	case v.MTLS != nil:
		return c.mtls(v.MTLS, p.at("mtls"))
	case v.Code != "":
		return c.code(v.Code, p.at("code"))
	case len(v.AnyOf) > 0:
		return c.anyOf(v.AnyOf, p.at("anyOf"), depth)
	default:
		return c.allOf(v.AllOf, p.at("allOf"), depth)
	}
}

// anyOf drops alternatives that cannot be made from the given secrets as long as one
// can: GitLab's old token is no key of its new scheme.
func (c *compiler) anyOf(list []hook.Verify, p *problems, depth int) node {
	out := node{coversBody: true}
	var checks anyCheck
	var dropped []hook.Problem
	for i := range list {
		var own []hook.Problem
		one := c.compile(&list[i], &problems{prefix: p.path(fmt.Sprint(i)), list: &own}, depth+1)
		switch {
		case len(own) == 0:
			checks = append(checks, one.check)
			out.coversBody = out.coversBody && one.coversBody
			out.headers = append(out.headers, one.headers...)
		case slices.ContainsFunc(own, func(problem hook.Problem) bool { return !isSecretPath(problem.Path) }):
			*p.list = append(*p.list, own...)
		default:
			dropped = append(dropped, own...)
		}
	}
	if len(checks) == 0 {
		*p.list = append(*p.list, dropped...)
	}
	out.check = checks
	return out
}

func isSecretPath(path string) bool {
	return path == "secret" || strings.HasPrefix(path, "secrets")
}

func (c *compiler) allOf(list []hook.Verify, p *problems, depth int) node {
	var out node
	var checks allCheck
	for i := range list {
		one := c.compile(&list[i], p.at(fmt.Sprint(i)), depth+1)
		checks = append(checks, one.check)
		out.coversBody = out.coversBody || one.coversBody
		out.headers = append(out.headers, one.headers...)
	}
	out.check = checks
	return out
}

// needSecrets returns the source's secrets and complains when there are none.
func (c *compiler) needSecrets(p *problems) []Secret {
	if len(c.Secrets) == 0 {
		p.addAtf("secret", "the scheme needs a secret: give the one that the sender uses")
	}
	return c.Secrets
}

// template compiles a template and sees to it that the settings in it are given.
func (c *compiler) template(text, path string, p *problems) *message.Template {
	t, err := message.Parse(text, message.ForContent)
	if err != nil {
		p.addf(path, "%v", err)
		return &message.Template{}
	}
	for _, name := range t.Settings() {
		if c.Settings[name] == "" {
			p.addAtf("settings."+name, "the rule needs this setting")
		}
	}
	return t
}

// expand puts settings into a text that is fixed when the rule is compiled.
func (c *compiler) expand(text, path string, p *problems) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{setting:")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			p.addf(path, "{setting:… is not closed: a } is missing")
			return ""
		}
		if c.Settings[name] == "" {
			p.addAtf("settings."+name, "the rule needs this setting")
		}
		out.WriteString(c.Settings[name])
		text = after
	}
}
