package rule

import (
	"context"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// adobeCheck verifies Adobe I/O Events: one of two RSA-SHA256 signatures over the
// body, with keys from Adobe's host ("Security verification"), addressed to our client.
type adobeCheck struct {
	client string
	keys   KeyFetcher
}

const adobeHost = "static.adobeioevents.com"

func (c *compiler) adobeIO(p *problems) node {
	return node{
		check: &adobeCheck{client: c.setting("clientId", p), keys: c.fetcher(p)}, coversBody: true,
		headers: []string{"x-adobe-digital-signature-1", "x-adobe-digital-signature-2", "x-adobe-public-key1-path", "x-adobe-public-key2-path"},
	}
}

func (a *adobeCheck) verify(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	var best *Refusal
	for _, n := range []string{"1", "2"} {
		refusal := a.try(ctx, req, "x-adobe-digital-signature-"+n, "x-adobe-public-key"+n+"-path")
		if refusal == nil {
			if client, _ := req.Field("recipient_client_id"); client != a.client {
				return hook.Verdict{}, refusef(BadClaim, "The event is for another client than the source's setting clientId.")
			}
			return hook.Verdict{Scheme: "adobe-io", Verified: true}, nil
		}
		if best == nil || refusal.rank() > best.rank() {
			best = refusal
		}
	}
	return hook.Verdict{}, best
}

func (a *adobeCheck) try(ctx context.Context, req *message.Request, signatureHeader, pathHeader string) *Refusal {
	text := req.Headers.Get(signatureHeader)
	if text == "" {
		return refusef(MissingSignature, "There is no signature: the header %s is missing.", signatureHeader)
	}
	signature, ok := Base64.decode(nil, text)
	if !ok {
		return refusef(MalformedSig, "The signature in %s is not base64.", signatureHeader)
	}
	path := req.Headers.Get(pathHeader)
	if !strings.HasPrefix(path, "/") {
		return refusef(MalformedSig, "The header %s does not name the path of a key.", pathHeader)
	}
	raw, refusal := fetchAllowed(ctx, a.keys, "https://"+adobeHost+path, adobeHost)
	if refusal != nil {
		return refusal
	}
	key, err := parsePublicKey(string(raw))
	if err != nil {
		return &Refusal{Reason: BadCertificate, Message: "The sender's key cannot be read.", Err: err}
	}
	algorithm, ok := algorithmFor(key, RSASHA256)
	if !ok || !verifySignature(key, algorithm, req.Body, signature) {
		return refusef(BadSignature, "The signature in %s does not fit the body.", signatureHeader)
	}
	return nil
}
