package signature

import (
	"context"
	"crypto/subtle"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule"
	"malote.dev/malote/internal/signature/rule/message"
)

// Reply is the answer to a handshake.
type Reply struct {
	Name    string // of the handshake
	Status  int
	Headers hook.Headers
	Body    []byte
}

// handshake is a compiled hook.Handshake.
type handshake struct {
	name     string
	methods  []string
	wants    []want
	verified bool
	fetch    *message.Template
	hosts    []string
	status   int
	headers  []replyHeader
	body     *message.Template
}

// want is one value that a request must have.
type want struct {
	place string // header, query or field
	name  string
	kind  wantKind
	value *message.Template
}

type wantKind uint8

const (
	wantEqual wantKind = iota
	wantPresent
	wantAbsent
)

type replyHeader struct {
	name  string
	value *message.Template
}

// maxReply is the longest body that a handshake is answered with, in bytes: challenges
// are short, and nobody shall have us reflect more.
const maxReply = 16 << 10

// handshakeCompiler collects what is wrong with a source's handshakes.
type handshakeCompiler struct {
	prefix string
	found  []hook.Problem
}

func compileHandshakes(specs []hook.Handshake, keys KeyFetcher) ([]handshake, []hook.Problem) {
	c := &handshakeCompiler{}
	out := make([]handshake, 0, len(specs))
	for i := range specs {
		c.prefix = fmt.Sprintf("handshakes.%d.", i)
		out = append(out, c.compile(&specs[i], keys))
	}
	return out, c.found
}

func (c *handshakeCompiler) complain(path, message string) {
	c.found = append(c.found, hook.Problem{Path: c.prefix + path, Message: message})
}

func (c *handshakeCompiler) template(text, path string, purpose message.Purpose) *message.Template {
	t, err := message.Parse(text, purpose)
	if err != nil {
		c.complain(path, err.Error())
		return &message.Template{}
	}
	return t
}

func (c *handshakeCompiler) compile(spec *hook.Handshake, keys KeyFetcher) handshake {
	h := handshake{name: spec.Name, methods: spec.When.Methods, verified: spec.Verified, hosts: spec.Hosts, status: spec.Reply.Status}
	c.wants(&h, "headers", spec.When.Headers)
	c.wants(&h, "query", spec.When.Query)
	c.wants(&h, "fields", spec.When.Fields)
	if len(h.wants) == 0 && len(h.methods) == 0 {
		c.complain("when", "say which requests are handshakes: by methods, headers, query or fields")
	}
	if h.status == 0 {
		h.status = http.StatusOK
	}
	if h.status < 200 || h.status > 599 {
		c.complain("reply.status", "it is not an HTTP status from 200 to 599")
	}
	if spec.Fetch != "" {
		h.fetch = c.template(spec.Fetch, "fetch", message.ForReply)
		if len(spec.Hosts) == 0 {
			c.complain("hosts", "say which hosts may be called, such as sns.*.amazonaws.com")
		}
		if keys == nil {
			c.complain("fetch", "nothing can be fetched here")
		}
	}
	c.reply(&h, &spec.Reply)
	return h
}

func (c *handshakeCompiler) wants(h *handshake, place string, values map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		one := want{place: place, name: name}
		switch values[name] {
		case "*":
			one.kind = wantPresent
		case "":
			one.kind = wantAbsent
		default:
			one.value = c.template(values[name], "when."+place+"."+name, message.ForMatch)
		}
		h.wants = append(h.wants, one)
	}
}

func (c *handshakeCompiler) reply(h *handshake, spec *hook.HandshakeReply) {
	typed := false
	for _, name := range slices.Sorted(maps.Keys(spec.Headers)) {
		typed = typed || strings.EqualFold(name, "Content-Type")
		h.headers = append(h.headers, replyHeader{name, c.template(spec.Headers[name], "reply.headers."+name, message.ForReply)})
	}
	if !typed && spec.Body != "" {
		h.headers = append(h.headers, replyHeader{"Content-Type", c.template("text/plain; charset=utf-8", "reply", message.ForReply)})
	}
	// What was sent is sent back, so that no browser may take it for a page.
	h.headers = append(h.headers, replyHeader{"X-Content-Type-Options", c.template("nosniff", "reply", message.ForReply)})
	h.body = c.template(spec.Body, "reply.body", message.ForReply)
}

