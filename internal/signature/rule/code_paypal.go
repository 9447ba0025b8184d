package rule

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"hash/crc32"
	"strconv"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// paypalCheck verifies PayPal's transmission signature: RSA over
// "{id}|{time}|{webhook id}|{crc32}", with a certificate that PayPal names and that
// must chain to a public authority (see PayPal's SDKs, webhook verification).
type paypalCheck struct {
	webhook string
	keys    KeyFetcher
	roots   *x509.CertPool // nil: the system's
}

func (c *compiler) paypal(p *problems) node {
	check := &paypalCheck{webhook: c.setting("webhookId", p), keys: c.fetcher(p)}
	if ca := c.Settings["ca"]; ca != "" {
		check.roots = x509.NewCertPool()
		if !check.roots.AppendCertsFromPEM([]byte(ca)) {
			p.addAtf("settings.ca", "it holds no PEM certificate")
		}
	}
	// The checksum is not a cryptographic one: it protects the body against accidents only.
	return node{check: check, coversBody: false, headers: []string{
		"PAYPAL-TRANSMISSION-ID", "PAYPAL-TRANSMISSION-TIME", "PAYPAL-TRANSMISSION-SIG", "PAYPAL-CERT-URL", "PAYPAL-AUTH-ALGO",
	}}
}

func (k *paypalCheck) verify(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	text := req.Headers.Get("PAYPAL-TRANSMISSION-SIG")
	if text == "" {
		return hook.Verdict{}, refusef(MissingSignature, "There is no signature: the header PAYPAL-TRANSMISSION-SIG is missing.")
	}
	signature, ok := Base64.decode(nil, text)
	if !ok {
		return hook.Verdict{}, refusef(MalformedSig, "The signature in PAYPAL-TRANSMISSION-SIG is not base64.")
	}
	algorithm, ok := map[string]string{"sha256withrsa": RSASHA256, "sha1withrsa": RSASHA1}[strings.ToLower(req.Headers.Get("PAYPAL-AUTH-ALGO"))]
	if !ok {
		return hook.Verdict{}, refusef(MalformedSig, "The algorithm in PAYPAL-AUTH-ALGO is neither SHA256withRSA nor SHA1withRSA.")
	}
	key, refusal := k.key(ctx, req)
	if refusal != nil {
		return hook.Verdict{}, refusal
	}
	content := strings.Join([]string{
		req.Headers.Get("PAYPAL-TRANSMISSION-ID"), req.Headers.Get("PAYPAL-TRANSMISSION-TIME"), k.webhook,
		strconv.FormatUint(uint64(crc32.ChecksumIEEE(req.Body)), 10),
	}, "|")
	if !verifySignature(key, algorithm, []byte(content), signature) {
		return hook.Verdict{}, refusef(BadSignature, "The signature does not fit the request for the webhook id %q.", k.webhook)
	}
	return hook.Verdict{Scheme: "paypal", Verified: true}, nil
}

// key fetches the certificate and checks that it is PayPal's.
func (k *paypalCheck) key(ctx context.Context, req *message.Request) (*rsa.PublicKey, *Refusal) {
	raw, refusal := fetchAllowed(ctx, k.keys, req.Headers.Get("PAYPAL-CERT-URL"), "*.paypal.com", "*.sandbox.paypal.com")
	if refusal != nil {
		return nil, refusal
	}
	chain := parsePEMChain(raw)
	if len(chain) == 0 {
		return nil, refusef(BadCertificate, "The sender's certificate cannot be read.")
	}
	if refusal := verifyChain(chain, k.roots, req.Now); refusal != nil {
		return nil, refusal
	}
	if name := chain[0].Subject.CommonName; !strings.HasSuffix(name, ".paypal.com") {
		return nil, refusef(BadCertificate, "The certificate is for %q, not for PayPal.", name)
	}
	key, ok := chain[0].PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, refusef(BadCertificate, "The certificate's key is not an RSA key.")
	}
	return key, nil
}
