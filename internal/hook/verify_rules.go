package hook

// StandardKey tunes the Standard Webhooks scheme.
type StandardKey struct {
	Prefix    string   `json:"prefix,omitempty"`    // header prefix; default "webhook-", and "svix-" is always taken too
	Key       string   `json:"key,omitempty"`       // how the secret's text becomes the key: whsec (default) or text
	Tolerance Duration `json:"tolerance,omitempty"` // both ways; default DefaultTolerance
}

// TokenRule is a shared token that the request carries: one of the source's secrets.
type TokenRule struct {
	Header string `json:"header,omitempty"` // where the token is: a header …
	Query  string `json:"query,omitempty"`  // … or a query parameter …
	Path   string `json:"path,omitempty"`   // … or a dotted path into the JSON or form body
	Prefix string `json:"prefix,omitempty"` // text before the token, such as "Bearer "; its case is ignored
	Secret Secret `json:"secret,omitempty"` // in addition to the source's secrets
}

// BasicRule is HTTP Basic authentication. The source's secrets are passwords too.
type BasicRule struct {
	Username string `json:"username,omitempty"` // setting; empty: any
	Password Secret `json:"password,omitempty"` // in addition to the source's secrets
}

// HMACRule is a keyed hash over parts of the request.
type HMACRule struct {
	SignatureRule

	Hash   string   `json:"hash,omitempty"`   // sha256 (default), sha1, sha384, sha512, md5; plain-sha256 hashes a Content with {secret} in it, without a key
	Hashes []string `json:"hashes,omitempty"` // the value names its hash, as in "sha1=…", which must be one of these
	Key    string   `json:"key,omitempty"`    // how the secret's text becomes the key: text (default), base64, hex, whsec, base64text, html
	Secret Secret   `json:"secret,omitempty"` // a key that every receiver shares, in place of the source's secrets
}

// PublicRule is a signature made with a private key.
type PublicRule struct {
	SignatureRule

	Algorithm string `json:"algorithm,omitempty"` // ed25519, ecdsa-p256-sha256, rsa-sha256, rsa-sha1; default: what suits the key
	PublicKey string `json:"publicKey,omitempty"` // PEM, base64 SPKI, hex or whpk_ (setting); default: the source's secrets
}

// SignatureRule says where a signature is and what it signs.
type SignatureRule struct {
	Header    string         `json:"header,omitempty"`   // where the signature is: a header …
	Query     string         `json:"query,omitempty"`    // … or a query parameter …
	Path      string         `json:"path,omitempty"`     // … or a dotted path into the JSON or form body
	Prefix    string         `json:"prefix,omitempty"`   // text before the signature, such as "sha256="
	List      *ListRule      `json:"list,omitempty"`     // when the value is a list of pairs
	Encoding  []string       `json:"encoding,omitempty"` // hex, base64, base64url: any that fits; default hex
	Content   string         `json:"content,omitempty"`  // what is signed: a template; default "{body}"
	Timestamp *TimestampRule `json:"timestamp,omitempty"`
}

// ListRule reads "t=1,v1=abc,v1=def" and the like. Space around names and values is dropped.
type ListRule struct {
	Separator string `json:"separator,omitempty"` // between pairs; default ","
	Pair      string `json:"pair,omitempty"`      // between name and value; default "="
	Signature string `json:"signature"`           // the pair's name whose values are signatures: any may fit
	Timestamp string `json:"timestamp,omitempty"` // the pair's name whose value is the time
}

// TimestampRule says where the time of signing is and how far it may be off. With
// ListRule.Timestamp the place is in the list and only unit and tolerance matter.
type TimestampRule struct {
	Header    string   `json:"header,omitempty"`
	Query     string   `json:"query,omitempty"`
	Path      string   `json:"path,omitempty"`      // dotted path into the JSON or form body
	Unit      string   `json:"unit,omitempty"`      // s (default), ms, auto (s or ms by magnitude), rfc3339
	Tolerance Duration `json:"tolerance,omitempty"` // both ways; default DefaultTolerance
	Optional  bool     `json:"optional,omitempty"`  // a request without a time passes
}

// DefaultTolerance is how far a signed time may be from the receiver's clock, the
// five minutes of every Standard Webhooks library.
const DefaultTolerance = Duration(300e9)

// JWTRule is a bearer token signed by an issuer (RFC 7519).
type JWTRule struct {
	Header   string            `json:"header,omitempty"`   // default Authorization, with "Bearer " before the token
	Query    string            `json:"query,omitempty"`    // a query parameter in place of the header
	JWKS     string            `json:"jwks,omitempty"`     // https URL of the issuer's keys (setting); default: HS256 with the source's secrets
	Issuer   string            `json:"issuer,omitempty"`   // setting; empty: any
	Audience string            `json:"audience,omitempty"` // setting; empty: any
	Claims   map[string]string `json:"claims,omitempty"`   // claims that must have these values (setting)
	BodyHash string            `json:"bodyHash,omitempty"` // claim that must be the hex SHA-256 of the body
}

// MTLSRule is a client certificate that chains to one of the given authorities.
type MTLSRule struct {
	CA       string   `json:"ca,omitempty"`       // PEM certificates (setting)
	Subjects []string `json:"subjects,omitempty"` // allowed common or DNS names; empty: any that the CA signed
	Header   string   `json:"header,omitempty"`   // behind a proxy that ends TLS: the header with the URL-encoded or bare PEM
	Proxies  []string `json:"proxies,omitempty"`  // addresses and CIDRs from which Header is believed; needed with it
}
