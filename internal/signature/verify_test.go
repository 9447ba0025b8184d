package signature_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"hash"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/profiles"
)

const testSecret = "a made-up secret"

// compile builds a Verifier for a rule with the usual test secret.
func compile(tb testing.TB, rule hook.Verify, change ...func(*hook.SourceSpec)) *signature.Verifier {
	tb.Helper()
	spec := &hook.SourceSpec{Secret: testSecret, Verify: &rule}
	for _, one := range change {
		one(spec)
	}
	v, err := signature.Compile(spec, gallery(tb), keyFile{})
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func withSecret(secret string) func(*hook.SourceSpec) {
	return func(s *hook.SourceSpec) { s.Secret = hook.Secret(secret) }
}

// request is a POST at the time of the samples.
func request(body string, headers ...string) *signature.Request {
	req := &signature.Request{
		Method: "POST", URL: "https://hooks.example.com/in/shop?a=1", Query: "a=1", Body: []byte(body),
		Remote: netip.MustParseAddr("203.0.113.7"), Now: profiles.SampleTime(),
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Headers = append(req.Headers, hook.Header{Name: headers[i], Value: headers[i+1]})
	}
	return req
}

func sum(create func() hash.Hash, key, content string) []byte {
	mac := hmac.New(create, []byte(key))
	mac.Write([]byte(content))
	return mac.Sum(nil)
}

func unix() string { return strconv.FormatInt(profiles.SampleTime().Unix(), 10) }

func passes(tb testing.TB, v *signature.Verifier, req *signature.Request) hook.Verdict {
	tb.Helper()
	verdict, err := v.Verify(tb.Context(), req)
	if err != nil {
		tb.Fatal(err)
	}
	return verdict
}

func refused(tb testing.TB, v *signature.Verifier, req *signature.Request, reason string) {
	tb.Helper()
	if why := refusal(tb, v, req); why.Reason != reason {
		tb.Errorf("refused for %s (%s), want %s", why.Reason, why.Message, reason)
	}
}

func hmacRule(change func(*hook.HMACRule)) hook.Verify {
	rule := &hook.HMACRule{SignatureRule: hook.SignatureRule{Header: "X-Sig"}}
	if change != nil {
		change(rule)
	}
	return hook.Verify{HMAC: rule}
}

func TestHMACKnobs(t *testing.T) {
	const body = `{"a":[1, 2]}`
	plain := func(text string) []byte {
		out := sha256.Sum256([]byte(text))
		return out[:]
	}
	fromHex, err := hex.DecodeString("00ff10")
	if err != nil {
		t.Fatal(err)
	}
	timed := &hook.TimestampRule{Header: "X-Time"}
	tests := map[string]struct {
		rule    func(*hook.HMACRule)
		secret  string
		value   string
		headers []string
	}{
		"defaults":        {nil, testSecret, hex.EncodeToString(sum(sha256.New, testSecret, body)), nil},
		"upper-case hex":  {nil, testSecret, strings.ToUpper(hex.EncodeToString(sum(sha256.New, testSecret, body))), nil},
		"space around":    {nil, testSecret, "  " + hex.EncodeToString(sum(sha256.New, testSecret, body)) + " ", nil},
		"sha1":            {func(r *hook.HMACRule) { r.Hash = "sha1" }, testSecret, hex.EncodeToString(sum(sha1.New, testSecret, body)), nil},
		"sha384":          {func(r *hook.HMACRule) { r.Hash = "sha384" }, testSecret, hex.EncodeToString(sum(sha512.New384, testSecret, body)), nil},
		"sha512":          {func(r *hook.HMACRule) { r.Hash = "sha512" }, testSecret, hex.EncodeToString(sum(sha512.New, testSecret, body)), nil},
		"md5":             {func(r *hook.HMACRule) { r.Hash = "md5" }, testSecret, hex.EncodeToString(sum(md5.New, testSecret, body)), nil},
		"base64":          {func(r *hook.HMACRule) { r.Encoding = []string{"base64"} }, testSecret, base64.StdEncoding.EncodeToString(sum(sha256.New, testSecret, body)), nil},
		"base64 unpadded": {func(r *hook.HMACRule) { r.Encoding = []string{"base64"} }, testSecret, base64.RawStdEncoding.EncodeToString(sum(sha256.New, testSecret, body)), nil},
		"base64url":       {func(r *hook.HMACRule) { r.Encoding = []string{"base64url"} }, testSecret, base64.RawURLEncoding.EncodeToString(sum(sha256.New, testSecret, body)), nil},
		"either encoding": {func(r *hook.HMACRule) { r.Encoding = []string{"hex", "base64"} }, testSecret, base64.StdEncoding.EncodeToString(sum(sha256.New, testSecret, body)), nil},
		"named hash":      {func(r *hook.HMACRule) { r.Hashes = []string{"sha1", "sha512"} }, testSecret, "sha512=" + hex.EncodeToString(sum(sha512.New, testSecret, body)), nil},
		"prefix":          {func(r *hook.HMACRule) { r.Prefix = "v0=" }, testSecret, "v0=" + hex.EncodeToString(sum(sha256.New, testSecret, body)), nil},
		"hex key":         {func(r *hook.HMACRule) { r.Key = "hex" }, "00FF10", hex.EncodeToString(sum(sha256.New, string(fromHex), body)), nil},
		"base64 key":      {func(r *hook.HMACRule) { r.Key = "base64" }, base64.StdEncoding.EncodeToString([]byte("k")), hex.EncodeToString(sum(sha256.New, "k", body)), nil},
		"whsec key":       {func(r *hook.HMACRule) { r.Key = "whsec" }, "whsec_" + base64.StdEncoding.EncodeToString([]byte("key")), hex.EncodeToString(sum(sha256.New, "key", body)), nil},
		"base64text key":  {func(r *hook.HMACRule) { r.Key = "base64text" }, "key", hex.EncodeToString(sum(sha256.New, base64.StdEncoding.EncodeToString([]byte("key")), body)), nil},
		"html key":        {func(r *hook.HMACRule) { r.Key = "html" }, "a&amp;b", hex.EncodeToString(sum(sha256.New, "a&b", body)), nil},
		"constant key":    {func(r *hook.HMACRule) { r.Secret = "everybody's" }, testSecret, hex.EncodeToString(sum(sha256.New, "everybody's", body)), nil},
		"plain hash":      {func(r *hook.HMACRule) { r.Hash, r.Content = "plain-sha256", "{secret}-{body}" }, "tok", hex.EncodeToString(plain("tok-" + body)), nil},
		"time and body": {
			func(r *hook.HMACRule) { r.Content, r.Timestamp = "v0:{timestamp}:{body}", timed },
			testSecret, hex.EncodeToString(sum(sha256.New, testSecret, "v0:"+unix()+":"+body)),
			[]string{"X-Time", unix()},
		},
		"list with two signatures": {
			func(r *hook.HMACRule) {
				r.Content, r.List = "{timestamp}.{body}", &hook.ListRule{Signature: "v1", Timestamp: "t"}
			},
			testSecret, "t=" + unix() + ", v0=00, v1=00ff, v1=" + hex.EncodeToString(sum(sha256.New, testSecret, unix()+"."+body)), nil,
		},
		"list of other marks": {
			func(r *hook.HMACRule) { r.List = &hook.ListRule{Separator: " ", Pair: ",", Signature: "v1"} },
			testSecret, "v2,00 v1," + hex.EncodeToString(sum(sha256.New, testSecret, body)), nil,
		},
		"request parts": {
			func(r *hook.HMACRule) {
				r.Content = "{method}|{url}|{host}|{path}|{query}|{query:a}|{header:x-id}|{field:a.1}|{crc32}"
			},
			testSecret, hex.EncodeToString(sum(sha256.New, testSecret, "POST|https://hooks.example.com/in/shop?a=1|hooks.example.com|/in/shop|a=1|1|7|2|980108357")),
			[]string{"X-Id", "7"},
		},
		"filters": {
			func(r *hook.HMACRule) {
				r.Content = "{body|compact}{body|base64}{header:x-id|lower}{header:x-id|upper|sha256}"
			},
			testSecret, hex.EncodeToString(sum(sha256.New, testSecret,
				`{"a":[1,2]}`+base64.StdEncoding.EncodeToString([]byte(body))+"ab"+hex.EncodeToString(plain("AB")))),
			[]string{"X-Id", "aB"},
		},
		"optional part absent": {
			func(r *hook.HMACRule) { r.Content = "[id:{header:x-id};]{body}" },
			testSecret, hex.EncodeToString(sum(sha256.New, testSecret, body)), nil,
		},
		"optional part present": {
			func(r *hook.HMACRule) { r.Content = "[id:{header:x-id};]{body}[[{{" },
			testSecret, hex.EncodeToString(sum(sha256.New, testSecret, "id:7;"+body+"[{")),
			[]string{"X-Id", "7"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := compile(t, hmacRule(test.rule), withSecret(test.secret))
			verdict := passes(t, v, request(body, append(test.headers, "x-sig", test.value)...))
			if verdict.Scheme != "hmac" || !verdict.Verified {
				t.Errorf("verdict %+v", verdict)
			}
			refused(t, v, request(body, test.headers...), "missing_signature")
			if v.CoversBody() {
				refused(t, v, request(body+" x", append(test.headers, "x-sig", test.value)...), "bad_signature")
			}
		})
	}
}

func TestHMACRefusals(t *testing.T) {
	good := hex.EncodeToString(sum(sha256.New, testSecret, unix()+".x"))
	rule := hmacRule(func(r *hook.HMACRule) {
		r.Prefix, r.Content, r.Timestamp = "sha256=", "{timestamp}.{body}", &hook.TimestampRule{Header: "X-Time"}
	})
	tests := map[string]struct {
		headers []string
		reason  string
	}{
		"no header":      {[]string{"X-Time", unix()}, "missing_signature"},
		"no prefix":      {[]string{"X-Time", unix(), "X-Sig", good}, "malformed_signature"},
		"not hex":        {[]string{"X-Time", unix(), "X-Sig", "sha256=zz"}, "malformed_signature"},
		"too short":      {[]string{"X-Time", unix(), "X-Sig", "sha256=" + good[:62]}, "malformed_signature"},
		"endless":        {[]string{"X-Time", unix(), "X-Sig", "sha256=" + strings.Repeat("ab", 1<<16)}, "malformed_signature"},
		"another":        {[]string{"X-Time", unix(), "X-Sig", "sha256=" + good[2:] + "00"}, "bad_signature"},
		"no time":        {[]string{"X-Sig", "sha256=" + good}, "missing_timestamp"},
		"time not fit":   {[]string{"X-Time", unix() + "0", "X-Sig", "sha256=" + good}, "bad_signature"},
		"unreadable now": {[]string{"X-Time", "soon", "X-Sig", "sha256=" + hex.EncodeToString(sum(sha256.New, testSecret, "soon.x"))}, "malformed_timestamp"},
		"negative time":  {[]string{"X-Time", "-1", "X-Sig", "sha256=" + hex.EncodeToString(sum(sha256.New, testSecret, "-1.x"))}, "malformed_timestamp"},
		"huge time":      {[]string{"X-Time", "9999999999999999", "X-Sig", "sha256=" + hex.EncodeToString(sum(sha256.New, testSecret, "9999999999999999.x"))}, "malformed_timestamp"},
	}
	v := compile(t, rule)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { refused(t, v, request("x", test.headers...), test.reason) })
	}
	passes(t, v, request("x", "X-Time", unix(), "X-Sig", "sha256="+good))
}

