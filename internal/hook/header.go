package hook

import (
	"slices"
	"strings"
)

// IsHeaderName reports whether a text can name a header field: a token of RFC 9110,
// section 5.6.2.
func IsHeaderName(text string) bool {
	for i := range len(text) {
		if c := text[i]; !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return text != ""
}

// IsHeaderValue reports whether a text can be a header field's value: it has no
// control character but the tab (RFC 9110, section 5.5).
func IsHeaderValue(text string) bool {
	for i := range len(text) {
		if b := text[i]; b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}

// CredentialHeader reports whether a header's name says that its value proves who the
// sender is, so that it is treated as a secret even where it is plain text.
func CredentialHeader(name string) bool {
	name = strings.ToLower(name)
	if name == "cookie" || name == "set-cookie" {
		return true
	}
	words := []string{"authorization", "token", "secret", "password", "passwd", "api-key", "apikey", "access-key", "credential"}
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(name, word) })
}
