// Package malote_test holds the repository to its own rules: layers, budgets, names
// and documents. It reads the source and imports nothing of it.
package malote_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the import path of the repository's root.
const module = "malote.dev/malote"

// The budgets. Functions and their branches are measured by the linter.
const (
	maxFileLines      = 600
	maxPackageLines   = 3000
	maxMethods        = 6
	maxStoreMethods   = 10
	maxParameters     = 4 // contexts and tests apart
	contractOfStorage = "internal/store"
)

// layers says how high each package stands. A package imports only what stands lower,
// or a part of itself: a package in a folder below its own. One that is not listed here
// is an error, so that a new package is placed on purpose.
var layers = map[string]int{
	"internal/hook":      0,
	"internal/run":       0,
	"internal/page":      0,
	"internal/egress":    0,
	"internal/seal":      0,
	"internal/strict":    0,
	"internal/telemetry": 0,
	"web":                0,

	"internal/signature":              1,
	"internal/signature/profiles":     1,
	"internal/signature/rule":         1,
	"internal/signature/rule/message": 1,
	"internal/filter":                 1,
	"internal/config":                 1,

	"internal/store":       2,
	"internal/destination": 2,
	"internal/account":     2,
	"internal/route":       2,
	"internal/flow":        2,

	"internal/ingest":                  3,
	"internal/deliver":                 3,
	"internal/deliver/pace":            3,
	"internal/deliver/turns":           3,
	"internal/upkeep":                  3,
	"internal/notice":                  3,
	"internal/replay":                  3,
	"internal/destination/webhook":     3,
	"internal/store/sqlstore":          3,
	"internal/store/sqlstore/codec":    2,
	"internal/store/sqlstore/prepared": 2,

	"internal/store/sqlite/database":  3,
	"internal/store/sqlite/commit":    4,
	"internal/store/sqlite/dedupe":    3,
	"internal/store/sqlite/schema":    3,
	"internal/store/sqlite/inline":    3,
	"internal/store/sqlite/tally":     3,
	"internal/store/sqlite/catalogue": 4,
	"internal/store/sqlite/check":     4,

	"internal/store/sqlite": 4,
	"internal/api":          4,
	"internal/api/control":  4,
	"internal/api/stats":    4,
	"internal/api/rest":     3,
	"internal/api/body":     2,
	"internal/api/lookup":   3,
	"internal/demo":         4,

	"internal/app":    5,
	"internal/client": 5,

	"internal/shell": 6,

	"cmd/malote": 7,
}

// testOnly are the packages that only tests import, and programs around the product.
var testOnly = []string{
	"internal/hooktest",
	"internal/destination/destinationtest",
	"internal/store/storetest",
	"internal/store/storetest/delivering",
	"internal/store/storetest/stage",
	"internal/store/sqlite/sqlitetest",
	"internal/e2e",
	"bench",
	"crash",
	".",
}

// backends are known by name only where the program is put together.
var backends = []string{
	"internal/store/sqlite",
	"internal/destination/webhook",
}

// impure are the imports that the domain does without, although they are standard.
var impure = []string{"net/http", "database/sql", "log", "log/slog", "os", "testing"}

// vagueNames are package names that say nothing of what is inside.
var vagueNames = []string{"util", "utils", "common", "helpers", "shared", "misc", "types", "models", "core"}

// source is one parsed file of the repository.
type source struct {
	name      string // path from the root, with slashes
	dir       string
	test      bool
	generated bool
	lines     int
	file      *ast.File
}

// imports returns the imported paths; those of this module are relative to its root.
func (s *source) imports() []string {
	paths := make([]string, 0, len(s.file.Imports))
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			paths = append(paths, strings.TrimPrefix(imported, module+"/"))
		}
	}
	return paths
}

// inModule reports whether an import is a package of this repository.
func inModule(imported string) bool {
	return strings.HasPrefix(imported, "internal/") || strings.HasPrefix(imported, "cmd/") || imported == "web"
}

