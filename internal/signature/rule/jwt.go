package rule

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// jwtCheck verifies a signed token: with the issuer's keys, or with a shared secret.
// The two never mix, so that a public key is never taken for a shared secret.
type jwtCheck struct {
	header, query    string
	issuer, audience string
	claims           map[string]string
	bodyHash         string
	secrets          []indexed
	keys             *keySet
}

// clockSkew is how far the issuer's clock may be off from ours.
const clockSkew = time.Minute

// maxToken is the longest token that is looked at, in bytes.
const maxToken = 16 << 10

func issuerAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

func sharedAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}
}

func (c *compiler) jwt(spec *hook.JWTRule, p *problems) node {
	check := &jwtCheck{
		header: spec.Header, query: spec.Query, bodyHash: spec.BodyHash,
		issuer:   c.expand(spec.Issuer, "issuer", p),
		audience: c.expand(spec.Audience, "audience", p),
		claims:   make(map[string]string, len(spec.Claims)),
	}
	if check.header == "" && check.query == "" {
		check.header = "Authorization"
	}
	if spec.Header != "" && spec.Query != "" {
		p.addf("", "the token is in a header or in the query, not in both")
	}
	for name, value := range spec.Claims {
		check.claims[name] = c.expand(value, "claims."+name, p)
	}
	if spec.JWKS == "" {
		check.secrets = c.shared("", p)
	} else {
		check.keys = c.keySet(spec, p)
	}
	out := node{check: check, coversBody: spec.BodyHash != ""}
	if check.header != "" {
		out.headers = []string{check.header}
	}
	return out
}

func (c *compiler) keySet(spec *hook.JWTRule, p *problems) *keySet {
	address := c.expand(spec.JWKS, "jwks", p)
	if parsed, err := url.Parse(address); err != nil || parsed.Scheme != "https" || parsed.Host == "" {
		p.addf("jwks", "it is not an https address")
	}
	if c.Keys == nil {
		p.addf("jwks", "keys cannot be fetched here")
	}
	if spec.Audience == "" && len(spec.Claims) == 0 {
		p.addf("audience", "give the audience, or a claim, that makes a token yours: an issuer signs for many")
	}
	return &keySet{address: address, fetcher: c.Keys}
}

func (j *jwtCheck) token(req *message.Request) string {
	if j.query != "" {
		return req.QueryValue(j.query)
	}
	text := strings.TrimSpace(req.Headers.Get(j.header))
	for _, scheme := range []string{"Bearer ", "JWT "} {
		if bare, ok := cutPrefixFold(text, scheme); ok {
			return strings.TrimSpace(bare)
		}
	}
	return text
}

func (j *jwtCheck) verify(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	text := j.token(req)
	if text == "" {
		return hook.Verdict{}, refusef(MissingToken, "There is no token: %s is missing.", j.place())
	}
	if len(text) > maxToken {
		return hook.Verdict{}, refusef(BadToken, "The token in %s is longer than %d bytes.", j.place(), maxToken)
	}
	var (
		payload []byte
		index   int
		err     error
	)
	if j.keys != nil {
		payload, err = j.keys.verify(ctx, text)
	} else {
		payload, index, err = j.verifyShared(text)
	}
	if err != nil {
		return hook.Verdict{}, err
	}
	if refusal := j.checkClaims(payload, req); refusal != nil {
		return hook.Verdict{}, refusal
	}
	return hook.Verdict{Scheme: "jwt", Verified: true, Secret: index}, nil
}

func (j *jwtCheck) place() string {
	if j.query != "" {
		return "the query parameter " + j.query
	}
	return "the header " + j.header
}

func (j *jwtCheck) verifyShared(text string) ([]byte, int, error) {
	signed, err := jose.ParseSignedCompact(text, sharedAlgorithms())
	if err != nil {
		return nil, 0, notAToken(err)
	}
	// The library refuses shared keys shorter than the hash, which providers hand out, so
	// the sum is made here.
	one := signed.Signatures[0]
	if _, critical := one.Header.ExtraHeaders["crit"]; critical {
		return nil, 0, refusef(BadToken, "The token names critical extensions, which are not understood.")
	}
	create := newHash("sha" + strings.TrimPrefix(one.Header.Algorithm, "HS"))
	input := text[:strings.LastIndexByte(text, '.')]
	for _, secret := range j.secrets {
		mac := hmac.New(create, []byte(secret.text))
		mac.Write([]byte(input))
		if hmac.Equal(mac.Sum(nil), one.Signature) {
			return signed.UnsafePayloadWithoutVerification(), secret.secret, nil
		}
	}
	return nil, 0, refusef(BadToken, "The token is not signed with any of the secrets.")
}

func notAToken(err error) *Refusal {
	return &Refusal{Reason: BadToken, Message: "The token is not a JSON Web Token of an accepted algorithm.", Err: err}
}

