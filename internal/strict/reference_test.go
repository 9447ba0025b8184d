package strict

import (
	"strings"
	"testing"
)

func TestReferencesNeedNoQuotes(t *testing.T) {
	tests := map[string]struct{ document, want string }{
		"in a flow mapping":         {"a: { b: ${X} }", "<X>"},
		"inside of a text":          {"a: { b: Bearer ${X}!, c: 1 }", "Bearer <X>!"},
		"several":                   {"a: { b: ${X}, c: ${Y} }", "<X>"},
		"quoted":                    {`a: { b: "${X}" }`, "<X>"},
		"in a block":                {"a:\n  b: ${X}", "<X>"},
		"in a block text":           {"a:\n  b: |-\n    x ${X}", "x <X>"},
		"by alias":                  {"a: { c: &x '${X}', b: *x }", "<X>"},
		"with the characters of it": {"a: { b: \"\uF8F0${X}\" }", "\uF8F0<X>"},
		"with an escape of them":    {`a: { b: "\uF8F0${X}" }`, "\uF8F0<X>"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			decoder := &Decoder{Expand: func(text string) (string, error) {
				return strings.NewReplacer("${X}", "<X>", "${Y}", "<Y>").Replace(text), nil
			}}
			var into struct {
				A map[string]string `json:"a"`
			}
			for _, root := range decoder.Documents("f", []byte(test.document)) {
				decoder.Decode("f", "", root, &into)
			}
			if found := decoder.Problems(); len(found) > 0 || into.A["b"] != test.want {
				t.Errorf("got %q and the mistakes %v, want %q", into.A["b"], found, test.want)
			}
		})
	}
}

func TestReferencesKeepThePlaces(t *testing.T) {
	decoder := &Decoder{Expand: func(text string) (string, error) { return text, nil }}
	var into struct {
		A map[string]int `json:"a"`
	}
	for _, root := range decoder.Documents("f", []byte("a: { b: ${X}, c: [] }")) {
		decoder.Decode("f", "", root, &into)
	}
	var places []string
	for _, problem := range decoder.Problems() {
		places = append(places, problem.String())
	}
	if got := strings.Join(places, " "); got != "f:1:9 f:1:18" {
		t.Errorf("the mistakes are at %s, want f:1:9 f:1:18", got)
	}
	if noted := decoder.Problems(); len(noted) > 0 && !strings.Contains(noted[0].Message, "${X}") {
		t.Errorf("the mistake does not quote the reference: %s", noted[0].Message)
	}
}