// load parses every Go file of the module, nested modules left out.
func load(t *testing.T) (*token.FileSet, []*source) {
	t.Helper()
	files := token.NewFileSet()
	var sources []*source
	walk := func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return enter(name)
		case !strings.HasSuffix(name, ".go"):
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(files, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		slashed := filepath.ToSlash(name)
		sources = append(sources, &source{
			name: slashed, dir: path.Dir(slashed), file: file,
			test:      strings.HasSuffix(name, "_test.go"),
			generated: ast.IsGenerated(file),
			lines:     bytes.Count(text, []byte("\n")),
		})
		return nil
	}
	if err := filepath.WalkDir(".", walk); err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 {
		t.Fatal("no Go files found")
	}
	return files, sources
}

// enter says which folders are looked into.
func enter(dir string) error {
	base := filepath.Base(dir)
	if dir != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); dir != "." && err == nil {
		return filepath.SkipDir
	}
	return nil
}

func TestPackagesArePlacedInLayers(t *testing.T) {
	_, sources := load(t)
	for _, s := range sources {
		_, placed := layers[s.dir]
		if !placed && !slices.Contains(testOnly, s.dir) {
			t.Errorf("%s: package %s is in no layer: add it to the table in arch_test.go", s.name, s.dir)
		}
		if slices.Contains(vagueNames, strings.TrimSuffix(s.file.Name.Name, "_test")) {
			t.Errorf("%s: the package name %s says nothing of what is inside", s.name, s.file.Name.Name)
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	_, sources := load(t)
	for _, s := range sources {
		from, placed := layers[s.dir]
		if s.test || !placed {
			continue
		}
		for _, imported := range s.imports() {
			if !inModule(imported) {
				continue
			}
			if slices.Contains(testOnly, imported) {
				t.Errorf("%s imports %s, which is for tests", s.name, imported)
				continue
			}
			to, part := layers[imported], strings.HasPrefix(imported, s.dir+"/")
			if to > from || to == from && !part {
				t.Errorf("%s (layer %d) imports %s (layer %d): imports point down only", s.dir, from, imported, to)
			}
			if slices.Contains(backends, imported) && from < layers["internal/app"] {
				t.Errorf("%s imports %s: only the place that puts the program together knows a backend by name", s.name, imported)
			}
		}
	}
}

func TestTestsDoNotReachUp(t *testing.T) {
	_, sources := load(t)
	for _, s := range sources {
		if !s.test || !strings.HasPrefix(s.dir, "internal/") || s.dir == "internal/e2e" {
			continue
		}
		for _, imported := range s.imports() {
			if imported == "cmd/malote" || imported == "internal/app" && s.dir != "internal/app" {
				t.Errorf("%s imports %s: a test that needs the whole program belongs to internal/e2e", s.name, imported)
			}
			if imported == "internal/hooktest" && s.dir == "internal/hook" {
				t.Errorf("%s imports %s, which is built on it", s.name, imported)
			}
		}
	}
}

func TestDomainIsPure(t *testing.T) {
	_, sources := load(t)
	for _, s := range sources {
		if s.dir != "internal/hook" || s.test {
			continue
		}
		for _, imported := range s.imports() {
			if strings.Contains(imported, ".") || inModule(imported) {
				t.Errorf("%s imports %s: the domain imports the standard library only", s.name, imported)
			}
			if slices.Contains(impure, imported) {
				t.Errorf("%s imports %s: the domain is pure", s.name, imported)
			}
		}
	}
}

func TestEachPackageIntroducesItselfOnce(t *testing.T) {
	_, sources := load(t)
	type count struct{ comments, tests, files int }
	packages := map[string]*count{}
	for _, s := range sources {
		if packages[s.dir] == nil {
			packages[s.dir] = &count{}
		}
		c := packages[s.dir]
		switch {
		case s.test && s.file.Doc != nil:
			c.tests++
		case !s.test:
			c.files++
			if s.file.Doc != nil {
				c.comments++
			}
		}
	}
	for dir, c := range packages {
		got := c.comments
		if c.files == 0 {
			got = c.tests
		}
		if got != 1 {
			t.Errorf("package %s has %d package comments, not 1", dir, got)
		}
	}
}

func TestLengthBudgets(t *testing.T) {
	_, sources := load(t)
	packages := map[string]int{}
	for _, s := range sources {
		if s.test || s.generated {
			continue
		}
		packages[s.dir] += s.lines
		if s.lines > maxFileLines {
			t.Errorf("%s has %d lines, the budget is %d", s.name, s.lines, maxFileLines)
		}
	}
	for dir, lines := range packages {
		if lines > maxPackageLines {
			t.Errorf("package %s has %d lines, the budget is %d", dir, lines, maxPackageLines)
		}
	}
}

func TestInterfacesAreSmall(t *testing.T) {
	files, sources := load(t)
	for _, s := range sources {
		limit := maxMethods
		if s.dir == contractOfStorage {
			limit = maxStoreMethods
		}
		ast.Inspect(s.file, func(node ast.Node) bool {
			contract, ok := node.(*ast.InterfaceType)
			if !ok {
				return true
			}
			methods := 0
			for _, field := range contract.Methods.List {
				methods += len(field.Names)
			}
			if methods > limit {
				t.Errorf("%s: an interface of %d methods, the budget is %d", files.Position(node.Pos()), methods, limit)
			}
			return true
		})
	}
}

func TestParametersAreFew(t *testing.T) {
	files, sources := load(t)
	for _, s := range sources {
		ast.Inspect(s.file, func(node ast.Node) bool {
			function, ok := node.(*ast.FuncType)
			if !ok {
				return true
			}
			count := 0
			for _, field := range function.Params.List {
				if !isCounted(field.Type) {
					continue
				}
				count += max(1, len(field.Names))
			}
			if count > maxParameters {
				t.Errorf("%s: %d parameters, the budget is %d: take a struct", files.Position(node.Pos()), count, maxParameters)
			}
			return true
		})
	}
}

// isCounted reports whether a parameter of this type counts: a context or a test says
// nothing of what the function is about.
func isCounted(expr ast.Expr) bool {
	if pointer, ok := expr.(*ast.StarExpr); ok {
		expr = pointer.X
	}
	if selector, ok := expr.(*ast.SelectorExpr); ok && isSelector(selector, "testing", selector.Sel.Name) {
		return false
	}
	return !isSelector(expr, "context", "Context")
}

// TestTestsDoNotSleep allows time.Sleep only inside a call of synctest.Test, where
// the clock is fake and nobody waits.
func TestTestsDoNotSleep(t *testing.T) {
	files, sources := load(t)
	for _, s := range sources {
		ast.Inspect(s.file, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok && isSelector(call.Fun, "synctest", "Test") {
				return false
			}
			if expr, ok := node.(ast.Expr); ok && isSelector(expr, "time", "Sleep") {
				t.Errorf("%s: time.Sleep outside a synctest bubble", files.Position(node.Pos()))
			}
			return true
		})
	}
}

func isSelector(expr ast.Expr, qualifier, name string) bool {
	selector, ok := expr.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	on, ok := selector.X.(*ast.Ident)
	return ok && on.Name == qualifier && selector.Sel.Name == name
}

func TestExportedNamesAreDocumented(t *testing.T) {
	files, sources := load(t)
	for _, s := range sources {
		if s.test || s.generated {
			continue
		}
		for _, declaration := range s.file.Decls {
			for _, name := range undocumented(declaration) {
				t.Errorf("%s: %s has no comment", files.Position(name.Pos()), name.Name)
			}
		}
	}
}

// undocumented returns the exported names of a declaration that no comment explains:
// one of its own, one at its line's end, or one of its group.
func undocumented(declaration ast.Decl) []*ast.Ident {
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && onExported(d) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		var missing []*ast.Ident
		for _, spec := range d.Specs {
			missing = append(missing, undocumentedIn(d, spec)...)
		}
		return missing
	}
	return nil
}

func undocumentedIn(group *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch sp := spec.(type) {
	case *ast.TypeSpec:
		if sp.Name.IsExported() && sp.Doc == nil && sp.Comment == nil && (group.Doc == nil || group.Lparen.IsValid()) {
			return []*ast.Ident{sp.Name}
		}
	case *ast.ValueSpec:
		if sp.Doc == nil && sp.Comment == nil && group.Doc == nil {
			return slices.DeleteFunc(slices.Clone(sp.Names), func(name *ast.Ident) bool { return !name.IsExported() })
		}
	}
	return nil
}

// onExported reports whether a function is no method, or one of an exported type.
func onExported(function *ast.FuncDecl) bool {
	if function.Recv == nil || len(function.Recv.List) == 0 {
		return true
	}
	expr := function.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.IsExported()
		default:
			return true
		}
	}
}
