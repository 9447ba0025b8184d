package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	paddle "github.com/PaddleHQ/paddle-go-sdk/v4"
	shopify "github.com/bold-commerce/go-shopify/v4"
	"github.com/bwmarrin/discordgo"
	"github.com/google/go-github/v75/github"
	line "github.com/line/line-bot-sdk-go/v8/linebot/webhook"
	"github.com/mailgun/mailgun-go/v5"
	"github.com/mailgun/mailgun-go/v5/mtypes"
	"github.com/pusher/pusher-http-go/v5"
	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
	"github.com/slack-go/slack"
	"github.com/square/square-go-sdk"
	square_webhooks "github.com/square/square-go-sdk/webhooks/client"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v84/webhook"
	svix "github.com/svix/svix-webhooks/go"
	twilio "github.com/twilio/twilio-go/client"
	workos "github.com/workos/workos-go/v4/pkg/webhooks"
)

// scheme is one way of signing that somebody else's library verifies.
type scheme struct {
	name      string            // of the test; default: the profile
	provider  string            // profile
	settings  map[string]string // of the source
	secret    string            // of the source
	foreign   string            // what the libraries take for it; default: the same
	other     string            // a secret of the same form that did not sign; "": every one fits
	url       string
	body      string
	form      bool // the body is a form
	header    string
	bodyFree  bool // the signature does not cover the body
	sign      func(r *request, now time.Time)
	keys      keys // what the addresses that the rule fetches answer
	libraries map[string]library
}

const (
	address  = "https://hooks.example.com/in/loja"
	secret   = "made-up-secret-0123456789"
	foreign  = "another-secret-0123456789"
	whsec    = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	whsecToo = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	order    = `{"id":"evt_1042","type":"order.paid","order":"1042","total":"254.98","cliente":"Müller & Cia"}`
)

