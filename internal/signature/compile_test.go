package signature_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"strings"
	"testing"
	"testing/fstest"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

// problem compiles a specification that is wrong and returns what is said about path.
func problem(t *testing.T, spec *hook.SourceSpec, path string) string {
	t.Helper()
	_, err := signature.Compile(spec, gallery(t), nil)
	var wrong *hook.Error
	if !errors.As(err, &wrong) || wrong.Kind != hook.KindInvalid {
		t.Fatalf("error %v", err)
	}
	for _, one := range wrong.Problems {
		if one.Path == path {
			return one.Message
		}
	}
	t.Fatalf("no problem at %s: %v", path, err)
	return ""
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	public := func(change func(*hook.PublicRule)) *hook.Verify {
		r := &hook.PublicRule{SignatureRule: hook.SignatureRule{Header: "X"}}
		change(r)
		return &hook.Verify{Public: r}
	}
	mac := func(change func(*hook.HMACRule)) *hook.Verify {
		v := hmacRule(change)
		return &v
	}
	tests := map[string]struct {
		verify *hook.Verify
		path   string
		says   string
	}{
		"nothing":               {&hook.Verify{}, "verify", "say how"},
		"two schemes":           {&hook.Verify{None: true, Code: "sns"}, "verify", "more than one"},
		"no place":              {mac(func(r *hook.HMACRule) { r.Header = "" }), "verify.hmac", "header, query or path"},
		"two places":            {mac(func(r *hook.HMACRule) { r.Query = "q" }), "verify.hmac", "header, query or path"},
		"encoding":              {mac(func(r *hook.HMACRule) { r.Encoding = []string{"base32"} }), "verify.hmac.encoding", "hex, base64 or base64url"},
		"hash":                  {mac(func(r *hook.HMACRule) { r.Hash = "sha3" }), "verify.hmac.hash", "sha256"},
		"hash and hashes":       {mac(func(r *hook.HMACRule) { r.Hash, r.Hashes = "sha1", []string{"sha1"} }), "verify.hmac.hash", "not both"},
		"key":                   {mac(func(r *hook.HMACRule) { r.Key = "rot13" }), "verify.hmac.key", "base64text"},
		"key does not fit":      {mac(func(r *hook.HMACRule) { r.Key = "hex" }), "secret", "hexadecimal"},
		"list without name":     {mac(func(r *hook.HMACRule) { r.List = &hook.ListRule{} }), "verify.hmac.list.signature", "v1"},
		"prefix of a list":      {mac(func(r *hook.HMACRule) { r.List, r.Prefix = &hook.ListRule{Signature: "v1"}, "x" }), "verify.hmac.prefix", "names"},
		"content":               {mac(func(r *hook.HMACRule) { r.Content = "{bodi}" }), "verify.hmac.content", "{body}"},
		"filter":                {mac(func(r *hook.HMACRule) { r.Content = "{body|rot13}" }), "verify.hmac.content", "lower"},
		"open placeholder":      {mac(func(r *hook.HMACRule) { r.Content = "{body" }), "verify.hmac.content", "not closed"},
		"open section":          {mac(func(r *hook.HMACRule) { r.Content = "[{body}" }), "verify.hmac.content", "not closed"},
		"nested section":        {mac(func(r *hook.HMACRule) { r.Content = "[a[b]]" }), "verify.hmac.content", "counterpart"},
		"secret in the content": {mac(func(r *hook.HMACRule) { r.Content = "{secret}{body}" }), "verify.hmac.content", "plain-sha256"},
		"plain without secret":  {mac(func(r *hook.HMACRule) { r.Hash = "plain-sha256" }), "verify.hmac.content", "{secret}"},
		"setting":               {mac(func(r *hook.HMACRule) { r.Content = "{setting:id}{body}" }), "settings.id", "needs"},
		"time without place":    {mac(func(r *hook.HMACRule) { r.Timestamp = &hook.TimestampRule{} }), "verify.hmac.timestamp", "header, query, path"},
		"time not placed":       {mac(func(r *hook.HMACRule) { r.Content = "{timestamp}" }), "verify.hmac.timestamp", "where the time is"},
		"unit":                  {mac(func(r *hook.HMACRule) { r.Timestamp = &hook.TimestampRule{Header: "X", Unit: "h"} }), "verify.hmac.timestamp.unit", "rfc3339"},
		"algorithm":             {public(func(r *hook.PublicRule) { r.Algorithm = "dsa" }), "verify.public.algorithm", "ed25519"},
		"no public key":         {public(func(*hook.PublicRule) {}), "secret", "not a public key"},
		"private key":           {public(func(r *hook.PublicRule) { r.PublicKey = "whsk_AAAA" }), "verify.public.publicKey", "private key"},
		"short RSA key":         {public(func(r *hook.PublicRule) { r.PublicKey = shortRSA(t) }), "verify.public.publicKey", "1024"},
		"key of another kind":   {public(func(r *hook.PublicRule) { r.PublicKey, r.Algorithm = strings.Repeat("ab", 32), "rsa-sha256" }), "verify.public.publicKey", "kind"},
		"curve of another kind": {public(func(r *hook.PublicRule) { r.PublicKey, r.Algorithm = curveKey(t, elliptic.P256()), "ed25519" }), "verify.public.publicKey", "kind"},
		"other curve":           {public(func(r *hook.PublicRule) { r.PublicKey = curveKey(t, elliptic.P384()) }), "verify.public.publicKey", "P-256"},
		"damaged PEM":           {public(func(r *hook.PublicRule) { r.PublicKey = "-----BEGIN PUBLIC KEY-----" }), "verify.public.publicKey", "damaged"},
		"standard key":          {&hook.Verify{Standard: &hook.StandardKey{}}, "secret", "base64"},
		"standard form":         {&hook.Verify{Standard: &hook.StandardKey{Key: "hex"}}, "verify.standard.key", "whsec or text"},
		"token place":           {&hook.Verify{Token: &hook.TokenRule{}}, "verify.token", "header, query or path"},
		"keys by http":          {&hook.Verify{JWT: &hook.JWTRule{JWKS: "http://a.example"}}, "verify.jwt.jwks", "https"},
		"any audience":          {&hook.Verify{JWT: &hook.JWTRule{JWKS: "https://a.example"}}, "verify.jwt.audience", "signs for many"},
		"authority":             {&hook.Verify{MTLS: &hook.MTLSRule{}}, "verify.mtls.ca", "PEM"},
		"proxies":               {&hook.Verify{MTLS: &hook.MTLSRule{Header: "X"}}, "verify.mtls.proxies", "127.0.0.1"},
		"code":                  {&hook.Verify{Code: "fax"}, "verify.code", "paypal"},
		"address":               {&hook.Verify{IPs: []string{"localhost"}}, "verify.ips", "203.0.113.0/24"},
		"inside anyOf":          {&hook.Verify{AnyOf: []hook.Verify{{None: true}, {}}}, "verify.anyOf.1", "say how"},
		"inside allOf":          {&hook.Verify{AllOf: []hook.Verify{{}}}, "verify.allOf.0", "say how"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := problem(t, &hook.SourceSpec{Secret: "not hex, base64 or PEM", Verify: test.verify}, test.path); !strings.Contains(got, test.says) {
				t.Errorf("says %q", got)
			}
		})
	}
}

