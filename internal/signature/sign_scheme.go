package signature

import (
	"crypto/sha1" //nolint:gosec // schemes of others that receivers still check
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"

	"malote.dev/malote/internal/hook"
)

// The names of the schemes by which deliveries are signed.
const (
	schemeStandard = "standard"
	schemeEd25519  = "ed25519"
	schemeSvix     = "svix"
	schemeStripe   = "stripe"
	schemeGitHub   = "github"
	schemeShopify  = "shopify"
	schemeSlack    = "slack"
	schemeCustom   = "custom"
)

// SignSchemes returns the names that hook.Sign.Scheme may have.
func SignSchemes() []string {
	return []string{
		schemeStandard, schemeEd25519, schemeSvix, schemeStripe, schemeGitHub, schemeShopify, schemeSlack, schemeCustom,
	}
}

func unknownScheme(name string) error {
	return hook.Errorf(hook.KindInvalid, "%q is not a signing scheme: write one of %s", name, strings.Join(SignSchemes(), ", "))
}

// signRecipe is a scheme in the terms that all schemes share: what is signed, how, and
// which headers carry it.
type signRecipe struct {
	scheme  string
	content string
	headers map[string]string
	hash    func() hash.Hash
	encode  signEncoding
	keys    keyForm
	keyText string // for keysText: the form of the secret
}

// keyForm is how a scheme reads its secrets.
type keyForm uint8

const (
	keysText     keyForm = iota // one HMAC key
	keysStandard                // whsec_ for v1, whsk_ for v1a
)

// signRecipeFor returns the recipe of the scheme that sign names.
func signRecipeFor(sign *hook.Sign) (*signRecipe, []hook.Problem) {
	if sign.Scheme == schemeCustom {
		return customRecipe(sign)
	}
	problems := customOnlyProblems(sign)
	recipe := &signRecipe{scheme: sign.Scheme, content: "{body}", hash: sha256.New, encode: hex.AppendEncode}
	switch sign.Scheme {
	case "", schemeStandard, schemeEd25519:
		recipe.standard("webhook-")
	case schemeSvix:
		recipe.standard("svix-")
	case schemeStripe:
		recipe.content = "{timestamp}.{body}"
		recipe.headers = map[string]string{"Stripe-Signature": "t={timestamp},v1={signatures:,v1=}"}
	case schemeGitHub:
		recipe.headers = map[string]string{"X-Hub-Signature-256": "sha256={signature}", "X-GitHub-Delivery": "{id}"}
	case schemeShopify:
		recipe.encode = base64.StdEncoding.AppendEncode
		recipe.headers = map[string]string{"X-Shopify-Hmac-Sha256": "{signature}", "X-Shopify-Webhook-Id": "{id}"}
	case schemeSlack:
		recipe.content = "v0:{timestamp}:{body}"
		recipe.headers = map[string]string{"X-Slack-Signature": "v0={signature}", "X-Slack-Request-Timestamp": "{timestamp}"}
	default:
		problems = append(problems, hook.Problem{Path: "scheme", Message: unknownScheme(sign.Scheme).Error()})
	}
	return recipe, problems
}

// standard makes r the Standard Webhooks scheme with the given header prefix.
func (r *signRecipe) standard(prefix string) {
	r.content, r.encode, r.keys = "{id}.{timestamp}.{body}", base64.StdEncoding.AppendEncode, keysStandard
	r.headers = map[string]string{
		prefix + "id":        "{id}",
		prefix + "timestamp": "{timestamp}",
		prefix + "signature": "{signatures: }",
	}
}

// customRecipe returns the recipe that the person wrote.
func customRecipe(sign *hook.Sign) (*signRecipe, []hook.Problem) {
	var problems []hook.Problem
	recipe := &signRecipe{scheme: schemeCustom, content: sign.Content, headers: sign.Headers, keyText: sign.Key}
	if recipe.content == "" {
		recipe.content = "{body}"
	}
	switch sign.Hash {
	case "", "sha256":
		recipe.hash = sha256.New
	case "sha1":
		recipe.hash = sha1.New
	case "sha512":
		recipe.hash = sha512.New
	default:
		problems = append(problems, hook.Problem{Path: "hash", Message: fmt.Sprintf("%q is not a hash: write sha256, sha1 or sha512", sign.Hash)})
	}
	var err error
	if recipe.encode, err = signEncodingFor(sign.Encoding); err != nil {
		problems = append(problems, hook.Problem{Path: "encoding", Message: err.Error()})
	}
	if !slices.Contains([]string{"", "text", "base64", "hex", "whsec"}, sign.Key) {
		problems = append(problems, hook.Problem{
			Path: "key", Message: fmt.Sprintf("%q is not a form of key: write text, base64, hex or whsec", sign.Key),
		})
	}
	return recipe, problems
}

// customOnlyProblems names the fields that only scheme custom reads.
func customOnlyProblems(sign *hook.Sign) []hook.Problem {
	var problems []hook.Problem
	for _, field := range []struct {
		path string
		set  bool
	}{
		{"hash", sign.Hash != ""},
		{"key", sign.Key != ""},
		{"encoding", sign.Encoding != ""},
		{"content", sign.Content != ""},
		{"headers", len(sign.Headers) > 0},
	} {
		if field.set {
			problems = append(problems, hook.Problem{Path: field.path, Message: "only scheme custom reads it: remove it, or write scheme: custom"})
		}
	}
	return problems
}

