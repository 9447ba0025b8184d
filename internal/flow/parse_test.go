package flow

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
)

const example = `sources:
  shop:
    provider: shopify            # profile: how to verify, answer, read the type and the id
    secret: ${SHOPIFY_SECRET}
  meter:
    verify: { token: { header: x-token, secret: "${METER_TOKEN}" } }
    type: { header: x-type }
    dedupe: { path: id, window: 24h }
  open:
    verify: none
    type: ping
  bare:
destinations:
  erp:
    http:
      url: https://erp.example.com/orders
      headers: { x-version: 2 }
      auth: { bearer: "${ERP_TOKEN}" }
      sign: { secret: "${ERP_SIGNING_SECRET}" }
      timeout: 15s
    rate: 50/s
    concurrency: 8
  audit:
    http: { url: https://audit.example.com/, sign: none }
connections:
  orders-to-erp:
    from: shop
    to: erp
    types: [orders/*]
    filter: double(data.total_price) >= 100.0
    order: { key: data.customer.id, stuck: park }
    retry: { schedule: [5s, 1m, 10m, 1h, 6h, 24h], jitter: 0 }
`

func none(string) (string, bool) { return "", false }

func lookup(name string) (string, bool) {
	value, ok := map[string]string{
		"SHOPIFY_SECRET":     "shh",
		"METER_TOKEN":        "meter",
		"ERP_TOKEN":          "bearer",
		"ERP_SIGNING_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"EMPTY":              "",
		"EIGHT":              "8",
	}[name]
	return value, ok
}

func parse(t *testing.T, text string) (*Flow, error) {
	t.Helper()
	return Parse([]File{{Name: "flow.yaml", Data: []byte(text)}}, Options{Lookup: lookup, Rules: Rules{Destination: noLoopback}})
}

func noLoopback(spec *hook.DestinationSpec) error {
	if strings.Contains(spec.HTTP.URL, "127.0.0.1") {
		return hook.Invalid("no", []hook.Problem{{Path: "http.url", Message: "127.0.0.1 is a loopback address: --allow-private opens it"}})
	}
	return nil
}