// Handshake answers a request that the provider makes to see whether we are there;
// false when the request is none, or is one that does not pass verification.
func (v *Verifier) Handshake(ctx context.Context, req *Request) (*Reply, bool) {
	for i := range v.handshakes {
		h := &v.handshakes[i]
		if !v.matches(h, req) {
			continue
		}
		if h.verified {
			if _, err := v.Verify(ctx, req); err != nil {
				return nil, false
			}
		}
		if reply, ok := v.answer(ctx, h, req); ok {
			return reply, true
		}
	}
	return nil, false
}

// FailedHandshake returns the *Refusal of a request that is a handshake but for the
// tokens in it, which are not those that the source's settings and secrets say; nil when
// it is none. Who sets a provider up reads there why the provider does not accept us.
func (v *Verifier) FailedHandshake(req *Request) error {
	for i := range v.handshakes {
		h := &v.handshakes[i]
		if foreign := v.foreignTokens(h, req); len(foreign) > 0 {
			return &Refusal{Reason: rule.BadHandshake, Message: fmt.Sprintf(
				"The request is the handshake %q of the provider, but its %s is not what this source expects: enter the same text at the provider and here.",
				h.name, strings.Join(foreign, " and "))}
		}
	}
	return nil
}

// foreignTokens names the tokens of a request that is the handshake in all the rest.
func (v *Verifier) foreignTokens(h *handshake, req *Request) []string {
	if len(h.methods) > 0 && !slices.Contains(h.methods, req.Method) {
		return nil
	}
	var foreign []string
	for i := range h.wants {
		w := &h.wants[i]
		if v.holds(w, req) {
			continue
		}
		token := w.kind == wantEqual && (w.value.Uses("secret") || len(w.value.Settings()) > 0)
		if !token {
			return nil
		}
		place := map[string]string{"headers": "header ", "query": "query parameter ", "fields": "field "}[w.place]
		foreign = append(foreign, place+w.name+w.setting())
	}
	return foreign
}

// setting says which setting a value is compared with.
func (w *want) setting() string {
	if names := w.value.Settings(); len(names) > 0 {
		return " (setting " + strings.Join(names, ", ") + ")"
	}
	return ""
}

func (v *Verifier) matches(h *handshake, req *Request) bool {
	if len(h.methods) > 0 && !slices.Contains(h.methods, req.Method) {
		return false
	}
	for i := range h.wants {
		if !v.holds(&h.wants[i], req) {
			return false
		}
	}
	return true
}

func (v *Verifier) holds(w *want, req *Request) bool {
	var value string
	switch w.place {
	case "headers":
		value = req.Headers.Get(w.name)
	case "query":
		value = req.QueryValue(w.name)
	default:
		value, _ = req.Field(w.name) // absent and empty are the same
	}
	switch w.kind {
	case wantPresent:
		return value != ""
	case wantAbsent:
		return value == ""
	case wantEqual:
		return v.equals(w.value, value, req)
	default:
		return false
	}
}

// equals compares in constant time, because the value may be a token. With {secret} in
// it any of the secrets may fit. A template that comes out empty equals nothing.
func (v *Verifier) equals(t *message.Template, value string, req *Request) bool {
	secrets := []rule.Secret{{}}
	if t.Uses("secret") {
		secrets = v.secrets
	}
	for _, secret := range secrets {
		wanted := t.Append(nil, &message.Env{Request: req, Settings: v.settings, Secret: secret.Value.Reveal()})
		if len(wanted) > 0 && subtle.ConstantTimeCompare(wanted, []byte(value)) == 1 {
			return true
		}
	}
	return false
}

// answer builds the reply, after the fetch if there is one.
func (v *Verifier) answer(ctx context.Context, h *handshake, req *Request) (*Reply, bool) {
	env := message.Env{Request: req, Settings: v.settings}
	if len(v.secrets) > 0 {
		env.Key = []byte(v.secrets[0].Value.Reveal())
	}
	if h.fetch != nil {
		address := h.fetch.Text(&env)
		if !rule.AllowedURL(address, h.hosts) {
			return nil, false
		}
		if _, err := v.keys.Fetch(ctx, address); err != nil {
			return &Reply{Name: h.name, Status: http.StatusBadGateway, Headers: hook.Headers{
				{Name: "Content-Type", Value: "text/plain; charset=utf-8"},
			}, Body: []byte("the confirmation address could not be reached, send this again later\n")}, true
		}
	}
	reply := &Reply{Name: h.name, Status: h.status, Body: h.body.Append(nil, &env)}
	if len(reply.Body) > maxReply {
		return nil, false
	}
	for i := range h.headers {
		value := h.headers[i].value.Text(&env)
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, false
		}
		reply.Headers = append(reply.Headers, hook.Header{Name: h.headers[i].name, Value: value})
	}
	return reply, !env.Refused()
}
