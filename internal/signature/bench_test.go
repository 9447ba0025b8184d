package signature_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/profiles"
)

// BenchmarkVerify measures one verification of a 1 KiB body.
func BenchmarkVerify(b *testing.B) {
	body := bytes.Repeat([]byte(`{"id":1}`), 128)
	unix := strconv.FormatInt(profiles.SampleTime().Unix(), 10)
	sum := func(key, content string) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(content + string(body)))
		return mac.Sum(nil)
	}
	raw := "0123456789abcdef01234567"
	cases := map[string]struct {
		secret  string
		headers hook.Headers
	}{
		"stripe":  {"whsec_x", hook.Headers{{Name: "Stripe-Signature", Value: "t=" + unix + ",v1=" + hex.EncodeToString(sum("whsec_x", unix+"."))}}},
		"github":  {"secret", hook.Headers{{Name: "X-Hub-Signature-256", Value: "sha256=" + hex.EncodeToString(sum("secret", ""))}}},
		"shopify": {"secret", hook.Headers{{Name: "X-Shopify-Hmac-Sha256", Value: base64.StdEncoding.EncodeToString(sum("secret", ""))}}},
		"standard-webhooks": {"whsec_" + base64.StdEncoding.EncodeToString([]byte(raw)), hook.Headers{
			{Name: "webhook-id", Value: "msg_1"},
			{Name: "webhook-timestamp", Value: unix},
			{Name: "webhook-signature", Value: "v1," + base64.StdEncoding.EncodeToString(sum(raw, "msg_1."+unix+"."))},
		}},
	}
	for name, one := range cases {
		b.Run(name, func(b *testing.B) {
			v, err := signature.Compile(&hook.SourceSpec{Provider: name, Secret: hook.Secret(one.secret)}, gallery(b), nil)
			if err != nil {
				b.Fatal(err)
			}
			req := &signature.Request{Method: "POST", Headers: one.headers, Body: body, Now: profiles.SampleTime()}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := v.Verify(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkExplain measures the explanation of a refusal that nothing explains: every
// variation is tried.
func BenchmarkExplain(b *testing.B) {
	v, err := signature.Compile(&hook.SourceSpec{Provider: "github", Secret: "secret"}, gallery(b), nil)
	if err != nil {
		b.Fatal(err)
	}
	body := append(append([]byte{'['}, bytes.Repeat([]byte(`{"id":1},`), 113)...), '0', ']')
	sum := sha256.Sum256(body)
	req := &signature.Request{
		Method: "POST", Body: body, Now: profiles.SampleTime(),
		Headers: hook.Headers{{Name: "X-Hub-Signature-256", Value: "sha256=" + hex.EncodeToString(sum[:])}},
	}
	_, refusal := v.Verify(b.Context(), req)
	b.ReportAllocs()
	for b.Loop() {
		v.Explain(b.Context(), req, refusal)
	}
}
