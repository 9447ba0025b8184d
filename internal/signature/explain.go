package signature

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule"
)

// maxExplainedBody is the largest body with which explanations are tried, in bytes:
// each takes dozens of hashes.
const maxExplainedBody = 256 << 10

// Explain says in plain sentences why a request was refused, as far as that can be
// found out by trying: it verifies variations of the request, the secrets and the rule.
// The sentences hold neither a secret nor the signature that was expected.
func (v *Verifier) Explain(ctx context.Context, req *Request, refusal error) []string {
	var why *Refusal
	if !errors.As(refusal, &why) {
		return nil
	}
	e := &explainer{Verifier: v, ctx: ctx, req: req}
	e.reason(why.Reason)
	e.alternatives()
	return e.sentences
}

// explainer collects what is found out about one refused request.
type explainer struct {
	*Verifier

	ctx       context.Context //nolint:containedctx // lives as long as one call of Explain
	req       *Request
	sentences []string
}

// reason explains a reason for a refusal.
func (e *explainer) reason(reason string) {
	switch reason {
	case rule.MissingSignature, rule.MissingToken, rule.MissingCredential:
		e.absent()
	case rule.MalformedSig:
		e.shape()
		_ = len(e.req.Body) > maxExplainedBody || e.try(e.ruleVariants()) || e.try(e.spellings())
	case rule.BadSignature, rule.BadToken, rule.BadCredential:
		e.search()
	case rule.OutOfTolerance, rule.MalformedTime:
		e.clock()
	case rule.MissingTimestamp:
		e.similarHeaders()
	case rule.BadClaim, rule.ExpiredToken:
		e.claims()
	case rule.NoCertificate:
		e.say("A proxy that ends TLS in front of this server has to hand the certificate over in a header: set mtls.header and mtls.proxies.")
	case rule.KeysUnavailable:
		e.say("This server could not fetch the sender's keys: see that it can reach their address by https. The sender was asked to try again.")
	case rule.NotAllowedAddress:
		e.say("If the request came through a proxy, let the server know the proxy, so that it sees the sender's own address.")
	}
}

func (e *explainer) say(format string, args ...any) {
	sentence := fmt.Sprintf(format, args...)
	if !slices.Contains(e.sentences, sentence) {
		e.sentences = append(e.sentences, sentence)
	}
}

// hypothesis is one variation and what it means when the signature fits with it.
type hypothesis struct {
	meaning string
	req     *Request
	verify  *hook.Verify
	secrets []rule.Secret
}

// holds verifies the variation. That the time is off does not matter here: the
// signature is held against the request first.
func (e *explainer) holds(h *hypothesis) bool {
	if e.ctx.Err() != nil {
		return false
	}
	options := rule.Options{Verify: e.verify, Secrets: e.secrets, Settings: e.settings, Keys: e.keys}
	req := e.req
	if h.verify != nil {
		options.Verify = *h.verify
	}
	if h.secrets != nil {
		options.Secrets = h.secrets
	}
	if h.req != nil {
		req = h.req
	}
	compiled, problems := rule.Compile(options)
	if len(problems) > 0 {
		return false
	}
	_, err := compiled.Check(e.ctx, req)
	var why *Refusal
	return err == nil || errors.As(err, &why) && why.Reason == rule.OutOfTolerance
}

// try says what the first hypothesis that holds means.
func (e *explainer) try(list []hypothesis) bool {
	for i := range list {
		if e.holds(&list[i]) {
			e.say("%s", list[i].meaning)
			return true
		}
	}
	return false
}

// search looks for what makes the signature fit.
func (e *explainer) search() {
	if len(e.req.Body) > maxExplainedBody {
		e.say("The body is too long for closer examination.")
		return
	}
	if e.algorithm() || e.otherUser() {
		return
	}
	if usesKeys(&e.verify) {
		e.claims()
		e.say("The signature is made with a key of the sender's: if the provider is the right one, the body was changed on the way, or somebody else sent it.")
		return
	}
	found := e.try(e.secretVariants())
	found = e.try(e.bodyVariants()) || found
	found = e.try(e.ruleVariants()) || found
	found = e.try(e.addressVariants()) || found
	if found || e.try(e.spellings()) {
		return
	}
	e.foreign()
	switch {
	case !e.rule.CoversBody():
		e.say("Neither a different spelling of the %[1]s nor another encoding fits: the %[1]s is most likely another one than the sender's.", e.secretName())
	default:
		e.say("No usual variation of body, %[1]s or encoding fits: either the %[1]s is another one than the sender's, "+
			"or the body was changed on the way in a way that cannot be guessed.", e.secretName())
	}
}