// schemes returns the table. The first library of each is the provider's own for Go.
func schemes(t *testing.T) []scheme {
	t.Helper()
	all := []scheme{
		{
			provider: "standard-webhooks", secret: whsec, other: whsecToo, header: "webhook-signature",
			sign: func(r *request, now time.Time) {
				signStandard(r, "webhook-", now)
			},
			libraries: map[string]library{"go standardwebhooks": goStandard, "go svix": goSvix, "npm standardwebhooks": npm(t, "standardwebhooks")},
		},
		{
			provider: "svix", secret: whsec, other: whsecToo, header: "svix-signature",
			sign:      func(r *request, now time.Time) { signStandard(r, "svix-", now) },
			libraries: map[string]library{"go svix": goSvix, "npm svix": npm(t, "svix")},
		},
		{
			provider: "stripe", header: "Stripe-Signature",
			sign: func(r *request, now time.Time) {
				r.header.Set("Stripe-Signature", "t="+unix(now)+",v1="+hex256(secret, unix(now)+"."+string(r.body)))
			},
			libraries: map[string]library{
				"go stripe": func(secret string, r *request) error {
					return webhook.ValidatePayload(r.body, r.header.Get("Stripe-Signature"), secret)
				},
				"npm stripe": npm(t, "stripe"),
			},
		},
		{
			provider: "github", header: "X-Hub-Signature-256",
			sign: func(r *request, _ time.Time) {
				r.header.Set("X-Hub-Signature-256", "sha256="+hex256(secret, string(r.body)))
			},
			libraries: map[string]library{
				"go github": func(secret string, r *request) error {
					return github.ValidateSignature(r.header.Get("X-Hub-Signature-256"), r.body, []byte(secret))
				},
				"npm octokit": npm(t, "octokit"),
			},
		},
		{
			provider: "slack", header: "X-Slack-Signature",
			sign: func(r *request, now time.Time) {
				r.header.Set("X-Slack-Request-Timestamp", unix(now))
				r.header.Set("X-Slack-Signature", "v0="+hex256(secret, "v0:"+unix(now)+":"+string(r.body)))
			},
			libraries: map[string]library{"go slack": goSlack},
		},
		{
			provider: "shopify", header: "X-Shopify-Hmac-Sha256",
			sign: func(r *request, _ time.Time) {
				for name, value := range map[string]string{
					"X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": "loja.myshopify.com", "X-Shopify-API-Version": "2025-07",
					"X-Shopify-Webhook-Id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", "X-Shopify-Hmac-Sha256": base256(secret, string(r.body)),
				} {
					r.header.Set(name, value)
				}
			},
			libraries: map[string]library{
				"go shopify": func(secret string, r *request) error {
					return refused(shopify.App{ApiSecret: secret}.VerifyWebhookRequest(r.http()))
				},
				"npm shopify": npm(t, "shopify"),
			},
		},
		{
			provider: "paddle", header: "Paddle-Signature",
			sign: func(r *request, now time.Time) {
				r.header.Set("Paddle-Signature", "ts="+unix(now)+";h1="+hex256(secret, unix(now)+":"+string(r.body)))
			},
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
			provider: "line", header: "X-Line-Signature",
			sign: func(r *request, _ time.Time) { r.header.Set("X-Line-Signature", base256(secret, string(r.body))) },
			libraries: map[string]library{
				"go line": func(secret string, r *request) error {
					return refused(line.ValidateSignature(secret, r.header.Get("X-Line-Signature"), r.body))
				},
				"npm line": npm(t, "line"),
			},
		},
		{
			provider: "square", settings: map[string]string{"url": address}, header: "X-Square-Hmacsha256-Signature",
			sign: func(r *request, _ time.Time) {
				r.header.Set("X-Square-Hmacsha256-Signature", base256(secret, r.url+string(r.body)))
			},
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
			provider: "workos", header: "WorkOS-Signature", body: `{"id":"event_01","event":"user.created","data":{"id":"1042"}}`,
			sign: func(r *request, now time.Time) {
				r.header.Set("WorkOS-Signature", "t="+milli(now)+", v1="+hex256(secret, milli(now)+"."+string(r.body)))
			},
			libraries: map[string]library{
				"go workos": func(secret string, r *request) error {
					_, err := workos.NewClient(secret).ValidatePayload(r.header.Get("WorkOS-Signature"), string(r.body))
					return err
				},
				"npm workos": npm(t, "workos"),
			},
		},
		{
			provider: "pusher", header: "X-Pusher-Signature", body: `{"time_ms":1767323045000,"events":[{"name":"channel_occupied","channel":"loja-1042"}]}`,
			sign: func(r *request, _ time.Time) {
				r.header.Set("X-Pusher-Key", "key-1")
				r.header.Set("X-Pusher-Signature", hex256(secret, string(r.body)))
			},
			libraries: map[string]library{
				"go pusher": func(secret string, r *request) error {
					client := pusher.Client{Key: "key-1", Secret: secret}
					_, err := client.Webhook(r.header, r.body)
					return err
				},
				"npm pusher": npm(t, "pusher"),
			},
		},
		{
			provider: "linear", header: "Linear-Signature",
			sign: func(r *request, now time.Time) {
				r.body = []byte(strings.Replace(string(r.body), "{", `{"webhookTimestamp":`+milli(now)+`,`, 1))
				r.header.Set("Linear-Timestamp", milli(now))
				r.header.Set("Linear-Signature", hex256(secret, string(r.body)))
			},
			libraries: map[string]library{"npm linear": npm(t, "linear")},
		},
		{
			provider: "sanity", header: "Sanity-Webhook-Signature",
			sign: func(r *request, now time.Time) {
				mac := sum(sha256.New, []byte(secret), milli(now)+"."+string(r.body))
				r.header.Set("Sanity-Webhook-Signature", "t="+milli(now)+",v1="+base64.RawURLEncoding.EncodeToString(mac))
			},
			libraries: map[string]library{"npm sanity": npm(t, "sanity")},
		},
		{
			provider: "hubspot", header: "X-HubSpot-Signature-v3",
			sign: func(r *request, now time.Time) {
				r.header.Set("X-HubSpot-Request-Timestamp", milli(now))
				r.header.Set("X-HubSpot-Signature-v3", base256(secret, r.method+r.url+string(r.body)+milli(now)))
			},
			libraries: map[string]library{"npm hubspot": npm(t, "hubspot")},
		},
		{
			name: "hubspot v1", provider: "hubspot-legacy", header: "X-HubSpot-Signature",
			sign:      func(r *request, _ time.Time) { signHubSpot(r, "v1", secret+string(r.body)) },
			libraries: map[string]library{"npm hubspot": npm(t, "hubspot")},
		},
		{
			name: "hubspot v2", provider: "hubspot-legacy", header: "X-HubSpot-Signature",
			sign:      func(r *request, _ time.Time) { signHubSpot(r, "v2", secret+r.method+r.url+string(r.body)) },
			libraries: map[string]library{"npm hubspot": npm(t, "hubspot")},
		},
		{
			provider: "mercado-pago", header: "X-Signature", bodyFree: true,
			url: address + "?data.id=ABC123&type=payment",
			sign: func(r *request, now time.Time) {
				r.header.Set("X-Request-Id", "bb56a2f1-6aae-46ac-982e-9dcd3581d08e")
				r.header.Set("X-Signature", "ts="+unix(now)+",v1="+
					hex256(secret, "id:abc123;request-id:bb56a2f1-6aae-46ac-982e-9dcd3581d08e;ts:"+unix(now)+";"))
			},
			libraries: map[string]library{"npm mercadopago": npm(t, "mercadopago")},
		},
		{
			provider: "mercado-pago", header: "X-Signature", bodyFree: true, // pairs without a value are left out
			sign: func(r *request, now time.Time) {
				r.header.Set("X-Signature", "ts="+unix(now)+",v1="+hex256(secret, "ts:"+unix(now)+";"))
			},
			libraries: map[string]library{"npm mercadopago": npm(t, "mercadopago")},
		},
	}
	all = append(all, twilioSchemes(t)...)
	all = append(all, adyenSchemes(t)...)
	all = append(all, publicKeySchemes(t)...)
	all = append(all, forgeSchemes()...)
	all = append(all, snsSchemes(t)...)
	all = append(all, googleScheme(t))
	return append(all, mailgunScheme())
}

