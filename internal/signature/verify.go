package signature

import (
	"context"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/profiles"
	"malote.dev/malote/internal/signature/rule"
	"malote.dev/malote/internal/signature/rule/message"
	"malote.dev/malote/internal/strict"
)

// Request is what verification looks at. One Request serves one goroutine.
type Request = message.Request

// KeyFetcher gets public keys, certificates and confirmation addresses by https. It is
// called only with addresses that the operator gave or whose host the rule allows. Its
// answers may be cached for minutes.
type KeyFetcher = rule.KeyFetcher

// KeyRefresher is a KeyFetcher that caches. It is asked again when a document lacks the
// key that a request names, so that an issuer's new key counts at once.
type KeyRefresher = rule.KeyRefresher

// Refusal says why a request did not pass: a reason of the closed set Reasons and a
// sentence without secrets. hook.KindOf tells whether the sender should be turned away
// (KindUnauthorized) or try again (KindUnavailable).
type Refusal = rule.Refusal

// Gallery is the set of provider profiles.
type Gallery = profiles.Gallery

// Profile is what is known about one provider.
type Profile = profiles.Profile

// NewGallery returns the built-in profiles and those in the given file systems
// (*.yaml), a later one replacing an earlier one of the same name. The error is a
// *hook.Error of KindInvalid whose problems name file and line.
func NewGallery(extra ...fs.FS) (*Gallery, error) {
	gallery, err := profiles.New(extra...)
	if err != nil {
		return nil, err
	}
	var found []hook.Problem
	for _, p := range gallery.Profiles() {
		found = append(found, checkProfile(p)...)
	}
	if err := hook.Invalid("the provider profiles cannot be used", found); err != nil {
		return nil, err
	}
	return gallery, nil
}

// noKeys stands in for a fetcher where a rule is only checked.
type noKeys struct{}

func (noKeys) Fetch(context.Context, string) ([]byte, error) {
	return nil, hook.Errorf(hook.KindUnavailable, "nothing is fetched while a profile is checked")
}

// checkProfile compiles the profile's rule and handshakes without a source. What
// depends on a source's secret and settings is left for later.
func checkProfile(p *Profile) []hook.Problem {
	_, found := rule.Compile(rule.Options{Verify: p.Verify, Secrets: []rule.Secret{{Value: "any", Path: "secret"}}, Keys: noKeys{}})
	_, more := compileHandshakes(p.Handshakes, noKeys{})
	var out []hook.Problem
	for _, one := range slices.Concat(found, more) {
		last := one.Path[strings.LastIndexByte(one.Path, '.')+1:]
		early := strings.HasPrefix(one.Path, "verify") || strings.HasPrefix(one.Path, "handshakes")
		if early && !slices.Contains([]string{"ca", "jwks", "publicKey", "ips", "proxies"}, last) {
			out = append(out, hook.Problem{Path: p.Place(one.Path), Message: one.Message})
		}
	}
	return out
}

// Reasons returns every reason for which a request can be refused.
func Reasons() []string { return rule.Reasons() }

// Verifier holds requests against a source's specification. It is safe for concurrent use.
type Verifier struct {
	spec       hook.SourceSpec
	profile    *Profile // nil without a provider
	gallery    *Gallery
	verify     hook.Verify
	secrets    []rule.Secret
	settings   map[string]string
	keys       KeyFetcher
	rule       *rule.Rule
	handshakes []handshake
}

// Compile prepares the verification of a source. The error is a *hook.Error of
// KindInvalid whose problems name the fields of the specification. keys may be nil
// where nothing is ever fetched, and gallery where no source has a provider.
func Compile(spec *hook.SourceSpec, gallery *Gallery, keys KeyFetcher) (*Verifier, error) {
	v := &Verifier{spec: *spec, gallery: gallery, keys: keys, secrets: numberSecrets(spec)}
	if spec.Provider != "" && gallery != nil {
		profile, ok := gallery.Profile(spec.Provider)
		if !ok {
			message := "there is no profile " + strconv.Quote(spec.Provider) + strict.Suggest(spec.Provider, gallery.Names())
			return nil, hook.Invalid("the source cannot be used", []hook.Problem{{Path: "provider", Message: message}})
		}
		v.profile = profile
	}
	found := v.missingSettings()
	if spec.Provider != "" && v.profile == nil {
		found = append(found, hook.Problem{Path: "provider", Message: "there are no profiles here"})
	}
	v.apply()
	compiled, problems := rule.Compile(rule.Options{Verify: v.verify, Secrets: v.secrets, Settings: v.settings, Keys: keys})
	found = append(found, problems...)
	v.rule = compiled
	v.handshakes, problems = compileHandshakes(v.spec.Handshakes, keys)
	found = append(found, problems...)
	if err := hook.Invalid("the source cannot be used", dropRepeated(found)); err != nil {
		return nil, err
	}
	return v, nil
}

