package interop_test

import (
	"context"
	"strings"
	"testing"
	"time"

	paddle "github.com/PaddleHQ/paddle-go-sdk/v4"
	shopify "github.com/bold-commerce/go-shopify/v4"
	"github.com/google/go-github/v75/github"
	line "github.com/line/line-bot-sdk-go/v8/linebot/webhook"
	"github.com/square/square-go-sdk"
	square_webhooks "github.com/square/square-go-sdk/webhooks/client"
	"github.com/stripe/stripe-go/v84/webhook"
	workos "github.com/workos/workos-go/v4/pkg/webhooks"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

const (
	whsk = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	whpk = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

// outbound is one way in which Malote signs, and who verifies it.
type outbound struct {
	name      string
	sign      hook.Sign
	secrets   []string // any of which a receiver may hold; default: the sign's own
	libraries map[string]library
}

// signings returns the table of what Malote signs. The custom ones are templates that
// a person could write, held to the library of the provider that they imitate.
func signings(t *testing.T) []outbound {
	t.Helper()
	return append(namedSignings(t), customSignings(t)...)
}

func namedSignings(t *testing.T) []outbound {
	t.Helper()
	standard := map[string]library{"go standardwebhooks": goStandard, "npm standardwebhooks": npm(t, "standardwebhooks"), "go svix": goSvix}
	return []outbound{
		{name: "standard", sign: hook.Sign{Secret: whsec}, libraries: standard},
		{name: "standard rotating", sign: hook.Sign{Secret: whsec, Secrets: []hook.Secret{whsecToo}}, secrets: []string{whsec, whsecToo}, libraries: standard},
		{
			name: "svix", sign: hook.Sign{Scheme: "svix", Secret: whsec, Secrets: []hook.Secret{whsecToo}}, secrets: []string{whsec, whsecToo},
			libraries: map[string]library{"go svix": goSvix, "npm svix": npm(t, "svix")},
		},
		{
			name: "ed25519", sign: hook.Sign{Scheme: "ed25519", Secret: whsk}, secrets: []string{whpk},
			libraries: map[string]library{"node crypto": npm(t, "node-ed25519")},
		},
		{ // Receivers that know only v1 skip the v1a entry.
			name: "ed25519 beside v1", sign: hook.Sign{Scheme: "ed25519", Secret: whsk, Secrets: []hook.Secret{whsec}}, secrets: []string{whsec}, libraries: standard,
		},
		{
			name: "stripe rotating", sign: hook.Sign{Scheme: "stripe", Secret: secret, Secrets: []hook.Secret{foreign}}, secrets: []string{secret, foreign},
			libraries: map[string]library{
				"go stripe": func(secret string, r *request) error {
					return webhook.ValidatePayload(r.body, r.header.Get("Stripe-Signature"), secret)
				},
				"npm stripe": npm(t, "stripe"),
			},
		},
		{
			name: "github", sign: hook.Sign{Scheme: "github", Secret: secret},
			libraries: map[string]library{
				"go github": func(secret string, r *request) error {
					return github.ValidateSignature(r.header.Get("X-Hub-Signature-256"), r.body, []byte(secret))
				},
				"npm octokit": npm(t, "octokit"),
			},
		},
		{
			name: "shopify", sign: hook.Sign{Scheme: "shopify", Secret: secret},
			libraries: map[string]library{"go shopify": func(secret string, r *request) error {
				return refused(shopify.App{ApiSecret: secret}.VerifyWebhookRequest(r.http()))
			}},
		},
		{name: "slack", sign: hook.Sign{Scheme: "slack", Secret: secret}, libraries: map[string]library{"go slack": goSlack}},
	}
}

func customSignings(t *testing.T) []outbound {
	t.Helper()
	custom := func(content, encoding string, headers map[string]string) hook.Sign {
		return hook.Sign{Scheme: "custom", Secret: secret, Content: content, Encoding: encoding, Headers: headers}
	}
	adyen := custom("{body}", "base64", map[string]string{"HmacSignature": "{signature}"})
	adyen.Key, adyen.Secret = "hex", "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
	return []outbound{
		{
			name: "paddle", sign: custom("{timestamp}:{body}", "", map[string]string{"Paddle-Signature": "ts={timestamp};h1={signature}"}),
			libraries: map[string]library{
				"go paddle": func(secret string, r *request) error {
					valid, err := paddle.NewWebhookVerifier(secret).Verify(r.http())
					if err != nil {
						return err
					}
					return refused(valid)
				},
				"npm paddle": npm(t, "paddle"),
			},
		},
		{
			name: "line", sign: custom("{body}", "base64", map[string]string{"X-Line-Signature": "{signature}"}),
			libraries: map[string]library{
				"go line": func(secret string, r *request) error {
					return refused(line.ValidateSignature(secret, r.header.Get("X-Line-Signature"), r.body))
				},
				"npm line": npm(t, "line"),
			},
		},
		{
			name: "square", sign: custom("{url}{body}", "base64", map[string]string{"X-Square-Hmacsha256-Signature": "{signature}"}),
			libraries: map[string]library{
				"go square": func(secret string, r *request) error {
					return square_webhooks.NewClient().VerifySignature(context.Background(), &square.VerifySignatureRequest{
						RequestBody: string(r.body), SignatureKey: secret, NotificationURL: r.url,
						SignatureHeader: r.header.Get("X-Square-Hmacsha256-Signature"),
					})
				},
				"npm square": npm(t, "square"),
			},
		},
		{
			name: "workos", sign: custom("{timestampMs}.{body}", "", map[string]string{"WorkOS-Signature": "t={timestampMs}, v1={signature}"}),
			libraries: map[string]library{
				"go workos": func(secret string, r *request) error {
					_, err := workos.NewClient(secret).ValidatePayload(r.header.Get("WorkOS-Signature"), string(r.body))
					return err
				},
			},
		},
		{
			name: "sanity", sign: custom("{timestampMs}.{body}", "base64url", map[string]string{"Sanity-Webhook-Signature": "t={timestampMs},v1={signature}"}),
			libraries: map[string]library{"npm sanity": npm(t, "sanity")},
		},
		{
			name: "hubspot", sign: custom("{method}{url}{body}{timestampMs}", "base64", map[string]string{
				"X-HubSpot-Signature-v3": "{signature}", "X-HubSpot-Request-Timestamp": "{timestampMs}",
			}),
			libraries: map[string]library{"npm hubspot": npm(t, "hubspot")},
		},
		{name: "adyen", sign: adyen, libraries: map[string]library{"npm adyen": npm(t, "adyen")}},
	}
}

// TestOutbound shows that the receivers' own libraries accept what Malote signs, and
// refuse it when the body or the secret is another.
func TestOutbound(t *testing.T) {
	t.Parallel()
	for _, o := range signings(t) {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			if len(o.secrets) == 0 {
				o.secrets = []string{o.sign.Secret.Reveal()}
			}
			for _, body := range []string{order, "{}", `{"texto":"ação, ελληνικά, €, 🧾 \u0000 \" \\"}`, `{"long":"` + strings.Repeat("ç", 100_000) + `"}`} {
				r := signedByUs(t, &o.sign, body)
				changed := r.clone()
				changed.body = append(changed.body, ' ')
				for name, library := range present(o.libraries) {
					for i, secret := range o.secrets {
						if err := library(secret, r); err != nil {
							t.Errorf("%s refuses secret %d over %.40q: %v", name, i, body, err)
						}
						if library(secret, changed) == nil {
							t.Errorf("%s accepts another body than %.40q", name, body)
						}
					}
					if library(otherSecret(o.secrets[0]), r) == nil {
						t.Errorf("%s accepts another secret", name)
					}
				}
			}
		})
	}
}

