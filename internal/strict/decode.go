package strict

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits of a document.
const (
	MaxBytes = 4 << 20 // of one file
	maxDepth = 64      // of nested values
	maxNodes = 200_000 // decoded, aliases counted each time

	maxProblems = 1000 // kept; nobody reads more
)

// Decoder reads documents into values and collects every mistake on the way.
type Decoder struct {
	// Expand, if set, is given every text value before it is used.
	Expand func(text string) (string, error)

	problems  Problems
	positions map[string]Position
	nodes     int
}

// Problems returns the mistakes found so far.
func (d *Decoder) Problems() Problems { return d.problems }

// Addf notes a mistake at a place.
func (d *Decoder) Addf(at Position, format string, args ...any) {
	if len(d.problems) == maxProblems {
		return
	}
	d.problems = append(d.problems, Problem{Position: at, Message: fmt.Sprintf(format, args...)})
}

// At returns where the value with a dotted path, such as "list.0.name", was read, or where the nearest value
// around it was; false when no part of the path is known.
func (d *Decoder) At(path string) (Position, bool) {
	for {
		if at, ok := d.positions[path]; ok {
			return at, true
		}
		cut := strings.LastIndexByte(path, '.')
		if cut < 0 {
			return Position{}, false
		}
		path = path[:cut]
	}
}

// indentedByTab reports whether a tab stands before the first word of a line, which is
// counted from 1.
func indentedByTab(text []byte, number int) bool {
	for line := range bytes.Lines(text) {
		number--
		if number == 0 {
			indent := len(line) - len(bytes.TrimLeft(line, " \t"))
			return bytes.ContainsRune(line[:indent], '\t')
		}
	}
	return false
}

// Documents parses the YAML documents of a file. A syntax error is noted, and nothing returned.
func (d *Decoder) Documents(file string, data []byte) []*yaml.Node {
	if len(data) > MaxBytes {
		d.Addf(Position{File: file}, "the file has %d bytes, more than the %d that are read: split it", len(data), MaxBytes)
		return nil
	}
	shielded := data
	if d.Expand != nil {
		shielded = shield(data)
	}
	var documents []yaml.Node
	if err := yaml.Load(shielded, &documents, yaml.WithAllDocuments()); err != nil {
		at := Position{File: file}
		message := err.Error()
		if syntax := (*yaml.LoadError)(nil); errors.As(err, &syntax) {
			at.Line, at.Column, message = syntax.Mark.Line, syntax.Mark.Column, syntax.Message
			if syntax.ContextMsg != "" {
				message = syntax.ContextMsg + ": " + message
			}
		}
		if indentedByTab(data, at.Line) {
			message = "a tab stands before the first word: indent by spaces"
		}
		d.Addf(at, "this is not YAML: %s", message)
		return nil
	}
	roots := make([]*yaml.Node, 0, len(documents))
	for i := range documents {
		if root := &documents[i]; root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
			if len(shielded) != len(data) {
				unshield(root)
			}
			roots = append(roots, root.Content[0])
		}
	}
	return roots
}

// Decode reads a node into the value that into points to. The path names the value
// in messages and for At.
func (d *Decoder) Decode(file, path string, node *yaml.Node, into any) {
	w := &walk{Decoder: d, file: file}
	w.value(path, node, reflect.ValueOf(into).Elem())
}

// Entry is one key of a mapping.
type Entry struct {
	Name  string
	At    Position // of the key
	Value *yaml.Node
}

// Mapping returns the entries of a mapping in their order. Whatever is not a mapping,
// and every key that occurs twice, is noted as a problem; an empty value has no entries.
func (d *Decoder) Mapping(file, path string, node *yaml.Node) []Entry {
	w := &walk{Decoder: d, file: file}
	node, ok := w.enter(node)
	if !ok || IsEmpty(node) {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		w.failf(node, "%s must be a mapping of names to values, not %s", subject(path), describe(node))
		return nil
	}
	return w.entries(path, node)
}

// walk is a Decoder at work on one file.
type walk struct {
	*Decoder

	file  string
	depth int
}