func TestTimeWindow(t *testing.T) {
	const minute = time.Minute
	tests := map[string]struct {
		unit, text string
		off        time.Duration
		ok         bool
	}{
		"seconds, just in":      {"s", unix(), 5 * minute, true},
		"seconds, just out":     {"s", unix(), 5*minute + time.Second, false},
		"future, just in":       {"s", unix(), -5 * minute, true},
		"future, just out":      {"s", unix(), -5*minute - time.Second, false},
		"milliseconds":          {"ms", unix() + "000", minute, true},
		"milliseconds as s":     {"ms", unix(), 0, false},
		"auto, seconds":         {"auto", unix(), minute, true},
		"auto, milliseconds":    {"auto", unix() + "000", minute, true},
		"RFC 3339":              {"rfc3339", "2026-01-02T03:04:05Z", minute, true},
		"RFC 3339 with an hour": {"rfc3339", "2026-01-02T00:04:05.5-03:00", minute, true},
		"RFC 3339, old":         {"rfc3339", "2026-01-01T03:04:05Z", 0, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := compile(t, hmacRule(func(r *hook.HMACRule) {
				r.Content, r.Timestamp = "{timestamp}{body}", &hook.TimestampRule{Header: "X-Time", Unit: test.unit}
			}))
			req := request("x", "X-Time", test.text, "X-Sig", hex.EncodeToString(sum(sha256.New, testSecret, test.text+"x")))
			req.Now = req.Now.Add(test.off)
			if test.ok {
				passes(t, v, req)
			} else {
				refused(t, v, req, "timestamp_out_of_tolerance")
			}
		})
	}
}

