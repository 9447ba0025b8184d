package hook

import "strings"

// CredentialHeader reports whether a header's name says that its value proves who the
// sender is, so that it is treated as a secret even where it is plain text.
func CredentialHeader(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "cookie", "set-cookie":
		return true
	}
	for _, word := range []string{"authorization", "token", "secret", "password", "passwd", "api-key", "apikey", "access-key", "credential"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
