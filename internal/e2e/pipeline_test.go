package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"malote.dev/malote/internal/hooktest"
)

// shopSecret is what the shop signs with, erpSecret what we sign with.
const (
	shopSecret = "shpss_e2e"
	erpSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// orders is a flow from a shop to an ERP: signed orders of 100 and more.
const orders = `sources:
  shop:
    provider: shopify
    secret: ${SHOP_SECRET}
destinations:
  erp:
    http:
      url: ${ERP_URL}
      sign: { secret: "${ERP_SECRET}" }
      timeout: 5s
connections:
  orders-to-erp:
    from: shop
    to: erp
    types: [orders/*]
    filter: double(data.total_price) >= 100.0
    retry: %s
`

// retryNever and retrySoon are retry policies of the orders flow.
const (
	retryNever = "{ off: true }"
	retrySoon  = "{ schedule: [1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s], jitter: 0 }"
)

// pipeline starts a server with the orders flow and a receiver that verifies.
func pipeline(t *testing.T, retry string, o options) (*server, *hooktest.Receiver) {
	t.Helper()
	receiver := hooktest.NewReceiver(t)
	receiver.Trust(erpSecret)
	s := start(t, o)
	s.apply(fmt.Sprintf(orders, retry), "SHOP_SECRET="+shopSecret, "ERP_URL="+receiver.URL(), "ERP_SECRET="+erpSecret)
	return s, receiver
}

// order is the body of an order and what the shop says of it.
func order(id string, total float64) (http.Header, []byte) {
	body := fmt.Appendf(nil, `{"id":%q,"total_price":"%.2f","customer":{"name":"Ana"}}`, id, total)
	headers := http.Header{}
	hooktest.SignShopify(headers, hooktest.Sent{Secret: shopSecret, Type: "orders/create", ID: id}, body)
	return headers, body
}

func (s *server) sendOrder(id string, total float64) receipt {
	s.t.Helper()
	headers, body := order(id, total)
	return s.send("shop", headers, body)
}

func TestASignedOrderArrivesSigned(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	got := s.sendOrder("1001", 149.90)
	if got.status != http.StatusOK || !strings.HasPrefix(got.event, "evt_") {
		t.Fatalf("the sender is answered %d %s, want 200 with the event's id", got.status, got.body)
	}
	if err := receiver.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	request := receiver.Requests()[0]
	if request.Bad != nil {
		t.Errorf("the delivery's signature: %v", request.Bad)
	}
	if _, body := order("1001", 149.90); !bytes.Equal(request.Body, body) {
		t.Errorf("delivered %s, want the bytes as they came: %s", request.Body, body)
	}
	d := s.waitForState(got.event, "succeeded")
	var attempts page[attempt]
	s.api(http.MethodGet, "/delivery/"+d.ID+"/attempt", &attempts)
	if len(attempts.Data) != 1 || attempts.Data[0].ResponseStatus != http.StatusOK || attempts.Data[0].Outcome != "success" {
		t.Errorf("the attempts are %+v, want one with 200", attempts.Data)
	}
	for _, list := range []string{"events", "deliveries"} {
		if out := s.mustCLI(list, "--json"); !json.Valid([]byte(out)) || !strings.Contains(out, got.event) {
			t.Errorf("malote %s --json does not show the event:\n%s", list, out)
		}
		if out := s.mustCLI(list); !strings.Contains(out, got.event) {
			t.Errorf("malote %s does not show the event:\n%s", list, out)
		}
	}
	if out := s.mustCLI("attempts", d.ID); !strings.Contains(out, "200") {
		t.Errorf("malote attempts does not show the answer:\n%s", out)
	}
}

func TestWhatNoConnectionWantsIsKeptAndNotDelivered(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	cheap := s.sendOrder("cheap", 10)
	dear := s.sendOrder("dear", 200)
	s.waitForState(dear.event, "succeeded")
	if found := s.deliveriesOf(cheap.event); len(found) != 0 {
		t.Errorf("the filter let through %+v", found)
	}
	if status := s.api(http.MethodGet, "/event/"+cheap.event, &event{}); status != http.StatusOK {
		t.Errorf("the event that nobody wanted is answered %d, want it kept", status)
	}
	if n := receiver.Count(); n != 1 {
		t.Errorf("%d deliveries, want 1", n)
	}
}

func TestMalformedBodiesAreKeptAsBytes(t *testing.T) {
	s, _ := pipeline(t, retryNever, options{})
	body := []byte(`{"total_price": "149.90", `)
	headers := http.Header{}
	hooktest.SignShopify(headers, hooktest.Sent{Secret: shopSecret, Type: "orders/create", ID: "broken"}, body)
	got := s.send("shop", headers, body)
	if got.status != http.StatusOK {
		t.Fatalf("a signed body that is no JSON is answered %d %s, want it accepted", got.status, got.body)
	}
	resp := s.get("/api/v1/event/"+got.event+"/payload", s.token())
	if resp.body != string(body) {
		t.Errorf("the payload is %q, want the bytes as they came", resp.body)
	}
}

func TestADeadLetterIsListedAndRetried(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	receiver.Behave(hooktest.Answer(http.StatusInternalServerError))
	got := s.sendOrder("1002", 500)
	d := s.waitForState(got.event, "failed")
	if d.Reason == "" {
		t.Error("the dead letter has no reason")
	}
	var dead page[delivery]
	s.api(http.MethodGet, "/delivery?state=failed", &dead)
	if len(dead.Data) != 1 || dead.Data[0].ID != d.ID {
		t.Errorf("the dead letters are %+v, want the one", dead.Data)
	}
	receiver.Behave(nil)
	if status := s.api(http.MethodPost, "/delivery/"+d.ID+"/retry", nil); status >= 300 {
		t.Fatalf("the retry is answered %d", status)
	}
	if d = s.waitForState(got.event, "succeeded"); d.Attempts != 2 {
		t.Errorf("%d attempts, want 2", d.Attempts)
	}
	requests := receiver.Requests()
	if len(requests) != 2 || requests[0].ID != requests[1].ID {
		t.Errorf("the webhook-id changed between attempts")
	}
}

func TestAFailedDeliveryIsRetriedByItsSchedule(t *testing.T) {
	s, receiver := pipeline(t, retrySoon, options{})
	receiver.Behave(hooktest.Sequence(
		hooktest.Reaction{Status: http.StatusBadGateway}, hooktest.Reaction{Drop: true}, hooktest.Reaction{},
	))
	got := s.sendOrder("1003", 500)
	if d := s.waitForState(got.event, "succeeded"); d.Attempts != 3 {
		t.Errorf("%d attempts, want 3", d.Attempts)
	}
	if receiver.Count() != 3 {
		t.Errorf("%d requests, want 3", receiver.Count())
	}
}

func TestDuplicatesAreDeliveredOnce(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	headers, body := order("1004", 500)
	answers := make([]receipt, 20)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() { answers[i], _ = s.trySend(t.Context(), "shop", headers.Clone(), body) })
	}
	group.Wait()
	for _, got := range answers {
		if got.status != http.StatusOK || got.event != answers[0].event {
			t.Errorf("answered %d %s, want 200 with %s like the others", got.status, got.body, answers[0].event)
		}
	}
	last := s.sendOrder("1005", 500)
	s.waitForState(last.event, "succeeded")
	s.waitForState(answers[0].event, "succeeded")
	if n := receiver.Count(); n != 2 {
		t.Errorf("%d deliveries, want 2: one for each order", n)
	}
	var first event
	s.api(http.MethodGet, "/event/"+answers[0].event, &first)
	if first.Duplicates != len(answers)-1 {
		t.Errorf("%d duplicates were counted, want %d", first.Duplicates, len(answers)-1)
	}
}