func TestOptionalTime(t *testing.T) {
	v := compile(t, hmacRule(func(r *hook.HMACRule) {
		r.Timestamp = &hook.TimestampRule{Path: "at", Tolerance: hook.Duration(time.Minute), Optional: true}
	}))
	for body, reason := range map[string]string{
		`{}`:                     "",
		`{"at":` + unix() + `}`:  "",
		`{"at":` + unix() + `0}`: "timestamp_out_of_tolerance",
	} {
		req := request(body, "X-Sig", hex.EncodeToString(sum(sha256.New, testSecret, body)))
		if reason == "" {
			passes(t, v, req)
		} else {
			refused(t, v, req, reason)
		}
	}
}

func TestSeveralSecrets(t *testing.T) {
	v := compile(t, hmacRule(nil), func(s *hook.SourceSpec) { s.Secret, s.Secrets = "new", []hook.Secret{"old", "older"} })
	for i, secret := range []string{"new", "old", "older"} {
		verdict := passes(t, v, request("x", "X-Sig", hex.EncodeToString(sum(sha256.New, secret, "x"))))
		if verdict.Secret != i+1 {
			t.Errorf("%s: secret %d", secret, verdict.Secret)
		}
	}
	refused(t, v, request("x", "X-Sig", hex.EncodeToString(sum(sha256.New, "oldest", "x"))), "bad_signature")
}

