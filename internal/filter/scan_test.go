package filter

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"cel.dev/cel-go/common/types"
	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

// corpus is JSON, and what almost is.
func corpus() []string {
	return []string{
		order, ``, ` `, `{}`, `[]`, `{"a":1}`, ` { "a" : [ 1 , 2 ] } `, `null`, `true`, `tru`, `truex`, `-`, `-0`, `01`, `1.`, `1.5e+3`, `1e`, `.5`, `+1`,
		`"a`, `"a\"b"`, `"\u00e9"`, `"\u00g9"`, `"\x"`, "\"\x1f\"", "\"\t\"", "\"\xff\"", `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[1,]`, `[1 2]`, `{"a":1}}`,
		`[[[]]]`, `[[[]]`, `]`, `{"a":{"b":[{"c":1}]}}`, `{"a\nb":1,"a\u000ab":2}`, "\xef\xbb\xbf{}", `[1]` + "\x00", "\v1", `{"a":1` + "\u00a0" + `}`,
		strings.Repeat("[", 200) + strings.Repeat("]", 200), `"12345678"`, `"1234567\"9"`, `"12345678` + "\n" + `"`, `{1:2}`, `{"a":"b":"c"}`, `[}`, `{]`,
	}
}

func TestScanAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range corpus() {
		if got, want := ValidJSON([]byte(text)), json.Valid([]byte(text)); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	for _, depth := range []int{maxDepth - 1, maxDepth, maxDepth + 1, 1_000_000} {
		text := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		if got, want := ValidJSON(text), json.Valid(text); got != want {
			t.Errorf("%d levels: got %v, want %v", depth, got, want)
		}
	}
}

// FuzzScan holds the check of JSON against the standard library's, and the places of
// the parts against decoding.
func FuzzScan(f *testing.F) {
	for _, text := range corpus() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := ValidJSON(text), json.Valid(text); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
		parts, ok := scan(string(text), nil)
		if !ok {
			return
		}
		for _, p := range parts {
			if !json.Valid(text[p.from:p.to]) {
				t.Fatalf("part %q is not JSON", text[p.from:p.to])
			}
		}
		checkParts(t, text, parts)
	})
}

func checkParts(t *testing.T, text []byte, parts []part) {
	t.Helper()
	switch text = bytes.TrimSpace(text); text[0] {
	case '[':
		var elements []json.RawMessage
		if err := json.Unmarshal(text, &elements); err == nil && len(elements) != len(parts) {
			t.Fatalf("%d parts of %d elements", len(parts), len(elements))
		}
	case '{':
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			return
		}
		in := NewInput(&hook.Event{Payload: text})
		for name := range members {
			// encoding/json replaces broken characters in names; here they stay as they are.
			if _, ok := in.body.value().(*object).find(name); !ok && !strings.Contains(name, "\uFFFD") {
				t.Fatalf("there is no %q", name)
			}
		}
	default:
		if len(parts) != 0 {
			t.Fatalf("a scalar has %d parts", len(parts))
		}
	}
}

// A value read lazily is the value that decoding gives.
func TestLazyValuesEqualDecodedOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := drawValue(t, 4)
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var decoded any
		if err := json.Unmarshal(text, &decoded); err != nil {
			t.Fatal(err)
		}
		lazy := NewInput(&hook.Event{Payload: text}).body.value()
		want := types.DefaultTypeAdapter.NativeToValue(decoded)
		if types.Equal(lazy, want) != types.True || types.Equal(want, lazy) != types.True {
			t.Fatalf("%s is not equal to its decoded form", text)
		}
	})
}

func drawValue(t *rapid.T, depth int) any {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.String().Draw(t, "text")
	case 1:
		return rapid.Float64Range(-1e9, 1e9).Draw(t, "float")
	case 2:
		return rapid.Int32().Draw(t, "int")
	case 3:
		return rapid.SampledFrom([]any{true, false, nil}).Draw(t, "word")
	case 4:
		list := make([]any, rapid.IntRange(0, 4).Draw(t, "length"))
		for i := range list {
			list[i] = drawValue(t, depth-1)
		}
		return list
	default:
		object := map[string]any{}
		for range rapid.IntRange(0, 5).Draw(t, "members") {
			object[rapid.String().Draw(t, "name")] = drawValue(t, depth-1)
		}
		return object
	}
}

// FuzzFilter holds any expression against any payload: no panic, a bounded error, and
// the same answer twice.
func FuzzFilter(f *testing.F) {
	for _, expr := range []string{
		fourClauses, `data.items.exists(i, i.q == 2)`, `data.?a.?b.orValue(1) == 1`, `data == data`, `headers["x"] == query.y`,
		`data.x.replace(data.x, data.x).matches(data.x)`, `data.l.join(",").split(",").size() > 1`, `event.type.contains(data.t)`,
		`data.map(k, data[k]).all(v, v == v)`, `[data, data] == [data, data]`, `string(data) == ""`, `"%s".format([data]) == ""`,
	} {
		for _, body := range []string{order, `{"a":{"b":1},"x":"aa","l":["a","b"],"items":[{"q":2}]}`, `x=1&y=2`, `{"a":`, `[1,2,3]`} {
			f.Add(expr, []byte(body), "application/json")
			f.Add(expr, []byte(body), "application/x-www-form-urlencoded")
		}
	}
	f.Fuzz(func(t *testing.T, expr string, body []byte, contentType string) {
		program, err := Compile(expr)
		if err != nil {
			if hook.KindOf(err) != hook.KindInvalid {
				t.Fatalf("%q: %v is not KindInvalid", expr, err)
			}
			return
		}
		event := &hook.Event{Type: "t", Payload: body, Headers: hook.Headers{{Name: "Content-Type", Value: contentType}}}
		in := NewInput(event)
		first, firstErr := program.Match(in)
		again, againErr := program.Match(in)
		if first != again || (firstErr == nil) != (againErr == nil) {
			t.Fatalf("%q: %v, %v and then %v, %v", expr, first, firstErr, again, againErr)
		}
		if firstErr != nil && (first || len(firstErr.Error()) > maxErrorText+100) {
			t.Fatalf("%q: %v, %v", expr, first, firstErr)
		}
	})
}

// FuzzField holds any path against any payload.
func FuzzField(f *testing.F) {
	for _, path := range []string{"a.b", "items.#.q", "@this", `a\.b`, "", ".", "..", "0.1", `\`, "*", "a|b", `{a,b}`} {
		f.Add(path, []byte(order))
		f.Add(path, []byte(`{"a":{"b":"c"},"":{"":"x"}}`))
		f.Add(path, []byte(`a=1&b.c=%7B%22d%22%3A1%7D`))
	}
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		for _, contentType := range []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
			event := &hook.Event{Payload: body, Headers: hook.Headers{{Name: "Content-Type", Value: contentType}}}
			if text, ok := NewInput(event).Field(&hook.Field{Path: path}); ok != (text != "") {
				t.Fatalf("%q, %v", text, ok)
			}
		}
	})
}