func (w *walk) failf(node *yaml.Node, format string, args ...any) {
	w.Addf(w.position(node), format, args...)
}

func (w *walk) position(node *yaml.Node) Position {
	return Position{File: w.file, Line: node.Line, Column: node.Column}
}

// enter counts a node and follows its alias.
func (w *walk) enter(node *yaml.Node) (*yaml.Node, bool) {
	w.nodes++
	if w.nodes > maxNodes {
		if w.nodes == maxNodes+1 {
			w.failf(node, "there are more than %d values here, aliases counted each time: split the file", maxNodes)
		}
		return nil, false
	}
	if w.depth > maxDepth {
		w.failf(node, "the values are nested deeper than %d levels", maxDepth)
		return nil, false
	}
	if node.Kind == yaml.AliasNode {
		return node.Alias, true
	}
	return node, true
}

// Remember notes where the value with a dotted path stands, for At.
func (d *Decoder) Remember(path string, at Position) {
	if d.positions == nil {
		d.positions = map[string]Position{}
	}
	d.positions[path] = at
}

// remember notes a key's value: a text by its own place, anything larger by its key,
// which is where a person looks for it.
func (w *walk) remember(path string, entry Entry) {
	if entry.Value.Kind != yaml.ScalarNode {
		w.Remember(path, entry.At)
	}
}

func (w *walk) value(path string, node *yaml.Node, into reflect.Value) {
	w.depth++
	defer func() { w.depth-- }()
	at := w.position(node)
	node, ok := w.enter(node)
	if !ok {
		return
	}
	if _, known := w.positions[path]; !known {
		w.Remember(path, at)
	}
	if IsEmpty(node) {
		w.failf(node, "%s is empty: write a value, or leave the key out", subject(path))
		return
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	switch {
	case IsText(into.Type()):
		w.text(path, node, into)
	case into.Kind() == reflect.Struct:
		w.structure(path, node, into)
	case into.Kind() == reflect.Map:
		w.mapping(path, node, into)
	case into.Kind() == reflect.Slice:
		w.list(path, node, into)
	default:
		w.scalar(path, node, into)
	}
}

// text reads a type that parses its own text.
func (w *walk) text(path string, node *yaml.Node, into reflect.Value) {
	text, ok := w.expanded(path, node, "a text")
	if !ok {
		return
	}
	reader, ok := into.Addr().Interface().(encoding.TextUnmarshaler)
	if !ok {
		return
	}
	if err := reader.UnmarshalText([]byte(text)); err != nil {
		w.misfit(path, node, text, err)
	}
}

// misfit notes that a text cannot be used. What Expand put in may be a secret, and is
// not shown.
func (w *walk) misfit(path string, node *yaml.Node, text string, err error) {
	if text != node.Value {
		w.failf(node, "%s: what %q stands for cannot be used here", path, node.Value)
		return
	}
	w.failf(node, "%s: %s", path, err)
}

// structure reads a struct from a mapping, or from a text where the type allows it.
func (w *walk) structure(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind == yaml.ScalarNode && TakesText(into.Type()) {
		w.short(path, node, into)
		return
	}
	fields := Fields(into.Type())
	if node.Kind != yaml.MappingNode {
		w.failf(node, "%s must be a mapping, not %s%s", subject(path), describe(node), Suggest("", Keys(into.Type())))
		return
	}
	for _, entry := range w.entries(path, node) {
		field := findField(fields, entry.Name)
		if field == nil {
			w.Addf(entry.At, "unknown key %q%s%s", entry.Name, within(path), Suggest(entry.Name, Keys(into.Type())))
			continue
		}
		w.remember(join(path, entry.Name), entry)
		w.value(join(path, entry.Name), entry.Value, into.FieldByIndex(field.Index))
	}
}

func (w *walk) short(path string, node *yaml.Node, into reflect.Value) {
	text, ok := w.expanded(path, node, "a text or a mapping")
	if !ok {
		return
	}
	quoted, err := json.Marshal(text)
	if err == nil {
		err = json.Unmarshal(quoted, into.Addr().Interface())
	}
	if err != nil {
		w.misfit(path, node, text, err)
	}
}

func findField(fields []Field, name string) *Field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	return nil
}

