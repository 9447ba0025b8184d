package signature

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"malote.dev/malote/internal/hook"
)

// The prefixes that the Standard Webhooks specification gives to keys.
const (
	prefixSymmetric = "whsec_"
	prefixPrivate   = "whsk_"
	prefixPublic    = "whpk_"
)

// generatedKeySize is the length of a generated symmetric key in bytes; Standard
// Webhooks asks for 24 to 64.
const generatedKeySize = 32

// signKey is one live secret, ready to sign with.
type signKey struct {
	label   []byte             // stands before the encoded signature: "v1," or "v1a,"
	hash    func() hash.Hash   // of the HMAC; nil for Ed25519
	key     []byte             // of the HMAC
	private ed25519.PrivateKey // of Ed25519
}

// newMAC returns a fresh HMAC, nil for Ed25519.
func (k *signKey) newMAC() hash.Hash {
	if k.hash == nil {
		return nil
	}
	return hmac.New(k.hash, k.key)
}

// GenerateSecret returns a new random secret in the form that the signing scheme
// takes: "whsec_" and 32 random bytes in base64 for standard, svix and "", "whsk_" and
// an Ed25519 private key for ed25519, 64 hex digits for the schemes whose key is text.
func GenerateSecret(scheme string) (hook.Secret, error) {
	switch scheme {
	case "", schemeStandard, schemeSvix:
		return hook.Secret(prefixSymmetric + base64.StdEncoding.EncodeToString(randomKey())), nil
	case schemeEd25519:
		private := ed25519.NewKeyFromSeed(randomKey())
		return hook.Secret(prefixPrivate + base64.StdEncoding.EncodeToString(private)), nil
	case schemeStripe, schemeGitHub, schemeShopify, schemeSlack, schemeCustom:
		return hook.Secret(hex.EncodeToString(randomKey())), nil
	default:
		return "", unknownScheme(scheme)
	}
}

// CompleteSign returns a signing rule that lacks no secret: sign itself, or where it
// signs and has none, a copy with a generated one. nil stands for the default rule.
func CompleteSign(sign *hook.Sign) (complete *hook.Sign, generated bool, err error) {
	if sign == nil {
		sign = &hook.Sign{}
	}
	if sign.None || len(sign.AllSecrets()) > 0 {
		return sign, false, nil
	}
	completed := *sign
	if completed.Secret, err = GenerateSecret(sign.Scheme); err != nil {
		return nil, false, err
	}
	return &completed, true, nil
}

func randomKey() []byte {
	key := make([]byte, generatedKeySize)
	rand.Read(key) // It never fails: crypto/rand ends the program instead.
	return key
}

// PublicKey returns the "whpk_" key that verifies what the "whsk_" secret signs, which
// is what a receiver is given.
func PublicKey(secret hook.Secret) (string, error) {
	private, err := parsePrivateKey(secret.Reveal())
	if err != nil {
		return "", hook.Errorf(hook.KindInvalid, "this secret has no public key: it %w", err)
	}
	return prefixPublic + base64.StdEncoding.EncodeToString(private[ed25519.SeedSize:]), nil
}

// parsePrivateKey reads "whsk_" and base64 of a 32-byte seed, alone or followed by the
// 32-byte public key.
func parsePrivateKey(text string) (ed25519.PrivateKey, error) {
	encoded, ok := strings.CutPrefix(text, prefixPrivate)
	if !ok {
		return nil, errors.New("must begin with whsk_")
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("must be base64 after whsk_")
	}
	if len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("must be %d or %d bytes after decoding, not %d", ed25519.SeedSize, ed25519.PrivateKeySize, len(raw))
	}
	private := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	if len(raw) == ed25519.PrivateKeySize && string(raw[ed25519.SeedSize:]) != string(private[ed25519.SeedSize:]) {
		return nil, errors.New("holds a public key that does not belong to its private key")
	}
	return private, nil
}

// leastBareKey is how many bytes a key without its prefix must have, which is what
// Standard Webhooks asks of every key: a word may be base64 by chance.
const leastBareKey = 24

// parseSymmetricKey reads base64 with or without "whsec_" before it, as the Standard
// Webhooks libraries do.
func parseSymmetricKey(text string) ([]byte, error) {
	encoded, prefixed := strings.CutPrefix(text, prefixSymmetric)
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return nil, errors.New("must be whsec_ followed by base64")
	case len(key) == 0:
		return nil, errors.New("is empty")
	case !prefixed && len(key) < leastBareKey:
		return nil, fmt.Errorf("must begin with whsec_, or be base64 of %d bytes or more", leastBareKey)
	}
	return key, nil
}

// parseTextKey turns the text of a secret into a key by the given form.
func parseTextKey(form, text string) ([]byte, error) {
	var key []byte
	var err error
	switch form {
	case "", "text":
		key = []byte(text)
	case "base64":
		if key, err = base64.StdEncoding.DecodeString(text); err != nil {
			err = errors.New("must be base64, because key is base64")
		}
	case "hex":
		if key, err = hex.DecodeString(text); err != nil {
			err = errors.New("must be hex digits, because key is hex")
		}
	case "whsec":
		key, err = parseSymmetricKey(text)
	default:
		return nil, fmt.Errorf("%q is not a form of key: write text, base64, hex or whsec", form)
	}
	if err == nil && len(key) == 0 {
		err = errors.New("is empty")
	}
	return key, err
}