func TestParse(t *testing.T) {
	parsed, err := parse(t, example)
	if err != nil {
		t.Fatal(err)
	}
	jitter := 0.0
	want := State{
		Sources: map[string]hook.SourceSpec{
			"shop": {Provider: "shopify", Secret: "shh"},
			"meter": {
				Verify: &hook.Verify{Token: &hook.TokenRule{Header: "x-token", Secret: "meter"}},
				Type:   &hook.Field{Header: "x-type"},
				Dedupe: &hook.Dedupe{Field: hook.Field{Path: "id"}, Window: hook.Duration(24 * time.Hour)},
			},
			"open": {Verify: &hook.Verify{None: true}, Type: &hook.Field{Value: "ping"}},
			"bare": {},
		},
		Destinations: map[string]hook.DestinationSpec{
			"erp": {
				HTTP: &hook.HTTPTarget{
					URL: "https://erp.example.com/orders", Headers: map[string]string{"x-version": "2"}, Auth: &hook.Auth{Bearer: "bearer"},
					Sign: &hook.Sign{Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, Timeout: hook.Duration(15 * time.Second),
				},
				Rate: hook.Rate{Count: 50, Per: time.Second}, Concurrency: 8,
			},
			"audit": {HTTP: &hook.HTTPTarget{URL: "https://audit.example.com/", Sign: &hook.Sign{None: true}}},
		},
		Connections: map[string]ConnectionSpec{
			"orders-to-erp": {From: "shop", To: "erp", ConnectionSpec: hook.ConnectionSpec{
				Types: []string{"orders/*"}, Filter: "double(data.total_price) >= 100.0",
				Order: &hook.Order{Key: "data.customer.id", Stuck: "park"},
				Retry: hook.RetryPolicy{
					Schedule: []hook.Duration{
						hook.Duration(5 * time.Second), hook.Duration(time.Minute), hook.Duration(10 * time.Minute),
						hook.Duration(time.Hour), hook.Duration(6 * time.Hour), hook.Duration(24 * time.Hour),
					},
					Jitter: &jitter,
				},
			}},
		},
	}
	if diff := cmp.Diff(want, parsed.State()); diff != "" {
		t.Error(diff)
	}
}

// Every mistake is named with its place, what it is, and how to mend it.
func TestParseErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"no yaml", "sources: [", `flow.yaml:2:1: this is not YAML: while parsing a flow node: did not find expected node content`},
		{"tab", "sources:\n\tshop: {verify: none}", `flow.yaml:2:1: this is not YAML: a tab stands before the first word: indent by spaces`},
		{"not a mapping", "- a", `flow.yaml:1:1: the file must be a mapping of names to values, not a list`},
		{"top key", "source: {}", `flow.yaml:1:1: unknown key "source"; did you mean "sources"?`},
		{"deep key", "sources:\n  shop:\n    verify:\n      hmac:\n        heder: x", `flow.yaml:5:9: unknown key "heder" in sources.shop.verify.hmac; did you mean "header"?`},
		{"key of nothing near", "destinations:\n  erp:\n    zzzzz: 1", `flow.yaml:3:5: unknown key "zzzzz" in destinations.erp; known are: adaptive, burst, circuit, concurrency, http, inFlight, pauseReason, paused, quiet, rate`},
		{"twice", "sources:\n  a: {}\n  a: {}", `flow.yaml:3:3: the key "a" in sources occurs twice: it stands in line 2 already`},
		{"twice in two documents", "sources:\n  a: {}\n---\nsources:\n  a: {}", `flow.yaml:5:3: sources.a is there already, in flow.yaml:2:3: remove one of them, or give it another name`},
		{"list for text", "sources:\n  a:\n    provider: [x]", `flow.yaml:3:15: sources.a.provider must be a text, not a list`},
		{"text for list", "sources:\n  a:\n    methods: POST", `flow.yaml:3:14: sources.a.methods must be a list, such as [a, b], not "POST"`},
		{"text for mapping", "destinations:\n  a:\n    http: https://x", `flow.yaml:3:11: destinations.a.http must be a mapping, not "https://x"; known are: auth, ca, encoding, forward, headers, method, sign, timeout, url`},
		{"text for number", "destinations:\n  a:\n    concurrency: \"8\"", `flow.yaml:3:18: destinations.a.concurrency must be a whole number, not "8"`},
		{"number for switch", "sources:\n  a:\n    disabled: 1", `flow.yaml:3:15: sources.a.disabled must be true or false, not "1"`},
		{"nothing", "sources:\n  a:\n    provider:", `flow.yaml:3:14: sources.a.provider is empty: write a value, or leave the key out`},
		{"duration", "sources:\n  a:\n    dedupe: {path: id, window: soon}", `flow.yaml:3:32: sources.a.dedupe.window: "soon" is not a duration: write a number and a unit, such as 5s, 10m, 2h or 30d`},
		{"rate", "destinations:\n  a: {rate: 5}", `flow.yaml:2:13: destinations.a.rate: "5" is not a rate: write a number per s, m or h, such as 50/s`},
		{"word of verify", "sources:\n  a: {verify: nothing}", `flow.yaml:2:15: sources.a.verify: "nothing" is not a way to verify: write none, or a mapping such as {token: {header: x-token}}`},
		{"merge key", "sources:\n  a:\n    <<: {provider: x}", `flow.yaml:3:5: merge keys (<<) are not read: write the keys in sources.a out, or share a whole value by an alias`},
		{"variable", "sources:\n  shop:\n    secret: ${SHOP_SECRET}", `flow.yaml:3:13: sources.shop.secret: the environment variable SHOP_SECRET is not set: set it, or write ${file:/path} to read the value from a file`},
		{"empty variable", "sources:\n  shop:\n    secret: ${EMPTY}", `flow.yaml:3:13: sources.shop.secret: the environment variable EMPTY is empty: give it a value`},
		{"bad reference", "sources:\n  shop:\n    secret: ${a b}", `flow.yaml:3:13: sources.shop.secret: ${a b} is not a reference: write ${NAME} with letters, digits and underscores, ${file:/path}, or $${ for the two characters themselves`},
		{"open reference", "sources:\n  shop:\n    secret: ${A", `flow.yaml:3:13: sources.shop.secret: "${" has no "}": write ${NAME} for a variable, ${file:/path} for a file, or $${ for the two characters themselves`},
		{"secret file", "sources:\n  shop:\n    secret: ${file:/nowhere/at/all}", `flow.yaml:3:13: sources.shop.secret: the secret file /nowhere/at/all cannot be read: no such file or directory`},
		{"secret for a number", "destinations:\n  a:\n    concurrency: ${ERP_TOKEN}", `flow.yaml:3:18: destinations.a.concurrency must be a whole number, not "${ERP_TOKEN}"`},
		{"secret for a duration", "destinations:\n  a: {http: {url: https://x.example, timeout: \"${ERP_TOKEN}\"}}", `flow.yaml:2:47: destinations.a.http.timeout: what "${ERP_TOKEN}" stands for cannot be used here`},
		{"from", "sources: {shop: }\ndestinations: {erp: {http: {url: https://x.example}}}\nconnections:\n  c:\n    from: shp\n    to: erp", `flow.yaml:5:11: connections.c.from: no source "shp" in the flow; did you mean "shop"?`},
		{"no from", "destinations: {erp: {http: {url: https://x.example}}}\nconnections:\n  c:\n    to: erp", `flow.yaml:3:3: connections.c.from: a source is needed: write from: and its name`},
		{"no destinations", "sources: {shop: }\nconnections:\n  c:\n    from: shop\n    to: erp", `flow.yaml:5:9: connections.c.to: no destination "erp": the flow has none`},
		{"name", "sources:\n  a b: {}", `flow.yaml:2:3: sources.a b: "a b" cannot be a name: use up to 64 letters, digits, '-', '_' and '.', a letter or digit first`},
		{"no kind", "destinations:\n  erp: {}", `flow.yaml:2:3: destinations.erp: the destination has no kind: write http: and its url`},
		{"private address", "destinations:\n  erp:\n    http: {url: \"http://127.0.0.1:9/\"}", `flow.yaml:3:17: destinations.erp.http.url: 127.0.0.1 is a loopback address: --allow-private opens it`},
		{"one of two places", "sources:\n  a:\n    type: {header: x, or: {header: y, query: z}}", `flow.yaml:3:23: sources.a.type.or: give one of header, query, path, expr and value, not several`},
		{"stuck", withConnection("    order: {key: data.id, stuck: skip}"), `flow.yaml:7:34: connections.c.order.stuck: "skip" is not a rule for a stuck head: write block, park, or skip after N`},
		{"retry", withConnection("    retry:\n      off: true\n      schedule: [5s]"), `flow.yaml:7:5: connections.c.retry: off and schedule contradict each other: remove one of them`},
		{"jitter", withConnection("    retry: {jitter: 2}"), `flow.yaml:7:21: connections.c.retry.jitter: 2 is not a share: it goes from 0 to 1`},
		{"method", "sources:\n  a: {methods: [POST, FOO]}", `flow.yaml:2:23: sources.a.methods.1: "FOO" is not a method that can be taken; known are: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT`},
		{"method in lower case", "sources:\n  a: {methods: [post]}", `flow.yaml:2:17: sources.a.methods.0: "post" is not a method that can be taken; did you mean "POST"?`},
		{
			"reply", "sources:\n  a:\n    reply:\n      status: 500\n      headers: {a b: c, x: \"a\\nb\", Content-Length: \"2\", retry-after: \"1\"}",
			`flow.yaml:4:15: sources.a.reply.status: 500 does not say that the request was accepted: it goes from 200 to 299` +
				"\nflow.yaml:5:22: sources.a.reply.headers.a b: \"a b\" is not a header name" +
				"\nflow.yaml:5:28: sources.a.reply.headers.x: the value has a line break or another control character" +
				"\nflow.yaml:5:52: sources.a.reply.headers.Content-Length: Content-Length is set by the server and cannot be set here",
		},
		{"redirect", "sources:\n  a: {reply: {status: 302}}", `flow.yaml:2:23: sources.a.reply.status: 302 does not say that the request was accepted: it goes from 200 to 299`},
		{"type pattern", withConnection("    types: [a, \"\"]"), `flow.yaml:7:16: connections.c.types.1: the pattern is empty: write an event type, such as orders/create, or orders/*`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(t, test.text)
			got := place(err)
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if err != nil && hook.KindOf(err) != hook.KindInvalid {
				t.Errorf("the error's kind is %v", hook.KindOf(err))
			}
		})
	}
}

