package signature

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// similarHeaders names headers that may have been meant by those that are missing.
func (e *explainer) similarHeaders() {
	for _, wanted := range e.rule.Headers() {
		if e.req.Headers.Get(wanted) != "" {
			continue
		}
		names := make([]string, 0, len(e.req.Headers))
		for _, header := range e.req.Headers {
			names = append(names, header.Name)
		}
		if near := similar(wanted, names); near != "" {
			e.say("The header %s is missing, but there is %s.", wanted, near)
		}
	}
}

// similar returns the name that is nearest, or that has the wanted one's words in it.
func similar(wanted string, names []string) string {
	if near := strict.Nearest(wanted, names); near != "" && sharesWord(wanted, near) {
		return near
	}
	bare := strings.ToLower(strings.TrimPrefix(strings.ToLower(wanted), "x-"))
	for _, name := range names {
		lower := strings.ToLower(name)
		if lower != "" && (strings.Contains(lower, bare) || strings.Contains(bare, strings.TrimPrefix(lower, "x-"))) && strings.Contains(lower, "-") {
			return name
		}
	}
	return ""
}

// sharesWord keeps names that are only a few letters apart, or have only those words in
// common that every provider uses, from being called similar.
func sharesWord(a, b string) bool {
	usual := []string{"x", "signature", "hmac", "sha256", "webhook", "webhooks", "id", "timestamp", "token", "request"}
	for word := range strings.SplitSeq(strings.ToLower(a), "-") {
		if !slices.Contains(usual, word) && slices.Contains(strings.Split(strings.ToLower(b), "-"), word) {
			return true
		}
	}
	return false
}

// foreign names the providers whose signature headers the request carries although the
// rule does not read them.
func (e *explainer) foreign() {
	if e.gallery == nil {
		return
	}
	own := e.rule.Headers()
	titles := map[string][]string{}
	for _, p := range e.gallery.Profiles() {
		for _, name := range signatureHeaders(&p.Verify) {
			if e.req.Headers.Get(name) == "" || slices.ContainsFunc(own, func(o string) bool { return strings.EqualFold(o, name) }) {
				continue
			}
			key := strings.ToLower(name)
			if !slices.Contains(titles[key], p.Title) && p.Extends == "" {
				titles[key] = append(titles[key], p.Title)
			}
		}
	}
	const shown = 4
	for _, name := range slices.Sorted(maps.Keys(titles)) {
		list := titles[name]
		if len(list) == 0 {
			continue
		}
		more := ""
		if len(list) > shown {
			list, more = list[:shown], " and others"
		}
		e.say("The request carries the header %s, as it comes from %s%s: the source's provider may be the wrong one.", name, strings.Join(list, ", "), more)
	}
}

// signatureHeaders returns the headers in which the schemes of a rule find signatures.
// Authorization and the like say nothing about who sent them.
func signatureHeaders(v *hook.Verify) []string {
	var names []string
	anyLeaf(v, func(one *hook.Verify) bool {
		switch {
		case one.Standard != nil:
			names = append(names, "webhook-signature", "svix-signature")
		case one.Token != nil && one.Token.Header != "" && !strings.EqualFold(one.Token.Header, "Authorization"):
			names = append(names, one.Token.Header)
		case signatureOf(one) != nil && signatureOf(one).Header != "":
			names = append(names, signatureOf(one).Header)
		case one.Code == "twilio":
			names = append(names, "X-Twilio-Signature")
		case one.Code == "paypal":
			names = append(names, "PAYPAL-TRANSMISSION-SIG")
		case one.Code == "sns":
			names = append(names, "x-amz-sns-message-type")
		}
		return false
	})
	return names
}

// shape says what the signature looks like.
func (e *explainer) shape() {
	anyLeaf(&e.verify, func(v *hook.Verify) bool {
		s := signatureOf(v)
		if s == nil || s.Header == "" {
			return false
		}
		if text := strings.TrimSpace(e.req.Headers.Get(s.Header)); text != "" {
			e.say("What came in %s begins with %q and looks like %s.", s.Header, beginning(text), describeShape(text))
		}
		return false
	})
}

// beginning returns so much of a signature that a person recognises it, and nobody can
// use it.
func beginning(text string) string {
	const shown = 8
	if len(text) <= 2*shown {
		return text[:len(text)/2] + "…"
	}
	return strings.ToValidUTF8(text[:shown], "") + "…"
}

func describeShape(text string) string {
	name, rest, hasName := strings.Cut(text, "=")
	switch {
	case strings.Count(text, ".") == 2 && strings.HasPrefix(text, "ey"):
		return "a JSON Web Token"
	case hasName && rest != "" && strings.Trim(rest, "=") != "" && len(name) <= 10:
		return fmt.Sprintf("a value or a list of values with names, the first one %q", name)
	case strings.HasPrefix(text, "v1,") || strings.HasPrefix(text, "v1a,"):
		return "a signature of Standard Webhooks"
	}
	if raw, err := hex.DecodeString(text); err == nil {
		return "hex of " + hashOfSize(len(raw))
	}
	if raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "=")); err == nil {
		return "base64 of " + hashOfSize(len(raw))
	}
	if raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "=")); err == nil {
		return "base64url of " + hashOfSize(len(raw))
	}
	return "none of the usual encodings"
}

func hashOfSize(n int) string {
	names := map[int]string{16: "MD5", 20: "SHA-1", 32: "SHA-256", 48: "SHA-384", 64: "SHA-512 or Ed25519", 128: "RSA with 1024 bits", 256: "RSA with 2048 bits"}
	if name, ok := names[n]; ok {
		return fmt.Sprintf("%d bytes, the length of %s", n, name)
	}
	return fmt.Sprintf("%d bytes", n)
}

// claims says what a signed token claims, which is no secret, and is not verified.
func (e *explainer) claims() {
	anyLeaf(&e.verify, func(v *hook.Verify) bool {
		if v.JWT == nil {
			return false
		}
		parts := strings.Split(e.token(v.JWT), ".")
		if len(parts) != 3 {
			e.say("The token has not the three parts of a JSON Web Token.")
			return false
		}
		raw, err := base64.RawURLEncoding.DecodeString(parts[1])
		var claims map[string]any
		if err != nil || json.Unmarshal(raw, &claims) != nil {
			e.say("The token's claims cannot be read.")
			return false
		}
		for _, name := range []string{"iss", "aud", "email", "sub"} {
			if value, ok := claims[name]; ok {
				e.say("The token's claim %s is %.100q.", name, fmt.Sprint(value))
			}
		}
		return false
	})
}
