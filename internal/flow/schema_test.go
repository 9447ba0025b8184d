package flow

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

var update = flag.Bool("update", false, "write the generated files")

// generator builds the schema from the types that Parse reads into.
type generator struct {
	docs        map[string]string // "Type.Field" and "Type" → comment
	definitions map[string]any
}

type object = map[string]any

func (g *generator) schema() []byte {
	root := g.properties(reflect.TypeFor[State]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Malote flow file"
	root["$defs"] = g.definitions
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// unwritten reports whether a key is one that Parse knows and that nobody may write.
func unwritten(t reflect.Type, key string) bool {
	return t == reflect.TypeFor[hook.SourceSpec]() && key == "system"
}

func (g *generator) properties(t reflect.Type) object {
	properties := object{}
	for _, field := range strict.Fields(t) {
		if unwritten(t, field.Name) {
			continue
		}
		schema := g.of(field.Type)
		if doc := g.docs[field.Of.Name()+"."+field.Go]; doc != "" {
			schema["description"] = doc
		}
		properties[field.Name] = schema
	}
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

// reference is how a file speaks of the environment; it may stand for any value.
const reference = `\$\{[^}]+\}`

func (g *generator) of(t reflect.Type) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return g.of(t.Elem())
	case t == reflect.TypeFor[hook.Duration]():
		return object{"type": []string{"string", "integer"}, "pattern": `^([0-9]+d|([0-9.]+(ns|us|µs|ms|s|m|h))+|0)$|` + reference, "examples": []string{"15s", "1h30m", "30d"}}
	case t == reflect.TypeFor[hook.Rate]():
		return object{"type": "string", "pattern": `^[0-9]+ */ *(s|m|min|h)$|` + reference, "examples": []string{"50/s"}}
	}
	switch t.Kind() {
	case reflect.Struct:
		if _, known := g.definitions[t.Name()]; !known {
			g.definitions[t.Name()] = nil // for recursive types
			definition := g.properties(t)
			if strict.TakesText(t) {
				definition = object{"oneOf": []any{object{"type": "string"}, definition}}
			}
			if t.Name() == "SourceSpec" {
				definition["type"] = []string{"object", "null"}
			}
			definition["description"] = g.docs[t.Name()]
			g.definitions[t.Name()] = definition
		}
		return object{"$ref": "#/$defs/" + t.Name()}
	case reflect.Map:
		return object{"type": []string{"object", "null"}, "additionalProperties": g.of(t.Elem())}
	case reflect.Slice:
		return object{"type": "array", "items": g.of(t.Elem())}
	case reflect.Bool:
		return object{"oneOf": []any{object{"type": "boolean"}, object{"type": "string", "pattern": reference}}}
	case reflect.Float64:
		return object{"oneOf": []any{object{"type": "number"}, object{"type": "string", "pattern": reference}}}
	case reflect.Int, reflect.Int64:
		return object{"oneOf": []any{object{"type": "integer"}, object{"type": "string", "pattern": reference}}}
	default:
		return object{"type": []string{"string", "number", "boolean"}}
	}
}

// comments reads the comments of the structs in a folder of Go files.
func comments(t *testing.T, docs map[string]string, folder string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file, err := goparser.ParseFile(token.NewFileSet(), name, nil, goparser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			general, ok := declaration.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range general.Specs {
				if named, ok := spec.(*ast.TypeSpec); ok {
					docs[named.Name.Name] = oneLine(general.Doc.Text())
					fieldComments(docs, named)
				}
			}
		}
	}
}

func fieldComments(docs map[string]string, named *ast.TypeSpec) {
	structure, ok := named.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range structure.Fields.List {
		comment := oneLine(field.Doc.Text() + field.Comment.Text())
		for _, name := range field.Names {
			docs[named.Name.Name+"."+name.Name] = comment
		}
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func generate(t *testing.T) []byte {
	t.Helper()
	g := &generator{docs: map[string]string{}, definitions: map[string]any{}}
	comments(t, g.docs, "../hook")
	comments(t, g.docs, ".")
	return g.schema()
}

// The schema in the binary, the page in docs and the Go types say the same.
func TestSchemaIsGenerated(t *testing.T) {
	want := generate(t)
	for _, name := range []string{"flow.schema.json", "../../docs/flow.schema.json"} {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not up to date (%v): go test ./internal/flow -update", name, err)
		}
	}
	if !*update && !bytes.Equal(Schema(), want) {
		t.Error("the embedded schema is not the generated one")
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(generate(t)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("flow.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("flow.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, file string) error {
	t.Helper()
	var value any
	if err := yaml.Load([]byte(file), &value); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(instance)
}

func TestSchemaJudgesLikeParse(t *testing.T) {
	schema := compiled(t)
	demo, err := os.ReadFile("../demo/flow.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"example": example, "demo": string(demo)} {
		if err := validate(t, schema, file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, file := range []string{
		"source: {}",
		"sources: {a: {provder: x}}",
		"sources: {a: {verify: {token: {heder: x}}}}",
		"destinations: {a: {http: {url: [x]}}}",
		"destinations: {a: {concurrency: many}}",
		"destinations: {a: {rate: fast}}",
		"connections: {a: {types: x}}",
		"connections: {a: {retry: {schedule: [soon]}}}",
	} {
		if validate(t, schema, file) == nil {
			t.Errorf("the schema accepts %s", file)
		}
		if _, err := Parse([]File{{Name: "a.yaml", Data: []byte(file)}}, Options{Lookup: none}); err == nil {
			t.Errorf("Parse accepts %s", file)
		}
	}
}

// Every key that Parse knows is in the schema, at every depth.
func TestSchemaHasEveryKey(t *testing.T) {
	var document struct {
		Properties map[string]any `json:"properties"`
		Defs       map[string]struct {
			Properties map[string]any `json:"properties"`
			OneOf      []struct {
				Properties map[string]any `json:"properties"`
			} `json:"oneOf"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &document); err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type)
	visit = func(t0 reflect.Type) {
		switch {
		case t0.Kind() == reflect.Pointer, t0.Kind() == reflect.Map, t0.Kind() == reflect.Slice:
			visit(t0.Elem())
			return
		case t0.Kind() != reflect.Struct || strict.IsText(t0) || seen[t0]:
			return
		}
		seen[t0] = true
		properties := document.Defs[t0.Name()].Properties
		if one := document.Defs[t0.Name()].OneOf; len(one) == 2 {
			properties = one[1].Properties
		}
		if t0 == reflect.TypeFor[State]() {
			properties = document.Properties
		}
		for _, field := range strict.Fields(t0) {
			if (properties[field.Name] == nil) != unwritten(t0, field.Name) {
				t.Errorf("%s.%s is not in the schema, or should not be", t0.Name(), field.Name)
			}
			visit(field.Type)
		}
	}
	visit(reflect.TypeFor[State]())
	if len(seen) < 15 {
		t.Fatalf("only %d types were seen", len(seen))
	}
}