func withConnection(rest string) string {
	return "sources: {a: }\ndestinations: {b: {http: {url: https://x.example}}}\nconnections:\n  c:\n    from: a\n    to: b\n" + rest
}

// place returns the problems of an error, one a line.
func place(err error) string {
	invalid := (*hook.Error)(nil)
	if !errors.As(err, &invalid) {
		return "no error with problems"
	}
	lines := make([]string, 0, len(invalid.Problems))
	for _, problem := range invalid.Problems {
		lines = append(lines, problem.Path+": "+problem.Message)
	}
	return strings.Join(lines, "\n")
}

// What another package judges is shown with its place, too.
func TestParseErrorsOfOthers(t *testing.T) {
	for _, test := range []struct{ name, text, at, part string }{
		{"filter", withConnection("    filter: data.total >="), "flow.yaml:7:13: connections.c.filter: ", "column"},
		{"order key", withConnection("    order: {key: data. }"), "flow.yaml:7:18: connections.c.order.key: ", ""},
		{"field", "sources:\n  a:\n    type: {header: x, query: y}", "flow.yaml:3:5: sources.a.type: ", "header"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(t, test.text)
			if got := place(err); !strings.HasPrefix(got, test.at) || !strings.Contains(got, test.part) {
				t.Errorf("got %s", got)
			}
		})
	}
	refuse := func(*hook.SourceSpec) error {
		return hook.Invalid("no", []hook.Problem{{Path: "verify.anyOf.1.hmac.hash", Message: "md4 is not known"}})
	}
	_, err := Parse([]File{{Name: "f.yaml", Data: []byte("sources:\n  a:\n    verify:\n      anyOf: [{none: true}, {hmac: {hash: md4}}]")}},
		Options{Lookup: none, Rules: Rules{Source: refuse}})
	if got, want := place(err), "f.yaml:4:43: sources.a.verify.anyOf.1.hmac.hash: md4 is not known"; got != want {
		t.Errorf("got %s", got)
	}
}