func numberSecrets(spec *hook.SourceSpec) []rule.Secret {
	var out []rule.Secret
	if spec.Secret != "" {
		out = append(out, rule.Secret{Value: spec.Secret, Path: "secret"})
	}
	for i, one := range spec.Secrets {
		if one != "" {
			out = append(out, rule.Secret{Value: one, Path: "secrets." + strconv.Itoa(i)})
		}
	}
	return out
}

// apply lays the specification over the profile.
func (v *Verifier) apply() {
	p := v.profile
	if p == nil {
		p = &Profile{}
	}
	v.verify = p.Verify
	if v.spec.Verify != nil {
		v.verify = *v.spec.Verify
	}
	v.settings = make(map[string]string, len(p.Settings)+len(v.spec.Settings))
	for i := range p.Settings {
		if text := p.Settings[i].Default; text != "" {
			v.settings[p.Settings[i].Name] = text
		}
	}
	for name, text := range v.spec.Settings {
		if text != "" {
			v.settings[name] = text
		}
	}
	v.spec.Verify, v.spec.Settings = &v.verify, v.settings
	v.spec.Handshakes = slices.Concat(v.spec.Handshakes, p.Handshakes)
	v.spec.Type, v.spec.Key = firstField(v.spec.Type, p.Type), firstField(v.spec.Key, p.Key)
	if v.spec.Type == nil {
		v.spec.Type = &hook.Field{Value: DefaultType}
	}
	if v.spec.Dedupe == nil {
		v.spec.Dedupe = p.Dedupe
	}
	if v.spec.Reply == nil {
		v.spec.Reply = p.Reply
	}
	if len(v.spec.Methods) == 0 {
		v.spec.Methods = p.Methods
	}
	if len(v.spec.Methods) == 0 {
		v.spec.Methods = []string{"POST"}
	}
	v.spec.SubPaths = v.spec.SubPaths || p.SubPaths
	if v.spec.MaxBody == 0 {
		v.spec.MaxBody = p.MaxBody
	}
	if v.spec.MaxBody == 0 {
		v.spec.MaxBody = hook.DefaultMaxBody
	}
}

// DefaultType is the type of events whose source does not say where their type is, or
// that have none there.
const DefaultType = "event"

func firstField(own, profile *hook.Field) *hook.Field {
	if own != nil {
		return own
	}
	return profile
}

// missingSettings complains about what the profile asks for. A rule of the source's own
// asks for itself.
func (v *Verifier) missingSettings() []hook.Problem {
	if v.profile == nil || v.spec.Verify != nil {
		return nil
	}
	var found []hook.Problem
	for i := range v.profile.Settings {
		s := &v.profile.Settings[i]
		if s.Required && s.Default == "" && v.spec.Settings[s.Name] == "" {
			found = append(found, hook.Problem{Path: "settings." + s.Name, Message: "the provider needs this setting: " + s.Help.En})
		}
	}
	return found
}

// dropRepeated keeps the first problem of each place: a missing setting is noticed by
// the profile and by the rule.
func dropRepeated(found []hook.Problem) []hook.Problem {
	var out []hook.Problem
	for _, one := range found {
		if !slices.ContainsFunc(out, func(other hook.Problem) bool { return other.Path == one.Path }) {
			out = append(out, one)
		}
	}
	return out
}

// Spec returns the specification with the profile's values where the source says
// nothing. It shares its parts with the Verifier: do not change them.
func (v *Verifier) Spec() hook.SourceSpec { return v.spec }

// Profile returns the source's profile; nil without a provider.
func (v *Verifier) Profile() *Profile { return v.profile }

// CoversBody says whether the scheme protects the body against change.
func (v *Verifier) CoversBody() bool { return v.rule.CoversBody() }

// Verify says whether a request comes from whom it should. The error is a *Refusal.
func (v *Verifier) Verify(ctx context.Context, req *Request) (hook.Verdict, error) {
	return v.rule.Check(ctx, req)
}
