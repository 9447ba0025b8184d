package message

import (
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
)

func TestFields(t *testing.T) {
	req := &Request{Body: []byte(`{"a":{"b.c":1,"x*":"star","@type":"t","n":null,"o":{},"big":12345678901234567890,"f":1.50,"t":true},"l":[{"i":"z"}]}`)}
	for path, want := range map[string]string{
		`a.b\.c`: "1", "a.x*": "star", "a.@type": "t", "l.0.i": "z", "a.big": "12345678901234567890", "a.f": "1.50", "a.t": "true",
	} {
		if got, ok := req.Field(path); !ok || got != want {
			t.Errorf("%s: %q, %v", path, got, ok)
		}
	}
	for _, path := range []string{"a.n", "a.o", "a", "none", "", "l.#", "l.#.i", "@this", "a|@pretty", "l.9.i"} {
		if got, ok := req.Field(path); ok {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// A checker that recurses for every bracket would end the process here, and no recover
// helps against an exhausted stack.
func TestHostileNestingInAFormFieldDoesNotExhaustTheStack(t *testing.T) {
	for _, nested := range []string{strings.Repeat("[", 10<<20), strings.Repeat("%7B%22a%22:", 1<<20)} {
		req := &Request{
			Body:    []byte("payload=" + nested),
			Headers: hook.Headers{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}},
		}
		if got, ok := req.Field("payload.plainToken"); ok {
			t.Errorf("found %q", got)
		}
	}
}

func TestAFormThatCannotBeReadWholeIsNoForm(t *testing.T) {
	for body, want := range map[string]bool{
		"a=1&b=2": true, "a=1&b=2;c=3": false, "a=1&b=%zz": false, strings.Repeat("a&", 20_000): false,
	} {
		req := &Request{Body: []byte(body), Headers: hook.Headers{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}}
		if _, ok := req.Form(); ok != want {
			t.Errorf("%.20s: a form is %v", body, ok)
		}
		template, err := Parse("{body.sorted}", ForContent)
		if err != nil {
			t.Fatal(err)
		}
		if signed := template.Text(&Env{Request: req}); !want && signed != body {
			t.Errorf("%.20s: %.20q would be signed, which leaves a part open", body, signed)
		}
	}
}

func FuzzField(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1}}`), "a.b", "application/json")
	f.Add([]byte("a%5Bb%5D=1&c=%7B%22d%22%3A2%7D"), "c.d", "application/x-www-form-urlencoded")
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--"), "a", "multipart/form-data; boundary=b")
	f.Fuzz(func(t *testing.T, body []byte, path, kind string) {
		req := &Request{Body: body, Headers: hook.Headers{{Name: "Content-Type", Value: kind}}}
		first, ok := req.Field(path)
		if again, same := req.Field(path); first != again || ok != same {
			t.Errorf("%q and then %q", first, again)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	for _, text := range []string{
		"{timestamp}.{body}", "[id:{query:data.id|lower};]ts:{timestamp};", `{{"a":{field:b|json}}`, "{url|unescape-reserved}{crc32}",
		"{body.sorted}{host}{path}{setting:x}{header:y|hex|base64|sha256|compact|upper|trim|query-unescape}",
	} {
		f.Add(text, uint8(0))
		f.Add(text, uint8(1))
	}
	f.Fuzz(func(t *testing.T, text string, purpose uint8) {
		template, err := Parse(text, Purpose(purpose%3))
		if err != nil {
			return
		}
		env := &Env{
			Request:  &Request{Method: "POST", URL: "https://a.example/x%2Fy?q=1", Query: "q=1", Body: []byte(`{"b":"<c>"}`)},
			Settings: map[string]string{"x": "1"}, Timestamp: "5", Secret: "s", Key: []byte("k"),
		}
		whole := template.Text(env)
		var parts strings.Builder
		template.WriteTo(&parts, nil, env)
		if parts.String() != whole {
			t.Errorf("written %q, appended %q", parts.String(), whole)
		}
	})
}
