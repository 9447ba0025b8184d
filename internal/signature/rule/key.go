package rule

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"html"
	"strings"
)

// The ways in which the text of a secret becomes a key.
const (
	KeyText       = "text"       // the bytes of the text
	KeyBase64     = "base64"     // decoded
	KeyHex        = "hex"        // decoded
	KeyWhsec      = "whsec"      // base64 after an optional "whsec_"
	KeyBase64Text = "base64text" // the text is encoded first: the key is the base64 of it
	KeyHTML       = "html"       // HTML-escaped text
)

// KeyForms returns every way in which a secret becomes a key.
func KeyForms() []string {
	return []string{KeyText, KeyBase64, KeyHex, KeyWhsec, KeyBase64Text, KeyHTML}
}

var errKeyForm = errors.New("the form of the key is not known")

// deriveKey turns the text of a secret into key bytes.
func deriveKey(form, text string) ([]byte, error) {
	switch form {
	case KeyText:
		return []byte(text), nil
	case KeyBase64:
		return decodeBase64(text)
	case KeyHex:
		return hex.DecodeString(strings.TrimSpace(text))
	case KeyWhsec:
		return decodeBase64(strings.TrimPrefix(strings.TrimSpace(text), "whsec_"))
	case KeyBase64Text:
		return []byte(base64.StdEncoding.EncodeToString([]byte(text))), nil
	case KeyHTML:
		return []byte(html.UnescapeString(text)), nil
	default:
		return nil, errKeyForm
	}
}

const publicKeyForms = "a PEM block, base64 of the SubjectPublicKeyInfo, hex or whpk_… for Ed25519"

var errPublicKey = errors.New("it is not a public key: give " + publicKeyForms)

// parsePublicKey takes a public key in any of the forms in which providers show it.
func parsePublicKey(text string) (crypto.PublicKey, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "PRIVATE KEY") || strings.HasPrefix(text, "whsk_") {
		return nil, errors.New("it is a private key: give the public one")
	}
	if strings.Contains(text, "-----BEGIN") {
		return parsePEMKey(text)
	}
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == ed25519.PublicKeySize {
		return ed25519.PublicKey(raw), nil
	}
	raw, err := decodeBase64(strings.TrimPrefix(text, "whpk_"))
	if err != nil {
		return nil, errPublicKey
	}
	if len(raw) == ed25519.PublicKeySize {
		return ed25519.PublicKey(raw), nil
	}
	return parseDERKey(raw)
}

func parsePEMKey(text string) (crypto.PublicKey, error) {
	// Environment variables often carry line ends as the two characters \n.
	block, _ := pem.Decode([]byte(strings.ReplaceAll(text, `\n`, "\n")))
	if block == nil {
		return nil, errors.New("the PEM block is damaged: copy it whole, with its first and last line")
	}
	if block.Type == "CERTIFICATE" {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errPublicKey
		}
		return usableKey(certificate.PublicKey)
	}
	return parseDERKey(block.Bytes)
}

func parseDERKey(raw []byte) (crypto.PublicKey, error) {
	if key, err := x509.ParsePKIXPublicKey(raw); err == nil {
		return usableKey(key)
	}
	if key, err := x509.ParsePKCS1PublicKey(raw); err == nil {
		return usableKey(key)
	}
	return nil, errPublicKey
}

// minRSA is the smallest modulus that is taken, in bits: Woovi's key has this size.
const minRSA = 1024

func usableKey(key crypto.PublicKey) (crypto.PublicKey, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return k, nil
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return nil, errors.New("the RSA key is shorter than 1024 bits")
		}
		return k, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, errors.New("the key is on another curve than P-256")
		}
		return k, nil
	default:
		return nil, errPublicKey
	}
}
