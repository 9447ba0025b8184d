package signature_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

const (
	standardSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	privateSecret  = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	publicKey      = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

// standardMessage is the message of the Standard Webhooks libraries' own tests.
func standardMessage() *signature.Message {
	return &signature.Message{
		ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Time: time.Unix(1614265330, 0),
		Method: "POST", URL: "https://erp.example.com/orders?a=1", Body: []byte(`{"test": 2432232314}`),
	}
}

func signed(t testing.TB, sign *hook.Sign, m *signature.Message) map[string]string {
	t.Helper()
	signer, err := signature.NewSigner(sign)
	if err != nil {
		t.Fatal(err)
	}
	headers := map[string]string{}
	if err := signer.Sign(m, func(name, value string) { headers[name] = value }); err != nil {
		t.Fatal(err)
	}
	return headers
}

func mac(content, key string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(content))
	return h.Sum(nil)
}

func TestSign(t *testing.T) {
	t.Parallel()
	body := `{"test": 2432232314}`
	b64 := base64.StdEncoding.EncodeToString
	sum1 := hmac.New(sha1.New, []byte{0xde, 0xad})
	sum1.Write([]byte("POST\n{https://erp.example.com/orders?a=1}" + "1614265330000" + body))

	tests := map[string]struct {
		sign hook.Sign
		want map[string]string
	}{
		"standard, the vector of the specification's libraries": {
			sign: hook.Sign{Secret: standardSecret},
			want: map[string]string{
				"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
				"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			},
		},
		"standard, secret without its prefix": {
			sign: hook.Sign{Scheme: "standard", Secret: hook.Secret(standardSecret[len("whsec_"):])},
			want: map[string]string{
				"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
				"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			},
		},
		"standard, rotating": {
			sign: hook.Sign{Secret: "whsec_c2VjcmV0", Secrets: []hook.Secret{standardSecret}},
			want: map[string]string{
				"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
				"webhook-signature": "v1," + b64(mac("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330."+body, "secret")) +
					" v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			},
		},
		"svix": {
			sign: hook.Sign{Scheme: "svix", Secrets: []hook.Secret{standardSecret}},
			want: map[string]string{
				"svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "svix-timestamp": "1614265330",
				"svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			},
		},
		"stripe, rotating": {
			sign: hook.Sign{Scheme: "stripe", Secret: "whsec_new", Secrets: []hook.Secret{"whsec_old"}},
			want: map[string]string{
				"Stripe-Signature": "t=1614265330,v1=" + hex.EncodeToString(mac("1614265330."+body, "whsec_new")) +
					",v1=" + hex.EncodeToString(mac("1614265330."+body, "whsec_old")),
			},
		},
		"shopify, the newest secret alone": {
			sign: hook.Sign{Scheme: "shopify", Secret: "new", Secrets: []hook.Secret{"old"}},
			want: map[string]string{
				"X-Shopify-Hmac-Sha256": b64(mac(body, "new")), "X-Shopify-Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
			},
		},
		"custom, every field": {
			sign: hook.Sign{
				Scheme: "custom", Secret: "dead", Hash: "sha1", Key: "hex", Encoding: "base64url",
				Content: "{method}\n{{{url}}}{timestampMs}{body}",
				Headers: map[string]string{"X-Sig": "a={signature};{id};{method}", "X-At": "{timestampMs}", "X-Url": "{url}", "X-Kind": "hook"},
			},
			want: map[string]string{
				"X-Sig": "a=" + base64.RawURLEncoding.EncodeToString(sum1.Sum(nil)) + ";msg_p5jXN8AQM9LWM0D4loKWxJek;POST",
				"X-At":  "1614265330000", "X-Url": "https://erp.example.com/orders?a=1", "X-Kind": "hook",
			},
		},
		"custom, the list that Outpost sends": {
			sign: hook.Sign{
				Scheme: "custom", Secret: "one", Secrets: []hook.Secret{"two"},
				Headers: map[string]string{"x-outpost-signature": "v0={signatures}"},
			},
			want: map[string]string{
				"x-outpost-signature": "v0=" + hex.EncodeToString(mac(body, "one")) + "," + hex.EncodeToString(mac(body, "two")),
			},
		},
		"none": {sign: hook.Sign{None: true}, want: map[string]string{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, signed(t, &test.sign, standardMessage())); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSignVectors holds the foreign schemes to what their owners publish.
func TestSignVectors(t *testing.T) {
	t.Parallel()
	github := signed(t, &hook.Sign{Scheme: "github", Secret: "It's a Secret to Everybody"},
		&signature.Message{ID: "evt_1", Time: time.Unix(1, 0), Body: []byte("Hello, World!")})
	if want := "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"; github["X-Hub-Signature-256"] != want {
		t.Errorf("github: %s, want %s", github["X-Hub-Signature-256"], want)
	}

	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V" +
		"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=" +
		"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN" +
		"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	slack := signed(t, &hook.Sign{Scheme: "slack", Secret: "8f742231b10e8888abcd99yyyzzz85a5"},
		&signature.Message{ID: "evt_1", Time: time.Unix(1531420618, 0), Body: []byte(body)})
	want := map[string]string{
		"X-Slack-Signature":         "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
		"X-Slack-Request-Timestamp": "1531420618",
	}
	if diff := cmp.Diff(want, slack); diff != "" {
		t.Errorf("slack (-want +got):\n%s", diff)
	}
}

func TestSignEd25519(t *testing.T) {
	t.Parallel()
	public, err := signature.PublicKey(privateSecret)
	if err != nil {
		t.Fatal(err)
	}
	if public != publicKey {
		t.Fatalf("public key %s, want %s", public, publicKey)
	}
	headers := signed(t, &hook.Sign{Scheme: "ed25519", Secret: privateSecret, Secrets: []hook.Secret{standardSecret}}, standardMessage())
	asymmetric, symmetric, both := strings.Cut(headers["webhook-signature"], " ")
	if !both || symmetric != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signatures %q: the older whsec_ secret must sign too", headers["webhook-signature"])
	}
	encoded, ok := strings.CutPrefix(asymmetric, "v1a,")
	if !ok {
		t.Fatalf("signature %q has no v1a", asymmetric)
	}
	sum, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(publicKey, "whpk_"))
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(key, []byte(`msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}`), sum) {
		t.Error("the signature does not verify with the public key")
	}
}

func TestNewSignerRefuses(t *testing.T) {
	t.Parallel()
	custom := func(change func(*hook.Sign)) *hook.Sign {
		sign := &hook.Sign{Scheme: "custom", Secret: "s", Headers: map[string]string{"x-sig": "{signature}"}}
		change(sign)
		return sign
	}
	tests := map[string]struct {
		sign *hook.Sign
		want []string // paths of the problems
	}{
		"nil":                         {nil, []string{"secret"}},
		"no secret":                   {&hook.Sign{Scheme: "github"}, []string{"secret"}},
		"unknown scheme":              {&hook.Sign{Scheme: "gihub", Secret: "s"}, []string{"scheme"}},
		"not base64":                  {&hook.Sign{Secret: "whsec_*"}, []string{"secret"}},
		"empty key":                   {&hook.Sign{Secret: "whsec_"}, []string{"secret"}},
		"a word":                      {&hook.Sign{Secret: "notwhsec"}, []string{"secret"}},
		"the second secret":           {&hook.Sign{Secret: standardSecret, Secrets: []hook.Secret{standardSecret, "whsec_*"}}, []string{"secrets.1"}},
		"the first of secrets":        {&hook.Sign{Secrets: []hook.Secret{"whsec_*"}}, []string{"secrets.0"}},
		"private key in standard":     {&hook.Sign{Secret: privateSecret}, []string{"secret"}},
		"symmetric key in ed25519":    {&hook.Sign{Scheme: "ed25519", Secret: standardSecret}, []string{"secret"}},
		"private key too short":       {&hook.Sign{Scheme: "ed25519", Secret: "whsk_c2hvcnQ="}, []string{"secret"}},
		"private key, not base64":     {&hook.Sign{Scheme: "ed25519", Secret: "whsk_*"}, []string{"secret"}},
		"foreign public half":         {&hook.Sign{Scheme: "ed25519", Secret: hook.Secret("whsk_" + base64.StdEncoding.EncodeToString(make([]byte, 64)))}, []string{"secret"}},
		"template without custom":     {&hook.Sign{Secret: standardSecret, Content: "{body}", Hash: "sha1"}, []string{"hash", "content"}},
		"none and a scheme":           {&hook.Sign{None: true, Scheme: "stripe", Secret: "s"}, []string{"scheme", "secret"}},
		"hash":                        {custom(func(s *hook.Sign) { s.Hash = "md4" }), []string{"hash"}},
		"encoding":                    {custom(func(s *hook.Sign) { s.Encoding = "base32" }), []string{"encoding"}},
		"form of key":                 {custom(func(s *hook.Sign) { s.Key = "pem" }), []string{"key"}},
		"key is not hex":              {custom(func(s *hook.Sign) { s.Key = "hex" }), []string{"secret"}},
		"key is not base64":           {custom(func(s *hook.Sign) { s.Key = "base64" }), []string{"secret"}},
		"unknown field":               {custom(func(s *hook.Sign) { s.Content = "{bodies}" }), []string{"content"}},
		"signature signs itself":      {custom(func(s *hook.Sign) { s.Content = "{signature}{body}" }), []string{"content"}},
		"body unsigned":               {custom(func(s *hook.Sign) { s.Content = "{id}" }), []string{"content"}},
		"open brace":                  {custom(func(s *hook.Sign) { s.Content = "{body" }), []string{"content"}},
		"closing brace":               {custom(func(s *hook.Sign) { s.Content = "{body}}" }), []string{"content"}},
		"endless template":            {custom(func(s *hook.Sign) { s.Content = strings.Repeat("x", 5000) }), []string{"content"}},
		"separator where none is":     {custom(func(s *hook.Sign) { s.Content = "{body:x}" }), []string{"content"}},
		"no headers":                  {custom(func(s *hook.Sign) { s.Headers = nil }), []string{"headers"}},
		"no signature in the headers": {custom(func(s *hook.Sign) { s.Headers = map[string]string{"x": "{id}"} }), []string{"headers"}},
		"body in a header":            {custom(func(s *hook.Sign) { s.Headers["x-sig"] = "{body}" }), []string{"headers.x-sig"}},
		"line end in a header":        {custom(func(s *hook.Sign) { s.Headers["x-sig"] = "{signature}\r\nx: y" }), []string{"headers.x-sig"}},
		"line end as separator":       {custom(func(s *hook.Sign) { s.Headers["x-sig"] = "{signatures:\n}" }), []string{"headers.x-sig"}},
		"header name":                 {custom(func(s *hook.Sign) { s.Headers["x sig"] = "a" }), []string{"headers.x sig"}},
		"empty header name":           {custom(func(s *hook.Sign) { s.Headers[""] = "a" }), []string{"headers."}},
		"header of the transport":     {custom(func(s *hook.Sign) { s.Headers["Content-Length"] = "1" }), []string{"headers.Content-Length"}},
		"header twice":                {custom(func(s *hook.Sign) { s.Headers["X-Sig"] = "a" }), []string{"headers.x-sig"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := signature.NewSigner(test.sign)
			var invalid *hook.Error
			if !errors.As(err, &invalid) || invalid.Kind != hook.KindInvalid {
				t.Fatalf("error %v, want an invalid-input error", err)
			}
			var paths []string
			for _, problem := range invalid.Problems {
				paths = append(paths, problem.Path)
				if problem.Message == "" {
					t.Errorf("%s: no message", problem.Path)
				}
			}
			if diff := cmp.Diff(test.want, paths); diff != "" {
				t.Errorf("paths (-want +got):\n%s\n%v", diff, err)
			}
			for _, secret := range []string{"MfKQ9r8", "6Xb/dC"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

// TestSignRefusesControlBytes shows that no value of a message can end a header early.
func TestSignRefusesControlBytes(t *testing.T) {
	t.Parallel()
	signer, err := signature.NewSigner(&hook.Sign{
		Scheme: "custom", Secret: "s", Headers: map[string]string{"x-sig": "{signature}", "x-to": "to {url}"},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := standardMessage()
	m.URL = "https://a.example\r\nx-admin: 1"
	err = signer.Sign(m, func(name, value string) {
		if strings.ContainsAny(value, "\r\n") {
			t.Errorf("%s was set to %q", name, value)
		}
	})
	if hook.KindOf(err) != hook.KindInvalid {
		t.Errorf("error %v, want an invalid-input error", err)
	}
}

// TestSignStateIsClean signs many different messages with one signer at once: pooled
// memory of one must not show in another.
func TestSignStateIsClean(t *testing.T) {
	t.Parallel()
	signer, err := signature.NewSigner(&hook.Sign{Scheme: "ed25519", Secret: privateSecret, Secrets: []hook.Secret{standardSecret}})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		bodies := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 200_000), 1, 8).Draw(t, "bodies")
		got := make([]string, len(bodies))
		var group sync.WaitGroup
		for i, body := range bodies {
			group.Go(func() {
				m := &signature.Message{ID: "evt_1", Time: time.Unix(7, 0), Body: body}
				if err := signer.Sign(m, func(name, value string) {
					if name == "webhook-signature" {
						got[i] = value
					}
				}); err != nil {
					t.Errorf("sign: %v", err)
				}
			})
		}
		group.Wait()
		private, err := base64.StdEncoding.DecodeString(privateSecret[len("whsk_"):])
		if err != nil {
			t.Fatal(err)
		}
		key, err := base64.StdEncoding.DecodeString(standardSecret[len("whsec_"):])
		if err != nil {
			t.Fatal(err)
		}
		for i, body := range bodies {
			content := "evt_1.7." + string(body)
			want := "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(content))) +
				" v1," + base64.StdEncoding.EncodeToString(mac(content, string(key)))
			if got[i] != want {
				t.Fatalf("body %d: %s, want %s", i, got[i], want)
			}
		}
	})
}

func TestCompleteSign(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sign      *hook.Sign
		generated bool
	}{
		"nothing set":         {nil, true},
		"a scheme alone":      {&hook.Sign{Scheme: "github"}, true},
		"a secret of its own": {&hook.Sign{Secret: standardSecret}, false},
		"one of several":      {&hook.Sign{Secrets: []hook.Secret{standardSecret}}, false},
		"no signature":        {&hook.Sign{None: true}, false},
	} {
		complete, generated, err := signature.CompleteSign(test.sign)
		if err != nil || generated != test.generated || generated != (complete.Secret != "" && complete != test.sign) {
			t.Errorf("%s: %+v, generated: %v, %v", name, complete, generated, err)
		}
		if test.sign != nil && (complete.SchemeName() != test.sign.SchemeName() || generated && test.sign.Secret != "") {
			t.Errorf("%s: %+v became %+v", name, test.sign, complete)
		}
	}
	if _, _, err := signature.CompleteSign(&hook.Sign{Scheme: "rot13"}); hook.KindOf(err) != hook.KindInvalid {
		t.Errorf("unknown scheme: error %v", err)
	}
}

func TestGenerateSecret(t *testing.T) {
	t.Parallel()
	for _, scheme := range append(signature.SignSchemes(), "") {
		secret, err := signature.GenerateSecret(scheme)
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		again, err := signature.GenerateSecret(scheme)
		if err != nil || secret == again {
			t.Errorf("%s: two secrets are the same (%v)", scheme, err)
		}
		sign := &hook.Sign{Scheme: scheme, Secret: secret}
		if scheme == "custom" {
			sign.Headers = map[string]string{"x-sig": "{signature}"}
		}
		if len(signed(t, sign, standardMessage())) == 0 {
			t.Errorf("%s: the generated secret signs nothing", scheme)
		}
	}
	if _, err := signature.GenerateSecret("rot13"); hook.KindOf(err) != hook.KindInvalid {
		t.Errorf("unknown scheme: error %v", err)
	}
	if _, err := signature.PublicKey(standardSecret); hook.KindOf(err) != hook.KindInvalid {
		t.Errorf("public key of a symmetric secret: error %v", err)
	}
}

func FuzzSignTemplate(f *testing.F) {
	for _, seed := range []string{
		"{body}", "{id}.{timestamp}.{body}", "v0:{timestamp}:{body}", "{{{method}}}{url}{timestampMs}{body}", "{", "}", "{{", "}}",
		"{body}{", "{signatures: }", "{signatures:,v1=}", "{signature}", "a\r\nb{body}", "{\x00}", "{body}\xff",
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, content, header string) {
		sign := &hook.Sign{
			Scheme: "custom", Secret: "one", Secrets: []hook.Secret{"two"},
			Content: content, Headers: map[string]string{"x-a": header, "x-b": "{signature}"},
		}
		signer, err := signature.NewSigner(sign)
		if err != nil {
			var invalid *hook.Error
			if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
				t.Fatalf("error without problems: %v", err)
			}
			return
		}
		headers := map[string]string{}
		if err := signer.Sign(standardMessage(), func(name, value string) { headers[name] = value }); err != nil {
			t.Fatalf("what NewSigner took does not sign: %v", err)
		}
		if content == "" {
			content = "{body}"
		}
		if want := hex.EncodeToString(mac(fill(content), "one")); headers["x-b"] != want {
			t.Fatalf("content %q: signature %s, want %s", content, headers["x-b"], want)
		}
		for name, value := range headers {
			if strings.ContainsAny(value, "\r\n\x00") {
				t.Fatalf("header %s holds a line end: %q", name, value)
			}
		}
	})
}

// fill is the template language once more, by plain replacement.
func fill(content string) string {
	m := standardMessage()
	return strings.NewReplacer("{{", "{", "}}", "}", "{id}", m.ID, "{timestamp}", "1614265330", "{timestampMs}", "1614265330000",
		"{body}", string(m.Body), "{url}", m.URL, "{method}", m.Method).Replace(content)
}

func BenchmarkSign(b *testing.B) {
	for name, sign := range map[string]*hook.Sign{
		"standard": {Secret: standardSecret},
		"ed25519":  {Scheme: "ed25519", Secret: privateSecret},
		"stripe":   {Scheme: "stripe", Secret: "whsec_x"},
	} {
		b.Run(name, func(b *testing.B) {
			signer, err := signature.NewSigner(sign)
			if err != nil {
				b.Fatal(err)
			}
			m := standardMessage()
			m.Body = []byte(strings.Repeat("x", 1024))
			set := func(string, string) {}
			b.ReportAllocs()
			for b.Loop() {
				if err := signer.Sign(m, set); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