// The examples that people read are right.
func TestDocumentedExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/flows.md")
	if err != nil {
		t.Fatal(err)
	}
	var states []State
	for _, rest := range strings.Split(string(page), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(rest, "```")
		parsed, err := parse(t, text)
		if err != nil {
			t.Fatal(place(err))
		}
		states = append(states, parsed.State())
	}
	if len(states) != 2 {
		t.Fatalf("there are %d examples", len(states))
	}
	if state := states[0]; len(state.Sources) != 3 || len(state.Destinations) != 2 || len(state.Connections) != 2 || state.Sources["meter"].Verify.Token.Secret != "meter" {
		t.Errorf("got %+v", state)
	}
	if state := states[1]; state.Destinations["erp"].Quiet == nil || state.Connections["orders-to-erp"].Order.Rule() != (hook.Stuck{Park: true}) {
		t.Errorf("got %+v", state)
	}
}

func TestParseFolder(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"b.yml":        "destinations: {erp: {http: {url: https://x.example, auth: {bearer: \"${file:token}\"}}}}",
		"a.yaml":       "sources: {shop: }",
		"c.yaml":       "connections: {c: {from: shop, to: erp}}",
		"token":        "t0ken\n",
		"notes.txt":    "not: [yaml",
		".hidden.yaml": "not: [yaml",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := ReadFiles(folder)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := Parse(files, Options{Lookup: none})
	if err != nil {
		t.Fatal(err)
	}
	state := parsed.State()
	if len(state.Sources) != 1 || len(state.Connections) != 1 || state.Destinations["erp"].HTTP.Auth.Bearer != "t0ken" {
		t.Errorf("got %+v", state)
	}
	if _, err := ReadFiles(filepath.Join(folder, "nowhere")); err == nil || !strings.Contains(err.Error(), "nowhere cannot be read: no such file") {
		t.Errorf("got %v", err)
	}
	if _, err := ReadFiles(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no flow files") {
		t.Errorf("got %v", err)
	}
}