// entries lists a mapping's keys; those that are wrong are noted and left out.
func (w *walk) entries(path string, node *yaml.Node) []Entry {
	seen := make(map[string]Position, len(node.Content)/2)
	entries := make([]Entry, 0, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		at := w.position(node.Content[i])
		switch first, twice := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode || IsEmpty(key):
			w.Addf(at, "a key%s must be a text", within(path))
		case key.ShortTag() == "!!merge" && key.Style == 0:
			w.Addf(at, "merge keys (<<) are not read: write the keys%s out, or share a whole value by an alias", within(path))
		case twice:
			w.Addf(at, "the key %q%s occurs twice: it stands in line %d already", key.Value, within(path), first.Line)
		default:
			seen[key.Value] = at
			entries = append(entries, Entry{Name: key.Value, At: at, Value: node.Content[i+1]})
		}
	}
	return entries
}

func (w *walk) mapping(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.MappingNode {
		w.failf(node, "%s must be a mapping of names to values, not %s", subject(path), describe(node))
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, entry := range w.entries(path, node) {
		value := reflect.New(into.Type().Elem()).Elem()
		w.remember(join(path, entry.Name), entry)
		w.value(join(path, entry.Name), entry.Value, value)
		into.SetMapIndex(reflect.ValueOf(entry.Name).Convert(into.Type().Key()), value)
	}
}

func (w *walk) list(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		w.failf(node, "%s must be a list, such as [a, b], not %s", subject(path), describe(node))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		w.value(join(path, strconv.Itoa(i)), item, into.Index(i))
	}
}

func (w *walk) scalar(path string, node *yaml.Node, into reflect.Value) {
	kind := kindName(into.Kind())
	text, ok := w.expanded(path, node, kind)
	if !ok {
		return
	}
	if into.Kind() == reflect.String {
		into.SetString(text)
		return
	}
	if err := setNumber(into, text); err != nil || (text == node.Value && !fits(node.ShortTag(), into.Kind())) {
		w.failf(node, "%s must be %s, not %q", subject(path), kind, node.Value)
	}
}

// fits reports whether a scalar that was written as tag says may be a value of kind:
// "5" in quotes is a text, and 1 is not true.
func fits(tag string, kind reflect.Kind) bool {
	switch kind {
	case reflect.Bool:
		return tag == "!!bool"
	case reflect.Float64:
		return tag == "!!float" || tag == "!!int"
	default:
		return tag == "!!int"
	}
}

func setNumber(into reflect.Value, text string) error {
	switch into.Kind() {
	case reflect.Bool:
		value, err := strconv.ParseBool(text)
		into.SetBool(value)
		return err
	case reflect.Int, reflect.Int64:
		value, err := strconv.ParseInt(text, 0, into.Type().Bits())
		into.SetInt(value)
		return err
	case reflect.Float64:
		value, err := strconv.ParseFloat(text, into.Type().Bits())
		into.SetFloat(value)
		return err
	default:
		return fmt.Errorf("a %s cannot be written in a file", into.Kind())
	}
}

// expanded returns a scalar's text after Expand.
func (w *walk) expanded(path string, node *yaml.Node, kind string) (string, bool) {
	if node.Kind != yaml.ScalarNode {
		w.failf(node, "%s must be %s, not %s", subject(path), kind, describe(node))
		return "", false
	}
	if w.Expand == nil {
		return node.Value, true
	}
	text, err := w.Expand(node.Value)
	if err != nil {
		w.failf(node, "%s: %s", path, err)
		return "", false
	}
	return text, true
}

// IsEmpty reports whether nothing stands in the place of a value.
func IsEmpty(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

func kindName(kind reflect.Kind) string {
	switch kind {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	default:
		return "a text"
	}
}

func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return fmt.Sprintf("%q", node.Value)
	}
}

func subject(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func within(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