func TestARefusedRequestIsExplainedAndReadmitted(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	body := []byte(`{"id":"1006","total_price":"500.00"}`)
	headers := http.Header{}
	hooktest.SignShopify(headers, hooktest.Sent{Secret: "shpss_rotated", Type: "orders/create", ID: "1006"}, body)
	if got := s.send("shop", headers, body); got.status != http.StatusUnauthorized {
		t.Fatalf("a wrong signature is answered %d %s, want 401", got.status, got.body)
	}
	var refused page[refusal]
	eventually(t, func() bool {
		s.api(http.MethodGet, "/refused", &refused)
		return len(refused.Data) == 1
	}, func() string { return fmt.Sprintf("the refused requests are %+v, want one", refused.Data) })
	r := refused.Data[0]
	if r.Reason == "" || len(r.Explanation) == 0 {
		t.Errorf("the refusal is not explained: %+v", r)
	}
	if told := strings.Join(r.Explanation, " "); strings.Contains(told, shopSecret) || strings.Contains(told, "shpss_rotated") {
		t.Errorf("the explanation shows a secret: %s", told)
	}
	s.apply(fmt.Sprintf(orders, retryNever), "SHOP_SECRET=shpss_rotated", "ERP_URL="+receiver.URL(), "ERP_SECRET="+erpSecret)
	if status := s.api(http.MethodPost, "/refused/"+r.ID+"/admit", nil); status >= 300 {
		t.Fatalf("the admission is answered %d", status)
	}
	if err := receiver.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.api(http.MethodGet, "/refused/"+r.ID, &r)
	if !strings.HasPrefix(r.Admitted, "evt_") {
		t.Errorf("the refusal does not say what it became: %+v", r)
	}
}

