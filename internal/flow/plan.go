package flow

import (
	"fmt"
	"reflect"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/strict"
)

// Plan is the way from a catalogue to a state.
type Plan struct {
	// Changes are to be applied as a whole, in this order. They hold secrets.
	Changes []hook.Change `json:"-"`
	// Items are the changes for people, in the same order, without secrets.
	Items []Item `json:"changes"`
	// Warnings are what somebody should know before applying.
	Warnings []string `json:"warnings,omitempty"`
	// Unmanaged are the parts of the project that the state does not mention and that stay.
	Unmanaged []string `json:"unmanaged,omitempty"`
	// Revision is that of the catalogue which the plan starts from.
	Revision int64 `json:"revision"`
}

// Item is one change for people.
type Item struct {
	Op     hook.ChangeOp `json:"op"`
	Noun   string        `json:"noun"` // source, destination or connection
	Name   string        `json:"name"`
	Fields []FieldChange `json:"fields,omitempty"` // those that become different
}

// FieldChange is one field that becomes different. Secrets are only said to be there.
type FieldChange struct {
	Path string `json:"path"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Request is the body of the API's plan and apply calls.
type Request struct {
	State State `json:"state"`
	Prune bool  `json:"prune,omitempty"` // delete what the state does not mention
}

// PlanState returns the changes that make the project's part of the catalogue what
// the state says. What the state does not mention is deleted only when prune is set.
// A destination that signs gets a secret when neither side has one; a secret that was
// generated is kept, and so is a pause that somebody else made. Whoever takes a state
// from outside passes it through Rules.Check first.
func PlanState(project hook.ProjectID, catalogue hook.Catalogue, state State, prune bool) (*Plan, error) {
	p := &planner{
		Plan:         Plan{Revision: catalogue.Revision},
		project:      project,
		prune:        prune,
		sources:      byName(catalogue.Sources, func(s *hook.Source) (hook.ProjectID, string) { return s.Project, s.Name }, project),
		destinations: byName(catalogue.Destinations, func(d *hook.Destination) (hook.ProjectID, string) { return d.Project, d.Name }, project),
		connections:  byName(catalogue.Connections, func(c *hook.Connection) (hook.ProjectID, string) { return c.Project, c.Name }, project),
	}
	p.from, p.to = p.fromNames(&state), ends(p.destinations, state.Destinations, prune)
	p.sourceNames = nameByID(p.sources, func(s *hook.Source) hook.SourceID { return s.ID })
	p.destinationNames = nameByID(p.destinations, func(d *hook.Destination) hook.DestinationID { return d.ID })
	for _, name := range names(state.Sources) {
		p.source(name, state.Sources[name])
	}
	for _, name := range names(state.Destinations) {
		if err := p.destination(name, state.Destinations[name]); err != nil {
			return nil, err
		}
	}
	for _, name := range names(state.Connections) {
		p.connection(name, state.Connections[name])
	}
	p.leave(&state)
	if err := hook.Invalid("the flow cannot be applied", p.problems); err != nil {
		return nil, err
	}
	return &p.Plan, nil
}

func byName[T any](items []T, key func(*T) (hook.ProjectID, string), project hook.ProjectID) map[string]*T {
	found := map[string]*T{}
	for i := range items {
		if of, name := key(&items[i]); of == project {
			found[name] = &items[i]
		}
	}
	return found
}

func nameByID[T any, ID comparable](nouns map[string]*T, id func(*T) ID) map[ID]string {
	found := make(map[ID]string, len(nouns))
	for name, noun := range nouns {
		found[id(noun)] = name
	}
	return found
}

type planner struct {
	Plan

	project          hook.ProjectID
	prune            bool
	sources          map[string]*hook.Source
	destinations     map[string]*hook.Destination
	connections      map[string]*hook.Connection
	sourceNames      map[hook.SourceID]string
	destinationNames map[hook.DestinationID]string
	from, to         map[string]bool // the names that a connection may lead from, and to
	problems         []hook.Problem
}

func (p *planner) add(noun, name string, change hook.Change, fields []FieldChange) {
	p.Changes = append(p.Changes, change)
	p.Items = append(p.Items, Item{Op: change.Op, Noun: noun, Name: name, Fields: fields})
}

func (p *planner) warnf(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

func (p *planner) source(name string, spec hook.SourceSpec) {
	current := p.sources[name]
	if current != nil && current.System {
		p.problems = append(p.problems, hook.Problem{
			Path:    "sources." + name,
			Message: fmt.Sprintf("%q is the source of the system's own events, which is there without a word and does not change: give yours another name", name),
		})
		return
	}
	if current == nil {
		p.add("source", name, hook.Change{Op: hook.OpCreate, Source: &hook.Source{Project: p.project, Name: name, SourceSpec: spec}},
			differences(reflect.ValueOf(hook.SourceSpec{}), reflect.ValueOf(spec)))
		return
	}
	if fields := differences(reflect.ValueOf(current.SourceSpec), reflect.ValueOf(spec)); len(fields) > 0 {
		updated := *current
		updated.SourceSpec = spec
		p.add("source", name, hook.Change{Op: hook.OpUpdate, Source: &updated}, fields)
	}
}

func (p *planner) destination(name string, spec hook.DestinationSpec) error {
	current := p.destinations[name]
	old := hook.DestinationSpec{}
	if current != nil {
		old = current.DestinationSpec
		if old.Paused && !spec.Paused {
			spec.Paused, spec.PauseReason = true, old.PauseReason
			p.warnf("the destination %s is paused%s, and stays so until somebody resumes it", name, because(old.PauseReason))
		} else if old.Paused && spec.PauseReason == "" {
			spec.PauseReason = old.PauseReason
		}
	}
	generated, err := completeSign(&old, &spec)
	if err != nil {
		return hook.Errorf(hook.KindInvalid, "destinations.%s.http.sign: %w", name, err)
	}
	fields := differences(reflect.ValueOf(old), reflect.ValueOf(spec))
	for i := range fields {
		if generated && fields[i].Path == "http.sign.secret" {
			fields[i].New = "(a generated secret)"
		}
	}
	switch {
	case current == nil:
		created := &hook.Destination{Project: p.project, Name: name, DestinationSpec: spec}
		p.add("destination", name, hook.Change{Op: hook.OpCreate, Destination: created}, fields)
	case len(fields) > 0:
		updated := *current
		updated.DestinationSpec = spec
		p.add("destination", name, hook.Change{Op: hook.OpUpdate, Destination: &updated}, fields)
	}
	return nil
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// completeSign gives a destination that signs without a secret of its own the one
// that it has, or else a new one; it reports whether that is new.
func completeSign(old, spec *hook.DestinationSpec) (generated bool, err error) {
	if spec.HTTP == nil {
		return false, nil
	}
	target, sign := *spec.HTTP, hook.Sign{}
	if target.Sign != nil {
		sign = *target.Sign
	}
	if len(sign.AllSecrets()) == 0 && old.HTTP != nil && old.HTTP.Sign != nil && old.HTTP.Sign.SchemeName() == sign.SchemeName() {
		sign.Secret, sign.Secrets = old.HTTP.Sign.Secret, old.HTTP.Sign.Secrets
	}
	if target.Sign, generated, err = signature.CompleteSign(&sign); err != nil {
		return false, err
	}
	spec.HTTP = &target
	return generated, nil
}

func (p *planner) connection(name string, spec ConnectionSpec) {
	p.end("connections."+name+".from", "source", spec.From, p.from)
	p.end("connections."+name+".to", "destination", spec.To, p.to)
	next := hook.Connection{Project: p.project, Name: name}
	old := ConnectionSpec{}
	if current := p.connections[name]; current != nil {
		next = *current
		old = p.described(current)
		if old.Paused && !spec.Paused {
			spec.Paused = true
			p.warnf("the connection %s is paused, and stays so until somebody resumes it", name)
		}
	}
	next.ConnectionSpec, next.Source, next.Destination = spec.ConnectionSpec, 0, 0
	if source := p.sources[spec.From]; source != nil {
		next.Source = source.ID
	}
	if destination := p.destinations[spec.To]; destination != nil {
		next.Destination = destination.ID
	}
	fields := differences(reflect.ValueOf(old), reflect.ValueOf(spec))
	change := hook.Change{Op: hook.OpUpdate, Connection: &next, From: spec.From, To: spec.To}
	switch {
	case p.connections[name] == nil:
		change.Op = hook.OpCreate
		p.add("connection", name, change, fields)
	case len(fields) > 0:
		p.add("connection", name, change, fields)
	}
}

// fromNames lists the names that a connection may lead from. The source of the system's
// own events is never deleted.
func (p *planner) fromNames(state *State) map[string]bool {
	known := ends(p.sources, state.Sources, p.prune)
	for name, source := range p.sources {
		if source.System {
			known[name] = true
		}
	}
	return known
}

// ends lists the names that a connection may lead from or to.
func ends[Noun, Spec any](current map[string]*Noun, wanted map[string]Spec, prune bool) map[string]bool {
	known := make(map[string]bool, len(wanted))
	for name := range wanted {
		known[name] = true
	}
	if !prune {
		for name := range current {
			known[name] = true
		}
	}
	return known
}

// end notes that the end of a connection at path names nothing.
func (p *planner) end(path, noun, name string, known map[string]bool) {
	if !known[name] {
		p.problems = append(p.problems, hook.Problem{Path: path, Message: fmt.Sprintf("no %s %q%s", noun, name, strict.Suggest(name, names(known)))})
	}
}

// described returns a stored connection with its ends by name.
func (p *planner) described(connection *hook.Connection) ConnectionSpec {
	return ConnectionSpec{
		ConnectionSpec: connection.ConnectionSpec,
		From:           p.sourceNames[connection.Source],
		To:             p.destinationNames[connection.Destination],
	}
}

// leave deletes what the state does not mention, or notes that it stays.
func (p *planner) leave(state *State) {
	for _, name := range names(p.connections) {
		if _, wanted := state.Connections[name]; !wanted {
			p.drop("connection", name, hook.Change{Connection: p.connections[name]})
		}
	}
	for _, name := range names(p.sources) {
		if _, wanted := state.Sources[name]; !wanted && !p.sources[name].System {
			p.drop("source", name, hook.Change{Source: p.sources[name]})
		}
	}
	for _, name := range names(p.destinations) {
		if _, wanted := state.Destinations[name]; !wanted {
			p.drop("destination", name, hook.Change{Destination: p.destinations[name]})
		}
	}
}

func (p *planner) drop(noun, name string, change hook.Change) {
	if !p.prune {
		p.Unmanaged = append(p.Unmanaged, noun+" "+name)
		return
	}
	change.Op = hook.OpDelete
	p.add(noun, name, change, nil)
}

// Empty reports whether there is nothing to change.
func (p *Plan) Empty() bool { return len(p.Items) == 0 }

// Text returns the plan for people: a line for each change, its fields below it, then
// the warnings and a summary.
func (p *Plan) Text() string {
	var b strings.Builder
	marks := map[hook.ChangeOp]string{hook.OpCreate: "+", hook.OpUpdate: "~", hook.OpDelete: "-"}
	count := map[hook.ChangeOp]int{}
	for _, item := range p.Items {
		count[item.Op]++
		fmt.Fprintf(&b, "%s %s %s\n", marks[item.Op], item.Noun, item.Name)
		for _, field := range item.Fields {
			if item.Op == hook.OpCreate {
				fmt.Fprintf(&b, "    %s: %s\n", field.Path, field.New)
			} else {
				fmt.Fprintf(&b, "    %s: %s → %s\n", field.Path, orNothing(field.Old), orNothing(field.New))
			}
		}
	}
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning)
	}
	if len(p.Unmanaged) > 0 {
		fmt.Fprintf(&b, "not in the flow, and left alone: %s\n", some(p.Unmanaged))
	}
	if p.Empty() {
		b.WriteString("Nothing to change.\n")
	} else {
		fmt.Fprintf(&b, "%d to create, %d to update, %d to delete.\n", count[hook.OpCreate], count[hook.OpUpdate], count[hook.OpDelete])
	}
	return b.String()
}

func orNothing(text string) string {
	if text == "" {
		return "(nothing)"
	}
	return text
}

// shownNames is how many names a list for people has.
const shownNames = 10

// some returns the first names of a list, and how many more there are.
func some(list []string) string {
	if len(list) <= shownNames {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:shownNames], ", "), len(list)-shownNames)
}