func shortRSA(t *testing.T) string {
	t.Helper()
	n := new(big.Int).SetBit(big.NewInt(1), 767, 1)
	return spki(t, &rsa.PublicKey{N: n, E: 65537})
}

func curveKey(t *testing.T, curve elliptic.Curve) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return spki(t, &key.PublicKey)
}

func TestWhatASourceLacks(t *testing.T) {
	if got := problem(t, &hook.SourceSpec{Provider: "strype"}, "provider"); !strings.Contains(got, `"stripe"`) {
		t.Error(got)
	}
	if got := problem(t, &hook.SourceSpec{Provider: "stripe"}, "secret"); !strings.Contains(got, "needs a secret") {
		t.Error(got)
	}
	if got := problem(t, &hook.SourceSpec{Provider: "paypal"}, "settings.webhookId"); !strings.Contains(got, "Webhook ID") {
		t.Error(got)
	}
	if got := problem(t, &hook.SourceSpec{Provider: "svix", Secrets: []hook.Secret{"YWJj", "?"}}, "secrets.1"); !strings.Contains(got, "base64") {
		t.Error(got)
	}
	problem(t, &hook.SourceSpec{Verify: &hook.Verify{None: true}, Handshakes: []hook.Handshake{{Name: "all"}}}, "handshakes.0.when")
	get := hook.HandshakeMatch{Methods: []string{"GET"}}
	for path, h := range map[string]hook.Handshake{
		"handshakes.0.reply.status": {When: get, Reply: hook.HandshakeReply{Status: 100}},
		"handshakes.0.reply.body":   {When: get, Reply: hook.HandshakeReply{Body: "{secret}"}},
		"handshakes.0.hosts":        {When: get, Fetch: "{query:u}"},
	} {
		problem(t, &hook.SourceSpec{Verify: &hook.Verify{None: true}, Handshakes: []hook.Handshake{h}}, path)
	}
}

