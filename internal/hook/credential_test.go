package hook

import "testing"

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