func TestParseBounds(t *testing.T) {
	bomb := "sources:\n  a: &a {settings: &s0 {k: v}}\nx0: &x0 [1,1,1,1,1,1,1,1,1,1]\n"
	for _, test := range []struct{ name, text, want string }{
		{"deep", "sources: {a: {type: " + strings.Repeat("{or: ", 100) + "{header: x}" + strings.Repeat("}", 100) + "}}", "nested deeper"},
		{"long", strings.Repeat("#", 5<<20), "split it"},
		{"cycle", "sources:\n  a: {type: &x {or: *x}}", "nested deeper"},
		{"unused anchors", bomb, `unknown key "x0"`},
	} {
		_, err := parse(t, test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	var wide strings.Builder
	wide.WriteString("sources:\n  a: {methods: &m [" + strings.Repeat("a,", 1000) + "]}\n")
	for range 300 {
		wide.WriteString("  b" + strings.Repeat("x", wide.Len()%50) + "y: {methods: *m}\n")
	}
	if _, err := parse(t, wide.String()); err == nil {
		t.Error("a flow of endless aliases is accepted")
	}
}

func TestExpand(t *testing.T) {
	e := &expander{lookup: lookup}
	for text, want := range map[string]string{
		"":                            "",
		"plain $ {x} $$ }":            "plain $ {x} $$ }",
		"Bearer ${ERP_TOKEN}!":        "Bearer bearer!",
		"${EIGHT}${EIGHT}":            "88",
		"$${EIGHT}":                   "${EIGHT}",
		"$$${EIGHT}":                  "$${EIGHT}",
		"${EIGHT}$${x}${METER_TOKEN}": "8${x}meter",
	} {
		got, err := e.expand(text)
		if err != nil || got != want {
			t.Errorf("expand(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzFlow(f *testing.F) {
	f.Add([]byte(example))
	for _, seed := range []string{
		"", "a", "sources: {a: *x}", "sources: &x {a: *x}", "sources: {a: {type: &x {or: *x}}}", "? [a]\n: b", "--- a\n--- b\n...",
		"sources:\n  ? {a: b}\n  : c", "connections: {a: {filter: \"data.x == '${EIGHT}'\", types: ['*']}}", "%YAML 1.2\n---\nsources: !!set {a}",
		"destinations: {a: {http: {url: 'http://[::1', headers: {a: \"\\n\"}}}}", "sources: {a: {secrets: [${A}, $${]}}", "\xff\xfe", "sources: !!binary aGk=",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := Parse([]File{{Name: "fuzz.yaml", Data: data}}, Options{Lookup: lookup})
		if err != nil {
			if invalid := (*hook.Error)(nil); !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
				t.Fatalf("an error without problems: %v", err)
			}
			return
		}
		plan, err := parsed.Plan(1, hook.Catalogue{}, true)
		if err != nil {
			t.Fatalf("a flow that Parse accepts cannot be planned: %v", err)
		}
		if text := plan.Text(); !strings.HasSuffix(text, ".\n") {
			t.Fatalf("the plan's text breaks off: %q", text)
		}
	})
}
