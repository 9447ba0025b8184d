package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"malote.dev/malote/internal/hooktest"
)

// TestTheDocumentedFlowIsTaken applies a flow as the documentation writes them: short
// forms, references without quotes, every kind of part.
func TestTheDocumentedFlowIsTaken(t *testing.T) {
	const flow = `sources:
  shop:
    provider: shopify
    secret: ${SHOP_SECRET}
  meter:
    verify: { token: { header: x-token, secret: ${METER_TOKEN} } }
    type: { header: x-type }
    dedupe: { path: id, window: 24h }
destinations:
  erp:
    http:
      url: ${ERP_URL}/orders
      auth: { bearer: ${ERP_TOKEN} }
      sign: { secret: ${ERP_SECRET} }
      timeout: 15s
    rate: 50/s
    concurrency: 8
connections:
  readings-to-erp:
    from: meter
    to: erp
    types: [reading.*]
    filter: data.value > 1.5
    order: { key: data.meter, stuck: park }
    retry: { schedule: [5s, 1m, 10m, 1h, 6h, 24h] }
`
	receiver := hooktest.NewReceiver(t)
	receiver.Trust(erpSecret)
	s := start(t, options{})
	env := []string{
		"SHOP_SECRET=" + shopSecret, "METER_TOKEN=meter-token", "ERP_URL=" + receiver.URL(),
		"ERP_TOKEN=erp-token", "ERP_SECRET=" + erpSecret, "MALOTE_SERVER=" + s.url, "MALOTE_DATA=" + s.dir,
	}
	file := writeFlow(t, flow)
	if p := command(t, env, "plan", "-f", file); p.code != 0 || !strings.Contains(p.out, "readings-to-erp") {
		t.Fatalf("malote plan: code %d\n%s%s", p.code, p.out, p.err)
	}
	if p := command(t, env, "apply", "-f", file); p.code != 0 {
		t.Fatalf("malote apply: code %d\n%s%s", p.code, p.out, p.err)
	}
	if p := command(t, env, "plan", "-f", file); p.code != 0 || strings.Contains(p.out, "create") {
		t.Errorf("after apply, malote plan still has something to do: code %d\n%s%s", p.code, p.out, p.err)
	}
	headers := http.Header{"X-Token": {"meter-token"}, "X-Type": {"reading.water"}}
	got := s.send("meter", headers, []byte(`{"id":"r1","meter":"m7","value":2.5}`))
	if got.status != http.StatusOK {
		t.Fatalf("a reading is answered %d %s", got.status, got.body)
	}
	s.waitForState(got.event, "succeeded")
	request := receiver.Requests()[0]
	if request.Path != "/orders" || request.Headers.Get("Authorization") != "Bearer erp-token" || request.Bad != nil {
		t.Errorf("delivered to %s with %v, signature: %v", request.Path, request.Headers, request.Bad)
	}
}

// TestWorkFromTheShell goes through the commands that a person uses in a day.
func TestWorkFromTheShell(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	receiver.Behave(hooktest.Answer(http.StatusBadRequest))
	s.mustCLI("send", "shop", "--type", "orders/create", "--id", "cli-1", "--data", `{"id":"cli-1","total_price":"300"}`)
	if err := receiver.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var dead delivery
	eventually(t, func() bool {
		out := s.mustCLI("deliveries", "--state", "failed", "--json")
		first, _, _ := strings.Cut(out, "\n")
		return json.Unmarshal([]byte(first), &dead) == nil && dead.State == "failed"
	}, func() string { return "malote deliveries does not show the dead letter" })
	receiver.Behave(nil)
	s.mustCLI("deliveries", "retry", dead.ID)
	s.waitForState(dead.Event, "succeeded")

	s.cli("send", "shop", "--sign", "shopify", "--secret", "wrong", "--header", "X-Shopify-Topic: orders/create", "--data", "{}")
	eventually(t, func() bool { return strings.Contains(s.mustCLI("refused"), "shop") },
		func() string { return "malote refused does not show the request" })

	created := s.mustCLI("token", "create", "--name", "viewer", "--role", "viewer", "--json")
	var token struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(created), &token); err != nil || token.Token == "" {
		t.Fatalf("malote token create --json: %v\n%s", err, created)
	}
	if p := command(t, []string{"MALOTE_SERVER=" + s.url, "MALOTE_TOKEN=" + token.Token}, "events"); p.code != 0 {
		t.Errorf("a viewer cannot list events: code %d\n%s", p.code, p.err)
	}
	if p := command(t, []string{"MALOTE_SERVER=" + s.url, "MALOTE_TOKEN=" + token.Token}, "send", "shop"); p.code != 1 {
		t.Errorf("a viewer can send: code %d\n%s", p.code, p.out)
	}
	s.mustCLI("token", "revoke", "viewer")
	if p := command(t, []string{"MALOTE_SERVER=" + s.url, "MALOTE_TOKEN=" + token.Token}, "events"); p.code != 1 {
		t.Errorf("a revoked token still works: code %d", p.code)
	}
	if out := s.mustCLI("doctor"); out == "" {
		t.Error("malote doctor says nothing")
	}
}

// TestCommandsThatNeedNoServer holds them to their exit codes: 0 fine, 1 failed, 2
// wrong usage.
func TestCommandsThatNeedNoServer(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	nobody := []string{"MALOTE_SERVER=http://127.0.0.1:1", "MALOTE_DATA=" + folder}
	for line, want := range map[string]int{
		"version":                0,
		"config":                 0,
		"completion bash":        0,
		"help":                   0,
		"schema":                 0,
		"providers":              0,
		"events":                 1,
		"apply -f nowhere.yaml":  1,
		"serve --listen nonsens": 2,
		"events --no-such-flag":  2,
		"no-such-command":        2,
		"apply":                  2,
	} {
		p := command(t, nobody, strings.Fields(line)...)
		if p.code != want {
			t.Errorf("malote %s ends with code %d, want %d\n%s%s", line, p.code, want, p.out, p.err)
		}
		if want != 0 && p.err == "" {
			t.Errorf("malote %s fails without a word", line)
		}
	}
	if out := command(t, nobody, "schema").out; !json.Valid([]byte(out)) {
		t.Error("malote schema prints no JSON")
	}
}