func signStandard(r *request, prefix string, now time.Time) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
	if err != nil {
		panic(err)
	}
	mac := sum(sha256.New, key, "msg_1042."+unix(now)+"."+string(r.body))
	r.header.Set(prefix+"id", "msg_1042")
	r.header.Set(prefix+"timestamp", unix(now))
	r.header.Set(prefix+"signature", "v1,"+base64.StdEncoding.EncodeToString(mac))
}

// signHubSpot signs as the versions did that hash without a key.
func signHubSpot(r *request, version, content string) {
	digest := sha256.Sum256([]byte(content))
	r.header.Set("X-HubSpot-Signature-Version", version)
	r.header.Set("X-HubSpot-Signature", hex.EncodeToString(digest[:]))
}

func goStandard(secret string, r *request) error {
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return wh.Verify(r.body, r.header)
}

func goSvix(secret string, r *request) error {
	wh, err := svix.NewWebhook(secret)
	if err != nil {
		return err
	}
	return wh.Verify(r.body, r.header)
}

func goSlack(secret string, r *request) error {
	verifier, err := slack.NewSecretsVerifier(r.header, secret)
	if err != nil {
		return err
	}
	if _, err := verifier.Write(r.body); err != nil {
		return err
	}
	return verifier.Ensure()
}

// twilioSchemes are the two of Twilio: forms and JSON.
func twilioSchemes(t *testing.T) []scheme {
	t.Helper()
	form := "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1042&From=%2B14158675309&To=%2B18005551212"
	base1 := func(content string) string {
		return base64.StdEncoding.EncodeToString(sum(sha1.New, []byte(secret), content))
	}
	digest := sha256.Sum256([]byte(order))
	signedURL := address + "?bodySHA256=" + hex.EncodeToString(digest[:])
	return []scheme{
		{
			provider: "twilio", header: "X-Twilio-Signature", body: form, form: true, url: address + "?foo=1&bar=2",
			sign: func(r *request, _ time.Time) {
				r.header.Set("X-Twilio-Signature", base1(r.url+
					"CallSidCA1234567890ABCDECaller+14158675309Digits1042From+14158675309To+18005551212"))
			},
			libraries: map[string]library{
				"go twilio": func(secret string, r *request) error {
					request := r.http()
					if err := request.ParseForm(); err != nil {
						return err
					}
					params := map[string]string{}
					for name := range request.PostForm {
						params[name] = request.PostForm.Get(name)
					}
					validator := twilio.NewRequestValidator(secret)
					return refused(validator.Validate(r.url, params, r.header.Get("X-Twilio-Signature")))
				},
				"npm twilio": npm(t, "twilio"),
			},
		},
		{
			provider: "twilio", header: "X-Twilio-Signature", url: signedURL,
			sign: func(r *request, _ time.Time) { r.header.Set("X-Twilio-Signature", base1(r.url)) },
			libraries: map[string]library{
				"go twilio": func(secret string, r *request) error {
					validator := twilio.NewRequestValidator(secret)
					return refused(validator.ValidateBody(r.url, r.body, r.header.Get("X-Twilio-Signature")))
				},
				"npm twilio": npm(t, "twilio"),
			},
		},
	}
}

