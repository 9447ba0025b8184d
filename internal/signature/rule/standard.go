package rule

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// standardCheck verifies Standard Webhooks 1.0.0: HMAC-SHA256 ("v1") and Ed25519
// ("v1a") over "{id}.{timestamp}.{body}".
type standardCheck struct {
	names  []standardNames
	macs   []*macKey
	public []publicKey
	time   *timeCheck
}

// standardNames are the three headers under one prefix.
type standardNames struct{ id, timestamp, signature string }

func (c *compiler) standard(spec *hook.StandardKey, p *problems) node {
	check := &standardCheck{time: &timeCheck{unit: "s", tolerance: time.Duration(spec.Tolerance)}}
	if spec.Tolerance == 0 {
		check.time.tolerance = time.Duration(hook.DefaultTolerance)
	}
	for _, prefix := range []string{spec.Prefix, "webhook-", "svix-"} {
		if prefix != "" {
			check.names = append(check.names, standardNames{prefix + "id", prefix + "timestamp", prefix + "signature"})
		}
	}
	form := cmp.Or(spec.Key, KeyWhsec)
	if form != KeyWhsec && form != KeyText {
		p.addf("key", "%q is not a form of key here: write whsec or text", form)
		return node{}
	}
	for i, secret := range c.needSecrets(p) {
		check.addKey(form, i+1, secret, p)
	}
	first := check.names[0]
	return node{check: check, coversBody: true, headers: []string{first.id, first.timestamp, first.signature}}
}

func (s *standardCheck) addKey(form string, index int, secret Secret, p *problems) {
	text := strings.TrimSpace(secret.Value.Reveal())
	switch {
	case strings.HasPrefix(text, "whsk_"):
		p.addAtf(secret.Path, "it is the sender's private key: give the public one, whpk_…")
	case strings.HasPrefix(text, "whpk_"):
		key, err := parsePublicKey(text)
		if _, ok := key.(ed25519.PublicKey); err != nil || !ok {
			p.addAtf(secret.Path, "whpk_ is not followed by the base64 of an Ed25519 public key")
			return
		}
		s.public = append(s.public, publicKey{key: key, algorithm: Ed25519, secret: index})
	default:
		raw, err := deriveKey(form, text)
		if err != nil || len(raw) == 0 {
			p.addAtf(secret.Path, "the secret is not base64 after whsec_: copy it whole, or set key: text if the sender uses its text")
			return
		}
		s.macs = append(s.macs, newMACKey("sha256", index, "", raw))
	}
}

// header returns the headers under the first prefix that the request has, and their
// names. The signature decides which prefix that is.
func (s *standardCheck) header(req *message.Request) (values, names standardNames) {
	for _, names := range s.names {
		if signature := req.Headers.Get(names.signature); signature != "" {
			return standardNames{req.Headers.Get(names.id), req.Headers.Get(names.timestamp), signature}, names
		}
	}
	return standardNames{}, s.names[0]
}

func (s *standardCheck) verify(_ context.Context, req *message.Request) (hook.Verdict, error) {
	values, names := s.header(req)
	if values.signature == "" {
		return hook.Verdict{}, refusef(MissingSignature, "There is no signature: the header %s is missing.", names.signature)
	}
	if values.id == "" {
		return hook.Verdict{}, refusef(MissingSignature, "The signed id is missing: the header %s is empty.", names.id)
	}
	if values.timestamp == "" {
		return hook.Verdict{}, refusef(MissingTimestamp, "The time of signing is missing: the header %s is empty.", names.timestamp)
	}
	index, refusal := s.match(req, &values)
	if refusal != nil {
		return hook.Verdict{}, refusal
	}
	check := *s.time
	check.header = names.timestamp
	if refusal := check.check(values.timestamp, req.Now); refusal != nil {
		return hook.Verdict{}, refusal
	}
	return hook.Verdict{Scheme: "standard", Verified: true, Secret: index}, nil
}

// match returns the index of the secret that fits one of the signatures.
func (s *standardCheck) match(req *message.Request, values *standardNames) (int, *Refusal) {
	readable, left := false, maxValues
	for one := range strings.FieldsSeq(values.signature) {
		if left == 0 {
			break
		}
		left--
		version, text, ok := strings.Cut(one, ",")
		if !ok {
			continue
		}
		var index int
		switch version {
		case "v1":
			readable = true
			index = s.matchMAC(req, values, text)
		case "v1a":
			readable = true
			index = s.matchPublic(req, values, text)
		}
		if index > 0 {
			return index, nil
		}
	}
	if !readable {
		return 0, refusef(MalformedSig, "The signature header holds no entry of the form v1,… or v1a,….")
	}
	return 0, refusef(BadSignature, "No signature fits the request with any of the secrets.")
}

func (s *standardCheck) matchMAC(req *message.Request, values *standardNames, text string) int {
	for _, key := range s.macs {
		if key.matchStandard(req, values, text) {
			return key.secret
		}
	}
	return 0
}

func (k *macKey) matchStandard(req *message.Request, values *standardNames, text string) bool {
	state, _ := k.pool.Get().(*macState)
	defer k.pool.Put(state)
	state.scratch = appendSigned(state.scratch[:0], values)
	state.mac.Reset()
	_, _ = state.mac.Write(state.scratch) // a hash never fails
	_, _ = state.mac.Write(req.Body)
	state.sum = state.mac.Sum(state.sum[:0])
	decoded, ok := Base64.decode(state.value[:0], text)
	state.value = decoded[:0]
	return ok && hmac.Equal(decoded, state.sum)
}

func appendSigned(dst []byte, values *standardNames) []byte {
	dst = append(append(dst, values.id...), '.')
	return append(append(dst, values.timestamp...), '.')
}

func (s *standardCheck) matchPublic(req *message.Request, values *standardNames, text string) int {
	if len(s.public) == 0 {
		return 0
	}
	signature, ok := Base64.decode(nil, text)
	if !ok {
		return 0
	}
	content := append(appendSigned(nil, values), req.Body...)
	for i := range s.public {
		if verifySignature(s.public[i].key, Ed25519, content, signature) {
			return s.public[i].secret
		}
	}
	return 0
}
