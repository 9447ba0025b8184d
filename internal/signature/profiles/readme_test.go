package profiles

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// The reference of the format names every key that a profile can have.
func TestTheReferenceIsComplete(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	for _, of := range []reflect.Type{
		reflect.TypeFor[Profile](), reflect.TypeFor[Secret](), reflect.TypeFor[Setting](), reflect.TypeFor[Sample](),
		reflect.TypeFor[hook.Verify](), reflect.TypeFor[hook.StandardKey](), reflect.TypeFor[hook.TokenRule](), reflect.TypeFor[hook.BasicRule](),
		reflect.TypeFor[hook.HMACRule](), reflect.TypeFor[hook.PublicRule](), reflect.TypeFor[hook.ListRule](), reflect.TypeFor[hook.TimestampRule](),
		reflect.TypeFor[hook.JWTRule](), reflect.TypeFor[hook.MTLSRule](),
		reflect.TypeFor[hook.Handshake](), reflect.TypeFor[hook.HandshakeMatch](), reflect.TypeFor[hook.HandshakeReply](),
		reflect.TypeFor[hook.Field](), reflect.TypeFor[hook.Dedupe](), reflect.TypeFor[hook.Reply](),
	} {
		for _, key := range strict.Keys(of) {
			if !strings.Contains(readme, key+":") && !strings.Contains(readme, "`"+key+"`") {
				t.Errorf("README.md does not name %q of %s", key, of)
			}
		}
	}
}
