package message

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
)

// filter changes the value of a placeholder.
type filter uint8

const (
	filterLower filter = iota
	filterUpper
	filterTrim
	filterBase64
	filterHex
	filterSHA256
	filterCompact
	filterJSON
	filterQueryUnescape
	filterUnescapeReserved
	filterHMAC
	filterCount
)

func (f filter) String() string {
	return [filterCount]string{
		"lower", "upper", "trim", "base64", "hex", "sha256", "compact", "json",
		"query-unescape", "unescape-reserved", "hmac-sha256",
	}[f]
}

func filterNamed(word string) (filter, bool) {
	for f := range filterCount {
		if f.String() == word {
			return f, true
		}
	}
	return 0, false
}

func filterNames(purpose Purpose) string {
	var names []string
	for f := range filterCount {
		if f != filterHMAC || purpose == ForReply {
			names = append(names, f.String())
		}
	}
	return strings.Join(names, ", ")
}

func (f filter) apply(value []byte, env *Env) []byte {
	switch f {
	case filterLower:
		return bytes.ToLower(value)
	case filterUpper:
		return bytes.ToUpper(value)
	case filterTrim:
		return bytes.TrimSpace(value)
	case filterBase64:
		return base64.StdEncoding.AppendEncode(nil, value)
	case filterHex:
		return hex.AppendEncode(nil, value)
	case filterSHA256:
		sum := sha256.Sum256(value)
		return hex.AppendEncode(nil, sum[:])
	case filterHMAC:
		if !isChallenge(value) {
			env.refused = true
			return nil
		}
		mac := hmac.New(sha256.New, env.Key)
		mac.Write(value)
		return mac.Sum(nil)
	case filterCompact:
		return compactJSON(value)
	case filterJSON:
		return quoteJSON(value)
	case filterQueryUnescape:
		if text, err := url.QueryUnescape(string(value)); err == nil {
			return []byte(text)
		}
		return value
	case filterUnescapeReserved:
		return unescapeReserved(value)
	case filterCount:
	}
	return value
}

// maxChallenge is the longest challenge that is signed, in bytes.
const maxChallenge = 256

// isChallenge says whether a value looks like a challenge and like nothing else that is
// signed: one word, of the alphabets of base64, hex and UUIDs.
func isChallenge(value []byte) bool {
	for _, c := range value {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte("+/=-_.", c) < 0 {
			return false
		}
	}
	return len(value) > 0 && len(value) <= maxChallenge
}

// compactJSON drops insignificant white space; what is not JSON stays as it is.
func compactJSON(value []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, value) != nil {
		return value
	}
	return out.Bytes()
}

// quoteJSON writes the value as a JSON text, without the HTML escapes that
// json.Marshal adds: a receiver may compare the bytes.
func quoteJSON(value []byte) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(string(value)); err != nil {
		return []byte(`""`)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// reserved is the set that HubSpot decodes in the address before it signs (signature
// v3, "URL-encoded characters" of its validation page).
const reserved = ":/?@!$'()*,;"

func unescapeReserved(value []byte) []byte {
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			var c [1]byte
			if _, err := hex.Decode(c[:], value[i+1:i+3]); err == nil && strings.IndexByte(reserved, c[0]) >= 0 {
				out = append(out, c[0])
				i += 2
				continue
			}
		}
		out = append(out, value[i])
	}
	return out
}
