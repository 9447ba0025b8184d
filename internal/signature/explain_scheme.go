package signature

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule"
)

// alternatives says of each scheme of which one would do why it did not.
func (e *explainer) alternatives() {
	for i := range e.verify.AnyOf {
		one := &e.verify.AnyOf[i]
		if usesKeys(one) {
			continue // keys are not fetched for explanations
		}
		compiled, problems := rule.Compile(rule.Options{Verify: *one, Secrets: e.secrets, Settings: e.settings, Keys: e.keys})
		if len(problems) > 0 {
			continue
		}
		_, err := compiled.Check(e.ctx, e.req)
		var why *Refusal
		if errors.As(err, &why) {
			e.say("Way %d of %d to pass: %s", i+1, len(e.verify.AnyOf), why.Message)
		}
	}
}

// otherUser says whether the HTTP Basic password fits and only the user does not.
func (e *explainer) otherUser() bool {
	named := anyLeaf(&e.verify, func(v *hook.Verify) bool { return v.Basic != nil && v.Basic.Username != "" })
	return named && e.try([]hypothesis{{
		meaning: "The password fits and the user does not: give the sender the user of the source, or the source that of the sender.",
		verify: mapLeaves(&e.verify, func(v *hook.Verify) {
			if v.Basic != nil {
				v.Basic = &hook.BasicRule{Password: v.Basic.Password}
			}
		}),
	}})
}

// algorithm says whether a token names an algorithm that the rule cannot take.
func (e *explainer) algorithm() bool {
	return anyLeaf(&e.verify, func(v *hook.Verify) bool {
		if v.JWT == nil {
			return false
		}
		first, _, _ := strings.Cut(e.token(v.JWT), ".")
		raw, err := base64.RawURLEncoding.DecodeString(first)
		var header struct {
			Algorithm string `json:"alg"`
		}
		if err != nil || json.Unmarshal(raw, &header) != nil {
			return false
		}
		shared := strings.HasPrefix(header.Algorithm, "HS")
		switch {
		case strings.EqualFold(header.Algorithm, "none"):
			e.say("The token is not signed at all: its header says alg none, which anybody can write. The sender has to sign it.")
		case shared && v.JWT.JWKS != "":
			e.say("The token is signed by %.20q, with a shared secret, and the rule names the issuer's public keys.", header.Algorithm)
		case !shared && v.JWT.JWKS == "":
			e.say("The token is signed by %.20q, and the rule has a shared secret, which takes HS256, HS384 and HS512: "+
				"set jwks to the address of the issuer's public keys.", header.Algorithm)
		default:
			return false
		}
		return true
	})
}

// token returns the signed token of a request without the word before it.
func (e *explainer) token(jwt *hook.JWTRule) string {
	if jwt.Query != "" {
		return e.req.QueryValue(jwt.Query)
	}
	name := jwt.Header
	if name == "" {
		name = "Authorization"
	}
	fields := strings.Fields(e.req.Headers.Get(name))
	if len(fields) == 0 {
		return ""
	}
	return fields[len(fields)-1]
}

// secretName is what the rule calls that which proves the sender.
func (e *explainer) secretName() string {
	public := anyLeaf(&e.verify, func(v *hook.Verify) bool { return v.Public != nil })
	shared := anyLeaf(&e.verify, func(v *hook.Verify) bool {
		return v.HMAC != nil || v.Token != nil || v.Basic != nil || v.Standard != nil || v.JWT != nil
	})
	if public && !shared {
		return "public key"
	}
	return "secret"
}
