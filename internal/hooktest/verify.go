package hooktest

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// standardTolerance is how far webhook-timestamp may be off, as in every library of
// the Standard Webhooks specification.
const standardTolerance = 5 * time.Minute

// VerifyStandard checks the Standard Webhooks 1.0.0 headers of a request against the
// secrets: whsec_… for v1, whpk_… for v1a. It shares no code with the signer.
func VerifyStandard(headers http.Header, body []byte, secrets []string) error {
	id, stamp := headers.Get("webhook-id"), headers.Get("webhook-timestamp")
	if id == "" {
		return errors.New("no webhook-id header")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("webhook-timestamp %q is not a number of seconds", stamp)
	}
	if off := time.Since(time.Unix(seconds, 0)).Abs(); off > standardTolerance {
		return fmt.Errorf("webhook-timestamp is %s off", off)
	}
	content := []byte(id + "." + stamp + "." + string(body))
	for signature := range strings.FieldsSeq(headers.Get("webhook-signature")) {
		version, encoded, _ := strings.Cut(signature, ",")
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return fmt.Errorf("the signature %q is not base64", signature)
		}
		for _, secret := range secrets {
			if fits(version, raw, content, secret) {
				return nil
			}
		}
	}
	return fmt.Errorf("no signature of %q fits", headers.Get("webhook-signature"))
}

// fits reports whether one signature was made of content with one secret.
func fits(version string, signature, content []byte, secret string) bool {
	kind, encoded, _ := strings.Cut(secret, "_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return false
	case version == "v1" && kind == "whsec":
		return hmac.Equal(signature, digest(key, content))
	case version == "v1a" && kind == "whpk" && len(key) == ed25519.PublicKeySize:
		return ed25519.Verify(key, content, signature)
	default:
		return false
	}
}

func digest(key, content []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(content)
	return mac.Sum(nil)
}

// Sent is what a provider says of an event beside its body.
type Sent struct {
	Secret string
	Type   string
	ID     string // of the delivery
}

// SignShopify sets the headers that Shopify sends with a body: topic, webhook id and
// X-Shopify-Hmac-Sha256.
func SignShopify(headers http.Header, sent Sent, body []byte) {
	headers.Set("Content-Type", "application/json")
	headers.Set("X-Shopify-Topic", sent.Type)
	headers.Set("X-Shopify-Webhook-Id", sent.ID)
	headers.Set("X-Shopify-Event-Id", sent.ID)
	headers.Set("X-Shopify-Hmac-Sha256", base64.StdEncoding.EncodeToString(digest([]byte(sent.Secret), body)))
}