func TestPublicKeys(t *testing.T) {
	const body = "signed by a private key"
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(body))
	der, err := ecdsa.SignASN1(rand.Reader, ec, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	r, s, err := ecdsa.Sign(rand.Reader, ec, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	pair := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	edSignature := ed25519.Sign(edPrivate, []byte(body))
	tests := map[string]struct {
		key       string
		algorithm string
		signature []byte
	}{
		"Ed25519, hex":        {hex.EncodeToString(edPublic), "ed25519", edSignature},
		"Ed25519, whpk":       {"whpk_" + base64.StdEncoding.EncodeToString(edPublic), "", edSignature},
		"Ed25519, SPKI":       {spki(t, edPublic), "", edSignature},
		"Ed25519, PEM":        {pemKey(t, edPublic), "", edSignature},
		"ECDSA, SPKI, DER":    {spki(t, &ec.PublicKey), "ecdsa-p256-sha256", der},
		"ECDSA, PEM, numbers": {pemKey(t, &ec.PublicKey), "", pair},
		"PEM on one line":     {strings.ReplaceAll(pemKey(t, &ec.PublicKey), "\n", `\n`), "", der},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rule := hook.Verify{Public: &hook.PublicRule{
				SignatureRule: hook.SignatureRule{Header: "X-Sig", Encoding: []string{"base64"}}, Algorithm: test.algorithm,
			}}
			v := compile(t, rule, withSecret(test.key))
			value := base64.StdEncoding.EncodeToString(test.signature)
			if verdict := passes(t, v, request(body, "X-Sig", value)); verdict.Secret != 1 {
				t.Errorf("secret %d", verdict.Secret)
			}
			refused(t, v, request(body+"!", "X-Sig", value), "bad_signature")
			refused(t, v, request(body, "X-Sig", "*"), "malformed_signature")
			own := rule
			own.Public.PublicKey = "{setting:key}"
			fixed := compile(t, own, func(s *hook.SourceSpec) { s.Secret, s.Settings = "", map[string]string{"key": test.key} })
			passes(t, fixed, request(body, "X-Sig", value))
		})
	}
}

