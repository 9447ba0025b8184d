package interop_test

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"
	"testing"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/profiles"
)

// TestSamples reads the sample of every built-in profile by the fields that the profile
// names: an expression that does not compile, or a path that leads nowhere, shows here.
func TestSamples(t *testing.T) {
	t.Parallel()
	// Published vectors, whose bodies are no events, and events whose key is optional.
	noType, noKey := []string{"standard-webhooks"}, []string{"github", "openpix", "google-pubsub", "cloudevents"}
	for _, p := range gallery(t).Profiles() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			fields := []*hook.Field{p.Type, p.Key}
			if p.Dedupe != nil {
				fields = append(fields, &p.Dedupe.Field)
			}
			for _, field := range fields {
				if field == nil {
					continue
				}
				if _, err := filter.CompileField(field); err != nil {
					t.Fatal(err)
				}
			}
			s := p.Sample
			spec := &hook.SourceSpec{Provider: p.Name, Secret: s.Secret, Settings: s.Settings}
			got := receiveSample(t, verifier(t, spec, s.Keys), p)
			if s.Type != "" && got.kind != s.Type {
				t.Errorf("type %q, want %q", got.kind, s.Type)
			}
			if s.ID != "" && got.id != s.ID {
				t.Errorf("id %q, want %q", got.id, s.ID)
			}
			if got.kind == "" && !slices.Contains(noType, p.Name) {
				t.Error("no type can be read from it")
			}
			if p.Key != nil && got.key == "" && !slices.Contains(noKey, p.Name) {
				t.Error("no key can be read from it")
			}
		})
	}
}

// receiveSample does with a sample what receive does with a request of the table.
func receiveSample(t *testing.T, compiled *signature.Verifier, p *signature.Profile) received {
	t.Helper()
	s := p.Sample
	r := newRequest(cmp.Or(s.URL, "https://hooks.example.com/in/"+p.Name), s.Body)
	r.method, r.header = cmp.Or(s.Method, http.MethodPost), http.Header{}
	for name, value := range s.Headers {
		r.header.Set(name, value)
	}
	for rest := []byte(s.Certificate); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		r.certificates = append(r.certificates, certificate)
	}
	at := s.Time
	if at.IsZero() {
		at = profiles.SampleTime()
	}
	return receive(t, compiled, r, at)
}
