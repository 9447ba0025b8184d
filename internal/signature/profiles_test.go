package signature_test

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/profiles"
)

var builtIn = sync.OnceValues(func() (*signature.Gallery, error) { return signature.NewGallery() })

func gallery(tb testing.TB) *signature.Gallery {
	tb.Helper()
	g, err := builtIn()
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// keyFile is a KeyFetcher that answers from memory.
type keyFile map[string]string

func (k keyFile) Fetch(_ context.Context, address string) ([]byte, error) {
	text, ok := k[address]
	if !ok {
		return nil, errors.New("no answer from " + address)
	}
	return []byte(text), nil
}

// sampleSpec is a source that is set up as the profile's sample needs it.
func sampleSpec(p *signature.Profile) *hook.SourceSpec {
	return &hook.SourceSpec{Provider: p.Name, Secret: p.Sample.Secret, Settings: p.Sample.Settings}
}

// sampleRequest is the profile's sample as it arrives.
func sampleRequest(tb testing.TB, p *signature.Profile) *signature.Request {
	tb.Helper()
	s := p.Sample
	req := &signature.Request{
		Method: cmp.Or(s.Method, "POST"), URL: cmp.Or(s.URL, "https://hooks.example.com/in/"+p.Name),
		Body: []byte(s.Body), Remote: netip.MustParseAddr("203.0.113.7"), Now: s.Time,
	}
	if req.Now.IsZero() {
		req.Now = profiles.SampleTime()
	}
	parsed, err := url.Parse(req.URL)
	if err != nil {
		tb.Fatal(err)
	}
	req.Query = parsed.RawQuery
	for name, value := range s.Headers {
		req.Headers = append(req.Headers, hook.Header{Name: name, Value: value})
	}
	slices.SortFunc(req.Headers, func(a, b hook.Header) int { return strings.Compare(a.Name, b.Name) })
	for rest := []byte(s.Certificate); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			tb.Fatal(err)
		}
		req.Certificates = append(req.Certificates, certificate)
	}
	return req
}

func eachProfile(t *testing.T, test func(t *testing.T, p *signature.Profile)) {
	t.Helper()
	for _, p := range gallery(t).Profiles() {
		t.Run(p.Name, func(t *testing.T) { test(t, p) })
	}
}

func compileSample(tb testing.TB, p *signature.Profile) *signature.Verifier {
	tb.Helper()
	v, err := signature.Compile(sampleSpec(p), gallery(tb), keyFile(p.Sample.Keys))
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func TestEveryProfileHasWhatPeopleNeed(t *testing.T) {
	eachProfile(t, func(t *testing.T, p *signature.Profile) {
		t.Helper()
		if p.Sample == nil {
			t.Fatal("there is no sample")
		}
		if p.Docs == "" && p.Confirmed {
			t.Error("a confirmed profile names the page that it was checked against")
		}
		if len(p.Tags) == 0 {
			t.Error("there are no tags")
		}
		if p.Sample.Secret != "" && p.Secret == nil {
			t.Error("the sample has a secret that the profile does not ask for")
		}
		for _, text := range profileTexts(p) {
			if text.En == "" || text.Pt == "" {
				t.Errorf("a text is missing in one language: %+v", text)
			}
		}
		for name := range p.Sample.Settings {
			if !slices.ContainsFunc(p.Settings, func(s profiles.Setting) bool { return s.Name == name }) {
				t.Errorf("the sample gives the setting %q that the profile does not have", name)
			}
		}
	})
}

func profileTexts(p *signature.Profile) []profiles.Text {
	var texts []profiles.Text
	for _, text := range []*profiles.Text{p.Notes, p.Retry} {
		if text != nil {
			texts = append(texts, *text)
		}
	}
	if p.Secret != nil {
		texts = append(texts, p.Secret.Label, p.Secret.Help)
	}
	for i := range p.Settings {
		texts = append(texts, p.Settings[i].Label, p.Settings[i].Help)
	}
	return texts
}

func TestEverySampleVerifies(t *testing.T) {
	eachProfile(t, func(t *testing.T, p *signature.Profile) {
		t.Helper()
		verdict, err := compileSample(t, p).Verify(t.Context(), sampleRequest(t, p))
		if err != nil {
			t.Fatal(err)
		}
		if verdict.Verified == p.Verify.None {
			t.Errorf("verified: %v", verdict.Verified)
		}
	})
}

// refusal verifies a request that must not pass, and returns why it did not.
func refusal(tb testing.TB, v *signature.Verifier, req *signature.Request) *signature.Refusal {
	tb.Helper()
	verdict, err := v.Verify(context.Background(), req)
	if err == nil {
		tb.Fatalf("the request passed: %+v", verdict)
	}
	var why *signature.Refusal
	if !errors.As(err, &why) {
		tb.Fatalf("the error is no refusal: %v", err)
	}
	if !slices.Contains(signature.Reasons(), why.Reason) {
		tb.Errorf("the reason %q is not in the closed set", why.Reason)
	}
	return why
}

func TestEverySampleIsRefusedWhenChanged(t *testing.T) {
	eachProfile(t, func(t *testing.T, p *signature.Profile) {
		t.Helper()
		if p.Verify.None {
			t.Skip("nothing is checked")
		}
		v := compileSample(t, p)
		if v.CoversBody() {
			const flips = 64
			for i := 0; i < len(p.Sample.Body); i += 1 + len(p.Sample.Body)/flips {
				req := sampleRequest(t, p)
				req.Body[i] ^= 0x20
				if !sameForm(req, p.Sample.Body) {
					refusal(t, v, req)
				}
			}
			longer := sampleRequest(t, p)
			longer.Body = append(longer.Body, 'x')
			refusal(t, v, longer)
		}
		bare := sampleRequest(t, p)
		bare.Headers = slices.DeleteFunc(bare.Headers, func(h hook.Header) bool { return !strings.EqualFold(h.Name, "Content-Type") })
		bare.Certificates, bare.Query, bare.Body = nil, "", []byte("{}")
		refusal(t, v, bare)
	})
}

// sameForm reports whether a changed form body still says the same: %2b is %2B.
func sameForm(req *signature.Request, original string) bool {
	if req.Headers.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return false
	}
	before, errBefore := url.ParseQuery(original)
	after, errAfter := url.ParseQuery(string(req.Body))
	return errBefore == nil && errAfter == nil && maps.EqualFunc(before, after, slices.Equal[[]string])
}

