package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
)

func TestEvents(t *testing.T) {
	s := newServer(t)
	events := []hook.Event{
		{
			ID: 12, Source: 1, Type: "orders/create", Key: "1001", ReceivedAt: now.Add(-3 * time.Minute), PayloadSize: 2048,
			Verdict: hook.Verdict{Scheme: "hmac", Verified: true}, Targets: []hook.Target{{Delivery: 5, Connection: 3, Destination: 2}},
		},
		{
			ID: 11, Source: 99, Type: "x\x1b[31m" + strings.Repeat("y", 80), ReceivedAt: now.Add(-50 * time.Hour), PayloadSize: 3, Duplicates: 2,
			Verdict: hook.Verdict{Scheme: "none"}, Unmatched: []hook.Miss{{Connection: 3, Error: "no such key: total"}},
		},
	}
	s.answers["GET /api/v1/event"] = page(events...)
	x := s.terminal()
	got := x.run("events", "--source", "shop", "--type", "orders/*", "--after", "1h", "--limit", "5")
	if got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	golden(t, "testdata/events.golden", got.out)
	if want := "GET /api/v1/event?after=2026-03-04T04%3A06%3A07Z&limit=5&source=shop&type=orders%2F%2A"; s.sent() != want {
		t.Errorf("sent %s", s.sent())
	}
	before := len(s.requests)
	lines := strings.Split(strings.TrimSpace(x.run("events", "list", "--json").out), "\n")
	var first hook.Event
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || first.ID != 12 || len(lines) != 2 {
		t.Errorf("got %v (%v)", lines, err)
	}
	if made := len(s.requests) - before; made != 1 {
		t.Errorf("JSON output took %d requests", made)
	}
	s.answers["GET /api/v1/event"] = page[hook.Event]()
	if got := x.run("events"); got.out != "There are no such events.\n" {
		t.Errorf("got %+v", got)
	}
}

func TestEventGet(t *testing.T) {
	s := newServer(t)
	s.answers["GET /api/v1/event/evt_0000000000012"] = hook.Event{
		ID: 34, Source: 1, Type: "orders/create", ProviderID: "d-1", Method: "POST", Path: "/sub", Query: "a=b", Remote: "192.0.2.7", PayloadSize: 12,
		ReceivedAt: now, Verdict: hook.Verdict{Scheme: "hmac", Verified: true},
		Headers:   hook.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Topic", Value: "orders\r\ncreate"}},
		Targets:   []hook.Target{{Delivery: 5, Connection: 3, Destination: 2}},
		Unmatched: []hook.Miss{{Connection: 4, Error: "no such key"}},
	}
	s.answers["GET /api/v1/event/evt_0000000000012/payload"] = "{\"a\":1}\x00"
	x := s.terminal()
	golden(t, "testdata/event.golden", x.run("events", "get", "evt_0000000000012").out)
	if got := x.run("events", "get", "evt_0000000000012", "--payload"); got.out != "{\"a\":1}\x00" {
		t.Errorf("got %+v", got)
	}
	if got := x.run("events", "get", "evt_x"); got.code != exitFailed || got.err != "malote: nothing at GET /api/v1/event/evt_x\n" || got.out != "" {
		t.Errorf("got %+v", got)
	}
}

func TestEventsFollow(t *testing.T) {
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	s.answers["GET /api/v1/event"] = func(w http.ResponseWriter, r *http.Request) {
		calls++
		switch calls {
		case 1:
			fmt.Fprint(w, `{"data":[{"id":"evt_0000000000002","source":"src_0000000000001","type":"b"},{"id":"evt_0000000000001","source":"src_0000000000001","type":"a"}],"done":true,"prevIterator":"-evt_0000000000002"}`)
		default:
			if r.URL.Query().Get("iterator") != "-evt_0000000000002" {
				t.Errorf("asked for %s", r.URL)
			}
			cancel()
		}
	}
	x := s.terminal()
	x.t = t
	got := runWith(ctx, x, "events", "--follow", "--limit", "2")
	if lines := strings.Split(got.out, "\n"); len(lines) != 3 || !strings.Contains(lines[0], "evt_0000000000001") || !strings.Contains(lines[1], "evt_0000000000002") {
		t.Errorf("got %+v", got)
	}
}

