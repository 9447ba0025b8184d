package filter

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		typ      string
		want     bool
	}{
		{nil, "anything", true},
		{[]string{"*"}, "", true},
		{[]string{"orders/*"}, "orders/create", true},
		{[]string{"orders/*"}, "orders/", true},
		{[]string{"orders/*"}, "order", false},
		{[]string{"*.created"}, "customer.created", true},
		{[]string{"a*c*e"}, "abcde", true},
		{[]string{"a*c*e"}, "ace", true},
		{[]string{"a*c*e"}, "aec", false},
		{[]string{"ab*ba"}, "aba", false},
		{[]string{"orders/create", "orders/paid"}, "orders/paid", true},
		{[]string{"orders/create"}, "Orders/Create", false},
		{[]string{"x", "y*"}, "yes", true},
		{[]string{""}, "x", false},
		{[]string{""}, "", true},
	} {
		if got := CompileTypes(c.patterns).Match(c.typ); got != c.want {
			t.Errorf("%q with %q: got %v", c.patterns, c.typ, got)
		}
	}
	if names, ok := CompileTypes([]string{"b", "a", "b"}).Exact(); !ok || strings.Join(names, " ") != "a b" {
		t.Errorf("got %q, %v", names, ok)
	}
	for _, patterns := range [][]string{nil, {"*"}, {"a", "b*"}} {
		if _, ok := CompileTypes(patterns).Exact(); ok {
			t.Errorf("%q can be listed", patterns)
		}
	}
}

// A pattern means the regular expression in which the star is ".*".
func TestTypesMeanRegularExpressions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab.*]{1,8}`).Draw(t, "pattern")
		text := rapid.StringMatching(`[ab.]{0,10}`).Draw(t, "text")
		want := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$").MatchString(text)
		if got := CompileTypes([]string{pattern}).Match(text); got != want {
			t.Errorf("%q with %q: got %v, want %v", pattern, text, got, want)
		}
	})
}
