package filter

import (
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
)

func TestField(t *testing.T) {
	json := sampleEvent()
	form := &hook.Event{
		Headers: hook.Headers{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}},
		Payload: []byte(`id=7&order%5Bid%5D=8&order%5Bcustomer%5D%5Bname%5D=Ana&payload=%7B%22type%22%3A%22click%22%2C%22user%22%3A%7B%22id%22%3A9%7D%7D&a.b=dotted`),
	}
	broken := &hook.Event{Payload: []byte(`{"id":1`)}
	for _, c := range []struct {
		name  string
		event *hook.Event
		field hook.Field
		want  string
	}{
		{"constant", json, hook.Field{Value: "order"}, "order"},
		{"header", json, hook.Field{Header: "x-TOPIC"}, "orders/create"},
		{"no header", json, hook.Field{Header: "x-other"}, ""},
		{"query", json, hook.Field{Query: "shop"}, "acme ltd"},
		{"path", json, hook.Field{Path: "total_price"}, "100.00"},
		{"number as written", json, hook.Field{Path: "big"}, "820982911946154508"},
		{"boolean", json, hook.Field{Path: "o.a.b"}, "true"},
		{"null", json, hook.Field{Path: "nul"}, ""},
		{"object", json, hook.Field{Path: "o.a"}, ""},
		{"element", json, hook.Field{Path: "items.1.sku"}, "B"},
		{"element outside", json, hook.Field{Path: "items.2.sku"}, ""},
		{"negative index", json, hook.Field{Path: "items.-1.sku"}, ""},
		{"past a scalar", json, hook.Field{Path: "n.x"}, ""},
		{"a dot in a name", json, hook.Field{Path: `a\.b`}, "dotted"},
		{"no wildcard", json, hook.Field{Path: "*"}, "star"},
		{"no count", json, hook.Field{Path: "items.#"}, ""},
		{"no query", json, hook.Field{Path: `items.#(q==2).sku`}, ""},
		{"no modifier", json, hook.Field{Path: "@this"}, "at"},
		{"no modifier, absent", json, hook.Field{Path: "@pretty"}, ""},
		{"no pipe", json, hook.Field{Path: "o|a"}, ""},
		{"no literal", json, hook.Field{Path: `!"x"`}, ""},
		{"no selector", json, hook.Field{Path: `{n,f}`}, ""},
		{"expression", json, hook.Field{Expr: `data.items[0].sku + "-" + string(data.n)`}, "A-3"},
		{"expression that fails", json, hook.Field{Expr: `data.missing.x`}, ""},
		{"nothing", json, hook.Field{}, ""},
		{"or", json, hook.Field{Path: "missing", Or: &hook.Field{Header: "nope", Or: &hook.Field{Path: "n"}}}, "3"},
		{"or is not needed", json, hook.Field{Path: "n", Or: &hook.Field{Value: "x"}}, "3"},
		{"form", form, hook.Field{Path: "id"}, "7"},
		{"form, brackets", form, hook.Field{Path: "order.id"}, "8"},
		{"form, deep brackets", form, hook.Field{Path: "order.customer.name"}, "Ana"},
		{"form, JSON inside", form, hook.Field{Path: "payload.type"}, "click"},
		{"form, deep JSON inside", form, hook.Field{Path: "payload.user.id"}, "9"},
		{"form, whole name", form, hook.Field{Path: "a.b"}, "dotted"},
		{"form, not JSON inside", form, hook.Field{Path: "id.x"}, ""},
		{"form, absent", form, hook.Field{Path: "nope.x"}, ""},
		{"malformed", broken, hook.Field{Path: "id"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := NewInput(c.event).Field(&c.field)
			if got != c.want || ok != (c.want != "") {
				t.Errorf("got %q, %v; want %q", got, ok, c.want)
			}
		})
	}
}

func TestCompileFieldComplains(t *testing.T) {
	many := &hook.Field{Path: "x"}
	for range 20 {
		many = &hook.Field{Path: "x", Or: many}
	}
	for want, field := range map[string]*hook.Field{
		"give one of":            {Path: "a", Header: "b"},
		"expr: column 1":         {Expr: "dta.x"},
		"or.expr: column 1":      {Path: "a", Or: &hook.Field{Expr: "dta.x"}},
		"more than 16 places":    many,
		"or: give one of header": {Path: "a", Or: &hook.Field{Path: "b", Value: "c"}},
	} {
		if _, err := CompileField(field); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want an error with %q", err, want)
		}
	}
	compiled, err := CompileField(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := compiled.Text(NewInput(sampleEvent())); ok {
		t.Error("a field that is not set is there")
	}
}
