package profiles

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

//go:embed *.yaml
var builtIn embed.FS

// BuiltIn returns the files of the profiles that the program knows by itself.
func BuiltIn() fs.FS { return builtIn }

// Gallery is a set of profiles. It does not change after New.
type Gallery struct {
	byName map[string]*Profile
	names  []string
}

// New reads the built-in profiles and, after them, the *.yaml files of the given file
// systems; a later profile replaces an earlier one of the same name. The error is a
// *hook.Error of KindInvalid whose problems name file, line and column.
func New(extra ...fs.FS) (*Gallery, error) {
	var found []hook.Problem
	byName := map[string]*Profile{}
	for _, files := range append([]fs.FS{builtIn}, extra...) {
		found = append(found, read(files, byName)...)
	}
	found = append(found, extend(byName)...)
	if len(found) > 0 {
		return nil, &hook.Error{Kind: hook.KindInvalid, Message: "the provider profiles cannot be used", Problems: found}
	}
	return &Gallery{byName: byName, names: slices.Sorted(maps.Keys(byName))}, nil
}

// Profile returns the profile of that name. It is shared: do not change it.
func (g *Gallery) Profile(name string) (*Profile, bool) {
	p, ok := g.byName[name]
	return p, ok
}

// Profiles returns all profiles, sorted by name. They are shared: do not change them.
func (g *Gallery) Profiles() []*Profile {
	all := make([]*Profile, len(g.names))
	for i, name := range g.names {
		all[i] = g.byName[name]
	}
	return all
}

// Names returns the names of all profiles, sorted.
func (g *Gallery) Names() []string { return slices.Clone(g.names) }

// maxFiles bounds a folder of profiles.
const maxFiles = 2000

func read(files fs.FS, into map[string]*Profile) []hook.Problem {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return []hook.Problem{{Message: "the folder of profiles cannot be read: " + err.Error()}}
	}
	if len(names) > maxFiles {
		return []hook.Problem{{Message: fmt.Sprintf("the folder of profiles holds more than %d files", maxFiles)}}
	}
	var found []hook.Problem
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			found = append(found, hook.Problem{Path: name, Message: "the file cannot be read: " + err.Error()})
			continue
		}
		profile, problems := Parse(name, data)
		found = append(found, problems...)
		if len(problems) == 0 {
			into[profile.Name] = profile
		}
	}
	return found
}

// Parse reads one profile. The paths of the problems are places: file, line, column.
func Parse(file string, data []byte) (*Profile, []hook.Problem) {
	decoder := &strict.Decoder{}
	documents := decoder.Documents(file, data)
	profile := &Profile{}
	switch {
	case len(documents) == 1:
		decoder.Decode(file, "", documents[0], profile)
	case len(decoder.Problems()) == 0:
		decoder.Addf(strict.Position{File: file}, "a profile is one YAML document, not %d", len(documents))
	}
	profile.place = func(path string) string {
		at, ok := decoder.At(path)
		if !ok {
			at = strict.Position{File: file}
		}
		return at.String()
	}
	if len(decoder.Problems()) == 0 {
		profile.check(file, decoder)
	}
	var found []hook.Problem
	for _, one := range decoder.Problems().Sorted() {
		found = append(found, hook.Problem{Path: one.String(), Message: one.Message})
	}
	return profile, found
}

// check finds what a single file can get wrong by itself. The rule and its templates
// are checked by whoever can compile them.
func (p *Profile) check(file string, decoder *strict.Decoder) {
	complainf := func(key, format string, args ...any) {
		at, ok := decoder.At(key)
		if !ok {
			at = strict.Position{File: file}
		}
		decoder.Addf(at, format, args...)
	}
	if want := strings.TrimSuffix(path.Base(file), ".yaml"); p.Name != want || !isName(p.Name) {
		complainf("name", "the name is %q: it must be the file's name without .yaml, in lower-case letters, digits and hyphens", p.Name)
	}
	if p.Title == "" {
		complainf("title", "the title is missing")
	}
	if p.Docs != "" && !strings.HasPrefix(p.Docs, "https://") {
		complainf("docs", "the address of the provider's page must begin with https://")
	}
	seen := map[string]bool{}
	for i := range p.Settings {
		name := p.Settings[i].Name
		if name == "" || seen[name] {
			complainf(fmt.Sprintf("settings.%d.name", i), "every setting needs a name of its own")
		}
		seen[name] = true
	}
	for i := range p.Handshakes {
		if p.Handshakes[i].Name == "" {
			complainf(fmt.Sprintf("handshakes.%d", i), "every handshake needs a name")
		}
	}
}

func isName(text string) bool {
	return text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// extend fills the profiles that extend another one. A base does not extend a third.
func extend(byName map[string]*Profile) []hook.Problem {
	var found []hook.Problem
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		p := byName[name]
		if p.Extends == "" {
			continue
		}
		base, ok := byName[p.Extends]
		if !ok || base.Extends != "" {
			found = append(found, hook.Problem{
				Path:    name + ".yaml",
				Message: fmt.Sprintf("it extends %q, which is no profile that stands on its own", p.Extends),
			})
			continue
		}
		p.fill(base)
	}
	return found
}

// fill takes from the base what is absent. Name, title, documentation, tags, notes and
// whether it is confirmed are the profile's own.
func (p *Profile) fill(base *Profile) {
	if isZeroVerify(&p.Verify) {
		p.Verify = base.Verify
	}
	if p.Handshakes == nil {
		p.Handshakes = base.Handshakes
	}
	if p.Methods == nil {
		p.Methods = base.Methods
	}
	if p.Settings == nil {
		p.Settings = base.Settings
	}
	p.Type, p.Key = orBase(p.Type, base.Type), orBase(p.Key, base.Key)
	p.Dedupe, p.Reply = orBase(p.Dedupe, base.Dedupe), orBase(p.Reply, base.Reply)
	p.Secret, p.Retry = orBase(p.Secret, base.Secret), orBase(p.Retry, base.Retry)
	p.Sample = orBase(p.Sample, base.Sample)
	p.SubPaths = p.SubPaths || base.SubPaths
	if p.MaxBody == 0 {
		p.MaxBody = base.MaxBody
	}
}

func orBase[T any](own, base *T) *T {
	if own == nil {
		return base
	}
	return own
}

func isZeroVerify(v *hook.Verify) bool {
	return !v.None && v.Standard == nil && v.Token == nil && v.Basic == nil && v.HMAC == nil && v.Public == nil &&
		v.JWT == nil && v.MTLS == nil && v.Code == "" && len(v.AnyOf) == 0 && len(v.AllOf) == 0 && len(v.IPs) == 0
}

// SampleTime is when a sample arrives unless it says otherwise.
func SampleTime() time.Time { return time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC) }
