package interop_test

import (
	"cmp"
	"context"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
)

// TestInbound asks, for each scheme, the libraries of others and Malote the same
// questions about the same requests: both accept the genuine one, and both refuse one
// whose body, signature or secret is not the signed one. A request that is too old for
// one of the libraries is too old for Malote.
func TestInbound(t *testing.T) {
	t.Parallel()
	for _, s := range schemes(t) {
		s.defaults()
		t.Run(cmp.Or(s.name, s.provider), func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			genuine := s.request(now)
			s.accepted(t, probe{"the genuine request", s.secret, s.foreign, genuine}, now)
			if s.other != "" {
				s.refused(t, probe{"another secret", s.other, s.other, genuine}, now)
			}
			if !s.bodyFree {
				body := genuine.clone()
				body.body = []byte(strings.Replace(string(genuine.body), "1042", "1043", 1))
				s.refused(t, probe{"another body", s.secret, s.foreign, body}, now)
			}
			if s.header != "" {
				forged := genuine.clone()
				forged.header.Set(s.header, forge(genuine.header.Get(s.header)))
				s.refused(t, probe{"another signature", s.secret, s.foreign, forged}, now)
			}
			s.noLaxer(t, probe{"an old request", s.secret, s.foreign, s.request(now.Add(-2 * time.Hour))}, now)
		})
	}
}

// probe is one request with the secrets that both sides hold.
type probe struct {
	what   string
	ours   string
	theirs string
	*request
}

// defaults fills in what the table leaves out.
func (s *scheme) defaults() {
	if s.secret == "" && s.keys == nil {
		s.secret, s.other = secret, foreign
	}
	if s.foreign == "" {
		s.foreign = s.secret
	}
	if s.url == "" {
		s.url = address
	}
	if s.body == "" {
		s.body = order
	}
}

// request returns the scheme's genuine request, signed now.
func (s *scheme) request(now time.Time) *request {
	r := newRequest(s.url, s.body)
	if s.form {
		r.header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	s.sign(r, now)
	return r
}

// accepted wants everybody to accept.
func (s *scheme) accepted(t *testing.T, p probe, now time.Time) {
	t.Helper()
	for name, library := range present(s.libraries) {
		if err := library(p.theirs, p.request); err != nil {
			t.Errorf("%s: %s refuses: %v", p.what, name, err)
		}
	}
	verdict, err := s.ask(t, p, now)
	if err != nil || !verdict.Verified {
		t.Errorf("%s: Malote refuses: %v", p.what, err)
	}
}

// refused wants everybody to refuse.
func (s *scheme) refused(t *testing.T, p probe, now time.Time) {
	t.Helper()
	for name, library := range present(s.libraries) {
		if library(p.theirs, p.request) == nil {
			t.Errorf("%s: %s accepts", p.what, name)
		}
	}
	if verdict, err := s.ask(t, p, now); err == nil || verdict.Verified {
		t.Errorf("%s: Malote accepts", p.what)
	}
}

// noLaxer wants Malote to refuse what any of the libraries refuses.
func (s *scheme) noLaxer(t *testing.T, p probe, now time.Time) {
	t.Helper()
	for name, library := range present(s.libraries) {
		if library(p.theirs, p.request) == nil {
			continue
		}
		if _, err := s.ask(t, p, now); err == nil {
			t.Errorf("%s: %s refuses, Malote accepts", p.what, name)
		}
	}
}

// ask asks Malote.
func (s *scheme) ask(t *testing.T, p probe, now time.Time) (hook.Verdict, error) {
	t.Helper()
	spec := &hook.SourceSpec{Provider: s.provider, Secret: hook.Secret(p.ours), Settings: s.settings}
	return verifier(t, spec, s.keys).Verify(context.Background(), p.request.ours(now))
}

// forge changes one letter or digit in the second half of a signature.
func forge(value string) string {
	text := []byte(value)
	for i := len(text) * 3 / 4; i < len(text); i++ {
		switch c := text[i]; {
		case c >= 'b' && c <= 'f', c >= '1' && c <= '9':
			text[i]--
			return string(text)
		}
	}
	return value + "x"
}