// usesKeys says whether the rule fetches keys, which is not done for explanations.
func usesKeys(v *hook.Verify) bool {
	return anyLeaf(v, func(one *hook.Verify) bool {
		return one.JWT != nil && one.JWT.JWKS != "" || one.Code == "paypal" || one.Code == "sns" || one.Code == "adobe-io"
	})
}

// anyLeaf says whether a scheme in the tree meets the condition.
func anyLeaf(v *hook.Verify, is func(*hook.Verify) bool) bool {
	if is(v) {
		return true
	}
	for _, list := range [][]hook.Verify{v.AnyOf, v.AllOf} {
		for i := range list {
			if anyLeaf(&list[i], is) {
				return true
			}
		}
	}
	return false
}

// mapLeaves returns a copy of the tree in which every scheme was changed. The change
// gets a copy whose rules are its own.
func mapLeaves(v *hook.Verify, change func(*hook.Verify)) *hook.Verify {
	out := *v
	if v.HMAC != nil {
		own := *v.HMAC
		out.HMAC = &own
	}
	if v.Public != nil {
		own := *v.Public
		out.Public = &own
	}
	if v.Token != nil {
		own := *v.Token
		out.Token = &own
	}
	if v.Standard != nil {
		own := *v.Standard
		out.Standard = &own
	}
	out.AnyOf, out.AllOf = mapList(v.AnyOf, change), mapList(v.AllOf, change)
	change(&out)
	return &out
}

func mapList(list []hook.Verify, change func(*hook.Verify)) []hook.Verify {
	if list == nil {
		return nil
	}
	out := make([]hook.Verify, len(list))
	for i := range list {
		out[i] = *mapLeaves(&list[i], change)
	}
	return out
}

// clock says what is wrong with the signed time.
func (e *explainer) clock() {
	units := []struct{ unit, meaning string }{
		{"ms", "The time is written in milliseconds: set the unit of the timestamp to ms or auto."},
		{"s", "The time is written in seconds: set the unit of the timestamp to s or auto."},
		{"rfc3339", "The time is written as in 2026-01-02T03:04:05Z: set the unit of the timestamp to rfc3339."},
	}
	for _, one := range units {
		changed := mapLeaves(&e.verify, func(v *hook.Verify) { setUnit(v, one.unit) })
		compiled, problems := rule.Compile(rule.Options{Verify: *changed, Secrets: e.secrets, Settings: e.settings, Keys: e.keys})
		if len(problems) > 0 || usesKeys(changed) {
			continue
		}
		if _, err := compiled.Check(e.ctx, e.req); err == nil {
			e.say("%s", one.meaning)
			return
		}
	}
	e.say("The signature itself fits. Either the request was kept back or sent a second time, or one of the two clocks is wrong; ours says %s.",
		e.req.Now.UTC().Format(time.RFC3339))
}

func setUnit(v *hook.Verify, unit string) {
	var s *hook.SignatureRule
	switch {
	case v.HMAC != nil:
		s = &v.HMAC.SignatureRule
	case v.Public != nil:
		s = &v.Public.SignatureRule
	default:
		return
	}
	at := hook.TimestampRule{}
	if s.Timestamp != nil {
		at = *s.Timestamp
	}
	at.Unit = unit
	s.Timestamp = &at
}

// absent says what the request carries in place of what was looked for.
func (e *explainer) absent() {
	e.similarHeaders()
	e.foreign()
	if len(e.sentences) == 0 && strings.EqualFold(e.req.Method, "GET") {
		e.say("It is a GET request: a browser or a health check, perhaps, rather than the provider.")
	}
	if len(e.sentences) == 0 {
		e.say("The request carries nothing that looks like a signature: check that the sender has a secret configured, and that no proxy drops its headers.")
	}
}