func TestDeliveries(t *testing.T) {
	s := newServer(t)
	next := now.Add(90 * time.Second)
	failed := hook.Delivery{
		ID: 5, Event: 12, Connection: 3, Destination: 2, State: hook.StateFailed, Reason: "it answered 500; all 3 attempts are used up",
		Attempts: 3, CreatedAt: now.Add(-2 * time.Hour), UpdatedAt: now.Add(-time.Hour),
	}
	s.answers["GET /api/v1/delivery"] = page(
		hook.Delivery{ID: 6, Event: 13, Connection: 3, Destination: 2, State: hook.StatePending, Attempts: 1, NextAttemptAt: &next, CreatedAt: now.Add(-time.Millisecond)},
		failed, hook.Delivery{ID: 4, Event: 12, Connection: 8, Destination: 9, State: hook.StateSucceeded, Attempts: 1, CreatedAt: now.Add(-20 * time.Second)},
	)
	x := s.terminal()
	golden(t, "testdata/deliveries.golden", x.run("deliveries").out)
	x.colored = true
	colored := x.run("deliveries").out
	for _, want := range []string{"\x1b[31mfailed\x1b[0m", "\x1b[32msucceeded\x1b[0m", "\x1b[33mpending\x1b[0m"} {
		if !strings.Contains(colored, want) {
			t.Errorf("the output lacks %q:\n%s", want, colored)
		}
	}
	x.env["NO_COLOR"] = "1"
	if plain := x.run("deliveries").out; strings.Contains(plain, "\x1b") {
		t.Error("NO_COLOR is not honoured")
	}
	x.colored = false
	s.answers["GET /api/v1/delivery/dlv_0000000000005"] = failed
	s.answers["GET /api/v1/delivery/dlv_0000000000005/attempt"] = api.AttemptList{Data: []hook.Attempt{
		{Number: 1, StartedAt: now.Add(-time.Hour), Duration: hook.Duration(1234567 * time.Nanosecond), Outcome: hook.OutcomeRejected, ResponseStatus: 500},
		{
			Number: 2, Manual: true, StartedAt: now, Duration: hook.Duration(15 * time.Second), Outcome: hook.OutcomeTimeout, Error: "no answer within 15s",
			Method: "POST", URL: "https://erp.example.com/", RequestHeaders: hook.Headers{{Name: "Content-Type", Value: "application/json"}},
		},
		{Number: 3, StartedAt: now, Duration: hook.Duration(90 * time.Microsecond), Outcome: hook.OutcomeSuccess, ResponseStatus: 200, ResponseBody: []byte("taken\x1b[2J\nthanks")},
	}, Done: true}
	golden(t, "testdata/delivery.golden", x.run("deliveries", "get", "dlv_0000000000005").out)
	golden(t, "testdata/attempts.golden", x.run("attempts", "dlv_0000000000005").out+"\n"+x.run("attempts", "dlv_0000000000005", "--full").out)
	if lines := strings.Split(strings.TrimSpace(x.run("attempts", "dlv_0000000000005", "--json").out), "\n"); len(lines) != 3 || !json.Valid([]byte(lines[2])) {
		t.Errorf("got %v", lines)
	}
}

func TestRetryAndCancel(t *testing.T) {
	s := newServer(t)
	x := s.terminal()
	s.answers["POST /api/v1/delivery/retry"] = api.RetryOut{Selected: 2, Retried: 1}
	if got := x.run("deliveries", "retry", "dlv_1", "dlv_2"); got.out != "1 of 2 deliveries due now.\n" || s.sent() != `POST /api/v1/delivery/retry {"ids":["dlv_1","dlv_2"]}` {
		t.Errorf("got %+v for %s", got, s.sent())
	}
	s.answers["POST /api/v1/delivery/retry"] = api.RetryOut{Selected: 1, Retried: 1, More: true}
	got := x.run("deliveries", "retry", "--state", "held", "--destination", "erp", "--after", "2026-03-01", "--limit", "1")
	if got.out != "1 of 1 delivery due now. There are more: repeat the command.\n" ||
		s.sent() != `POST /api/v1/delivery/retry {"filter":{"state":"held","destination":"erp","after":"2026-03-01T00:00:00Z"},"limit":1}` {
		t.Errorf("got %+v for %s", got, s.sent())
	}
	s.answers["POST /api/v1/delivery/dlv_1/cancel"] = hook.Delivery{ID: 1, State: hook.StateCanceled}
	if got := x.run("deliveries", "cancel", "dlv_1", "--reason", "test order"); got.out != "dlv_0000000000001 is canceled.\n" ||
		s.sent() != `POST /api/v1/delivery/dlv_1/cancel {"reason":"test order"}` {
		t.Errorf("got %+v for %s", got, s.sent())
	}
	if got := x.run("deliveries", "cancel", "dlv_1", "--json"); !json.Valid([]byte(got.out)) {
		t.Errorf("got %+v", got)
	}
}