func spki(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func pemKey(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// The key pair is the one that Svix publishes with its implementation of v1a.
func TestStandardWebhooksEd25519(t *testing.T) {
	const (
		private = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
		public  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
		body    = `{"test": 2432232314}`
	)
	raw, err := base64.StdEncoding.DecodeString(private)
	if err != nil {
		t.Fatal(err)
	}
	signed := ed25519.Sign(ed25519.PrivateKey(raw), []byte("msg_1."+unix()+"."+body))
	headers := func(signatures string) []string {
		return []string{"webhook-id", "msg_1", "webhook-timestamp", unix(), "webhook-signature", signatures}
	}
	value := "v1a," + base64.StdEncoding.EncodeToString(signed)
	standard := hook.Verify{Standard: &hook.StandardKey{}}
	v := compile(t, standard, withSecret(public))
	passes(t, v, request(body, headers(value)...))
	passes(t, v, request(body, headers("v1,AAAA v2,x "+value)...))
	refused(t, v, request(body+" ", headers(value)...), "bad_signature")
	refused(t, v, request(body, headers("v1,AAAA")...), "bad_signature")
	refused(t, v, request(body, headers("v3,AAAA")...), "malformed_signature")
	refused(t, v, request(body, headers(strings.Repeat("v1,AAAA ", 16)+value)...), "bad_signature") // work is bounded
	refused(t, v, request(body, headers("")...), "missing_signature")
	refused(t, v, request(body, "webhook-signature", value, "webhook-timestamp", unix()), "missing_signature")
	refused(t, v, request(body, "webhook-signature", value, "webhook-id", "msg_1"), "missing_timestamp")

	mixed := compile(t, standard, func(s *hook.SourceSpec) {
		s.Secret, s.Secrets = "whsec_"+hook.Secret(base64.StdEncoding.EncodeToString([]byte("0123456789abcdef01234567"))), []hook.Secret{public}
	})
	if verdict := passes(t, mixed, request(body, headers(value)...)); verdict.Secret != 2 {
		t.Errorf("secret %d", verdict.Secret)
	}
}

func TestStandardWebhooksTakesSvixHeaders(t *testing.T) {
	key := "0123456789abcdef01234567"
	v := compile(t, hook.Verify{Standard: &hook.StandardKey{}}, withSecret("whsec_"+base64.StdEncoding.EncodeToString([]byte(key))))
	value := "v1," + base64.StdEncoding.EncodeToString(sum(sha256.New, key, "msg_1."+unix()+".x"))
	for _, prefix := range []string{"webhook-", "svix-", "Svix-"} {
		passes(t, v, request("x", prefix+"id", "msg_1", prefix+"timestamp", unix(), prefix+"signature", value))
	}
	refused(t, v, request("x", "webhook-id", "msg_1", "webhook-timestamp", unix(), "svix-signature", value), "missing_signature")
}

func TestTokens(t *testing.T) {
	tests := map[string]struct {
		rule hook.TokenRule
		req  *signature.Request
	}{
		"header":   {hook.TokenRule{Header: "X-Token"}, request("{}", "x-token", testSecret)},
		"prefixed": {hook.TokenRule{Header: "Authorization", Prefix: "Bearer "}, request("{}", "authorization", "bearer "+testSecret)},
		"JSON":     {hook.TokenRule{Path: "auth.token"}, request(`{"auth":{"token":"` + testSecret + `"}}`)},
		"form":     {hook.TokenRule{Path: "api_key"}, request("x=1&api_key=a+made-up+secret", "Content-Type", "application/x-www-form-urlencoded")},
		"multipart": {hook.TokenRule{Path: "api_key"}, request(
			"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n"+
				"--b\r\nContent-Disposition: form-data; name=\"api_key\"\r\n\r\n"+testSecret+"\r\n--b--\r\n",
			"Content-Type", "multipart/form-data; boundary=b")},
		"bracketed form": {hook.TokenRule{Path: "data.key"}, request("data%5Bkey%5D=a+made-up+secret", "Content-Type", "application/x-www-form-urlencoded")},
		"JSON in a form": {hook.TokenRule{Path: "payload.token"}, request("payload=%7B%22token%22%3A%22a+made-up+secret%22%7D", "Content-Type", "application/x-www-form-urlencoded")},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			passes(t, compile(t, hook.Verify{Token: &test.rule}), test.req)
			refused(t, compile(t, hook.Verify{Token: &test.rule}, withSecret("another")), test.req, "bad_token")
			refused(t, compile(t, hook.Verify{Token: &test.rule}), request("{}"), "missing_token")
		})
	}
	query := request("{}")
	query.Query = "token=a+made-up%20secret"
	passes(t, compile(t, hook.Verify{Token: &hook.TokenRule{Query: "token"}}), query)
}

func TestBasic(t *testing.T) {
	header := func(text string) []string {
		return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(text))}
	}
	v := compile(t, hook.Verify{Basic: &hook.BasicRule{Username: "ana", Password: "extra"}})
	if verdict := passes(t, v, request("", header("ana:"+testSecret)...)); verdict.Secret != 1 {
		t.Errorf("secret %d", verdict.Secret)
	}
	if verdict := passes(t, v, request("", header("ana:extra")...)); verdict.Secret != 0 {
		t.Errorf("secret %d", verdict.Secret)
	}
	refused(t, v, request("", header("bia:"+testSecret)...), "bad_credentials")
	refused(t, v, request("", header("ana:")...), "bad_credentials")
	refused(t, v, request("", header("ana")...), "bad_credentials")
	refused(t, v, request("", "Authorization", "Basic *"), "bad_credentials")
	refused(t, v, request("", "Authorization", "Bearer x"), "missing_credentials")
	passes(t, compile(t, hook.Verify{Basic: &hook.BasicRule{}}), request("", header("anybody:"+testSecret)...))
}

