package hook

import (
	"encoding/json"
	"fmt"
)

// Verify says how a request proves where it comes from: exactly one scheme, or a
// combination of several by AnyOf or AllOf. It is data, shared by provider profiles,
// flow files, the API and the store; package signature compiles it.
//
// Texts marked "setting" may hold {setting:name}, which becomes the value that the
// source gives for a setting of its profile.
type Verify struct {
	None     bool         `json:"none,omitempty"`     // nothing is checked
	Standard *StandardKey `json:"standard,omitempty"` // Standard Webhooks 1.0.0, v1 and v1a
	Token    *TokenRule   `json:"token,omitempty"`    // a shared token, compared
	Basic    *BasicRule   `json:"basic,omitempty"`    // HTTP Basic
	HMAC     *HMACRule    `json:"hmac,omitempty"`     // a keyed hash of the request
	Public   *PublicRule  `json:"public,omitempty"`   // a public-key signature of the request
	JWT      *JWTRule     `json:"jwt,omitempty"`      // a signed token in a header
	MTLS     *MTLSRule    `json:"mtls,omitempty"`     // the sender's client certificate
	Code     string       `json:"code,omitempty"`     // a verifier that data cannot express, by name: "paypal", "sns", …
	AnyOf    []Verify     `json:"anyOf,omitempty"`    // one of these must pass; tried in order
	AllOf    []Verify     `json:"allOf,omitempty"`    // every one of these must pass
	IPs      []string     `json:"ips,omitempty"`      // allowed addresses and CIDRs (setting); may stand alone or beside a scheme
}

// UnmarshalJSON accepts the text "none" for a source that checks nothing.
func (v *Verify) UnmarshalJSON(text []byte) error {
	var word string
	if json.Unmarshal(text, &word) == nil {
		if word != "none" {
			return fmt.Errorf("%q is not a way to verify: write none, or a mapping such as {token: {header: x-token}}", word)
		}
		*v = Verify{None: true}
		return nil
	}
	type plain Verify
	return strictUnmarshal(text, (*plain)(v))
}