// keySet is the issuer's public keys. The fetcher caches the document; the set keeps
// what it parsed from the last one.
type keySet struct {
	address string
	fetcher KeyFetcher

	mu     sync.Mutex
	text   string
	parsed *jose.JSONWebKeySet
}

func (k *keySet) verify(ctx context.Context, text string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(text, issuerAlgorithms())
	if err != nil {
		return nil, notAToken(err)
	}
	payload, missing, err := k.verifyWith(ctx, signed, k.fetcher.Fetch)
	if refresher, ok := k.fetcher.(KeyRefresher); ok && missing {
		payload, _, err = k.verifyWith(ctx, signed, refresher.Refresh)
	}
	return payload, err
}

// verifyWith verifies a token by the keys that fetch returns. It reports whether the
// token's key is not among them, as after the issuer's change to a new one.
func (k *keySet) verifyWith(ctx context.Context, signed *jose.JSONWebSignature, fetch fetchFunc) (payload []byte, missing bool, err error) {
	set, err := k.load(ctx, fetch)
	if err != nil {
		return nil, false, &Refusal{Reason: KeysUnavailable, Message: "The issuer's keys cannot be had right now.", Err: err}
	}
	header := signed.Signatures[0].Header
	candidates := set.Keys
	if header.KeyID != "" {
		candidates = set.Key(header.KeyID)
	}
	for i := range candidates {
		key := &candidates[i]
		if !key.IsPublic() || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key.Key); err == nil {
			return payload, false, nil
		}
	}
	missing = header.KeyID == "" || len(candidates) == 0
	return nil, missing, refusef(BadToken, "The token is not signed by any of the issuer's keys.")
}

// fetchFunc is how a document is got.
type fetchFunc func(ctx context.Context, address string) ([]byte, error)

func (k *keySet) load(ctx context.Context, fetch fetchFunc) (*jose.JSONWebKeySet, error) {
	text, err := fetch(ctx, k.address)
	if err != nil {
		return nil, fmt.Errorf("fetching the keys: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.parsed != nil && k.text == string(text) {
		return k.parsed, nil
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("the issuer's document holds no keys")
	}
	k.text, k.parsed = string(text), &set
	return k.parsed, nil
}

// claimSet is what is checked of a token's payload.
type claimSet struct {
	Issuer    string   `json:"iss"`
	Audience  audience `json:"aud"`
	Expires   *float64 `json:"exp"`
	NotBefore *float64 `json:"nbf"`
}

// audience is one text or a list of them (RFC 7519, section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

func (j *jwtCheck) checkClaims(payload []byte, req *message.Request) *Refusal {
	var known claimSet
	var all map[string]any
	if json.Unmarshal(payload, &known) != nil || json.Unmarshal(payload, &all) != nil {
		return refusef(BadToken, "The token's claims cannot be read.")
	}
	switch {
	case known.Expires == nil && j.keys != nil:
		return refusef(ExpiredToken, "The token does not say when it expires.")
	case known.Expires != nil && req.Now.Add(-clockSkew).After(unixTime(*known.Expires)):
		return refusef(ExpiredToken, "The token expired %s.", describeOffset(req.Now.Sub(unixTime(*known.Expires))))
	case known.NotBefore != nil && req.Now.Add(clockSkew).Before(unixTime(*known.NotBefore)):
		return refusef(ExpiredToken, "The token is not valid yet.")
	case j.issuer != "" && known.Issuer != j.issuer:
		return refusef(BadClaim, "The token's issuer is another one than %q.", j.issuer)
	case j.audience != "" && !slices.Contains(known.Audience, j.audience):
		return refusef(BadClaim, "The token is for another audience than %q.", j.audience)
	}
	for _, name := range slices.Sorted(maps.Keys(j.claims)) {
		if claimText(all[name]) != j.claims[name] {
			return refusef(BadClaim, "The token's claim %s has another value than %q.", name, j.claims[name])
		}
	}
	return j.checkBody(all, req)
}

func (j *jwtCheck) checkBody(all map[string]any, req *message.Request) *Refusal {
	if j.bodyHash == "" {
		return nil
	}
	sum := sha256.Sum256(req.Body)
	claimed := strings.ToLower(claimText(all[j.bodyHash]))
	if subtle.ConstantTimeCompare([]byte(claimed), []byte(hex.EncodeToString(sum[:]))) != 1 {
		return refusef(BadSignature, "The token's claim %s is not the SHA-256 of the body.", j.bodyHash)
	}
	return nil
}

func claimText(value any) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// unixTime keeps a claimed time inside what time arithmetic can hold.
func unixTime(seconds float64) time.Time {
	return time.Unix(int64(min(max(seconds, 0), maxUnix)), 0)
}
