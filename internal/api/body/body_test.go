package body_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/hook"
)

// noun has a field of every shape that bodies have.
type noun struct {
	Name    string            `json:"name"`
	Count   int               `json:"count,omitempty"`
	Share   *float64          `json:"share,omitempty"`
	On      bool              `json:"on,omitempty"`
	Wait    hook.Duration     `json:"wait,omitempty"`
	At      time.Time         `json:"at,omitzero"`
	Type    *hook.Field       `json:"type,omitempty"`
	Dedupe  *hook.Dedupe      `json:"dedupe,omitempty"`
	Sign    *hook.Sign        `json:"sign,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Headers hook.Headers      `json:"headers,omitempty"`
	Raw     json.RawMessage   `json:"raw,omitempty"`
	Bytes   []byte            `json:"bytes,omitempty"`
	Inner
}

// Inner is embedded as specs are.
type Inner struct {
	Secret hook.Secret `json:"secret,omitempty"`
}

func TestDecodeReadsEveryShape(t *testing.T) {
	var got noun
	text := `{
		"name": "a", "count": 3, "share": 0.5, "on": true, "wait": "90s", "at": "2026-01-02T03:04:05Z",
		"type": "order", "dedupe": {"header": "x-id", "window": "2d"}, "sign": "none", "labels": {"k": "v"},
		"headers": [{"name": "A", "value": "b"}], "raw": {"x" : 1}, "bytes": "aGk=", "secret": "s", "count": 4
	}`
	if err := body.Decode([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	share := 0.5
	want := noun{
		Name: "a", Count: 4, Share: &share, On: true, Wait: hook.Duration(90 * time.Second), At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Type:   &hook.Field{Value: "order"},
		Dedupe: &hook.Dedupe{Field: hook.Field{Header: "x-id"}, Window: hook.Duration(48 * time.Hour)},
		Sign:   &hook.Sign{None: true}, Labels: map[string]string{"k": "v"}, Headers: hook.Headers{{Name: "A", Value: "b"}},
		Raw: json.RawMessage(`{"x" : 1}`), Bytes: []byte("hi"), Inner: Inner{Secret: "s"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeNullIsAbsent(t *testing.T) {
	got := noun{Name: "kept?"}
	if err := body.Decode([]byte(`{"name": null, "type": null, "labels": {"a": null}, "raw": null}`), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "" || got.Type != nil || got.Raw != nil || got.Labels["a"] != "" {
		t.Errorf("%+v", got)
	}
}

// problems returns the problems of an error as "path: message" lines.
func problems(t *testing.T, err error) []string {
	t.Helper()
	var e *hook.Error
	if !errors.As(err, &e) || e.Kind != hook.KindInvalid {
		t.Fatalf("error %v is not invalid input", err)
	}
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Path + ": " + p.Message
	}
	return lines
}

func TestDecodeSaysWhatIsWrongWhere(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {``, `: it is not JSON`},
		"syntax":            {`{"name": "a",}`, `at byte 14`},
		"two values":        {`{} {}`, `: it is not JSON`},
		"not an object":     {`[1]`, `: it must be a JSON object, not a list`},
		"misspelt":          {`{"naem": "a"}`, `naem: is not a field that is known here; did you mean "name"?`},
		"case":              {`{"Name": "a"}`, `Name: is not a field that is known here; did you mean "name"?`},
		"unlike any":        {`{"zzzzzzzz": 1}`, `known are: at, bytes`},
		"misspelt below":    {`{"type": {"haeder": "x"}}`, `type.haeder: is not a field that is known here; did you mean "header"?`},
		"misspelt embedded": {`{"dedupe": {"windwo": "1h"}}`, `dedupe.windwo: is not a field that is known here; did you mean "window"?`},
		"in a list":         {`{"headers": [{"name": "A"}, {"nam": "B"}]}`, `headers.1.nam:`},
		"text for a number": {`{"count": "3"}`, `count: must be a whole number in range, not a text`},
		"fraction":          {`{"count": 1.5}`, `count: must be a whole number in range, not the number 1.5`},
		"too large":         {`{"count": 1e40}`, `count: must be a whole number in range, not the number 1e40`},
		"number for a text": {`{"name": 3}`, `name: must be a text, not the number 3`},
		"object for a bool": {`{"on": {}}`, `on: must be true or false, not an object`},
		"duration":          {`{"wait": "soon"}`, `wait: "soon" is not a duration`},
		"duration number":   {`{"wait": 5}`, `wait: must be a text, not the number 5`},
		"time":              {`{"at": "yesterday"}`, `at: `},
		"list for a field":  {`{"type": ["x"]}`, `type: must be a text or an object, not a list`},
		"object for a list": {`{"headers": {}}`, `headers: must be a list, not an object`},
		"base64":            {`{"bytes": "*"}`, `bytes: must be a text in base64, not a text`},
	} {
		var into noun
		err := body.Decode([]byte(c.text), &into)
		if lines := strings.Join(problems(t, err), "\n"); !strings.Contains(lines, c.want) {
			t.Errorf("%s: got %q, want %q in it", name, lines, c.want)
		}
	}
}

func TestDecodeFindsEverythingAtOnce(t *testing.T) {
	var into noun
	lines := problems(t, body.Decode([]byte(`{"count": "x", "naem": 1, "type": {"pth": "a"}, "wait": "x"}`), &into))
	if len(lines) != 4 {
		t.Errorf("%d problems, want 4: %q", len(lines), lines)
	}
}

func TestDecodeNeverRepeatsASecret(t *testing.T) {
	var into noun
	err := body.Decode([]byte(`{"secret": ["hunter2"], "count": "hunter2", "on": "hunter2", "share": "hunter2"}`), &into)
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error repeats the value: %v", err)
	}
}

func TestPatch(t *testing.T) {
	share := 0.25
	stored := noun{
		Name: "a", Count: 3, Share: &share, Type: &hook.Field{Header: "x-type"}, Labels: map[string]string{"a": "1", "b": "2"},
		Inner: Inner{Secret: "kept"},
	}
	for name, c := range map[string]struct {
		patch string
		want  func(*noun)
	}{
		"nothing":           {`{}`, func(*noun) {}},
		"a value":           {`{"count": 4}`, func(n *noun) { n.Count = 4 }},
		"null clears":       {`{"share": null, "type": null, "secret": null}`, func(n *noun) { n.Share, n.Type, n.Secret = nil, nil, "" }},
		"members merge":     {`{"labels": {"b": null, "c": "3"}}`, func(n *noun) { n.Labels = map[string]string{"a": "1", "c": "3"} }},
		"a whole is whole":  {`{"type": {"path": "kind"}}`, func(n *noun) { n.Type = &hook.Field{Path: "kind"} }},
		"short form":        {`{"type": "order"}`, func(n *noun) { n.Type = &hook.Field{Value: "order"} }},
		"what was not set":  {`{"sign": {"scheme": "stripe"}}`, func(n *noun) { n.Sign = &hook.Sign{Scheme: "stripe"} }},
		"null in a new map": {`{"sign": {"scheme": "stripe", "hash": null}}`, func(n *noun) { n.Sign = &hook.Sign{Scheme: "stripe"} }},
	} {
		want := stored
		c.want(&want)
		var got noun
		if err := body.Patch(stored, []byte(c.patch), []string{"type"}, &got); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPatchRefusesWhatDecodeRefuses(t *testing.T) {
	var got noun
	lines := problems(t, body.Patch(noun{}, []byte(`{"labels": 3, "naem": "x"}`), nil, &got))
	if len(lines) != 2 {
		t.Errorf("%q", lines)
	}
	problems(t, body.Patch(noun{}, []byte(`[]`), nil, &got))
	problems(t, body.Patch(noun{}, []byte(`{`), nil, &got))
}

func TestNamed(t *testing.T) {
	fields := body.Named([]byte(`{"a": {"b": null, "c": [{"d": 1}]}, "e": 1}`))
	for path, want := range map[string]bool{
		"a": true, "a.b": true, "a.b.x": false, "a.c.0.d": true, "a.c.1.d": false, "e": true, "e.f": false, "g": false,
	} {
		if got := fields.Has(path); got != want {
			t.Errorf("Has(%q) = %v", path, got)
		}
	}
	if body.Named([]byte(`7`)).Has("a") {
		t.Error("a number has members")
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"name":"a","count":1}`, `{"type":{"or":{"or":{"header":"x"}}}}`, `{"headers":[{},null,[]]}`, `{"raw":{"deep":[[[1]]]}}`,
		`{"sign":"none","dedupe":{"off":true}}`, `{"labels":{"a":null}}`, `{"at":"2026-01-02T03:04:05Z"}`, `null`, `[`, "\xff", `{"a":1}{"b":2}`,
	} {
		f.Add([]byte(seed), []byte(`{"name":null}`))
	}
	f.Fuzz(func(t *testing.T, text, patch []byte) {
		var got noun
		if err := body.Decode(text, &got); err != nil {
			if hook.KindOf(err) != hook.KindInvalid {
				t.Fatalf("an error that is not about the input: %v", err)
			}
			return
		}
		// What was read can be written and read again without a change.
		written, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var again noun
		if err := body.Decode(written, &again); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		var patched noun
		if err := body.Patch(got, patch, []string{"type"}, &patched); err != nil && hook.KindOf(err) != hook.KindInvalid {
			t.Fatalf("an error that is not about the input: %v", err)
		}
		body.Named(text).Has("a.0.b")
	})
}

func TestCarryKeepsCredentialsInHeadersThatComeBackEmpty(t *testing.T) {
	stored := hook.HTTPTarget{Headers: hook.CustomHeaders{"X-Api-Key": "secret", "X-Token": "other", "X-Plant": "7"}}
	changed := hook.HTTPTarget{Headers: hook.CustomHeaders{"X-Api-Key": "", "X-Plant": "", "X-New-Token": ""}}
	body.Carry(&stored, &changed, body.Named([]byte("{}")))
	want := hook.CustomHeaders{"X-Api-Key": "secret", "X-Plant": "", "X-New-Token": ""}
	if diff := cmp.Diff(want, changed.Headers); diff != "" {
		t.Error(diff)
	}
}
