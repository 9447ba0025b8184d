package strict

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNearest(t *testing.T) {
	known := []string{"from", "to", "types", "filter", "order", "retry", "concurrency"}
	for name, want := range map[string]string{
		"form": "from", "tpyes": "types", "Filter": "filter", "conccurrency": "concurrency", "filters": "filter", "concurency": "concurrency",
		"zzz": "", "": "", "order_by_key": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
	if got, want := Suggest("zzz", []string{"b", "a"}), "; known are: a, b"; got != want {
		t.Errorf("Suggest gives %q", got)
	}
	if got := Suggest("zzz", nil); got != "" {
		t.Errorf("Suggest gives %q", got)
	}
}

// The distance is a metric as far as a suggestion needs it.
func TestDistance(t *testing.T) {
	word := rapid.StringOfN(rapid.RuneFrom([]rune("abcé")), 0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := distance(a, b)
		if (d == 0) != (a == b) {
			t.Fatalf("distance(%q, %q) = %d", a, b, d)
		}
		if d != distance(b, a) {
			t.Fatalf("distance(%q, %q) depends on the order", a, b)
		}
		if longest := max(len([]rune(a)), len([]rune(b))); d > longest {
			t.Fatalf("distance(%q, %q) = %d, more than %d", a, b, d, longest)
		}
	})
}

type Inner struct {
	Depth int `json:"depth,omitempty"`
}

type shape struct {
	Inner

	Name   string            `json:"name"`
	Ratio  *float64          `json:"ratio,omitempty"`
	On     bool              `json:"on"`
	Labels map[string]string `json:"labels"`
	List   []shape           `json:"list"`
	Hidden string            `json:"-"`
}

func TestKeys(t *testing.T) {
	if got := strings.Join(Keys(reflect.TypeFor[shape]()), " "); got != "depth name ratio on labels list" {
		t.Errorf("got %s", got)
	}
}

func TestDecode(t *testing.T) {
	d := &Decoder{}
	documents := d.Documents("a.yaml", []byte("name: x\nratio: 1\non: true\nlabels: &l {a: b}\nlist:\n  - name: 5\n    labels: *l\n"))
	if len(documents) != 1 {
		t.Fatal(d.Problems())
	}
	var got shape
	d.Decode("a.yaml", "", documents[0], &got)
	if len(d.Problems()) > 0 {
		t.Fatal(d.Problems())
	}
	if got.Name != "x" || *got.Ratio != 1 || !got.On || got.List[0].Name != "5" || got.List[0].Labels["a"] != "b" {
		t.Errorf("got %+v", got)
	}
	for path, want := range map[string]string{
		"name": "a.yaml:1:7", "labels": "a.yaml:4:1", "labels.a": "a.yaml:4:16", "list.0": "a.yaml:6:5", "list.0.name": "a.yaml:6:11",
		"list.0.nowhere.deep": "a.yaml:6:5", "list.7": "a.yaml:5:1",
	} {
		if at, ok := d.At(path); !ok || at.String() != want {
			t.Errorf("At(%q) = %s, want %s", path, at, want)
		}
	}
	if at, ok := d.At("nowhere"); ok {
		t.Errorf("a place of nothing: %v", at)
	}
}

func TestPosition(t *testing.T) {
	for want, at := range map[string]Position{"f": {File: "f"}, "f:3": {File: "f", Line: 3}, "f:3:4": {File: "f", Line: 3, Column: 4}} {
		if at.String() != want {
			t.Errorf("got %s, want %s", at, want)
		}
	}
	sorted := Problems{{Position{"b", 1, 1}, ""}, {Position{"a", 2, 1}, ""}, {Position{"a", 1, 9}, ""}}.Sorted()
	if sorted[0].Column != 9 || sorted[2].File != "b" {
		t.Errorf("got %v", sorted)
	}
}

// A few bytes that stand for millions of values are cut off early.
func TestAliasesAreCounted(t *testing.T) {
	d := &Decoder{}
	for _, root := range d.Documents("a.yaml", []byte("&r [*r, *r, *r, *r, *r, *r, *r, *r]")) {
		var got [][][][][][][][]string
		d.Decode("a.yaml", "", root, &got)
	}
	if d.nodes > 2*maxNodes {
		t.Errorf("%d values were looked at", d.nodes)
	}
	if n := len(d.Problems()); n == 0 || n > maxProblems {
		t.Errorf("%d problems were noted", n)
	}
}
