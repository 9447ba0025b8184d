package api

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/profiles"
)

// SampleOut says what became of a provider's sample.
type SampleOut struct {
	Verified    bool         `json:"verified" doc:"Whether the sample passed the source's rule"`
	Explanation []string     `json:"explanation,omitempty" doc:"Why it did not"`
	Event       hook.EventID `json:"event,omitzero" doc:"The event that it became"`
}

// testSource sends the sample of the source's profile. The sample is signed with a
// secret made up for it, at the time it was made: it is verified by the source's rule
// with that secret and that clock, and then takes the way of every event.
func (s *server) testSource(ctx context.Context, in *rest.One) (*rest.Out[SampleOut], error) {
	noun, err := s.ownSource(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	source, ok := s.Router.Current().SourceByID(noun.ID)
	if !ok {
		return nil, hook.Errorf(hook.KindUnavailable, "the source %q is not in force yet: try again", noun.Name)
	}
	profile, ok := s.Gallery.Profile(noun.Provider)
	if !ok || profile.Sample == nil {
		return nil, hook.Errorf(hook.KindConflict, "the source %q has no provider with a sample: publish an event of your own by POST /api/v1/event", noun.Name)
	}
	request, err := sampleRequest(profile)
	if err != nil {
		return nil, err
	}
	spec := noun.SourceSpec
	spec.Secret, spec.Secrets = profile.Sample.Secret, nil
	spec.Settings = profile.Sample.Settings
	verifier, err := signature.Compile(&spec, s.Gallery, sampleKeys(profile.Sample.Keys))
	if err != nil {
		return nil, err
	}
	if _, err := verifier.Verify(ctx, request); err != nil {
		return rest.Answer(SampleOut{Explanation: append([]string{err.Error()}, verifier.Explain(ctx, request, err)...)}), nil
	}
	receipt, err := s.Ingest.Publish(ctx, source, &hook.Event{
		Method: request.Method, Path: request.Path, Query: source.Confidential.MaskQuery(request.Query),
		Headers: source.Confidential.MaskHeaders(request.Headers), Payload: request.Body, PayloadSize: len(request.Body),
		ProviderID: "sample-" + rest.RequestID(ctx), // its own would make the second test a duplicate
	})
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "tested a source", noun.ID)
	return rest.Answer(SampleOut{Verified: true, Event: receipt.Event}), nil
}

// sampleRequest returns a profile's sample as the request that the provider would make.
func sampleRequest(profile *signature.Profile) (*signature.Request, error) {
	sample := profile.Sample
	request := &signature.Request{
		Method: http.MethodPost, URL: "https://hooks.example.com/in/" + profile.Name,
		Body: []byte(sample.Body), Now: sample.Time, Remote: netip.AddrFrom4([4]byte{203, 0, 113, 7}), // RFC 5737
	}
	if request.Now.IsZero() {
		request.Now = profiles.SampleTime()
	}
	if sample.Method != "" {
		request.Method = sample.Method
	}
	if sample.URL != "" {
		request.URL = sample.URL
	}
	if called, err := url.Parse(request.URL); err == nil {
		request.Query = called.RawQuery
	}
	for _, name := range sortedKeys(sample.Headers) {
		request.Headers = append(request.Headers, hook.Header{Name: name, Value: sample.Headers[name]})
	}
	var err error
	if request.Certificates, err = sampleChain(sample.Certificate); err != nil {
		return nil, fmt.Errorf("reading the certificate of the sample of %s: %w", profile.Name, err)
	}
	return request, nil
}

func sampleChain(text string) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, certificate)
	}
	return chain, nil
}

// sampleKeys answers what the addresses that a sample's rule fetches would answer.
type sampleKeys map[string]string

// Fetch implements signature.KeyFetcher.
func (k sampleKeys) Fetch(_ context.Context, address string) ([]byte, error) {
	text, ok := k[address]
	if !ok {
		return nil, hook.Errorf(hook.KindUnavailable, "the sample has no answer for %s", address)
	}
	return []byte(text), nil
}
