package rule

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // a few providers still sign with it
	"crypto/sha1" //nolint:gosec // many providers still sign with it
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"
	"strings"
	"sync"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// HashPlain hashes the content without a key; the secret is part of the content.
const HashPlain = "plain-sha256"

// Hashes returns the names of the hashes of hook.HMACRule.
func Hashes() []string { return []string{"sha256", "sha1", "sha384", "sha512", "md5", HashPlain} }

func newHash(name string) func() hash.Hash {
	switch name {
	case "sha256", HashPlain:
		return sha256.New
	case "sha1":
		return sha1.New
	case "sha384":
		return sha512.New384
	case "sha512":
		return sha512.New
	case "md5":
		return md5.New
	default:
		return nil
	}
}

// hmacCheck verifies a keyed hash of the request.
type hmacCheck struct {
	*locator

	hashes   []string // what the value may name; empty: it names none
	keys     []*macKey
	settings map[string]string
}

// macKey is one key with one hash. Its states are reused, because setting up an HMAC
// costs two blocks and several allocations.
type macKey struct {
	hash   string
	secret int    // 1-based index of the source's secret; 0 for a constant
	text   string // the secret's text, for plain hashes
	pool   sync.Pool
}

type macState struct {
	mac     hash.Hash
	sum     []byte
	scratch []byte
	value   []byte
	env     message.Env
}

func (c *compiler) hmac(spec *hook.HMACRule, p *problems) node {
	check := &hmacCheck{locator: c.locator(&spec.SignatureRule, p), settings: c.Settings}
	check.hashes = spec.Hashes
	names := spec.Hashes
	if len(names) == 0 {
		names = []string{cmp.Or(spec.Hash, "sha256")}
	} else if spec.Hash != "" {
		p.addf("hash", "give hash or hashes, not both")
	}
	for _, name := range names {
		if newHash(name) == nil || name == HashPlain && len(spec.Hashes) > 0 {
			p.addf("hash", "%q is not a hash that can be used here: write one of %s", name, strings.Join(Hashes(), ", "))
			return node{}
		}
	}
	plain := spec.Hash == HashPlain
	if plain != check.content.Uses("secret") {
		p.addf("content", "{secret} belongs into the content with the hash %s, and only with it", HashPlain)
	}
	if !slices.Contains(append(KeyForms(), ""), spec.Key) {
		p.addf("key", "%q is not a form of key: write one of %s", spec.Key, strings.Join(KeyForms(), ", "))
		return node{}
	}
	check.keys = c.macKeys(spec, names, p)
	return node{check: check, coversBody: check.content.Uses("body"), headers: check.headers()}
}

func (c *compiler) macKeys(spec *hook.HMACRule, hashes []string, p *problems) []*macKey {
	secrets := []Secret{{Value: spec.Secret, Path: p.path("secret")}}
	if spec.Secret == "" {
		secrets = c.needSecrets(p)
	}
	var keys []*macKey
	for i, secret := range secrets {
		raw, err := deriveKey(cmp.Or(spec.Key, KeyText), secret.Value.Reveal())
		if err != nil || len(raw) == 0 {
			p.addAtf(secret.Path, "the secret is not %s, as the scheme needs it", keyFormName(spec.Key))
			continue
		}
		index := i + 1
		if spec.Secret != "" {
			index = 0
		}
		for _, name := range hashes {
			keys = append(keys, newMACKey(name, index, secret.Value.Reveal(), raw))
		}
	}
	return keys
}

func keyFormName(form string) string {
	switch form {
	case KeyHex:
		return "hexadecimal"
	case KeyBase64:
		return "base64"
	case KeyWhsec:
		return "base64 after whsec_"
	default:
		return "a text"
	}
}

func newMACKey(name string, index int, text string, raw []byte) *macKey {
	key := &macKey{hash: name, secret: index, text: text}
	create := newHash(name)
	key.pool.New = func() any {
		state := &macState{sum: make([]byte, 0, sha512.Size), scratch: make([]byte, 0, 256), value: make([]byte, 0, 128)}
		if name == HashPlain {
			state.mac = create()
		} else {
			state.mac = hmac.New(create, raw)
		}
		return state
	}
	return key
}

func (h *hmacCheck) verify(_ context.Context, req *message.Request) (hook.Verdict, error) {
	var at found
	if refusal := h.find(req, &at); refusal != nil {
		return hook.Verdict{}, refusal
	}
	name := ""
	if len(h.hashes) > 0 {
		var refusal *Refusal
		if name, refusal = h.cutHash(&at); refusal != nil {
			return hook.Verdict{}, refusal
		}
	}
	decodable := false
	for _, key := range h.keys {
		if name != "" && key.hash != name {
			continue
		}
		fits, readable := h.try(key, req, &at)
		if fits {
			if refusal := h.time.check(at.timestamp, req.Now); refusal != nil {
				return hook.Verdict{}, refusal
			}
			return hook.Verdict{Scheme: "hmac", Verified: true, Secret: key.secret}, nil
		}
		decodable = decodable || readable
	}
	if !decodable {
		return hook.Verdict{}, refusef(MalformedSig, "The signature in %s is not %s of the right length.", h.place(), encodingNames(h.encodings))
	}
	if refusal := h.time.check(at.timestamp, req.Now); refusal != nil && refusal.Reason == MissingTimestamp {
		return hook.Verdict{}, refusal
	}
	return hook.Verdict{}, refusef(BadSignature, "The signature in %s does not fit the request with any of the secrets.", h.place())
}

// cutHash takes the name of the hash off the values: "sha1=ab" becomes "ab".
func (h *hmacCheck) cutHash(at *found) (string, *Refusal) {
	name, rest, ok := strings.Cut(at.values[0], "=")
	name = strings.ToLower(name)
	if !ok || !slices.Contains(h.hashes, name) {
		return "", refusef(MalformedSig, "The signature in %s does not begin with the name of its hash (%s).", h.place(), strings.Join(h.hashes, ", "))
	}
	at.values[0] = rest
	at.n = 1
	return name, nil
}

// try says whether one of the values fits the key, and whether any could be read.
func (h *hmacCheck) try(key *macKey, req *message.Request, at *found) (fits, readable bool) {
	state, _ := key.pool.Get().(*macState)
	defer key.pool.Put(state)
	state.env = message.Env{Request: req, Settings: h.settings, Timestamp: at.timestamp, Secret: key.text}
	state.mac.Reset()
	state.scratch = h.content.WriteTo(state.mac, state.scratch, &state.env)
	state.env = message.Env{} // nothing of the request stays in the pool
	state.sum = state.mac.Sum(state.sum[:0])
	for _, value := range at.all() {
		for _, encoding := range h.encodings {
			decoded, ok := encoding.decode(state.value[:0], value)
			state.value = decoded[:0]
			if !ok || len(decoded) != len(state.sum) {
				continue
			}
			readable = true
			if hmac.Equal(decoded, state.sum) {
				return true, true
			}
		}
	}
	return false, readable
}

func encodingNames(list []Encoding) string {
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = string(e)
	}
	return strings.Join(names, " or ")
}
