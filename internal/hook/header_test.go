package hook

import (
	"strings"
	"testing"
)

func TestCredentialHeader(t *testing.T) {
	for name, want := range map[string]bool{
		"Authorization": true, "Proxy-Authorization": true, "COOKIE": true, "X-Api-Key": true, "x-shop-token": true, "X-Client-Secret": true,
		"Content-Type": false, "X-Version": false, "Idempotency-Key": false, "User-Agent": false, "": false,
	} {
		if got := CredentialHeader(name); got != want {
			t.Errorf("CredentialHeader(%q) = %v", name, got)
		}
	}
}

func TestIsHeaderName(t *testing.T) {
	for c := range 256 {
		want := c > ' ' && c < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, rune(c)) // RFC 9110: the delimiters
		if got := IsHeaderName("X" + string([]byte{byte(c)})); got != want {
			t.Errorf("with the byte %#x: %v", c, got)
		}
	}
	if IsHeaderName("") || !IsHeaderName("X-Api-Key") {
		t.Error("the empty text is a name, or a usual name is none")
	}
}