// signedByUs returns a request that Malote has signed now.
func signedByUs(t *testing.T, sign *hook.Sign, body string) *request {
	t.Helper()
	signer, err := signature.NewSigner(sign)
	if err != nil {
		t.Fatal(err)
	}
	r := newRequest(address+"?a=1", body)
	message := &signature.Message{ID: "evt_01JGK0WQ8ZXC5V7B", Time: time.Now(), Method: r.method, URL: r.url, Body: r.body}
	if err := signer.Sign(message, func(name, value string) { r.header.Set(name, value) }); err != nil {
		t.Fatal(err)
	}
	return r
}

// otherSecret returns a secret of the same form that signed nothing.
func otherSecret(secret string) string {
	switch {
	case strings.HasPrefix(secret, "whsec_"):
		return "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	case strings.HasPrefix(secret, "whpk_"):
		return "whpk_" + strings.Repeat("A", 43) + "="
	default:
		return strings.Repeat("0", len(secret))
	}
}

// TestOutboundReachesOurselves sends what Malote signs to a source of Malote's.
func TestOutboundReachesOurselves(t *testing.T) {
	t.Parallel()
	for provider, sign := range map[string]*hook.Sign{
		"standard-webhooks": {Secret: whsec},
		"svix":              {Scheme: "svix", Secret: whsec},
		"stripe":            {Scheme: "stripe", Secret: secret},
		"github":            {Scheme: "github", Secret: secret},
		"shopify":           {Scheme: "shopify", Secret: secret},
		"slack":             {Scheme: "slack", Secret: secret},
	} {
		r := signedByUs(t, sign, order)
		compiled := verifier(t, &hook.SourceSpec{Provider: provider, Secret: sign.Secret}, nil)
		if _, err := compiled.Verify(context.Background(), r.ours(time.Now())); err != nil {
			t.Errorf("%s: %v", provider, err)
		}
	}
	r := signedByUs(t, &hook.Sign{Scheme: "ed25519", Secret: whsk}, order)
	compiled := verifier(t, &hook.SourceSpec{Verify: &hook.Verify{Standard: &hook.StandardKey{}}, Secret: whpk}, nil)
	if _, err := compiled.Verify(context.Background(), r.ours(time.Now())); err != nil {
		t.Errorf("ed25519: %v", err)
	}
}