func TestPausedDeliveriesAreHeldAndThenSent(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	if status := s.api(http.MethodPost, "/destination/erp/pause", nil); status >= 300 {
		t.Fatalf("the pause is answered %d", status)
	}
	got := s.sendOrder("1007", 500)
	s.waitForState(got.event, "held")
	if receiver.Count() != 0 {
		t.Error("a paused destination was sent something")
	}
	if status := s.api(http.MethodPost, "/destination/erp/resume", nil); status >= 300 {
		t.Fatalf("resuming is answered %d", status)
	}
	s.waitForState(got.event, "succeeded")
}

func TestTheDemoPlays(t *testing.T) {
	s := start(t, options{command: "demo"})
	var delivered page[delivery]
	eventually(t, func() bool {
		s.api(http.MethodGet, "/delivery?state=succeeded", &delivered)
		return len(delivered.Data) > 0
	}, func() string { return "the demo delivered nothing" })
	if code := s.stop(); code != 0 {
		t.Errorf("the demo ends with code %d, want 0", code)
	}
}

func TestTheServerTellsHowItIs(t *testing.T) {
	s, _ := pipeline(t, retryNever, options{})
	got := s.sendOrder("1008", 500)
	s.waitForState(got.event, "succeeded")
	for path, want := range map[string]string{
		"/healthz":      "ok",
		"/readyz":       "",
		"/metrics":      "malote_",
		"/openapi.json": `"openapi":"3.1`,
		"/docs":         "<html",
		"/":             "<html",
	} {
		resp := s.get(path, "")
		if resp.status != http.StatusOK || !strings.Contains(strings.ReplaceAll(resp.body, `": "`, `":"`), want) {
			t.Errorf("GET %s: %d, want 200 with %q", path, resp.status, want)
		}
	}
	for _, token := range []string{"", "wrong"} {
		if resp := s.get("/api/v1/event", token); resp.status != http.StatusUnauthorized {
			t.Errorf("the API without a token is answered %d, want 401", resp.status)
		}
	}
	if strings.Contains(s.output.String(), shopSecret) || strings.Contains(s.output.String(), erpSecret) {
		t.Error("the log shows a secret")
	}
	began := time.Now()
	if code := s.stop(); code != 0 {
		t.Errorf("an idle server ends with code %d, want 0", code)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("an idle server takes %s to stop", took)
	}
}

// get makes a plain request.
func (s *server) get(path, token string) receipt {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return readReceipt(s.t, resp)
}
