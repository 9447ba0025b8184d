package signature_test

import (
	"crypto/ed25519"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

func encodeBase64(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

// explain verifies a request that must not pass and returns the explanation.
func explain(t *testing.T, v *signature.Verifier, req *signature.Request) string {
	t.Helper()
	why := refusal(t, v, req)
	sentences := v.Explain(t.Context(), req, why)
	text := strings.Join(sentences, "\n")
	for _, sentence := range sentences {
		if !strings.HasSuffix(sentence, ".") {
			t.Errorf("not a sentence: %q", sentence)
		}
	}
	return text
}

func TestExplainFindsWhatChangedTheBody(t *testing.T) {
	const sent = `{"b":"caf\u00e9/<x>","a":[1,2]}`
	v := compile(t, hmacRule(nil))
	value := hexMAC(sent)
	tests := map[string]struct{ arrived, want string }{
		"line end added":    {sent + "\n", "without the line end"},
		"indented":          {"{\n  \"b\": \"caf\\u00e9/<x>\",\n  \"a\": [\n    1,\n    2\n  ]\n}", "without white space"},
		"escapes decoded":   {`{"b":"café/<x>","a":[1,2]}`, "characters outside ASCII escaped"},
		"slashes escaped":   {`{"b":"caf\u00e9\/<x>","a":[1,2]}`, "slashes not escaped"},
		"percent escapes":   {strings.ReplaceAll(strings.ReplaceAll(sent, `"`, "%22"), `\`, "%5C"), "percent escapes decoded"},
		"byte order mark":   {"\xef\xbb\xbf" + sent, "byte order mark"},
		"white space added": {"  " + sent, "without white space"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := explain(t, v, request(test.arrived, "X-Sig", value))
			if !strings.Contains(got, test.want) || !strings.Contains(got, "proxy") {
				t.Errorf("%s", got)
			}
		})
	}
	spaced := compile(t, hmacRule(nil))
	if got := explain(t, spaced, request(`{"a":1,"b":"x, y"}`, "X-Sig", hexMAC(`{"a": 1, "b": "x, y"}`))); !strings.Contains(got, "as Python does") {
		t.Error(got)
	}
	if got := explain(t, v, request("a\r\nb", "X-Sig", hexMAC("a\nb"))); !strings.Contains(got, "LF") {
		t.Error(got)
	}
	if got := explain(t, v, request("abc", "X-Sig", hexMAC(""))); !strings.Contains(got, "an empty body") {
		t.Error(got)
	}
}

func TestExplainFindsWhatIsWrongWithTheRule(t *testing.T) {
	const body = `{"a":1}`
	raw := sum(sha256.New, testSecret, body)
	tests := map[string]struct{ value, want string }{
		"encoding": {base64.StdEncoding.EncodeToString(raw), "set the encoding to base64."},
		"prefix":   {"sha256=" + hex.EncodeToString(raw), "when sha256= is expected before it"},
		"hash":     {hex.EncodeToString(sum(sha1.New, testSecret, body)), "set the hash to sha1."},
		"key":      {hex.EncodeToString(sum(sha256.New, base64.StdEncoding.EncodeToString([]byte(testSecret)), body)), "set the key to base64text."},
		"address":  {hexMAC("https://hooks.example.com/in/shop?a=1" + body), "{url}{body}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := explain(t, compile(t, hmacRule(nil)), request(body, "X-Sig", test.value)); !strings.Contains(got, test.want) {
				t.Error(got)
			}
		})
	}
	github := provider(t, "github", testSecret, nil)
	foreign := request(body, "X-Hub-Signature-256", hex.EncodeToString(sum(sha1.New, testSecret, body)))
	if got := explain(t, github, foreign); !strings.Contains(got, `with the prefix "", the hash sha1 and the encoding hex`) {
		t.Error(got)
	}
	timed := hmacRule(func(r *hook.HMACRule) {
		r.Content, r.Timestamp = "{timestamp}:{body}", &hook.TimestampRule{Header: "X-Time"}
	})
	req := request(body, "X-Time", unix(), "X-Sig", hexMAC(unix()+"."+body))
	if got := explain(t, compile(t, timed), req); !strings.Contains(got, "{timestamp}.{body}") {
		t.Error(got)
	}
}

func TestExplainFindsWhatIsWrongWithTheSecret(t *testing.T) {
	const body = `{"a":1}`
	tests := map[string]struct{ secret, signedWith, want string }{
		"white space": {" " + testSecret + "\n", testSecret, "white space around it"},
		"line end":    {testSecret, testSecret + "\n", "a line end after it"},
		"quotes":      {`"` + testSecret + `"`, testSecret, "without the quotes"},
		"prefix":      {"whsec_abc", "abc", "without the prefix whsec_"},
		"no prefix":   {"abc", "whsec_abc", "with the prefix whsec_"},
		"case":        {"ABCDEF", "abcdef", "in lower case"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := request(body, "X-Sig", hex.EncodeToString(sum(sha256.New, test.signedWith, body)))
			if got := explain(t, compile(t, hmacRule(nil), withSecret(test.secret)), req); !strings.Contains(got, test.want) {
				t.Error(got)
			}
		})
	}
	bearer := compile(t, hook.Verify{Token: &hook.TokenRule{Header: "Authorization"}})
	if got := explain(t, bearer, request("", "Authorization", "Bearer "+testSecret)); !strings.Contains(got, "Bearer") {
		t.Error(got)
	}
	standard := compile(t, hook.Verify{Standard: &hook.StandardKey{}}, withSecret("YWJj"))
	req := request(body, "webhook-id", "1", "webhook-timestamp", unix(),
		"webhook-signature", "v1,"+encodeBase64(sum(sha256.New, "YWJj", "1."+unix()+"."+body)))
	if got := explain(t, standard, req); !strings.Contains(got, "set the key to text") {
		t.Error(got)
	}
}

func TestExplainTheClock(t *testing.T) {
	rule := hmacRule(func(r *hook.HMACRule) {
		r.Content, r.Timestamp = "{timestamp}{body}", &hook.TimestampRule{Header: "X-Time"}
	})
	v := compile(t, rule)
	for text, want := range map[string]string{
		unix() + "000":         "milliseconds",
		"2026-01-02T03:04:05Z": "rfc3339",
		"1700000000":           "ours says 2026-01-02T03:04:05Z",
	} {
		if got := explain(t, v, request("x", "X-Time", text, "X-Sig", hexMAC(text+"x"))); !strings.Contains(got, want) {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestExplainWhatIsMissing(t *testing.T) {
	github := provider(t, "github", testSecret, nil)
	if got := explain(t, github, request("{}", "X-Hub-Signature", "sha1=00")); !strings.Contains(got, "The header X-Hub-Signature-256 is missing, but there is X-Hub-Signature.") {
		t.Error(got)
	}
	if got := explain(t, github, request("{}", "Stripe-Signature", "t=1,v1=00")); !strings.Contains(got, "Stripe") || strings.Contains(got, "but there is") {
		t.Error(got)
	}
	if got := explain(t, github, request("{}", "Accept", "*/*")); !strings.Contains(got, "nothing that looks like a signature") {
		t.Error(got)
	}
	if got := explain(t, github, get("GET", "")); !strings.Contains(got, "browser") {
		t.Error(got)
	}
	if got := explain(t, github, request("{}", "X-Hub-Signature-256", "00ff")); !strings.Contains(got, "begins with") {
		t.Error(got)
	}
}

func TestExplainClaims(t *testing.T) {
	rule := hook.Verify{JWT: &hook.JWTRule{JWKS: issuerKeys, Audience: "https://us.example"}}
	v, err := signature.Compile(&hook.SourceSpec{Verify: &rule}, nil, keyFile{issuerKeys: jwks(t, "k1")})
	if err != nil {
		t.Fatal(err)
	}
	req := request("{}", "Authorization", "Bearer "+token(t, `{"alg":"RS256","kid":"k1"}`, `{"aud":"https://them.example","exp":9999999999}`))
	if got := explain(t, v, req); !strings.Contains(got, "https://them.example") {
		t.Error(got)
	}
}

// Whatever is tried, neither the secret nor the signature that would fit is said.
func TestExplanationsKeepSecrets(t *testing.T) {
	const secret = "s3cr3t-value-of-the-test"
	eachProfile(t, func(t *testing.T, p *signature.Profile) {
		t.Helper()
		if p.Verify.None {
			t.Skip("nothing is refused")
		}
		spec := sampleSpec(p)
		spec.Secret, spec.Secrets = p.Sample.Secret, []hook.Secret{secret}
		v, err := signature.Compile(spec, gallery(t), keyFile(p.Sample.Keys))
		if err != nil {
			spec.Secrets = nil
			if v, err = signature.Compile(spec, gallery(t), keyFile(p.Sample.Keys)); err != nil {
				t.Fatal(err)
			}
		}
		good := sampleRequest(t, p)
		for _, change := range []func(*signature.Request){
			func(r *signature.Request) { r.Body = append(r.Body, 'x') },
			func(r *signature.Request) { r.Headers = nil },
			func(r *signature.Request) { r.Body = nil },
			func(r *signature.Request) { r.Query = "" },
		} {
			req := sampleRequest(t, p)
			change(req)
			_, err := v.Verify(t.Context(), req)
			if err == nil {
				continue
			}
			text := err.Error() + strings.Join(v.Explain(t.Context(), req, err), " ")
			if strings.Contains(text, secret) || p.Sample.Secret != "" && len(p.Sample.Secret) > 8 && strings.Contains(text, p.Sample.Secret.Reveal()) {
				t.Errorf("the secret is said: %s", text)
			}
			for _, header := range good.Headers {
				if strings.Contains(strings.ToLower(header.Name), "signature") && len(header.Value) > 24 && strings.Contains(text, header.Value) {
					t.Errorf("the signature is said: %s", text)
				}
			}
		}
	})
}

func TestExplainTellsTheUserFromThePassword(t *testing.T) {
	v := compile(t, hook.Verify{Basic: &hook.BasicRule{Username: "ana"}})
	credentials := func(text string) *signature.Request {
		return request("", "Authorization", "Basic "+encodeBase64([]byte(text)))
	}
	for text, want := range map[string][2]string{
		"bob:" + testSecret: {"user is wrong.", "The password fits and the user does not"},
		"ana:nope":          {"password is not one of", "most likely another one"},
		"bob:nope":          {"user and password are wrong", "most likely another one"},
	} {
		req := credentials(text)
		got := explain(t, v, req)
		if message := refusal(t, v, req).Message; !strings.Contains(message, want[0]) || !strings.Contains(got, want[1]) {
			t.Errorf("%s: %s\n%s", text, message, got)
		}
		if want[1][0] == 'T' && strings.Contains(got, "secret") {
			t.Errorf("%s: the secret is blamed: %s", text, got)
		}
	}
}

func TestExplainTellsWhatATokenIsSignedWith(t *testing.T) {
	token := func(header string) *signature.Request {
		encode := base64.RawURLEncoding.EncodeToString
		return request("", "Authorization", "Bearer "+encode([]byte(header))+"."+encode([]byte(`{"sub":"x"}`))+"."+encode([]byte("sum")))
	}
	shared := compile(t, hook.Verify{JWT: &hook.JWTRule{}})
	issued := compile(t, hook.Verify{JWT: &hook.JWTRule{JWKS: "https://issuer.example/keys", Audience: "us"}})
	for _, test := range []struct {
		v            *signature.Verifier
		header, want string
	}{
		{shared, `{"alg":"none"}`, "alg none"},
		{issued, `{"alg":"None"}`, "alg none"},
		{shared, `{"alg":"RS256"}`, "set jwks"},
		{issued, `{"alg":"HS256"}`, "public keys"},
	} {
		if got := explain(t, test.v, token(test.header)); !strings.Contains(got, test.want) || strings.Contains(got, "most likely") {
			t.Errorf("%s: %s", test.header, got)
		}
	}
	if got := explain(t, shared, token(`{"alg":"HS256"}`)); !strings.Contains(got, "the secret is most likely another one") {
		t.Error(got)
	}
}

func TestExplainTellsOfEveryAlternative(t *testing.T) {
	v := compile(t, hook.Verify{AnyOf: []hook.Verify{
		hmacRule(nil), {Basic: &hook.BasicRule{Username: "ana"}}, {Token: &hook.TokenRule{Query: "token"}},
	}})
	got := explain(t, v, request("{}", "X-Sig", hexMAC("other")))
	for _, want := range []string{"Way 1 of 3 to pass: The signature", "Way 2 of 3 to pass: There are no HTTP Basic", "Way 3 of 3 to pass: There is no token"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
}

func TestExplainCallsAPublicKeySo(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := compile(t, hook.Verify{Public: &hook.PublicRule{
		SignatureRule: hook.SignatureRule{Header: "X-Sig"}, Algorithm: "ed25519", PublicKey: hex.EncodeToString(public),
	}})
	got := explain(t, v, request("{}", "X-Sig", strings.Repeat("ab", ed25519.SignatureSize)))
	if !strings.Contains(got, "the public key is another one") || strings.Contains(got, "secret") {
		t.Error(got)
	}
}