func TestEverySampleIsRefusedWithAnotherSecret(t *testing.T) {
	eachProfile(t, func(t *testing.T, p *signature.Profile) {
		t.Helper()
		if p.Sample.Secret == "" {
			t.Skip("there is no secret")
		}
		other := otherSecret(t, p.Sample.Secret.Reveal())
		spec := sampleSpec(p)
		spec.Secret = hook.Secret(other)
		v, err := signature.Compile(spec, gallery(t), keyFile(p.Sample.Keys))
		if err != nil {
			t.Skipf("the other secret is no key: %v", err)
		}
		refusal(t, v, sampleRequest(t, p))
		spec.Secrets = []hook.Secret{p.Sample.Secret}
		if v, err = signature.Compile(spec, gallery(t), keyFile(p.Sample.Keys)); err != nil {
			t.Fatal(err)
		}
		verdict, err := v.Verify(t.Context(), sampleRequest(t, p))
		if err != nil || verdict.Secret != 2 {
			t.Errorf("the second of two secrets: %+v, %v", verdict, err)
		}
	})
}

// otherSecret changes one character in the middle, so that the form of the key stays.
func otherSecret(tb testing.TB, secret string) string {
	tb.Helper()
	text := []byte(secret)
	i := len(text) / 2
	for text[i] == '-' || text[i] == '_' || text[i] == '\n' {
		i++
	}
	if text[i] == 'a' {
		text[i] = 'b'
	} else {
		text[i] = 'a'
	}
	if string(text) == secret {
		tb.Fatal("nothing changed")
	}
	return string(text)
}

func TestEverySampleWithATimeIsRefusedAtAnother(t *testing.T) {
	eachProfile(t, func(t *testing.T, p *signature.Profile) {
		t.Helper()
		if !hasTime(&p.Verify) {
			t.Skip("no time is signed")
		}
		v := compileSample(t, p)
		for _, off := range []time.Duration{-30 * 24 * time.Hour, 30 * 24 * time.Hour} {
			req := sampleRequest(t, p)
			req.Now = req.Now.Add(off)
			if why := refusal(t, v, req); why.Reason != "timestamp_out_of_tolerance" {
				t.Errorf("%s off: %s", off, why.Reason)
			}
		}
	})
}

// hasTime reports whether every way through the rule checks a time.
func hasTime(v *hook.Verify) bool {
	switch {
	case v.Standard != nil:
		return true
	case v.HMAC != nil:
		return timed(&v.HMAC.SignatureRule)
	case v.Public != nil:
		return timed(&v.Public.SignatureRule)
	case len(v.AnyOf) > 0:
		return !slices.ContainsFunc(v.AnyOf, func(one hook.Verify) bool { return !hasTime(&one) })
	default:
		return v.Code == "mailgun"
	}
}

func timed(s *hook.SignatureRule) bool {
	return s.Timestamp != nil && !s.Timestamp.Optional || s.List != nil && s.List.Timestamp != "" && s.Timestamp == nil
}

func TestSamplesSayTypeAndID(t *testing.T) {
	eachProfile(t, func(t *testing.T, p *signature.Profile) {
		t.Helper()
		if text := fieldText(t, p.Type, sampleRequest(t, p)); p.Sample.Type != "" && text != p.Sample.Type {
			t.Errorf("type: %q, the sample says %q", text, p.Sample.Type)
		}
		if p.Dedupe == nil {
			return
		}
		if text := fieldText(t, &p.Dedupe.Field, sampleRequest(t, p)); p.Sample.ID != "" && text != p.Sample.ID {
			t.Errorf("id: %q, the sample says %q", text, p.Sample.ID)
		}
	})
}

// fieldText reads a field without CEL, which belongs to another package.
func fieldText(t *testing.T, f *hook.Field, req *signature.Request) string {
	t.Helper()
	if f == nil {
		return ""
	}
	text := f.Value
	switch {
	case f.Expr != "":
		t.Skip("an expression")
	case f.Header != "":
		text = req.Headers.Get(f.Header)
	case f.Query != "":
		text = req.QueryValue(f.Query)
	case f.Path != "":
		text, _ = req.Field(f.Path)
	}
	if text == "" {
		return fieldText(t, f.Or, req)
	}
	return text
}

func TestProfileNamesAndTitlesAreUnique(t *testing.T) {
	seen := map[string]string{}
	for _, p := range gallery(t).Profiles() {
		for _, key := range []string{p.Name, "title " + strings.ToLower(p.Title)} {
			if other, twice := seen[key]; twice {
				t.Errorf("%s and %s share %q", p.Name, other, key)
			}
			seen[key] = p.Name
		}
	}
	if len(seen) == 0 {
		t.Error(fmt.Errorf("there are no profiles"))
	}
}