// TestLibrariesSign has the libraries sign, where they can, and Malote verify.
func TestLibrariesSign(t *testing.T) {
	t.Parallel()
	n := needNode(t)
	now := time.Now()
	for _, c := range []struct{ library, provider, secret, url, body string }{
		{"standardwebhooks", "standard-webhooks", whsec, address, order},
		{"svix", "svix", whsec, address, order},
		{"stripe", "stripe", secret, address, order},
		{"octokit", "github", secret, address, order},
		{"twilio", "twilio", secret, address + "?foo=1", "To=%2B18005551212&From=%2B14158675309&Body=a%C3%A7%C3%A3o+%26+cia"},
	} {
		r := newRequest(c.url, c.body)
		if c.provider == "twilio" {
			r.header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		q := npmQuestion(c.library, c.secret, r)
		q.Op, q.MessageID, q.Timestamp = "sign", "msg_1042", now.Unix()
		answer := n.ask(q)
		if !answer.OK {
			t.Errorf("%s does not sign: %s", c.library, answer.Error)
			continue
		}
		for name, value := range answer.Headers {
			r.header.Set(name, value)
		}
		if _, err := verifier(t, &hook.SourceSpec{Provider: c.provider, Secret: hook.Secret(c.secret)}, nil).Verify(context.Background(), r.ours(now)); err != nil {
			t.Errorf("%s signed, Malote refuses: %v", c.library, err)
		}
	}

	payload := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(order), Secret: secret, Timestamp: now})
	r := newRequest(address, order)
	r.header.Set("Stripe-Signature", payload.Header)
	if _, err := verifier(t, &hook.SourceSpec{Provider: "stripe", Secret: secret}, nil).Verify(context.Background(), r.ours(now)); err != nil {
		t.Errorf("stripe-go signed, Malote refuses: %v", err)
	}
}
