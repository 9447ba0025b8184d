package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// The examples of RFC 7396, appendix A.
func TestMergeDoesWhatTheStandardShows(t *testing.T) {
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		if got, err := merge([]byte(c.target), []byte(c.patch)); err != nil || string(got) != c.want {
			t.Errorf("%s patched by %s: %s, %v; want %s", c.target, c.patch, got, err, c.want)
		}
	}
}

func TestAnEditKeepsTheBytesThatItDoesNotName(t *testing.T) {
	for _, c := range []struct{ payload, patch, want string }{
		{`{"n": 1.10, "big": 12345678901234567890, "e": 1E+2, "x": 1}`, `{"x": 2}`, `{"n":1.10,"big":12345678901234567890,"e":1E+2,"x":2}`},
		{" {\"keep\": { \"a\" :  1 } , \"x\":1}\n", `{"x":1.50}`, `{"keep":{ "a" :  1 },"x":1.50}`},
		{`{"\u0061":1,"<b>":"<\u00e9>","x":0}`, `{"a":2}`, `{"\u0061":2,"<b>":"<\u00e9>","x":0}`},
		{`{"a":1,"b":2,"a":{"c":3}}`, `{"a":{"d":4}}`, `{"a":{"c":3,"d":4},"b":2}`},
		{`{"a":1,"b":2,"a":3}`, `{"a":null}`, `{"b":2}`},
		{`{"a":1}`, `{}`, `{"a":1}`},
	} {
		if got, err := edit([]byte(c.payload), []byte(c.patch)); err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.payload, got, err, c.want)
		}
	}
}

func TestWhatIsNoObjectIsNotEdited(t *testing.T) {
	for _, c := range []struct {
		payload string
		want    error
	}{
		{"", errNotJSON},
		{"a=1&b=2", errNotJSON},
		{`{"a":1`, errNotJSON},
		{"\f{}", errNotJSON},
		{`[{"a":1}]`, errNotObject},
		{`"x"`, errNotObject},
		{" null ", errNotObject},
	} {
		payload, want := c.payload, c.want
		if got, err := edit([]byte(payload), []byte(`{"a":2}`)); !errors.Is(err, want) {
			t.Errorf("%q: %s, %v; want %v", payload, got, err, want)
		}
	}
}

func TestCheckEdit(t *testing.T) {
	for patch, want := range map[string]string{
		`{"a":{"b":null}}`: "", `{"a":`: "not JSON", `[1]`: "must be a JSON object", ``: "not JSON",
		`{"a":"` + strings.Repeat("x", maxEdit) + `"}`:                    "is the most",
		strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33):       "32 deep",
		strings.Repeat(`{"a":`, 32) + "1" + strings.Repeat("}", 32):       "",
		`{"a":` + strings.Repeat(`[`, 40) + strings.Repeat("]", 40) + `}`: "32 deep",
	} {
		if got := checkEdit([]byte(patch)); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%.40s…: %q, want %q", patch, got, want)
		}
	}
}

// FuzzMerge holds the edit of any payload to what the same patch does to values that
// were decoded, and to being valid, and the same when it is repeated.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1.0},"c":[1]}`), []byte(`{"a":{"b":null,"d":2},"c":null}`))
	f.Add([]byte(`{"a":1,"a":2}`), []byte(`{"a":{"b":3}}`))
	f.Add([]byte("{\"\xff\":1}"), []byte(`{"\ufffd":null}`))
	f.Add([]byte("\f{}"), []byte(`{}`))
	f.Add([]byte(`{"\ud800":1}`), []byte(`{"x":"\ud800"}`))
	f.Fuzz(func(t *testing.T, payload, patch []byte) {
		if len(patch) == 0 || checkEdit(patch) != "" {
			return
		}
		got, err := edit(payload, patch)
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%q patched by %q is no JSON: %q", payload, patch, got)
		}
		want := mergeValues(decode(t, payload), decode(t, patch))
		if !reflect.DeepEqual(decode(t, got), want) {
			t.Fatalf("%q patched by %q: %q", payload, patch, got)
		}
		again, err := edit(got, patch)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q patched by %q twice: %q, then %q, %v", payload, patch, got, again, err)
		}
	})
}

// mergeValues is the algorithm of RFC 7396, section 2, over decoded values.
func mergeValues(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	members, ok := target.(map[string]any)
	if !ok {
		members = map[string]any{}
	}
	for name, value := range changes {
		if value == nil {
			delete(members, name)
		} else {
			members[name] = mergeValues(members[name], value)
		}
	}
	return members
}

func decode(t *testing.T, text []byte) (value any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