// adyenSchemes are the two of Adyen: a signature in each item, and one of the whole body.
func adyenSchemes(t *testing.T) []scheme {
	t.Helper()
	const key, wrong = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056", "00782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
	raw, err := hex.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	base := func(content string) string {
		return base64.StdEncoding.EncodeToString(sum(sha256.New, raw, content))
	}
	payment := `{"live":"false","notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":"` +
		base("7914073381342284::TestMerchant:TestPayment-1407325143704:1042:BRL:AUTHORISATION:true") +
		`"},"amount":{"currency":"BRL","value":1042},"eventCode":"AUTHORISATION","eventDate":"2026-01-02T03:04:05+00:00",` +
		`"merchantAccountCode":"TestMerchant","merchantReference":"TestPayment-1407325143704","originalReference":"",` +
		`"pspReference":"7914073381342284","success":"true"}}]}`
	libraries := map[string]library{"npm adyen": npm(t, "adyen")}
	return []scheme{
		{provider: "adyen", secret: key, other: wrong, body: payment, sign: func(*request, time.Time) {}, libraries: libraries},
		{
			name: "adyen platforms", provider: "adyen", secret: key, other: wrong, header: "HmacSignature", libraries: libraries,
			sign: func(r *request, _ time.Time) { r.header.Set("HmacSignature", base(string(r.body))) },
		},
	}
}

// publicKeySchemes are those whose sender holds a private key.
func publicKeySchemes(t *testing.T) []scheme {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	otherEC, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherSPKI, err := x509.MarshalPKIXPublicKey(&otherEC.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherEd, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return []scheme{
		{
			provider: "sendgrid", secret: base64.StdEncoding.EncodeToString(spki), other: base64.StdEncoding.EncodeToString(otherSPKI),
			header: "X-Twilio-Email-Event-Webhook-Signature",
			sign: func(r *request, now time.Time) {
				digest := sha256.Sum256([]byte(unix(now) + string(r.body)))
				signature, err := ecdsa.SignASN1(rand.Reader, ec, digest[:])
				if err != nil {
					t.Fatal(err)
				}
				r.header.Set("X-Twilio-Email-Event-Webhook-Timestamp", unix(now))
				r.header.Set("X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(signature))
			},
			libraries: map[string]library{"go sendgrid": goSendGrid, "npm sendgrid": npm(t, "sendgrid")},
		},
		{
			provider: "discord", secret: hex.EncodeToString(edPublic), other: hex.EncodeToString(otherEd), header: "X-Signature-Ed25519",
			sign: func(r *request, now time.Time) {
				r.header.Set("X-Signature-Timestamp", unix(now))
				r.header.Set("X-Signature-Ed25519", hex.EncodeToString(ed25519.Sign(edPrivate, []byte(unix(now)+string(r.body)))))
			},
			libraries: map[string]library{
				"go discord": func(secret string, r *request) error {
					key, err := hex.DecodeString(secret)
					if err != nil {
						return err
					}
					return refused(discordgo.VerifyInteraction(r.http(), key))
				},
				"npm discord": npm(t, "discord"),
			},
		},
	}
}

func goSendGrid(secret string, r *request) error {
	key, err := eventwebhook.ConvertPublicKeyBase64ToECDSA(secret)
	if err != nil {
		return err
	}
	valid, err := eventwebhook.VerifySignature(key, r.body,
		r.header.Get("X-Twilio-Email-Event-Webhook-Signature"), r.header.Get("X-Twilio-Email-Event-Webhook-Timestamp"))
	if err != nil {
		return err
	}
	return refused(valid)
}

// mailgunScheme is Mailgun's, whose signature is in the body and covers none of the rest.
func mailgunScheme() scheme {
	return scheme{
		provider: "mailgun", bodyFree: true,
		sign: func(r *request, now time.Time) {
			token := "50dbe3a1c2e0a4f5b6d7c8e9f0a1b2c3d4e5f60718293a4b5c"
			r.body = []byte(`{"signature":{"timestamp":"` + unix(now) + `","token":"` + token + `","signature":"` +
				hex256(secret, unix(now)+token) + `"},"event-data":{"event":"delivered","id":"1042"}}`)
		},
		libraries: map[string]library{
			"go mailgun": func(secret string, r *request) error {
				var body struct {
					Signature mtypes.Signature `json:"signature"`
				}
				if err := json.Unmarshal(r.body, &body); err != nil {
					return err
				}
				client := mailgun.NewMailgun("unused")
				client.SetWebhookSigningKey(secret)
				valid, err := client.VerifyWebhookSignature(body.Signature)
				if err != nil {
					return err
				}
				return refused(valid)
			},
		},
	}
}