// noneProblems names what contradicts None.
func noneProblems(sign *hook.Sign) []hook.Problem {
	problems := customOnlyProblems(sign)
	if sign.Scheme != "" {
		problems = append(problems, hook.Problem{Path: "scheme", Message: "does not go with none: remove one of them"})
	}
	if len(sign.AllSecrets()) > 0 {
		problems = append(problems, hook.Problem{Path: "secret", Message: "does not go with none: remove one of them"})
	}
	return problems
}

// compileContent parses the text to sign.
func (r *signRecipe) compileContent() (signTemplate, []hook.Problem) {
	content, err := parseSignTemplate(r.content, contentFields())
	if err != nil {
		return nil, []hook.Problem{{Path: "content", Message: err.Error()}}
	}
	if !content.has(fieldBody) {
		return nil, []hook.Problem{{Path: "content", Message: "does not sign the body: write {body} where it belongs"}}
	}
	return content, nil
}

// compileHeaders parses the headers in the order of their names.
func (r *signRecipe) compileHeaders() ([]signHeader, []hook.Problem) {
	if len(r.headers) == 0 {
		return nil, []hook.Problem{{Path: "headers", Message: `is empty: write a header for the signature, such as x-signature: "{signature}"`}}
	}
	var problems []hook.Problem
	headers := make([]signHeader, 0, len(r.headers))
	seen := make(map[string]string, len(r.headers))
	signed := false
	for _, name := range slices.Sorted(maps.Keys(r.headers)) {
		path := "headers." + name
		value, err := parseSignTemplate(r.headers[name], headerFields())
		lower := strings.ToLower(name)
		switch {
		case err != nil:
			problems = append(problems, hook.Problem{Path: path, Message: err.Error()})
		case !hook.IsHeaderName(name):
			problems = append(problems, hook.Problem{Path: path, Message: "is not a header name: letters, digits and hyphens make one"})
		case isTransportHeader(lower):
			problems = append(problems, hook.Problem{Path: path, Message: "belongs to the transport and cannot be set: choose another name"})
		case seen[lower] != "":
			problems = append(problems, hook.Problem{Path: path, Message: "is there twice: also as " + seen[lower]})
		case value.badLiteral():
			problems = append(problems, hook.Problem{Path: path, Message: "holds a character that no header may hold: use printable ASCII"})
		}
		seen[lower] = name
		signed = signed || value.has(fieldSignature, fieldSignatures)
		headers = append(headers, signHeader{name: name, value: value})
	}
	if !signed && len(problems) == 0 {
		problems = append(problems, hook.Problem{Path: "headers", Message: "none of them carries the signature: write {signature} in one"})
	}
	return headers, problems
}

// badLiteral reports whether a literal of the template cannot stand in a header.
func (t signTemplate) badLiteral() bool {
	return slices.ContainsFunc(t, func(p signPart) bool { return badFieldByte(p.text) >= 0 })
}

// compileKeys reads the live secrets, the newest first.
func (r *signRecipe) compileKeys(sign *hook.Sign) ([]signKey, []hook.Problem) {
	secrets := sign.AllSecrets()
	if len(secrets) == 0 {
		return nil, []hook.Problem{{Path: "secret", Message: "is missing: without a secret nothing can be signed; write sign: none to send unsigned"}}
	}
	var problems []hook.Problem
	keys := make([]signKey, 0, len(secrets))
	for i, secret := range secrets {
		key, err := r.compileKey(secret.Reveal(), i == 0)
		if err != nil {
			problems = append(problems, hook.Problem{Path: secretPath(sign, i), Message: err.Error()})
		}
		keys = append(keys, key)
	}
	return keys, problems
}

// compileKey reads one secret. The newest one must be of the scheme's own kind; with
// the older ones a destination can move from whsec_ to whsk_ and back without a gap.
func (r *signRecipe) compileKey(text string, newest bool) (signKey, error) {
	if r.keys == keysText {
		key, err := parseTextKey(r.keyText, text)
		return signKey{hash: r.hash, key: key}, err
	}
	asymmetric := strings.HasPrefix(text, prefixPrivate)
	switch {
	case newest && asymmetric && r.scheme != schemeEd25519:
		return signKey{}, fmt.Errorf("is a %s key: write scheme: ed25519, or a %s secret", prefixPrivate, prefixSymmetric)
	case newest && !asymmetric && r.scheme == schemeEd25519:
		return signKey{}, fmt.Errorf("must begin with %s: scheme ed25519 signs with a private key", prefixPrivate)
	case asymmetric:
		private, err := parsePrivateKey(text)
		return signKey{label: []byte("v1a,"), private: private}, err
	default:
		key, err := parseSymmetricKey(text)
		return signKey{label: []byte("v1,"), hash: r.hash, key: key}, err
	}
}

// secretPath returns the path of the i-th of sign.AllSecrets.
func secretPath(sign *hook.Sign, i int) string {
	if sign.Secret != "" {
		if i == 0 {
			return "secret"
		}
		i--
	}
	return "secrets." + strconv.Itoa(i)
}

// isTransportHeader reports whether the lower-case name is set by the HTTP client itself.
func isTransportHeader(lower string) bool {
	switch lower {
	case "connection", "content-encoding", "content-length", "content-type", "expect", "host",
		"keep-alive", "te", "trailer", "transfer-encoding", "upgrade":
		return true
	default:
		return strings.HasPrefix(lower, "proxy-")
	}
}