func TestRefused(t *testing.T) {
	s := newServer(t)
	refusal := hook.Refusal{
		ID: 8, Source: 1, Reason: "signature", Explanation: []string{"The secret is another one.", "The clock is right."}, Method: "POST", Remote: "192.0.2.7",
		ReceivedAt: now.Add(-time.Hour), Headers: hook.Headers{{Name: "X-Signature", Value: "[hidden]"}},
	}
	admitted := refusal
	admitted.ID, admitted.Admitted = 7, 33
	s.answers["GET /api/v1/refused"] = page(refusal, admitted)
	s.answers["GET /api/v1/refused/rfd_0000000000007"] = admitted
	s.answers["POST /api/v1/refused/rfd_0000000000008/admit"] = api.ReceiptOut{ID: 34}
	x := s.terminal()
	golden(t, "testdata/refused.golden", x.run("refused", "--source", "shop").out+"\n"+x.run("refused", "get", "rfd_0000000000007").out)
	if got := x.run("refused", "admit", "rfd_0000000000008"); got.out != "rfd_0000000000008 was accepted as evt_0000000000012.\n" {
		t.Errorf("got %+v", got)
	}
}

func TestTokens(t *testing.T) {
	s := newServer(t)
	used := now.Add(-time.Minute)
	s.answers["GET /api/v1/token"] = page(
		hook.Token{ID: 1, Name: "admin", Role: hook.RoleAdmin, CreatedAt: now.Add(-72 * time.Hour), LastUsedAt: &used},
		hook.Token{ID: 2, Name: "ci", Role: hook.RoleViewer, CreatedAt: now, ExpiresAt: &now},
	)
	s.answers["POST /api/v1/token"] = api.TokenOut{Token: hook.Token{ID: 3, Name: "ci", Role: hook.RoleOperator}, Text: "mlt_new"}
	s.answers["DELETE /api/v1/token/tok_1"] = http.StatusNoContent
	x := s.terminal()
	golden(t, "testdata/tokens.golden", x.run("token", "list").out)
	got := x.run("token", "create", "--name", "ci", "--role", "operator", "--expires", "90d")
	if got.out != "mlt_new\nIt is shown this once. Its id is tok_0000000000003, its role operator.\n" ||
		s.sent() != `POST /api/v1/token {"name":"ci","role":"operator","expiresAt":"2026-06-02T05:06:07Z"}` {
		t.Errorf("got %+v for %s", got, s.sent())
	}
	if got := x.run("token", "revoke", "tok_1"); got.out != "Revoked tok_1.\n" || s.sent() != "DELETE /api/v1/token/tok_1" {
		t.Errorf("got %+v for %s", got, s.sent())
	}
}

func TestSecret(t *testing.T) {
	s := newServer(t)
	s.answers["GET /api/v1/destination/erp/secret"] = api.SecretOut{Secret: "whsec_new", Secrets: []string{"whsec_new", "whsec_old"}}
	x := s.terminal()
	if got := x.run("secret", "erp"); got.out != "whsec_new\nwhsec_old\n" {
		t.Errorf("got %+v", got)
	}
	s.answers["GET /api/v1/destination/erp/secret"] = api.SecretOut{Secret: "whsk_x", Secrets: []string{"whsk_x"}, PublicKey: "whpk_x"}
	if got := x.run("secret", "erp"); got.out != "whpk_x\n" {
		t.Errorf("a private key is shown where the public one serves: %+v", got)
	}
	if got := x.run("secret", "erp", "--json"); !strings.Contains(got.out, `"publicKey":"whpk_x"`) {
		t.Errorf("got %+v", got)
	}
}

func TestSendPublishes(t *testing.T) {
	s := newServer(t)
	s.answers["POST /api/v1/event"] = api.ReceiptOut{ID: 7}
	x := s.terminal()
	x.input = "from <stdin>"
	x.files["order.json"] = `{"id": 1}`
	for _, test := range []struct{ args, want string }{
		{"--type t --key k --id i", `{"source":"shop","type":"t","key":"k","id":"i","payload":{}}`},
		{"--data @order.json --header X-A:b", `{"source":"shop","headers":{"X-A":"b"},"payload":{"id":1}}`},
		{"--payload @order.json", `{"source":"shop","payload":{"id":1}}`},
		{"-d -", `{"source":"shop","text":"from \u003cstdin\u003e"}`},
		{"--data -", `{"source":"shop","text":"from \u003cstdin\u003e"}`},
	} {
		got := x.run(append([]string{"send", "shop"}, strings.Fields(test.args)...)...)
		if got.out != "evt_0000000000007\n" || s.sent() != "POST /api/v1/event "+test.want {
			t.Errorf("%s: got %+v for %s", test.args, got, s.sent())
		}
	}
	s.answers["POST /api/v1/event"] = api.ReceiptOut{ID: 7, Duplicate: true}
	if got := x.run("send", "shop"); got.out != "evt_0000000000007 (a duplicate: it was accepted before)\n" {
		t.Errorf("got %+v", got)
	}
	if got := x.run("send", "shop", "--data", "1", "--payload", "2"); got.code != exitUsage || !strings.Contains(got.err, "two names of the same") {
		t.Errorf("got %+v", got)
	}
	if got := x.run("send", "shop", "--data", "@nowhere"); got.code != exitFailed || got.err != "malote: the payload cannot be read: open nowhere: file does not exist\n" {
		t.Errorf("got %+v", got)
	}
}

