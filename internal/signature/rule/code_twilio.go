package rule

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Twilio signs with it
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// twilioCheck verifies X-Twilio-Signature: HMAC-SHA1 over the registered address and
// the sorted form parameters ("Validating requests are coming from Twilio"). A body
// that is not a form is bound by the address's parameter bodySHA256.
type twilioCheck struct{ secrets []indexed }

func (c *compiler) twilio(p *problems) node {
	check := &twilioCheck{}
	for i, secret := range c.needSecrets(p) {
		check.secrets = append(check.secrets, indexed{secret.Value.Reveal(), i + 1})
	}
	return node{check: check, coversBody: true, headers: []string{"X-Twilio-Signature"}}
}

func (t *twilioCheck) verify(_ context.Context, req *message.Request) (hook.Verdict, error) {
	text := req.Headers.Get("X-Twilio-Signature")
	if text == "" {
		return hook.Verdict{}, refusef(MissingSignature, "There is no signature: the header X-Twilio-Signature is missing.")
	}
	signature, ok := Base64.decode(nil, text)
	if !ok || len(signature) != sha1.Size {
		return hook.Verdict{}, refusef(MalformedSig, "The signature in X-Twilio-Signature is not base64 of the right length.")
	}
	suffix, refusal := twilioSuffix(req)
	if refusal != nil {
		return hook.Verdict{}, refusal
	}
	for _, address := range addressForms(req.URL) {
		for _, secret := range t.secrets {
			mac := hmac.New(sha1.New, []byte(secret.text))
			mac.Write([]byte(address + suffix))
			if hmac.Equal(mac.Sum(nil), signature) {
				return hook.Verdict{Scheme: "twilio", Verified: true, Secret: secret.secret}, nil
			}
		}
	}
	return hook.Verdict{}, refusef(BadSignature,
		"The signature in X-Twilio-Signature does not fit the request: the token or the registered address is another one.")
}

// twilioSuffix returns what follows the address in the signed text. A form counts as
// one only when all of it can be read, since what is passed over is not signed.
func twilioSuffix(req *message.Request) (string, *Refusal) {
	if form, ok := req.Form(); ok {
		return formText(form), nil
	}
	if len(req.Body) == 0 {
		return "", nil
	}
	sum := sha256.Sum256(req.Body)
	want := strings.ToLower(req.QueryValue("bodySHA256"))
	if subtle.ConstantTimeCompare([]byte(want), []byte(hex.EncodeToString(sum[:]))) != 1 {
		return "", refusef(BadSignature, "The parameter bodySHA256 of the address is not the SHA-256 of the body.")
	}
	return "", nil
}

// formText joins name and value of the parameters, sorted by name, with all different
// values of each.
func formText(form url.Values) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range slices.Compact(slices.Sorted(slices.Values(form[name]))) {
			b.WriteString(name)
			b.WriteString(value)
		}
	}
	return b.String()
}

// addressForms returns the forms of the address that may have been signed: with and
// without the usual port.
func addressForms(address string) []string {
	out := []string{address}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return out
	}
	host, tail := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host, tail = rest[:end], rest[end:]
	}
	port := map[string]string{"https": ":443", "http": ":80"}[scheme]
	if bare, ok := strings.CutSuffix(host, port); ok && port != "" {
		return append(out, scheme+"://"+bare+tail)
	}
	return append(out, scheme+"://"+host+port+tail)
}
