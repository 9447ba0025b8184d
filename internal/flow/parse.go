package flow

import (
	"path/filepath"

	"go.yaml.in/yaml/v4"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// Options are what Parse needs from outside.
type Options struct {
	// Lookup answers ${NAME}; os.LookupEnv outside of tests.
	Lookup func(name string) (string, bool)
	// Rules are what the parts are held to besides their shape.
	Rules Rules
}

// Parse reads flow files, which together are one flow. The error is of kind
// hook.KindInvalid and lists every mistake with file, line and column, and how to mend it.
// Mistakes in shape come alone, without a flow. A flow that breaks the rules is returned
// beside the error, so that a server can be asked for all that it would say.
func Parse(files []File, options Options) (*Flow, error) {
	p := read(files, options.Lookup)
	if found := p.decoder.Problems(); len(found) > 0 { // checks of half-read parts would only mislead
		return nil, hook.Invalid(mistaken, problems(found))
	}
	var found strict.Problems
	for _, problem := range options.Rules.Check(&p.state) {
		at, _ := p.decoder.At(problem.Path)
		found = append(found, strict.Problem{Position: at, Message: subject(problem)})
	}
	return &Flow{state: p.state, decoder: p.decoder}, hook.Invalid(mistaken, problems(found))
}

const mistaken = "the flow has mistakes"

type parser struct {
	decoder *strict.Decoder
	state   State
}

// read decodes files, whatever their values mean.
func read(files []File, lookup func(string) (string, bool)) *parser {
	p := &parser{
		decoder: &strict.Decoder{},
		state: State{
			Sources:      map[string]hook.SourceSpec{},
			Destinations: map[string]hook.DestinationSpec{},
			Connections:  map[string]ConnectionSpec{},
		},
	}
	for _, file := range files {
		values := &expander{lookup: lookup, folder: filepath.Dir(file.Name)}
		p.decoder.Expand = values.expand
		for _, document := range p.decoder.Documents(file.Name, file.Data) {
			p.document(file.Name, document)
		}
	}
	return p
}

func (p *parser) document(file string, root *yaml.Node) {
	for _, entry := range p.decoder.Mapping(file, "", root) {
		switch entry.Name {
		case "sources":
			section(p, file, entry, p.state.Sources)
		case "destinations":
			section(p, file, entry, p.state.Destinations)
		case "connections":
			section(p, file, entry, p.state.Connections)
		default:
			p.decoder.Addf(entry.At, "unknown key %q%s", entry.Name, strict.Suggest(entry.Name, []string{"sources", "destinations", "connections"}))
		}
	}
}

// section reads the parts of one kind into the map that holds those of all files.
func section[Spec any](p *parser, file string, section strict.Entry, into map[string]Spec) {
	for _, entry := range p.decoder.Mapping(file, section.Name, section.Value) {
		path := section.Name + "." + entry.Name
		if _, twice := into[entry.Name]; twice {
			first, _ := p.decoder.At(path)
			p.decoder.Addf(entry.At, "%s is there already, in %s: remove one of them, or give it another name", path, first)
			continue
		}
		p.decoder.Remember(path, entry.At)
		var spec Spec
		if !strict.IsEmpty(entry.Value) {
			p.decoder.Decode(file, path, entry.Value, &spec)
		}
		into[entry.Name] = spec
	}
}
