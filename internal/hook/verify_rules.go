package hook

// StandardKey tunes the Standard Webhooks scheme.
type StandardKey struct {
	Prefix    string   `json:"prefix,omitempty"`    // header prefix; default "webhook-", and "svix-" is always taken too
	Tolerance Duration `json:"tolerance,omitempty"` // default DefaultTolerance
}

// TokenRule is a shared token that the request carries: the source's secret.
type TokenRule struct {
	Header string `json:"header,omitempty"`
	Query  string `json:"query,omitempty"`
	Path   string `json:"path,omitempty"`   // a dotted path into the body
	Prefix string `json:"prefix,omitempty"` // text before the token, such as "Bearer "
	Secret Secret `json:"secret,omitempty"` // in addition to the source's secrets
}

// BasicRule is HTTP Basic authentication. The source's secrets are passwords too.
type BasicRule struct {
	Username string `json:"username,omitempty"`
	Password Secret `json:"password,omitempty"`
}

// HMACRule is a keyed hash over parts of the request.
type HMACRule struct {
	SignatureRule

	Hash  string `json:"hash,omitempty"`  // sha256 (default), sha1, sha512, md5; "plain-sha256" hashes Content without a key
	Key   string `json:"key,omitempty"`   // how the secret's text becomes the key: text (default), base64, hex, whsec, base64text
	Named bool   `json:"named,omitempty"` // the value names its hash ("sha1=…"), which must be one of Hashes
}

// PublicRule is a signature made with a private key.
type PublicRule struct {
	SignatureRule

	Algorithm string `json:"algorithm,omitempty"` // ed25519, ecdsa-p256-sha256, rsa-sha256, rsa-sha1
	PublicKey string `json:"publicKey,omitempty"` // PEM, base64 SPKI, hex or whpk_; default: the source's secrets
}

// SignatureRule says where a signature is and what it signs.
type SignatureRule struct {
	Header    string         `json:"header,omitempty"`   // where the signature is: a header …
	Query     string         `json:"query,omitempty"`    // … or a query parameter …
	Path      string         `json:"path,omitempty"`     // … or a dotted path into the body
	Prefix    string         `json:"prefix,omitempty"`   // text before the signature, such as "sha256="
	List      *ListRule      `json:"list,omitempty"`     // when the value is a list of pairs
	Encoding  []string       `json:"encoding,omitempty"` // hex, base64, base64url: any that fits; default hex
	Content   string         `json:"content,omitempty"`  // what is signed: a template; default "{body}"
	Timestamp *TimestampRule `json:"timestamp,omitempty"`
}

// ListRule reads "t=1,v1=abc,v1=def" and the like.
type ListRule struct {
	Separator string `json:"separator,omitempty"` // between pairs; default ","
	Pair      string `json:"pair,omitempty"`      // between name and value; default "="
	Signature string `json:"signature"`           // the pair's name whose values are signatures
	Timestamp string `json:"timestamp,omitempty"` // the pair's name whose value is the time
}

// TimestampRule says where the time of signing is and how far it may be off.
type TimestampRule struct {
	Header    string   `json:"header,omitempty"`
	Path      string   `json:"path,omitempty"`
	Unit      string   `json:"unit,omitempty"`      // s (default), ms, auto (by magnitude), rfc3339
	Tolerance Duration `json:"tolerance,omitempty"` // both ways; default DefaultTolerance
}

// DefaultTolerance is how far a signed time may be from the receiver's clock, the
// five minutes of every Standard Webhooks library.
const DefaultTolerance = Duration(300e9)

// JWTRule is a bearer token signed by an issuer.
type JWTRule struct {
	Header   string            `json:"header,omitempty"` // default Authorization, with "Bearer " before the token
	JWKS     string            `json:"jwks,omitempty"`   // https URL of the issuer's keys
	Issuer   string            `json:"issuer,omitempty"`
	Audience string            `json:"audience,omitempty"`
	Claims   map[string]string `json:"claims,omitempty"` // claims that must have these values
}

// MTLSRule is a client certificate that chains to one of the given authorities.
type MTLSRule struct {
	CA       string   `json:"ca,omitempty"`       // PEM certificates
	Subjects []string `json:"subjects,omitempty"` // allowed common or DNS names; empty: any that the CA signed
	Header   string   `json:"header,omitempty"`   // behind a proxy that ends TLS: the header with the URL-encoded PEM
}
