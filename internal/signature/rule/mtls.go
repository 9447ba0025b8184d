package rule

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// mtlsCheck verifies the sender's client certificate.
type mtlsCheck struct {
	roots    *x509.CertPool
	subjects []string
	header   string
	proxies  addresses
}

func (c *compiler) mtls(spec *hook.MTLSRule, p *problems) node {
	check := &mtlsCheck{subjects: spec.Subjects, header: spec.Header}
	text := c.expand(spec.CA, "ca", p)
	check.roots = x509.NewCertPool()
	if !check.roots.AppendCertsFromPEM([]byte(strings.ReplaceAll(text, `\n`, "\n"))) {
		p.addf("ca", "give the PEM of the authority (or authorities) that signs the sender's certificate")
	}
	if spec.Header != "" {
		check.proxies = c.addresses(spec.Proxies, p.at("proxies"))
		if len(check.proxies) == 0 {
			p.addf("proxies", "say from which addresses the header %s is believed, such as 127.0.0.1/32: others could write it themselves", spec.Header)
		}
	}
	return node{check: check}
}

func (m *mtlsCheck) verify(_ context.Context, req *message.Request) (hook.Verdict, error) {
	chain, refusal := m.chain(req)
	if refusal != nil {
		return hook.Verdict{}, refusal
	}
	leaf := chain[0]
	if refusal := verifyChain(chain, m.roots, req.Now); refusal != nil {
		return hook.Verdict{}, refusal
	}
	if len(m.subjects) > 0 && !slices.ContainsFunc(m.subjects, func(want string) bool { return hasSubject(leaf, want) }) {
		return hook.Verdict{}, refusef(BadCertificate, "The client certificate is for %q, which is not among the allowed subjects.", leaf.Subject.CommonName)
	}
	return hook.Verdict{Scheme: "mtls", Verified: true}, nil
}

// chain returns the presented certificates, leaf first; at least one.
func (m *mtlsCheck) chain(req *message.Request) ([]*x509.Certificate, *Refusal) {
	if len(req.Certificates) > 0 {
		return req.Certificates, nil
	}
	if m.header == "" {
		return nil, refusef(NoCertificate, "The sender showed no client certificate.")
	}
	text := req.Headers.Get(m.header)
	if text == "" {
		return nil, refusef(NoCertificate, "The sender showed no client certificate: the header %s is missing.", m.header)
	}
	if !m.proxies.contains(req.Connected()) {
		return nil, refusef(NoCertificate, "The header %s is not believed from %s, which is not one of the proxies.", m.header, req.Connected())
	}
	// One that the sender wrote may stand before the proxy's own. Certificates are no
	// secret, so only the proxy's word makes one worth anything.
	if len(req.Headers.Values(m.header)) > 1 || strings.Count(text, certificatePair) > 1 {
		return nil, refusef(BadCertificate, "The header %s holds more than one certificate of a client: the proxy has to replace what it was sent.", m.header)
	}
	chain := parseCertificateHeader(text)
	if len(chain) == 0 {
		return nil, refusef(BadCertificate, "The certificate in the header %s cannot be read.", m.header)
	}
	return chain, nil
}

// verifyChain holds a chain against authorities. The key usage is not looked at:
// banks use server certificates as client certificates.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) *Refusal {
	between := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err == nil {
		return nil
	}
	if now.After(chain[0].NotAfter) || now.Before(chain[0].NotBefore) {
		return &Refusal{Reason: BadCertificate, Message: "The certificate is not valid at this time.", Err: err}
	}
	return &Refusal{Reason: BadCertificate, Message: "The certificate was not signed by a trusted authority.", Err: err}
}

// hasSubject compares the common name and the DNS names. "*.example.com" stands for
// one more label.
func hasSubject(certificate *x509.Certificate, want string) bool {
	return slices.ContainsFunc(append([]string{certificate.Subject.CommonName}, certificate.DNSNames...), func(name string) bool {
		return MatchHost(want, name)
	})
}

// MatchHost compares a host with a pattern, label by label; a "*" stands for exactly
// one label. Case does not matter.
func MatchHost(pattern, host string) bool {
	if pattern == "" || host == "" {
		return false
	}
	want, have := strings.Split(strings.ToLower(pattern), "."), strings.Split(strings.ToLower(host), ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && (want[i] != "*" || have[i] == "") {
			return false
		}
	}
	return true
}

// maxChain is how many certificates of a chain are read.
const maxChain = 8

// certificatePair begins the certificate in the header of Envoy.
const certificatePair = `Cert="`

// parseCertificateHeader reads the forms in which proxies hand certificates over:
// URL-encoded PEM (nginx), PEM with its line ends turned into spaces (Apache,
// HAProxy), bare base64 in a list (Traefik), Cert="…" (Envoy) and :base64: (RFC 9440).
func parseCertificateHeader(text string) []*x509.Certificate {
	if _, after, ok := strings.Cut(text, certificatePair); ok {
		text, _, _ = strings.Cut(after, `"`)
	}
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	if strings.Contains(text, "-----BEGIN") {
		return parsePEMChain([]byte(restoreLines(text)))
	}
	var chain []*x509.Certificate
	for one := range strings.SplitSeq(text, ",") {
		raw, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimSpace(one), ":"))
		if err != nil || len(chain) == maxChain {
			break
		}
		certificate, err := x509.ParseCertificate(raw)
		if err != nil {
			break
		}
		chain = append(chain, certificate)
	}
	return chain
}

// restoreLines gives a PEM whose line ends became spaces or tabs its lines back.
func restoreLines(text string) string {
	if strings.Contains(text, "\n") {
		return text
	}
	text = strings.NewReplacer("\t", "\n", " ", "\n").Replace(text)
	return strings.NewReplacer("BEGIN\nCERTIFICATE", "BEGIN CERTIFICATE", "END\nCERTIFICATE", "END CERTIFICATE").Replace(text)
}

// parsePEMChain returns the certificates of a PEM text; nil when one is damaged.
func parsePEMChain(text []byte) []*x509.Certificate {
	var chain []*x509.Certificate
	for len(chain) < maxChain {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return chain
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		chain = append(chain, certificate)
	}
	return chain
}
