package signature_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

var update = flag.Bool("update", false, "write docs/providers.md anew")

const providersPage = "../../docs/providers.md"

// TestProvidersPage keeps docs/providers.md in step with the profiles.
func TestProvidersPage(t *testing.T) {
	want := renderProviders(gallery(t).Profiles())
	if *update {
		if err := os.WriteFile(providersPage, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(providersPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what the profiles say: run go test ./internal/signature -run TestProvidersPage -update", providersPage)
	}
}

func renderProviders(all []*signature.Profile) []byte {
	confirmed := 0
	for _, p := range all {
		if p.Confirmed {
			confirmed++
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Providers

<!-- Written from internal/signature/profiles by go test ./internal/signature -run TestProvidersPage -update. -->

%d profiles are built in; %d of them were checked against the provider's own source, specification or page.
The others come from third parties that agree, and are marked: compare them with what your provider says, and
replace what differs by a file of your own (see [the format](../internal/signature/profiles/README.md)).

"Body signed" says whether a change of the body would be noticed. Where it would not, ask the provider's API for
the resource before you act on what the body says.

| provider | name | how it is verified | body signed | answered by itself | confirmed |
|---|---|---|---|---|---|
`, len(all), confirmed)
	for _, p := range all {
		title := p.Title
		if p.Docs != "" {
			title = "[" + p.Title + "](" + p.Docs + ")"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n",
			title, p.Name, describeRule(&p.Verify), yesNo(signsBody(p)), handshakeNames(p), yesNo(p.Confirmed))
	}
	return b.Bytes()
}

func signsBody(p *signature.Profile) bool {
	v, err := signature.Compile(sampleSpec(p), mustGallery(), keyFile(p.Sample.Keys))
	return err == nil && v.CoversBody()
}

func mustGallery() *signature.Gallery {
	g, err := builtIn()
	if err != nil {
		panic(err) // every test of this package fails on it
	}
	return g
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func handshakeNames(p *signature.Profile) string {
	names := make([]string, len(p.Handshakes))
	for i := range p.Handshakes {
		names[i] = p.Handshakes[i].Name
	}
	return strings.Join(names, ", ")
}

// describeRule says in a few words what a rule does.
func describeRule(v *hook.Verify) string {
	text := describeScheme(v)
	if len(v.IPs) > 0 {
		if text != "" {
			text += ", "
		}
		text += "allowed addresses"
	}
	return text
}

func describeScheme(v *hook.Verify) string {
	switch {
	case v.None:
		return "nothing is checked"
	case v.Standard != nil:
		return "Standard Webhooks"
	case v.Token != nil:
		return "token in " + place(v.Token.Header, v.Token.Query, v.Token.Path)
	case v.Basic != nil:
		return "HTTP Basic"
	case v.HMAC != nil:
		return describeHMAC(v.HMAC)
	case v.Public != nil:
		return cmp.Or(v.Public.Algorithm, "public key") + " in " + place(v.Public.Header, v.Public.Query, v.Public.Path)
	case v.JWT != nil && v.JWT.JWKS != "":
		return "JSON Web Token of the issuer's"
	case v.JWT != nil:
		return "JSON Web Token in " + place(cmp.Or(v.JWT.Header, "Authorization"), v.JWT.Query, "")
	case v.MTLS != nil:
		return "client certificate"
	case v.Code != "":
		return "its own scheme (" + v.Code + ")"
	default:
		return joinRules(v.AnyOf, " or ") + joinRules(v.AllOf, " and ")
	}
}

func joinRules(list []hook.Verify, word string) string {
	texts := make([]string, len(list))
	for i := range list {
		texts[i] = describeRule(&list[i])
	}
	return strings.Join(texts, word)
}

func describeHMAC(r *hook.HMACRule) string {
	where := place(r.Header, r.Query, r.Path)
	switch {
	case r.Hash == "plain-sha256":
		return "SHA-256 of secret and content in " + where
	case len(r.Hashes) > 0:
		return "HMAC (" + strings.Join(r.Hashes, ", ") + ") in " + where
	default:
		return "HMAC (" + cmp.Or(r.Hash, "sha256") + ") in " + where
	}
}

func place(header, query, path string) string {
	switch {
	case header != "":
		return "`" + header + "`"
	case query != "":
		return "the query, `" + query + "`"
	default:
		return "the body, `" + path + "`"
	}
}
