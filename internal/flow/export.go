package flow

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// Export writes the project's part of the catalogue as a flow file, which Parse reads
// back to an empty plan. The source of the system's own events is left out: every
// project has it. Each secret becomes a ${…} variable; the comment at the head
// of the file lists them.
func Export(project hook.ProjectID, catalogue hook.Catalogue) ([]byte, error) {
	data, _, err := export(stateOf(project, catalogue))
	return data, err
}

// stateOf returns what the catalogue holds as a state.
func stateOf(project hook.ProjectID, catalogue hook.Catalogue) State {
	state := State{
		Sources:      map[string]hook.SourceSpec{},
		Destinations: map[string]hook.DestinationSpec{},
		Connections:  map[string]ConnectionSpec{},
	}
	sources, destinations := map[hook.SourceID]string{}, map[hook.DestinationID]string{}
	for i := range catalogue.Sources {
		if source := &catalogue.Sources[i]; source.Project == project {
			sources[source.ID] = source.Name
			if !source.System {
				state.Sources[source.Name] = source.SourceSpec
			}
		}
	}
	for i := range catalogue.Destinations {
		if destination := &catalogue.Destinations[i]; destination.Project == project {
			destinations[destination.ID] = destination.Name
			state.Destinations[destination.Name] = destination.DestinationSpec
		}
	}
	for i := range catalogue.Connections {
		if c := &catalogue.Connections[i]; c.Project == project {
			state.Connections[c.Name] = ConnectionSpec{From: sources[c.Source], To: destinations[c.Destination], ConnectionSpec: c.ConnectionSpec}
		}
	}
	return state
}

// export also returns the variables with their values.
func export(state State) ([]byte, map[string]string, error) {
	w := &writer{values: map[string]string{}}
	root := &yaml.Node{Kind: yaml.MappingNode}
	addSection(w, root, "sources", state.Sources)
	addSection(w, root, "destinations", state.Destinations)
	addSection(w, root, "connections", state.Connections)
	var b bytes.Buffer
	b.WriteString(w.head())
	dumper, err := yaml.NewDumper(&b, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, nil, fmt.Errorf("write the flow file: %w", err)
	}
	if err := dumper.Dump(root); err != nil {
		return nil, nil, fmt.Errorf("write the flow file: %w", err)
	}
	if err := dumper.Close(); err != nil {
		return nil, nil, fmt.Errorf("write the flow file: %w", err)
	}
	return b.Bytes(), w.values, nil
}

// writer turns specs to YAML, and takes out the secrets.
type writer struct {
	names  []string          // of the variables, in the order of the file
	uses   []string          // what each is for
	values map[string]string // by name
}

func (w *writer) head() string {
	if len(w.names) == 0 {
		return "# Written by malote export. It needs no variables.\n\n"
	}
	var b strings.Builder
	b.WriteString("# Written by malote export. Secrets are not in this file: set these variables before\n" +
		"# it is applied, or write ${file:/path} in their place.\n#\n")
	for i, name := range w.names {
		fmt.Fprintf(&b, "#   %s  %s\n", name, w.uses[i])
	}
	return b.String() + "\n"
}

func addSection[Spec any](w *writer, root *yaml.Node, title string, parts map[string]Spec) {
	if len(parts) == 0 {
		return
	}
	section := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range names(parts) {
		node := w.node([]string{title, name}, reflect.ValueOf(parts[name]))
		section.Content = append(section.Content, text(name), node)
	}
	root.Content = append(root.Content, text(title), section)
}

// text returns a scalar that is read back as this text; the dumper quotes where it must.
func text(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
}

// node writes a value. The path leads to it: title, name, keys.
func (w *writer) node(path []string, value reflect.Value) *yaml.Node {
	switch {
	case value.Kind() == reflect.Pointer:
		return w.node(path, value.Elem())
	case value.Type() == reflect.TypeFor[hook.Secret]():
		return text("${" + w.variable(path, value.String()) + "}")
	case strict.IsText(value.Type()):
		return text(escape(written(value)))
	}
	switch value.Kind() {
	case reflect.Struct:
		return w.mapping(path, value)
	case reflect.Map:
		node := &yaml.Node{Kind: yaml.MappingNode}
		keys := map[string]reflect.Value{}
		for _, key := range value.MapKeys() {
			keys[key.String()] = value.MapIndex(key)
		}
		for _, key := range names(keys) {
			child := w.node(append(path, key), keys[key])
			if value := keys[key].String(); isCredential(strings.Join(path, "."), key) && value != "" {
				child = text("${" + w.variable(append(path, key), value) + "}")
			}
			node.Content = append(node.Content, text(key), child)
		}
		return node
	case reflect.Slice:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range value.Len() {
			item := w.node(append(path, strconv.Itoa(i+1)), value.Index(i))
			node.Content = append(node.Content, item)
			if item.Kind == yaml.ScalarNode {
				node.Style = yaml.FlowStyle
			}
		}
		return node
	case reflect.String:
		return text(escape(value.String()))
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(value.Interface())}
	}
}

func (w *writer) mapping(path []string, value reflect.Value) *yaml.Node {
	if short := shorthand(value); short != "" {
		return text(escape(short))
	}
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, field := range strict.Fields(value.Type()) {
		inner := value.FieldByIndex(field.Index)
		if inner.IsZero() {
			continue
		}
		child := w.node(append(path, field.Name), inner)
		if len(child.Content) == 0 && child.Kind != yaml.ScalarNode && inner.Kind() != reflect.Pointer {
			continue // an empty list, mapping or struct says nothing
		}
		node.Content = append(node.Content, text(field.Name), child)
	}
	return node
}

// shorthand returns the text that stands for a whole struct, "" when there is none.
func shorthand(value reflect.Value) string {
	switch v := value.Interface().(type) {
	case hook.Field:
		if v == (hook.Field{Value: v.Value}) {
			return v.Value
		}
	case hook.Sign:
		if reflect.DeepEqual(v, hook.Sign{None: true}) {
			return "none"
		}
	case hook.Verify:
		if reflect.DeepEqual(v, hook.Verify{None: true}) {
			return "none"
		}
	}
	return ""
}

// variable names a secret by where it is, such as SHOP_SECRET or ERP_SIGN_SECRET.
func (w *writer) variable(path []string, value string) string {
	parts := make([]string, 0, len(path))
	for _, part := range path[1:] { // without the title
		if part != "http" && part != "verify" {
			parts = append(parts, part)
		}
	}
	base := variableName(strings.Join(parts, "_"))
	name := base
	for n := 2; ; n++ {
		if _, taken := w.values[name]; !taken {
			break
		}
		name = base + "_" + strconv.Itoa(n)
	}
	w.names = append(w.names, name)
	w.uses = append(w.uses, strings.Join(path, "."))
	w.values[name] = value
	return name
}

func variableName(text string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, text)
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}