func TestAddresses(t *testing.T) {
	v := compile(t, hook.Verify{IPs: []string{"203.0.113.0/24, 2001:db8::1"}})
	for text, ok := range map[string]bool{
		"203.0.113.9": true, "::ffff:203.0.113.9": true, "2001:db8::1": true, "203.0.114.1": false, "2001:db8::2": false,
	} {
		req := request("")
		req.Remote = netip.MustParseAddr(text)
		if ok {
			passes(t, v, req)
		} else {
			refused(t, v, req, "not_allowed_address")
		}
	}
	both := compile(t, hook.Verify{IPs: []string{"198.51.100.1"}, Token: &hook.TokenRule{Header: "X-Token"}})
	refused(t, both, request("", "X-Token", testSecret), "not_allowed_address")
	empty := request("")
	empty.Remote = netip.Addr{}
	refused(t, v, empty, "not_allowed_address")
}

func TestCombinations(t *testing.T) {
	token := hook.Verify{Token: &hook.TokenRule{Header: "X-Token"}}
	mac := hmacRule(nil)
	good := hex.EncodeToString(sum(sha256.New, testSecret, "x"))
	either := compile(t, hook.Verify{AnyOf: []hook.Verify{mac, token}})
	passes(t, either, request("x", "X-Token", testSecret))
	passes(t, either, request("x", "X-Sig", good))
	refused(t, either, request("x"), "missing_signature")
	refused(t, either, request("x", "X-Token", "no"), "bad_token")
	refused(t, either, request("x", "X-Sig", good[2:]+"00"), "bad_signature")
	both := compile(t, hook.Verify{AllOf: []hook.Verify{mac, token}})
	if verdict := passes(t, both, request("x", "X-Token", testSecret, "X-Sig", good)); verdict.Scheme != "hmac+token" || !verdict.Verified {
		t.Errorf("verdict %+v", verdict)
	}
	refused(t, both, request("x", "X-Token", testSecret), "missing_signature")
	refused(t, both, request("x", "X-Sig", good), "missing_token")
	if either.CoversBody() || !both.CoversBody() {
		t.Error("a way without the body leaves it open; a part with it protects it")
	}
	open := compile(t, hook.Verify{None: true})
	if verdict := passes(t, open, request("x")); verdict.Verified || verdict.Scheme != "none" {
		t.Errorf("verdict %+v", verdict)
	}
}

func TestOldGitLabToken(t *testing.T) {
	v, err := signature.Compile(&hook.SourceSpec{Provider: "gitlab", Secret: "not base64!"}, gallery(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	passes(t, v, request("{}", "X-Gitlab-Token", "not base64!"))
	refused(t, v, request("{}", "X-Gitlab-Token", "other"), "bad_token")
}

func TestMercadoPagoLeavesOutWhatIsMissing(t *testing.T) {
	v, err := signature.Compile(&hook.SourceSpec{Provider: "mercado-pago", Secret: testSecret}, gallery(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	for manifest, change := range map[string]func(*signature.Request){
		"id:abc1;request-id:r-1;ts:" + unix() + ";": func(r *signature.Request) { r.Query = "data.id=ABC1&type=payment" },
		"request-id:r-1;ts:" + unix() + ";":         func(r *signature.Request) { r.Query = "type=payment" },
	} {
		value := "ts=" + unix() + ",v1=" + hex.EncodeToString(sum(sha256.New, testSecret, manifest))
		req := request("{}", "x-signature", value, "x-request-id", "r-1")
		change(req)
		passes(t, v, req)
	}
}

func TestHubSpotDecodesOnlyReservedCharacters(t *testing.T) {
	v := provider(t, "hubspot", testSecret, nil)
	req := request("x", "X-HubSpot-Request-Timestamp", unix()+"000",
		"X-HubSpot-Signature-v3", encodeBase64(sum(sha256.New, testSecret, "POSThttps://a.example/?q=a/b%20c%zz%4x"+unix()+"000")))
	req.URL = "https://a.example/?q=a%2fb%20c%zz%4"
	req.Body = []byte("x")
	passes(t, v, req)
}