func TestSendSigns(t *testing.T) {
	s := newServer(t)
	var header http.Header
	s.answers["POST /in/shop"] = func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		fmt.Fprint(w, `{"id":"evt_x"}`)
	}
	x := s.terminal()
	got := x.run("send", "shop", "--sign", "github", "--secret", "It's a Secret to Everybody", "--data", "Hello, World!", "--header", "X-GitHub-Event: ping")
	if got.code != 0 || got.out != "200 {\"id\":\"evt_x\"}\n" {
		t.Errorf("got %+v", got)
	}
	// The vector of GitHub's own page on validating deliveries.
	const want = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if header.Get("X-Hub-Signature-256") != want || header.Get("X-GitHub-Event") != "ping" || header.Get("Authorization") != "" {
		t.Errorf("sent %v", header)
	}
	s.answers["POST /in/shop"] = http.StatusUnauthorized
	got = x.run("send", "shop", "--sign", "none")
	if want := "malote: " + s.url + "/in/shop answers 401: ; \"malote refused --source shop\" says why\n"; got.code != exitFailed || got.err != want {
		t.Errorf("got %+v", got)
	}
}

const flowText = "sources:\n  shop: {provider: shopify, secret: '${SHOP_SECRET}'}\ndestinations:\n  erp:\n    http: {url: 'http://10.0.0.1/'}\n"

func TestPlanAndApply(t *testing.T) {
	file := filepath.Join(t.TempDir(), "flow.yaml")
	if err := os.WriteFile(file, []byte(flowText), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	plan := flow.Plan{
		Items:    []flow.Item{{Op: hook.OpCreate, Noun: "source", Name: "shop", Fields: []flow.FieldChange{{Path: "provider", New: "shopify"}}}},
		Warnings: []string{"be careful"}, Unmanaged: []string{"source old"},
	}
	s.answers["POST /api/v1/flow/plan"], s.answers["POST /api/v1/flow/apply"] = plan, plan
	x := s.terminal()
	if got := x.run("plan", "-f", file); got.code != exitFailed || got.err != "malote: the flow has mistakes\n  "+file+
		":2:37: sources.shop.secret: the environment variable SHOP_SECRET is not set: set it, or write ${file:/path} to read the value from a file\n" {
		t.Errorf("got %+v", got)
	}
	x.env["SHOP_SECRET"] = "shh"
	const text = "+ source shop\n    provider: shopify\nwarning: be careful\nnot in the flow, and left alone: source old\n1 to create, 0 to update, 0 to delete.\n"
	if got := x.run("plan", "-f", file); got.code != 0 || got.out != text {
		t.Errorf("got %+v", got)
	}
	if want := `POST /api/v1/flow/plan {"state":{"sources":{"shop":{"provider":"shopify","secret":"shh"}},"destinations":{"erp":{"http":{"url":"http://10.0.0.1/"}}}}}`; s.sent() != want {
		t.Errorf("sent %s", s.sent())
	}
	if got := x.run("apply", "-f", file, "--prune"); got.out != text+"Applied.\n" || !strings.HasSuffix(s.sent(), `,"prune":true}`) {
		t.Errorf("got %+v for %s", got, s.sent())
	}
	if got := x.run("apply", "-f", file, "--json"); !json.Valid([]byte(got.out)) {
		t.Errorf("got %+v", got)
	}
	s.answers["POST /api/v1/flow/apply"] = flow.Plan{}
	if got := x.run("apply", "-f", file); got.out != "Nothing to change.\n" {
		t.Errorf("got %+v", got)
	}
	// What only the server knows is shown with its place in the file.
	s.answers["POST /api/v1/flow/apply"] = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"detail":[{"loc":["body","state","destinations","erp","http","url"],"msg":"10.0.0.1 is a private address","type":"value_error"}]}`)
	}
	if got := x.run("apply", "-f", file); got.code != exitFailed || got.err != "malote: the server refuses it\n  "+file+":5:17: destinations.erp.http.url: 10.0.0.1 is a private address\n" {
		t.Errorf("got %+v", got)
	}
	// So it is beside what is found here: all of it at once, and nothing is applied.
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("sources:\n  shop: {provider: shoppify, methods: [FOO]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const here = `:2:40: sources.shop.methods.0: "FOO" is not a method that can be taken; known are: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT`
	if got := x.run("apply", "-f", wrong); got.code != exitFailed || got.err != "malote: the flow has mistakes\n  "+wrong+here+"\n" {
		t.Errorf("got %+v", got)
	}
	s.answers["POST /api/v1/flow/plan"] = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"detail":[{"loc":["body","state","sources","shop","methods","0"],"msg":"no method","type":"value_error"},`+
			`{"loc":["body","state","sources","shop","provider"],"msg":"no profile","type":"value_error"}]}`)
	}
	if got, want := x.run("apply", "-f", wrong), ":2:20: sources.shop.provider: no profile\n  "+wrong+":2:40: sources.shop.methods.0: no method\n"; !strings.Contains(got.err, want) ||
		!strings.HasPrefix(s.sent(), "POST /api/v1/flow/plan ") {
		t.Errorf("got %+v for %s", got, s.sent())
	}
	if got := x.run("apply", "-f", file+".gone"); got.code != exitFailed || !strings.Contains(got.err, "flow.yaml.gone cannot be read: no such file or directory") {
		t.Errorf("got %+v", got)
	}
}

