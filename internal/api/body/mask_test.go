package body_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/hook"
)

func TestMask(t *testing.T) {
	type asked struct {
		Name   string               `json:"name"`
		Count  int64                `json:"count"`
		Secret hook.Secret          `json:"secret"`
		More   []hook.Secret        `json:"more"`
		HTTP   *hook.HTTPTarget     `json:"http"`
		Nouns  map[string]hook.Auth `json:"nouns"`
		Raw    json.RawMessage      `json:"raw"`
		Sign   *hook.Sign           `json:"sign"`
	}
	for text, want := range map[string]string{
		``:                                 ``,
		`{`:                                ``,
		`{"name":"a","secret":"x"}`:        `{"name":"a","secret":"[secret]"}`,
		`{"count":9007199254740993}`:       `{"count":9007199254740993}`,
		`{"secret":null,"more":["x","y"]}`: `{"more":["[secret]","[secret]"],"secret":null}`,
		`{"secret":["x"],"other":"x","more":"x"}`:                     `{"more":"[secret]","other":"[secret]","secret":"[secret]"}`,
		`{"http":{"auth":{"basic":{"username":"u","password":"x"}}}}`: `{"http":{"auth":{"basic":{"password":"[secret]","username":"u"}}}}`,
		`{"http":{"headers":{"X-Plant":"7","Authorization":"x"}}}`:    `{"http":{"headers":{"Authorization":"[secret]","X-Plant":"7"}}}`,
		`{"nouns":{"a":{"bearer":"x"}},"raw":{"any":["thing"]}}`:      `{"nouns":{"a":{"bearer":"[secret]"}},"raw":{"any":["thing"]}}`,
		`{"sign":"none"}`: `{"sign":"none"}`,
	} {
		if got := body.Mask([]byte(text), reflect.TypeFor[asked](), 1000); string(got) != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}

func TestMaskedBodiesAreShort(t *testing.T) {
	type asked struct {
		Name string `json:"name"`
	}
	for _, letter := range []string{"a", `\"`, "é", "\\u0001"} {
		text := `{"name":"` + strings.Repeat(letter, 9000) + `"}`
		got := body.Mask([]byte(text), reflect.TypeFor[asked](), 4096)
		var cut struct {
			Bytes int    `json:"bytes"`
			Begin string `json:"begin"`
		}
		if err := json.Unmarshal(got, &cut); err != nil || len(got) > 4096 || len(cut.Begin) < 500 || cut.Bytes < 9000 {
			t.Errorf("%q: %d bytes, %v, %d of %d", letter, len(got), err, len(cut.Begin), cut.Bytes)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add([]byte(`{"secret":"canary","http":{"auth":{"bearer":"canary"}}}`))
	f.Add([]byte(`{"secrets":[["canary"]],"http":[1]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got := body.Mask(text, reflect.TypeFor[hook.DestinationSpec](), 500)
		if len(got) > 500 || (len(got) > 0 && !json.Valid(got)) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
