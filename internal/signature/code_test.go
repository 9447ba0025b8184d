package signature_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/profiles"
)

// rsaKey is made once, because that takes long.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func testRSA(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsaKey()
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func rsaSign(tb testing.TB, content string) string {
	tb.Helper()
	digest := sha256.Sum256([]byte(content))
	out, err := rsa.SignPKCS1v15(nil, testRSA(tb), crypto.SHA256, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(out)
}

// authority signs certificates for tests.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	a := &authority{key: key}
	a.certificate = a.issue(tb, "Made-up Authority", &key.PublicKey, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	return a
}

func (a *authority) issue(tb testing.TB, name string, key crypto.PublicKey, change ...func(*x509.Certificate)) *x509.Certificate {
	tb.Helper()
	now := profiles.SampleTime()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	for _, one := range change {
		one(template)
	}
	parent := a.certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return certificate
}

func certificatePEM(certificate *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

func TestMTLS(t *testing.T) {
	bank, other := newAuthority(t), newAuthority(t)
	key := &testRSA(t).PublicKey
	leaf := bank.issue(t, "pix.bank.example", key)
	rule := func(change func(*hook.MTLSRule)) hook.Verify {
		r := &hook.MTLSRule{CA: certificatePEM(bank.certificate)}
		if change != nil {
			change(r)
		}
		return hook.Verify{MTLS: r}
	}
	with := func(certificates ...*x509.Certificate) *signature.Request {
		req := request("{}")
		req.Certificates = certificates
		return req
	}
	v := compile(t, rule(nil))
	passes(t, v, with(leaf))
	refused(t, v, with(), "no_certificate")
	refused(t, v, with(other.issue(t, "pix.bank.example", key)), "bad_certificate")
	late := with(leaf)
	late.Now = late.Now.Add(2 * time.Hour)
	refused(t, v, late, "bad_certificate")

	named := compile(t, rule(func(r *hook.MTLSRule) { r.Subjects = []string{"*.bank.example"} }))
	passes(t, named, with(leaf))
	refused(t, named, with(bank.issue(t, "pix.other.example", key)), "bad_certificate")
	refused(t, named, with(bank.issue(t, "a.pix.bank.example", key)), "bad_certificate")

	between := &authority{key: bank.key}
	between.certificate = bank.issue(t, "Between", &bank.key.PublicKey, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	passes(t, v, with(between.issue(t, "deep", key), between.certificate))
}

func TestMTLSBehindAProxy(t *testing.T) {
	bank := newAuthority(t)
	leaf := bank.issue(t, "pix.bank.example", &testRSA(t).PublicKey)
	text := certificatePEM(leaf)
	v := compile(t, hook.Verify{MTLS: &hook.MTLSRule{
		CA: certificatePEM(bank.certificate), Header: "X-Client-Cert", Proxies: []string{"10.0.0.0/8"},
	}})
	bare := base64.StdEncoding.EncodeToString(leaf.Raw)
	for name, value := range map[string]string{
		"nginx": url.PathEscape(text), "spaces": strings.ReplaceAll(text, "\n", " "), "tabs": strings.ReplaceAll(text, "\n", "\t"),
		"Traefik": bare, "RFC 9440": ":" + bare + ":", "Envoy": `By=x;Cert="` + url.QueryEscape(text) + `";URI=y`,
	} {
		t.Run(name, func(t *testing.T) {
			value := strings.ReplaceAll(value, "+CERTIFICATE", "%20CERTIFICATE")
			req := request("{}", "X-Client-Cert", value)
			req.Peer = netip.MustParseAddr("10.1.2.3")
			passes(t, v, req)
			req.Peer = netip.Addr{}
			refused(t, v, req, "no_certificate") // anybody could write the header
			req.Remote = netip.MustParseAddr("10.1.2.3")
			passes(t, v, req)
		})
	}
	// A proxy that adds to what it was sent leaves the sender's word in front of its own.
	nginx, envoy := url.PathEscape(text), `Cert="`+strings.ReplaceAll(url.QueryEscape(text), "+", "%20")+`"`
	own := newAuthority(t).issue(t, "proxy's view", &testRSA(t).PublicKey)
	for name, values := range map[string][]string{
		"two headers": {nginx, url.PathEscape(certificatePEM(own))},
		"one list":    {envoy + `,Cert="` + url.PathEscape(certificatePEM(own)) + `"`},
	} {
		spoofed := request("{}")
		for _, value := range values {
			spoofed.Headers = append(spoofed.Headers, hook.Header{Name: "X-Client-Cert", Value: value})
		}
		spoofed.Peer = netip.MustParseAddr("10.1.2.3")
		t.Run(name, func(t *testing.T) { refused(t, v, spoofed, "bad_certificate") })
	}
	broken := request("{}", "X-Client-Cert", "no certificate")
	broken.Peer = netip.MustParseAddr("10.1.2.3")
	refused(t, v, broken, "bad_certificate")
}

func sampleOf(t *testing.T, name string) (*signature.Profile, *signature.Verifier) {
	t.Helper()
	p, ok := gallery(t).Profile(name)
	if !ok {
		t.Fatalf("no profile %s", name)
	}
	return p, compileSample(t, p)
}

func setHeader(req *signature.Request, name, value string) {
	for i := range req.Headers {
		if strings.EqualFold(req.Headers[i].Name, name) {
			req.Headers[i].Value = value
		}
	}
}

func TestPayPal(t *testing.T) {
	p, v := sampleOf(t, "paypal")
	for _, address := range []string{
		"http://api.paypal.com/c", "https://api.paypal.com.evil.example/c", "https://evil.example/api.paypal.com",
		"https://api.paypal.com:8443/c", "https://user@api.paypal.com/c", "https://apaypal.com/c", "",
	} {
		req := sampleRequest(t, p)
		setHeader(req, "PAYPAL-CERT-URL", address)
		refused(t, v, req, "bad_signature")
	}
	gone := sampleRequest(t, p)
	setHeader(gone, "PAYPAL-CERT-URL", "https://api.paypal.com/v1/other")
	refused(t, v, gone, "keys_unavailable")
	body := sampleRequest(t, p)
	body.Body[10] ^= 1
	refused(t, v, body, "bad_signature")
	id := sampleSpec(p)
	id.Settings = map[string]string{"webhookId": "another", "ca": p.Sample.Settings["ca"]}
	other, err := signature.Compile(id, gallery(t), keyFile(p.Sample.Keys))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, other, sampleRequest(t, p), "bad_signature")
}

// The chain may be right and the name wrong.
func TestPayPalWantsItsOwnName(t *testing.T) {
	root := newAuthority(t)
	body := `{"id":"WH-1"}`
	for name, reason := range map[string]string{"certs.paypal.com": "", "certs.evil.example": "bad_certificate", "paypal.com": "bad_certificate"} {
		keys := keyFile{"https://api.paypal.com/c": certificatePEM(root.issue(t, name, &testRSA(t).PublicKey))}
		v, err := signature.Compile(&hook.SourceSpec{Provider: "paypal", Settings: map[string]string{
			"webhookId": "W", "ca": certificatePEM(root.certificate),
		}}, gallery(t), keys)
		if err != nil {
			t.Fatal(err)
		}
		req := request(body, "PAYPAL-TRANSMISSION-ID", "T", "PAYPAL-TRANSMISSION-TIME", "now", "PAYPAL-AUTH-ALGO", "SHA256withRSA",
			"PAYPAL-CERT-URL", "https://api.paypal.com/c", "PAYPAL-TRANSMISSION-SIG", rsaSign(t, "T|now|W|838965618"))
		if reason == "" {
			passes(t, v, req)
		} else {
			refused(t, v, req, reason)
		}
	}
}

// The name may be right and the authority another one.
func TestPayPalWantsATrustedAuthority(t *testing.T) {
	keys := keyFile{"https://api.paypal.com/c": certificatePEM(newAuthority(t).issue(t, "certs.paypal.com", &testRSA(t).PublicKey))}
	v, err := signature.Compile(&hook.SourceSpec{Provider: "paypal", Settings: map[string]string{
		"webhookId": "W", "ca": certificatePEM(newAuthority(t).certificate),
	}}, gallery(t), keys)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, v, request(`{"id":"WH-1"}`, "PAYPAL-TRANSMISSION-ID", "T", "PAYPAL-TRANSMISSION-TIME", "now", "PAYPAL-AUTH-ALGO", "SHA256withRSA",
		"PAYPAL-CERT-URL", "https://api.paypal.com/c", "PAYPAL-TRANSMISSION-SIG", rsaSign(t, "T|now|W|838965618")), "bad_certificate")
}

// snsMessage signs a message as SNS does, with the test key.
func snsMessage(t *testing.T, fields map[string]string, names ...string) string {
	t.Helper()
	var content strings.Builder
	for _, name := range names {
		if value, ok := fields[name]; ok {
			content.WriteString(name + "\n" + value + "\n")
		}
	}
	fields["Signature"], fields["SignatureVersion"] = rsaSign(t, content.String()), "2"
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const (
	snsTopic = "arn:aws:sns:sa-east-1:123456789012:t"
	snsCert  = "https://sns.sa-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem"
)

func snsVerifier(t *testing.T, keys keyFile) *signature.Verifier {
	t.Helper()
	keys[snsCert] = certificatePEM(newAuthority(t).issue(t, "sns.amazonaws.com", &testRSA(t).PublicKey))
	v, err := signature.Compile(&hook.SourceSpec{Provider: "aws-sns", Settings: map[string]string{"topicArn": "x, " + snsTopic}}, gallery(t), keys)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSNS(t *testing.T) {
	v := snsVerifier(t, keyFile{})
	notice := func(change func(map[string]string)) string {
		fields := map[string]string{
			"Type": "Notification", "Message": "hello", "MessageId": "1", "Timestamp": "2026-01-02T03:04:05Z",
			"TopicArn": snsTopic, "SigningCertURL": snsCert,
		}
		if change != nil {
			change(fields)
		}
		return snsMessage(t, fields, "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
	}
	good := notice(nil)
	passes(t, v, request(good))
	passes(t, v, request(notice(func(f map[string]string) { f["Subject"] = "s" })))
	refused(t, v, request(strings.Replace(good, "hello", "hallo", 1)), "bad_signature")
	refused(t, v, request(notice(func(f map[string]string) { f["TopicArn"] = "arn:aws:sns:sa-east-1:9:evil" })), "bad_claim")
	refused(t, v, request(notice(func(f map[string]string) { f["Type"] = "Other" })), "malformed_signature")
	refused(t, v, request("raw delivery"), "malformed_signature")
	refused(t, v, request(`{"Message":"raw"}`), "missing_signature")
	late := request(good)
	late.Now = late.Now.Add(2 * time.Hour)
	refused(t, v, late, "bad_certificate")
	// The first of two equal names would be verified and the last one read.
	for _, twice := range []string{`"Message":"forged"`, `"message":"forged"`} {
		refused(t, v, request(strings.TrimSuffix(good, "}")+","+twice+"}"), "malformed_signature")
	}
}

// The key is the attacker's own in all of these: what counts is that it is not fetched.
func TestSNSTakesCertificatesFromNowhereElse(t *testing.T) {
	const file = "SimpleNotificationService-0a1b.pem"
	for _, address := range []string{
		"https://evil.example/" + file,
		"https://sns.evil.example/" + file,
		"https://sns.s3.amazonaws.com/" + file, // a bucket named sns
		"https://sns.s3-us-west-2.amazonaws.com/" + file,
		"https://sns.s3-accelerate.amazonaws.com/" + file,
		"https://sns.us-east-1.s3.amazonaws.com/" + file,
		"https://sns.us-east-1.amazonaws.com.evil.example/" + file,
		"https://sns.us-east-1.amazonaws.com@evil.example/" + file,
		"https://sns.us-east-1.amazonaws.com:8443/" + file,
		"http://sns.us-east-1.amazonaws.com/" + file,
		"https://sns.us-east-1.amazonaws.com/k",
		"https://sns.us-east-1.amazonaws.com/k.pem",
		"https://sns.us-east-1.amazonaws.com/x/" + file,
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-a%2f..%2fk.pem",
		"https://sns.us-east-1.amazonaws.com/" + file + "?Action=Publish",
		"https://sns.us-east-1.amazonaws.com/?Action=x&y=" + file,
		"",
	} {
		keys := keyFile{}
		v := snsVerifier(t, keys)
		keys[address] = keys[snsCert]
		fields := map[string]string{
			"Type": "Notification", "Message": "hello", "MessageId": "1", "Timestamp": "2026-01-02T03:04:05Z",
			"TopicArn": snsTopic, "SigningCertURL": address,
		}
		body := snsMessage(t, fields, "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
		if verdict, err := v.Verify(t.Context(), request(body)); err == nil {
			t.Errorf("the certificate at %s was trusted: %+v", address, verdict)
		}
	}
}

func TestSNSConfirmsItsSubscription(t *testing.T) {
	const confirm = "https://sns.sa-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=abc"
	message := func(address string) *signature.Request {
		fields := map[string]string{
			"Type": "SubscriptionConfirmation", "Message": "m", "MessageId": "1", "Timestamp": "2026-01-02T03:04:05Z",
			"TopicArn": snsTopic, "Token": "abc", "SubscribeURL": address, "SigningCertURL": snsCert,
		}
		return request(snsMessage(t, fields, "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"))
	}
	v := snsVerifier(t, keyFile{confirm: "<ConfirmSubscriptionResponse/>"})
	if reply, ok := v.Handshake(t.Context(), message(confirm)); !ok || reply.Status != 200 {
		t.Errorf("reply %+v, %v", reply, ok)
	}
	// A signed message that points elsewhere is not followed.
	if _, ok := v.Handshake(t.Context(), message("https://evil.example/?Token=abc")); ok {
		t.Error("an address outside of AWS was called")
	}
	down := snsVerifier(t, keyFile{})
	if reply, ok := down.Handshake(t.Context(), message(confirm)); !ok || reply.Status != 502 {
		t.Errorf("reply %+v, %v", reply, ok)
	}
	forged := message(confirm)
	forged.Body = []byte(strings.Replace(string(forged.Body), `"m"`, `"n"`, 1))
	if _, ok := v.Handshake(t.Context(), forged); ok {
		t.Error("a forged confirmation was answered")
	}
}

func TestTwilio(t *testing.T) {
	v, err := signature.Compile(&hook.SourceSpec{Provider: "twilio", Secret: testSecret}, gallery(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(text string) string { return base64.StdEncoding.EncodeToString(sum(sha1.New, testSecret, text)) }
	form := func(address, body, signed string) *signature.Request {
		req := request(body, "Content-Type", "application/x-www-form-urlencoded; charset=UTF-8", "X-Twilio-Signature", sign(signed))
		req.URL = address
		return req
	}
	passes(t, v, form("https://a.example/x", "B=2&A=1", "https://a.example/xA1B2"))
	passes(t, v, form("https://a.example/x", "A=1", "https://a.example:443/xA1"))
	passes(t, v, form("https://a.example:443/x?q=1", "A=1", "https://a.example/x?q=1A1"))
	passes(t, v, form("http://a.example/x", "A=1", "http://a.example:80/xA1"))
	passes(t, v, form("https://a.example/x", "A=2&A=1&A=2", "https://a.example/xA1A2"))
	refused(t, v, form("https://a.example/x", "A=2", "https://a.example/xA1"), "bad_signature")

	// What is added to a signed form must not pass, however it is written.
	for _, added := range []string{"&A=2", "&B=2;C=3", "&B=%zz", "&;", strings.Repeat("&", 20_000)} {
		refused(t, v, form("https://a.example/x", "A=1"+added, "https://a.example/xA1"), "bad_signature")
	}
	flood := strings.Repeat("A=1&", 20_000)
	refused(t, v, form("https://a.example/x", flood, "https://a.example/x"), "bad_signature")

	body := `{"a":1}`
	digest := sha256.Sum256([]byte(body))
	address := "https://a.example/x?bodySHA256=" + hex.EncodeToString(digest[:])
	req := request(body, "Content-Type", "application/json", "X-Twilio-Signature", sign(address))
	req.URL, req.Query = address, "bodySHA256="+hex.EncodeToString(digest[:])
	passes(t, v, req)
	changed := req.WithBody([]byte(`{"a":2}`))
	refused(t, v, changed, "bad_signature")
	// Taking a form's signature for a body of another type leaves the body open.
	refused(t, v, request("x", "Content-Type", "text/plain", "X-Twilio-Signature", sign("https://hooks.example.com/in/shop?a=1")), "bad_signature")
}

func TestMailgunTokenGoesWithOneBody(t *testing.T) {
	p, v := sampleOf(t, "mailgun")
	passes(t, v, sampleRequest(t, p))
	passes(t, v, sampleRequest(t, p)) // a repetition
	other := sampleRequest(t, p)
	other.Body = []byte(strings.Replace(p.Sample.Body, "delivered", "unsubscribed", 1))
	refused(t, v, other, "replayed")

	fields := "timestamp=" + unix() + "&token=tok&signature=" +
		hex.EncodeToString(sum(sha256.New, p.Sample.Secret.Reveal(), unix()+"tok")) + "&event=opened"
	passes(t, v, request(fields, "Content-Type", "application/x-www-form-urlencoded"))
	refused(t, v, request("event=opened", "Content-Type", "application/x-www-form-urlencoded"), "missing_signature")
}

func TestAdyen(t *testing.T) {
	p, v := sampleOf(t, "adyen")
	key, err := hex.DecodeString(p.Sample.Secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	body := `{"type":"balancePlatform.transfer.created"}`
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(body))
	value := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	passes(t, v, request(body, "HmacSignature", value))
	refused(t, v, request(body+" ", "HmacSignature", value), "bad_signature")
	for _, change := range [][2]string{
		{`"value":25498`, `"value":1`},
		{`"success":"true"`, `"success":"false"`},
		{`"eventCode":"AUTHORISATION"`, `"eventCode":"REFUND"`},
	} {
		refused(t, v, request(strings.Replace(p.Sample.Body, change[0], change[1], 1)), "bad_signature")
	}
	refused(t, v, request(strings.Replace(p.Sample.Body, `"success":"true"`, `"success":"true","success":"false"`, 1)), "missing_signature")
	refused(t, v, request(`{"notificationItems":[]}`), "missing_signature")
	refused(t, v, request(``), "missing_signature")
}

func TestAdobeTakesEitherSignature(t *testing.T) {
	p, v := sampleOf(t, "adobe-io")
	one := sampleRequest(t, p)
	setHeader(one, "x-adobe-digital-signature-1", "AAAA")
	passes(t, v, one)
	elsewhere := sampleRequest(t, p)
	setHeader(elsewhere, "x-adobe-public-key1-path", "//evil.example/k.pem")
	setHeader(elsewhere, "x-adobe-public-key2-path", "@evil.example/k.pem")
	refusal(t, v, elsewhere)
	spec := sampleSpec(p)
	spec.Settings = map[string]string{"clientId": "somebody else"}
	other, err := signature.Compile(spec, gallery(t), keyFile(p.Sample.Keys))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, other, sampleRequest(t, p), "bad_claim")
}

const issuerKeys = "https://issuer.example/keys"

// token signs claims with the test key.
func token(t *testing.T, header, claims string) string {
	t.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	raw, err := base64.StdEncoding.DecodeString(rsaSign(t, input))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(raw)
}

func jwks(t *testing.T, id string) string {
	t.Helper()
	n := base64.RawURLEncoding.EncodeToString(testRSA(t).N.Bytes())
	return `{"keys":[{"kty":"RSA","kid":"` + id + `","alg":"RS256","use":"sig","n":"` + n + `","e":"AQAB"}]}`
}

func TestIssuerTokens(t *testing.T) {
	rule := hook.Verify{JWT: &hook.JWTRule{
		JWKS: issuerKeys, Issuer: "https://issuer.example", Audience: "us", Claims: map[string]string{"email": "a@b.example"},
	}}
	v, err := signature.Compile(&hook.SourceSpec{Verify: &rule}, nil, keyFile{issuerKeys: jwks(t, "k1")})
	if err != nil {
		t.Fatal(err)
	}
	now := profiles.SampleTime().Unix()
	claims := func(format string, args ...any) string {
		return fmt.Sprintf(`{"iss":"https://issuer.example","email":"a@b.example",`+format+`}`, args...)
	}
	const header = `{"alg":"RS256","kid":"k1"}`
	good := claims(`"aud":["x","us"],"exp":%d`, now+60)
	tests := map[string]struct {
		header, claims, reason string
	}{
		"good":            {header, good, ""},
		"one audience":    {header, claims(`"aud":"us","exp":%d`, now+60), ""},
		"within skew":     {header, claims(`"aud":"us","exp":%d`, now-30), ""},
		"expired":         {header, claims(`"aud":"us","exp":%d`, now-120), "expired_token"},
		"never expires":   {header, claims(`"aud":"us"`), "expired_token"},
		"not yet":         {header, claims(`"aud":"us","exp":%d,"nbf":%d`, now+600, now+300), "expired_token"},
		"for others":      {header, claims(`"aud":"them","exp":%d`, now+60), "bad_claim"},
		"no audience":     {header, claims(`"exp":%d`, now+60), "bad_claim"},
		"other issuer":    {header, strings.Replace(good, "issuer.example", "evil.example", 1), "bad_claim"},
		"other claim":     {header, strings.Replace(good, "a@b", "c@b", 1), "bad_claim"},
		"unknown key":     {`{"alg":"RS256","kid":"k2"}`, good, "bad_token"},
		"other algorithm": {`{"alg":"RS512","kid":"k1"}`, good, "bad_token"},
		"no algorithm":    {`{"alg":"none","kid":"k1"}`, good, "bad_token"},
		"shared":          {`{"alg":"HS256","kid":"k1"}`, good, "bad_token"},
		"no claims":       {header, "[]", "bad_token"},
		"huge expiry":     {header, claims(`"aud":"us","exp":1e300`), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			req := request("{}", "Authorization", "Bearer "+token(t, test.header, test.claims))
			if test.reason == "" {
				passes(t, v, req)
			} else {
				refused(t, v, req, test.reason)
			}
		})
	}
	refused(t, v, request("{}"), "missing_token")
	refused(t, v, request("{}", "Authorization", "Bearer x.y"), "bad_token")
	forged := token(t, header, good)
	parts := strings.Split(forged, ".")
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(good, `"x"`, `"y"`, 1)))
	refused(t, v, request("{}", "Authorization", "Bearer "+strings.Join(parts, ".")), "bad_token")

	down, err := signature.Compile(&hook.SourceSpec{Verify: &rule}, nil, keyFile{})
	if err != nil {
		t.Fatal(err)
	}
	req := request("{}", "Authorization", "Bearer "+forged)
	why := refusal(t, down, req)
	if why.Reason != "keys_unavailable" || hook.KindOf(why) != hook.KindUnavailable {
		t.Errorf("%s, %s", why.Reason, hook.KindOf(why))
	}
	if hook.KindOf(refusal(t, v, request("{}"))) != hook.KindUnauthorized {
		t.Error("a refusal is not of the kind that turns the sender away")
	}
}

// cachedKeys keeps what it answered first until it is asked to refresh.
type cachedKeys struct {
	kept, present string
	refreshed     int
}

func (c *cachedKeys) Fetch(context.Context, string) ([]byte, error) { return []byte(c.kept), nil }

func (c *cachedKeys) Refresh(context.Context, string) ([]byte, error) {
	c.refreshed++
	c.kept = c.present
	return []byte(c.kept), nil
}

func TestAnIssuersNewKeyCountsAtOnce(t *testing.T) {
	keys := &cachedKeys{kept: jwks(t, "k1"), present: jwks(t, "k2")}
	v, err := signature.Compile(&hook.SourceSpec{Verify: &hook.Verify{JWT: &hook.JWTRule{JWKS: issuerKeys, Audience: "us"}}}, nil, keys)
	if err != nil {
		t.Fatal(err)
	}
	signedBy := func(id string) *signature.Request {
		return request("{}", "Authorization", "Bearer "+token(t, `{"alg":"RS256","kid":"`+id+`"}`, `{"aud":"us","exp":9999999999}`))
	}
	passes(t, v, signedBy("k1"))
	forged := signedBy("k1")
	setHeader(forged, "Authorization", forged.Headers.Get("Authorization")+"AA")
	refused(t, v, forged, "bad_token")
	if keys.refreshed != 0 {
		t.Errorf("the keys were asked for %d times more although the token's key was among them", keys.refreshed)
	}
	passes(t, v, signedBy("k2"))
	if keys.refreshed != 1 {
		t.Errorf("the keys were asked for %d times more, want once", keys.refreshed)
	}
	refused(t, v, signedBy("k3"), "bad_token")
}

// A key that is for one algorithm is not taken for another, whatever the token says.
func TestAKeyHasOneAlgorithm(t *testing.T) {
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS512","kid":"k1"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"aud":"us","exp":9999999999}`))
	digest := sha512.Sum512([]byte(input))
	raw, err := rsa.SignPKCS1v15(nil, testRSA(t), crypto.SHA512, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	req := request("{}", "Authorization", "Bearer "+input+"."+base64.RawURLEncoding.EncodeToString(raw))
	rule := hook.Verify{JWT: &hook.JWTRule{JWKS: issuerKeys, Audience: "us"}}
	for keys, reason := range map[string]string{
		jwks(t, "k1"): "bad_token",
		strings.Replace(jwks(t, "k1"), `"alg":"RS256",`, "", 1): "",
	} {
		v, err := signature.Compile(&hook.SourceSpec{Verify: &rule}, nil, keyFile{issuerKeys: keys})
		if err != nil {
			t.Fatal(err)
		}
		if reason == "" {
			passes(t, v, req)
		} else {
			refused(t, v, req, reason)
		}
	}
}

func TestSharedTokens(t *testing.T) {
	sign := func(header, claims, secret string) string {
		input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		return input + "." + base64.RawURLEncoding.EncodeToString(sum(sha256.New, secret, input))
	}
	digest := sha256.Sum256([]byte("{}"))
	claims := `{"hash":"` + hex.EncodeToString(digest[:]) + `"}`
	v := compile(t, hook.Verify{JWT: &hook.JWTRule{Header: "X-Jwt", BodyHash: "hash"}})
	passes(t, v, request("{}", "X-Jwt", sign(`{"alg":"HS256"}`, claims, testSecret)))
	refused(t, v, request("{} ", "X-Jwt", sign(`{"alg":"HS256"}`, claims, testSecret)), "bad_signature")
	refused(t, v, request("{}", "X-Jwt", sign(`{"alg":"HS256"}`, claims, "other")), "bad_token")
	refused(t, v, request("{}", "X-Jwt", sign(`{"alg":"none"}`, claims, testSecret)), "bad_token")
	refused(t, v, request("{}", "X-Jwt", sign(`{"alg":"HS256","crit":["exp"],"exp":1}`, claims, testSecret)), "bad_token")
	if !v.CoversBody() {
		t.Error("the hash of the body is in the token")
	}
}