func TestExport(t *testing.T) {
	s := newServer(t)
	s.answers["GET /api/v1/flow/export"] = "# flow\n"
	x := s.terminal()
	if got := x.run("export"); got.out != "# flow\n" {
		t.Errorf("got %+v", got)
	}
	file := filepath.Join(t.TempDir(), "out.yaml")
	if got := x.run("export", "-o", file); got.code != 0 || got.out != "" {
		t.Errorf("got %+v", got)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "# flow\n" {
		t.Errorf("got %q, %v", text, err)
	}
	if got := x.run("export", "-o", file); got.code != exitFailed || got.err != "malote: "+file+" exists already: remove it, or choose another name\n" {
		t.Errorf("got %+v", got)
	}
}

func TestDoctor(t *testing.T) {
	s := newServer(t)
	s.answers["GET /readyz"] = "ready"
	x := s.terminal()
	x.examine = func(_ context.Context, settings *config.Settings) ([]finding, error) {
		return []finding{{Check: "data", Level: levelFine, Detail: settings.Data + " can be used"}}, nil
	}
	if got, want := x.run("doctor"), "fine     settings: all of them can be used\nfine     data: data can be used\nfine     server: it answers, and is ready\n"; got.out != want || got.code != 0 {
		t.Errorf("got %+v", got)
	}
	x.examine = func(context.Context, *config.Settings) ([]finding, error) {
		return []finding{{Check: "data", Level: levelProblem, Detail: "page 7 is damaged", Mend: "restore a backup"}}, nil
	}
	delete(s.answers, "GET /readyz")
	got := x.run("doctor")
	if !strings.Contains(got.out, "problem  data: page 7 is damaged\n         restore a backup\nproblem  server: nothing at GET /readyz\n") ||
		got.code != exitFailed || got.err != "malote: 2 things to mend\n" {
		t.Errorf("got %+v", got)
	}
	if lines := strings.Split(strings.TrimSpace(x.run("doctor", "--json").out), "\n"); len(lines) != 3 || !json.Valid([]byte(lines[1])) {
		t.Errorf("got %v", lines)
	}
	x.examine = func(context.Context, *config.Settings) ([]finding, error) { return nil, nil }
	x.env["MALOTE_SERVER"] = "http://127.0.0.1:1"
	if got := x.run("doctor"); got.code != 0 || !strings.Contains(got.out, "note     server: none answers") {
		t.Errorf("got %+v", got)
	}
}

// The commands find the server and the token of the folder that they are used in.
func TestWhereTheServerIs(t *testing.T) {
	x := &terminal{t: t, files: map[string]string{"malote.yaml": "listen: 127.0.0.1:1"}}
	if got := x.run("events"); got.code != exitFailed || !strings.Contains(got.err, "no malote server answers at http://127.0.0.1:1 (") {
		t.Errorf("got %+v", got)
	}
	s := newServer(t)
	s.answers["GET /api/v1/source"] = http.StatusUnauthorized
	y := s.terminal()
	if got := y.run("events"); !strings.Contains(got.err, "the one in data/admin-token was used") {
		t.Errorf("got %+v", got)
	}
}