func TestTheSourceComesBeforeItsProfile(t *testing.T) {
	v, err := signature.Compile(&hook.SourceSpec{
		Provider: "github", Verify: &hook.Verify{None: true}, Type: &hook.Field{Value: "own"}, Methods: []string{"PUT"}, MaxBody: 7,
	}, gallery(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := v.Spec()
	if !spec.Verify.None || spec.Type.Value != "own" || spec.Methods[0] != "PUT" || spec.MaxBody != 7 {
		t.Errorf("own values are lost: %+v", spec)
	}
	if spec.Dedupe == nil || spec.Dedupe.Header != "X-GitHub-Delivery" {
		t.Errorf("the profile's values are lost: %+v", spec.Dedupe)
	}
	plain := compile(t, hook.Verify{None: true}).Spec()
	if plain.Type.Value != signature.DefaultType || plain.MaxBody != hook.DefaultMaxBody || plain.Methods[0] != "POST" {
		t.Errorf("defaults: %+v", plain)
	}
}

func TestAPersonAddsAProvider(t *testing.T) {
	files := fstest.MapFS{
		"acme.yaml":   {Data: []byte("name: acme\ntitle: Acme\nverify: { token: { header: X-Acme } }\n")},
		"slack.yaml":  {Data: []byte("name: slack\ntitle: Our Slack\nextends: acme\n")},
		"notes.txt":   {Data: []byte("not a profile")},
		"hidden/x.md": {Data: []byte("neither")},
	}
	g, err := signature.NewGallery(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"acme", "slack"} {
		v, err := signature.Compile(&hook.SourceSpec{Provider: name, Secret: testSecret}, g, nil)
		if err != nil {
			t.Fatal(err)
		}
		passes(t, v, request("", "X-Acme", testSecret))
	}
	if p, _ := g.Profile("slack"); p.Title != "Our Slack" {
		t.Errorf("title %q", p.Title)
	}
	if len(g.Profiles()) != len(gallery(t).Profiles())+1 {
		t.Error("a profile is missing")
	}
}

func TestMistakesInProfilesHaveAPlace(t *testing.T) {
	tests := map[string]struct{ text, place, says string }{
		"unknown key":    {"name: acme\ntitle: Acme\nverify: { token: { heder: X } }\n", "acme.yaml:3:20", `"header"`},
		"twice":          {"name: acme\nname: acme\n", "acme.yaml:2:1", "twice"},
		"other name":     {"name: other\ntitle: x\nverify: { none: true }\n", "acme.yaml:1:7", "file's name"},
		"no title":       {"name: acme\nverify: { none: true }\n", "acme.yaml", "title"},
		"wrong kind":     {"name: acme\ntitle: x\nconfirmed: maybe\n", "acme.yaml:3:12", "true or false"},
		"not YAML":       {"name: [", "acme.yaml:", "YAML"},
		"empty":          {"", "acme.yaml", "one YAML document"},
		"extends itself": {"name: acme\ntitle: x\nextends: acme\n", "acme.yaml", "stands on its own"},
		"template":       {"name: acme\ntitle: x\nverify:\n  anyOf:\n    - hmac: { header: X, content: '{bodi}' }\n", "acme.yaml:5:35", "{body}"},
		"rule":           {"name: acme\ntitle: x\nverify: { hmac: { header: X, encoding: [base32] } }\n", "acme.yaml:3:30", "base64url"},
		"no rule":        {"name: acme\ntitle: x\n", "acme.yaml", "say how"},
		"handshake":      {"name: acme\ntitle: x\nverify: { none: true }\nhandshakes: [{ name: a, when: { methods: [GET] }, reply: { body: '{x}' } }]\n", "acme.yaml:4:66", "{body}"},
		"duration":       {"name: acme\ntitle: x\nverify: { standard: { tolerance: soon } }\n", "acme.yaml:3:", "duration"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := signature.NewGallery(fstest.MapFS{"acme.yaml": {Data: []byte(test.text)}})
			var wrong *hook.Error
			if !errors.As(err, &wrong) || len(wrong.Problems) == 0 {
				t.Fatalf("error %v", err)
			}
			one := wrong.Problems[0]
			if !strings.HasPrefix(one.Path, test.place) || !strings.Contains(one.Message, test.says) {
				t.Errorf("%s: %s", one.Path, one.Message)
			}
		})
	}
}
