package signature_test

import (
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/profiles"
)

// target is a verifier with a secret that nobody knows.
type target struct {
	profile  *signature.Profile
	verifier *signature.Verifier
	foreign  bool // the sample was signed with another secret; public keys are no secrets
}

func targets(f *testing.F) []target {
	f.Helper()
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		f.Fatal(err)
	}
	var out []target
	for _, p := range gallery(f).Profiles() {
		if p.Verify.None {
			continue
		}
		spec := sampleSpec(p)
		spec.Secret = hook.Secret(hex.EncodeToString(raw))
		one := target{profile: p, foreign: p.Sample.Secret != ""}
		var err error
		if one.verifier, err = signature.Compile(spec, gallery(f), keyFile{}); err != nil {
			spec.Secret, one.foreign = p.Sample.Secret, false // a public key, which is no secret
			if one.verifier, err = signature.Compile(spec, gallery(f), keyFile{}); err != nil {
				f.Fatal(p.Name, err)
			}
		}
		out = append(out, one)
	}
	return out
}

// head writes a request without its body: the method and the address, then the headers.
func head(req *signature.Request) string {
	var b strings.Builder
	b.WriteString(req.Method + " " + req.URL + "\n")
	for _, h := range req.Headers {
		b.WriteString(h.Name + ": " + strings.ReplaceAll(h.Value, "\n", " ") + "\n")
	}
	return b.String()
}

// parseHead reads what head writes, and anything else as well as it goes.
func parseHead(text string) *signature.Request {
	first, rest, _ := strings.Cut(text, "\n")
	req := &signature.Request{Remote: netip.MustParseAddr("203.0.113.7"), Now: profiles.SampleTime()}
	req.Method, req.URL, _ = strings.Cut(first, " ")
	_, req.Query, _ = strings.Cut(req.URL, "?")
	for line := range strings.SplitSeq(rest, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			req.Headers = append(req.Headers, hook.Header{Name: name, Value: value})
		}
	}
	return req
}

// FuzzVerify sends arbitrary requests to every profile. None of them can be signed, so
// none may pass, and nothing may crash on the way.
func FuzzVerify(f *testing.F) {
	all := targets(f)
	for i, one := range all {
		req := sampleRequest(f, one.profile)
		if !one.foreign {
			req.Headers = slices.DeleteFunc(req.Headers, func(h hook.Header) bool { return len(h.Value) > 60 })
		}
		f.Add(uint8(i), head(req), req.Body)
		req.Method, req.URL = "GET", "https://a.example/?challenge=x&crc_token=y&validationToken=z&hub.challenge=1"
		f.Add(uint8(i), head(req), []byte("a=1&payload=%7B%22a%22%3A1%7D"))
	}
	f.Fuzz(func(t *testing.T, index uint8, text string, body []byte) {
		one := all[int(index)%len(all)]
		req := parseHead(text).WithBody(body)
		if reply, ok := one.verifier.Handshake(t.Context(), req); ok && (reply.Status < 200 || reply.Status > 599) {
			t.Errorf("%s: handshake %s answers %d", one.profile.Name, reply.Name, reply.Status)
		}
		verdict, err := one.verifier.Verify(t.Context(), req)
		if err == nil {
			t.Fatalf("%s let a request pass that nobody signed: %+v", one.profile.Name, verdict)
		}
		if len(body) < 4096 {
			one.verifier.Explain(t.Context(), req, err)
		}
	})
}

// FuzzProfile reads arbitrary files; whatever is accepted must be usable.
func FuzzProfile(f *testing.F) {
	for _, p := range []string{"stripe", "mercado-pago", "shopify", "aws-sns", "google-pubsub"} {
		data, err := profiles.BuiltIn().Open(p + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		text := make([]byte, 64<<10)
		n, err := data.Read(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text[:n])
	}
	f.Add([]byte("name: fuzz\ntitle: x\nverify: { hmac: { header: X, content: '[{body|compact}]{{' } }\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, problems := profiles.Parse("fuzz.yaml", data)
		for _, one := range problems {
			if !strings.HasPrefix(one.Path, "fuzz.yaml") || one.Message == "" {
				t.Errorf("a problem without a place: %+v", one)
			}
		}
		if len(problems) > 0 {
			return
		}
		spec := &hook.SourceSpec{Secret: "secret", Verify: &p.Verify, Handshakes: p.Handshakes}
		v, err := signature.Compile(spec, nil, keyFile{})
		if err != nil {
			return
		}
		req := request(`{"a":1}`, "X", "00")
		v.Handshake(t.Context(), req)
		if _, err := v.Verify(t.Context(), req); err != nil {
			v.Explain(t.Context(), req, err)
		}
	})
}
