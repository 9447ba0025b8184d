package rule

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // some providers still sign with it
	"crypto/sha256"
	"math/big"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// The algorithms of public-key signatures.
const (
	Ed25519   = "ed25519"
	ECDSAP256 = "ecdsa-p256-sha256" // DER, or the two numbers one after the other
	RSASHA256 = "rsa-sha256"        // PKCS #1 v1.5
	RSASHA1   = "rsa-sha1"          // PKCS #1 v1.5
)

// Algorithms returns the names of the algorithms of hook.PublicRule.
func Algorithms() []string { return []string{Ed25519, ECDSAP256, RSASHA256, RSASHA1} }

// publicCheck verifies a signature that was made with a private key.
type publicCheck struct {
	*locator

	keys     []publicKey
	settings map[string]string
}

type publicKey struct {
	key       crypto.PublicKey
	algorithm string
	secret    int // 1-based index of the source's secret; 0 for the rule's own key
}

func (c *compiler) public(spec *hook.PublicRule, p *problems) node {
	check := &publicCheck{locator: c.locator(&spec.SignatureRule, p), settings: c.Settings}
	if !slices.Contains(append(Algorithms(), ""), spec.Algorithm) {
		p.addf("algorithm", "%q is not an algorithm: write one of %s", spec.Algorithm, strings.Join(Algorithms(), ", "))
	}
	if check.content.Uses("secret") {
		p.addf("content", "{secret} cannot be part of what a private key signs")
	}
	if spec.PublicKey != "" {
		text := c.expand(spec.PublicKey, "publicKey", p)
		check.add(text, p.path("publicKey"), spec.Algorithm, p)
	} else {
		for i, secret := range c.needSecrets(p) {
			if check.add(secret.Value.Reveal(), secret.Path, spec.Algorithm, p) {
				check.keys[len(check.keys)-1].secret = i + 1
			}
		}
	}
	return node{check: check, coversBody: check.content.Uses("body"), headers: check.headers()}
}

func (k *publicCheck) add(text, path, algorithm string, p *problems) bool {
	key, err := parsePublicKey(text)
	if err != nil {
		p.addAtf(path, "%v", err)
		return false
	}
	algorithm, ok := algorithmFor(key, algorithm)
	if !ok {
		p.addAtf(path, "the key is of another kind than the algorithm %s needs", algorithm)
		return false
	}
	k.keys = append(k.keys, publicKey{key: key, algorithm: algorithm})
	return true
}

// algorithmFor returns the wanted algorithm, or what suits the key, and whether they fit.
func algorithmFor(key crypto.PublicKey, wanted string) (string, bool) {
	switch key.(type) {
	case ed25519.PublicKey:
		return cmp.Or(wanted, Ed25519), wanted == "" || wanted == Ed25519
	case *ecdsa.PublicKey:
		return cmp.Or(wanted, ECDSAP256), wanted == "" || wanted == ECDSAP256
	case *rsa.PublicKey:
		return cmp.Or(wanted, RSASHA256), wanted == "" || wanted == RSASHA256 || wanted == RSASHA1
	default:
		return wanted, false
	}
}

func (k *publicCheck) verify(_ context.Context, req *message.Request) (hook.Verdict, error) {
	var at found
	if refusal := k.find(req, &at); refusal != nil {
		return hook.Verdict{}, refusal
	}
	env := message.Env{Request: req, Settings: k.settings, Timestamp: at.timestamp}
	content := k.content.Append(nil, &env)
	readable := false
	for _, value := range at.all() {
		for _, encoding := range k.encodings {
			signature, ok := encoding.decode(nil, value)
			if !ok {
				continue
			}
			readable = true
			for i := range k.keys {
				if !verifySignature(k.keys[i].key, k.keys[i].algorithm, content, signature) {
					continue
				}
				if refusal := k.time.check(at.timestamp, req.Now); refusal != nil {
					return hook.Verdict{}, refusal
				}
				return hook.Verdict{Scheme: k.keys[i].algorithm, Verified: true, Secret: k.keys[i].secret}, nil
			}
		}
	}
	if !readable {
		return hook.Verdict{}, refusef(MalformedSig, "The signature in %s is not %s.", k.place(), encodingNames(k.encodings))
	}
	return hook.Verdict{}, refusef(BadSignature, "The signature in %s does not fit the request with any of the public keys.", k.place())
}

// verifySignature holds one signature against one key. The algorithm fits the key.
func verifySignature(key crypto.PublicKey, algorithm string, content, signature []byte) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(k, content, signature)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(content)
		return verifyECDSA(k, sum[:], signature)
	case *rsa.PublicKey:
		if algorithm == RSASHA1 {
			sum := sha1.Sum(content) //nolint:gosec // the provider's choice
			return rsa.VerifyPKCS1v15(k, crypto.SHA1, sum[:], signature) == nil
		}
		sum := sha256.Sum256(content)
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], signature) == nil
	default:
		return false
	}
}

// p256Size is the length of each number of a P-256 signature, in bytes.
const p256Size = 32

func verifyECDSA(key *ecdsa.PublicKey, sum, signature []byte) bool {
	if ecdsa.VerifyASN1(key, sum, signature) {
		return true
	}
	if len(signature) != 2*p256Size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:p256Size]), new(big.Int).SetBytes(signature[p256Size:])
	return ecdsa.Verify(key, sum, r, s)
}
