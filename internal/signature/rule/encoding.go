package rule

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// maxSignature is the longest signature text that is decoded: an RSA signature of
// 8,192 bits in hex.
const maxSignature = 2048

// Encoding is a way to write a signature as text.
type Encoding string

// The encodings of signatures.
const (
	Hex       Encoding = "hex"       // either case
	Base64    Encoding = "base64"    // the standard alphabet, padding optional
	Base64URL Encoding = "base64url" // the URL alphabet, padding optional
)

// decode appends the bytes of text to dst. It does not allocate when dst has room.
func (e Encoding) decode(dst []byte, text string) ([]byte, bool) {
	if text == "" || len(text) > maxSignature {
		return dst, false
	}
	var source [maxSignature]byte
	n := copy(source[:], text)
	var (
		out []byte
		err error
	)
	switch e {
	case Hex:
		out, err = hex.AppendDecode(dst, source[:n])
	case Base64:
		out, err = base64.RawStdEncoding.AppendDecode(dst, trimPadding(source[:n]))
	case Base64URL:
		out, err = base64.RawURLEncoding.AppendDecode(dst, trimPadding(source[:n]))
	default:
		return dst, false
	}
	return out, err == nil
}

func trimPadding(text []byte) []byte {
	for range 2 {
		if n := len(text); n > 0 && text[n-1] == '=' {
			text = text[:n-1]
		}
	}
	return text
}

// decodeBase64 takes base64 of either alphabet, padded or not, as people paste it.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	return base64.RawStdEncoding.DecodeString(text)
}
