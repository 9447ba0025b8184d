package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"malote.dev/malote/internal/hooktest"
)

// partner is a flow to a partner whose orders go one at a time for each customer, and
// from the system itself to whoever is on call. Its circuit opens soon and probes often.
const partner = `sources:
  shop: { verify: none, type: order, dedupe: { path: id } }
destinations:
  erp:
    http: { url: "${ERP_URL}", sign: { secret: "${ERP_SECRET}" }, timeout: 5s }
    concurrency: 4
    circuit: { failures: 3, probe: 200ms, maxProbe: 400ms }
  on-call:
    http: { url: "${ON_CALL_URL}", sign: { secret: "${ERP_SECRET}" }, timeout: 5s }
connections:
  orders:
    from: shop
    to: erp
    order: { key: data.customer, stuck: "${STUCK}" }
    retry: { schedule: [200ms, 200ms, 500ms, 1s, 1s, 1s, 1s, 1s, 1s], jitter: 0 }
  alarms:
    from: malote
    to: on-call
    types: [malote.destination.*, malote.delivery.*]
    order: { key: event.key }
`

// erp is a receiver that can be down, and that notes what it took, in order.
type erp struct {
	*hooktest.Receiver

	down  atomic.Bool
	delay atomic.Int64
	mu    sync.Mutex
	taken []item
}

// item is an order as the shop sends it.
type item struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Number   int    `json:"number"` // of this customer, from 1
	Edited   bool   `json:"edited"`
}

func newERP(t *testing.T) *erp {
	t.Helper()
	r := &erp{Receiver: hooktest.NewReceiver(t)}
	r.Trust(erpSecret)
	r.Behave(func(request *hooktest.Request) hooktest.Reaction {
		if r.down.Load() {
			return hooktest.Reaction{Status: http.StatusBadGateway}
		}
		var got item
		if err := json.Unmarshal(request.Body, &got); err != nil {
			return hooktest.Reaction{Status: http.StatusBadRequest}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taken = append(r.taken, got)
		return hooktest.Reaction{Delay: time.Duration(r.delay.Load())}
	})
	return r
}

func (r *erp) got() []item {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

// waitForItems waits until so many different orders were taken.
func (r *erp) waitForItems(t *testing.T, n int) []item {
	t.Helper()
	eventually(t, func() bool { return len(different(r.got())) >= n },
		func() string { return fmt.Sprintf("%d of %d orders were taken", len(different(r.got())), n) })
	return r.got()
}

func different(items []item) map[string]bool {
	ids := map[string]bool{}
	for _, each := range items {
		ids[each.ID] = true
	}
	return ids
}

// checkOrder fails where an order of a customer came after a later one. The same may
// come twice in a row: that is what at least once means.
func checkOrder(t *testing.T, items []item) {
	t.Helper()
	last := map[string]int{}
	for _, each := range items {
		if each.Number < last[each.Customer] {
			t.Errorf("order %d of %s came after order %d", each.Number, each.Customer, last[each.Customer])
		}
		last[each.Customer] = each.Number
	}
}

// partnered starts a server with the partner's flow and a rule for stuck heads.
func partnered(t *testing.T, stuck string) (s *server, to *erp, onCall *hooktest.Receiver) {
	t.Helper()
	s, to, onCall = start(t, options{}), newERP(t), hooktest.NewReceiver(t)
	onCall.Trust(erpSecret)
	s.apply(partner, "ERP_URL="+to.URL(), "ON_CALL_URL="+onCall.URL(), "ERP_SECRET="+erpSecret, "STUCK="+stuck)
	return s, to, onCall
}

// sendItem sends the next order of a customer, and returns its event.
func (s *server) sendItem(customer string, number int) string {
	s.t.Helper()
	got := s.send("shop", http.Header{"Content-Type": {"application/json"}}, itemBody(customer, number))
	if got.status != http.StatusOK {
		s.t.Fatalf("the shop is answered %d %s, want 200", got.status, got.body)
	}
	return got.event
}

func itemBody(customer string, number int) []byte {
	return fmt.Appendf(nil, `{"id":"%s-%d","customer":%q,"number":%d}`, customer, number, customer, number)
}

// call calls the HTTP API as admin with a JSON body.
func (s *server) call(method, path string, body, into any) int {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+"/api/v1"+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token())
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		s.t.Logf("%s %s %s: %d %s", method, path, text, resp.StatusCode, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			s.t.Fatalf("%s %s: %d %s: %v", method, path, resp.StatusCode, answer, err)
		}
	}
	return resp.StatusCode
}

// held is a delivery with what keeps it.
type held struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	Cause  string `json:"cause"`
	Reason string `json:"reason"`
	Waits  string `json:"waits"`
}

// waitForHeld waits until so many deliveries are held for a cause.
func (s *server) waitForHeld(cause string, n int) []held {
	s.t.Helper()
	var found page[held]
	eventually(s.t, func() bool {
		s.api(http.MethodGet, "/delivery?state=held&limit=250", &found)
		found.Data = slices.DeleteFunc(found.Data, func(d held) bool { return d.Cause != cause })
		return len(found.Data) == n
	}, func() string { return fmt.Sprintf("%d deliveries are held for %s, want %d", len(found.Data), cause, n) })
	return found.Data
}

// circuit is a destination's circuit as the API shows it.
type circuit struct {
	State  string `json:"state"`
	Reason string `json:"reason"`
	Probes int    `json:"probes"`
}

func (s *server) circuit(destination string) circuit {
	s.t.Helper()
	var shown struct {
		Circuit circuit `json:"circuitState"`
	}
	if status := s.api(http.MethodGet, "/destination/"+destination, &shown); status != http.StatusOK {
		s.t.Fatalf("the destination is answered %d", status)
	}
	return shown.Circuit
}

// waitForCircuit waits until a circuit is in a state.
func (s *server) waitForCircuit(destination, state string) circuit {
	s.t.Helper()
	var last circuit
	eventually(s.t, func() bool {
		last = s.circuit(destination)
		return last.State == state
	}, func() string { return fmt.Sprintf("the circuit of %s is %+v, want %s", destination, last, state) })
	return last
}

// notice is an event of the system itself, as it is delivered.
type notice struct {
	Type        string `json:"type"`
	Key         string `json:"key"`
	Count       int    `json:"count"`
	Destination struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"destination"`
	Data struct {
		State  string `json:"state"`
		Reason string `json:"reason"`
	} `json:"data"`
}

// noticesOf reads what was delivered to whoever is on call.
func noticesOf(t *testing.T, receiver *hooktest.Receiver) []notice {
	t.Helper()
	var all []notice
	for _, request := range receiver.Requests() {
		if request.Bad != nil {
			t.Errorf("a notice is signed wrongly: %v", request.Bad)
		}
		var one notice
		if err := json.Unmarshal(request.Body, &one); err != nil {
			t.Fatalf("a notice is no JSON: %v\n%s", err, request.Body)
		}
		all = append(all, one)
	}
	return all
}

// waitForNotice waits until a notice of a type was delivered.
func waitForNotice(t *testing.T, receiver *hooktest.Receiver, kind string) notice {
	t.Helper()
	find := func() int {
		return slices.IndexFunc(noticesOf(t, receiver), func(n notice) bool { return n.Type == kind })
	}
	eventually(t, func() bool { return find() >= 0 },
		func() string { return fmt.Sprintf("no %s came, but %+v", kind, noticesOf(t, receiver)) })
	return noticesOf(t, receiver)[find()]
}

// TestAPartnerGoesDownAndComesBack is the reason why there is delivery control: nothing
// is lost, nothing overtakes, nobody hammers, and the people on call know.
func TestAPartnerGoesDownAndComesBack(t *testing.T) {
	s, partner, onCall := partnered(t, "block")
	const customers, each = 5, 8
	s.sendItem("c0", 1)
	partner.waitForItems(t, 1)
	partner.down.Store(true)
	for number := 1; number <= each; number++ {
		for customer := range customers {
			if customer > 0 || number > 1 {
				s.sendItem(fmt.Sprintf("c%d", customer), number)
			}
		}
	}
	open := s.waitForCircuit("erp", "open")
	if !strings.Contains(open.Reason, "502") {
		t.Errorf("the circuit is open because %q, want the answer in it", open.Reason)
	}
	opened := waitForNotice(t, onCall, "malote.destination.circuit.opened")
	if opened.Destination.Name != "erp" || opened.Key != opened.Destination.ID || !strings.Contains(opened.Data.Reason, "502") {
		t.Errorf("the people on call are told %+v", opened)
	}
	waiting := s.waitForHeld("circuit", customers*each-1)
	if waiting[0].Reason == "" || !strings.Contains(waiting[0].Waits, "erp") {
		t.Errorf("a held delivery says %+v, want why", waiting[0])
	}
	if got := s.get("/readyz", ""); got.status != http.StatusOK {
		t.Errorf("the server is not ready while a partner is down: %d", got.status)
	}
	before := partner.Count()
	waitForNotice(t, onCall, "malote.destination.circuit.probing")
	if hammered := partner.Count() - before; hammered > 20 {
		t.Errorf("%d requests to a partner who is down, while its circuit was open", hammered)
	}
	partner.down.Store(false)
	checkOrder(t, partner.waitForItems(t, customers*each))
	s.waitForCircuit("erp", "closed")
	waitForNotice(t, onCall, "malote.destination.circuit.closed")
	waitUntilDrained(t, s)
	if n := len(partner.got()); n != customers*each {
		t.Errorf("%d orders were taken, want %d, each once", n, customers*each)
	}
	var failed page[held]
	s.api(http.MethodGet, "/delivery?state=failed", &failed)
	if len(failed.Data) > 0 {
		t.Errorf("%d deliveries failed for good: an open circuit burns no attempts", len(failed.Data))
	}
}

// TestOrderSurvivesAKill kills the server in the middle of ordered deliveries to a
// partner who is down now and then.
func TestOrderSurvivesAKill(t *testing.T) {
	s, partner, _ := partnered(t, "block")
	partner.delay.Store(int64(3 * time.Millisecond))
	acknowledged := map[string]bool{}
	next := make([]int, 8)
	for round := range 3 {
		var mu sync.Mutex
		var group sync.WaitGroup
		killed := make(chan struct{})
		for customer := range next {
			group.Go(func() { // a customer's next order comes after the one before was acknowledged
				name := fmt.Sprintf("c%d", customer)
				for {
					number := next[customer] + 1
					got, err := s.trySend(t.Context(), "shop", http.Header{}, itemBody(name, number))
					if err == nil && got.status == http.StatusOK {
						next[customer] = number
						mu.Lock()
						acknowledged[fmt.Sprintf("%s-%d", name, number)] = true
						mu.Unlock()
					}
					select {
					case <-killed:
						return
					default:
					}
				}
			})
		}
		partner.down.Store(round == 1)
		<-time.After(300 * time.Millisecond)
		s.kill()
		close(killed)
		group.Wait()
		partner.down.Store(false)
		s = start(t, options{dir: s.dir})
	}
	eventually(t, func() bool {
		taken := different(partner.got())
		for id := range acknowledged {
			if !taken[id] {
				return false
			}
		}
		return true
	}, func() string {
		return fmt.Sprintf("%d of %d orders were taken", len(different(partner.got())), len(acknowledged))
	})
	checkOrder(t, partner.got())
	t.Logf("%d orders acknowledged, %d taken", len(acknowledged), len(partner.got()))
	waitUntilDrained(t, s)
	if code := s.stop(); code != 0 {
		t.Errorf("the server ends with code %d, want 0", code)
	}
	if p := command(t, nil, "doctor", "--data", s.dir); p.code != 0 {
		t.Errorf("malote doctor finds faults after the crashes: code %d\n%s%s", p.code, p.out, p.err)
	}
}

// replayed is a replay as the API shows it.
type replayed struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Progress struct {
		Made      int `json:"made"`
		Succeeded int `json:"succeeded"`
	} `json:"progress"`
}

// TestAReplayToACorrectedDestination replays what a destination refused to another one,
// with the payloads mended on the way.
func TestAReplayToACorrectedDestination(t *testing.T) {
	s, partner, onCall := partnered(t, "skip after 1")
	partner.Behave(hooktest.Answer(http.StatusUnprocessableEntity))
	const orders = 6
	for number := 1; number <= orders; number++ {
		s.waitForState(s.sendItem(fmt.Sprintf("c%d", number), 1), "failed")
	}
	if told := waitForNotice(t, onCall, "malote.delivery.exhausted"); told.Destination.Name != "erp" || !strings.Contains(told.Data.Reason, "422") {
		t.Errorf("the people on call are told %+v", told)
	}
	corrected := newERP(t)
	s.apply(`destinations:
  corrected: { http: { url: "${URL}", sign: { secret: "${SECRET}" } } }
`, "URL="+corrected.URL(), "SECRET="+erpSecret)
	ask := map[string]any{
		"select": map[string]any{"state": "failed", "filter": `data.customer != "c6"`}, "to": "corrected",
		"edit": map[string]any{"edited": true}, "rate": "100/s", "stop": map[string]any{"errorPercent": 50},
	}
	ask["dryRun"] = true
	var plan map[string]any
	if status := s.call(http.MethodPost, "/replay", ask, &plan); status != http.StatusOK {
		t.Fatalf("the plan is answered %d", status)
	}
	if corrected.Count() != 0 {
		t.Fatal("a plan delivered something")
	}
	delete(ask, "dryRun")
	var replay replayed
	if status := s.call(http.MethodPost, "/replay", ask, &replay); status != http.StatusCreated {
		t.Fatalf("the replay is answered %d %+v", status, replay)
	}
	eventually(t, func() bool {
		s.api(http.MethodGet, "/replay/"+replay.ID, &replay)
		return replay.State != "running"
	}, func() string { return fmt.Sprintf("the replay stands at %+v", replay) })
	if replay.State != "completed" || replay.Progress.Made != orders-1 || replay.Progress.Succeeded != orders-1 {
		t.Errorf("the replay ended as %+v, want %d deliveries", replay, orders-1)
	}
	taken := corrected.got()
	if len(taken) != orders-1 {
		t.Errorf("%d orders were taken, want %d", len(taken), orders-1)
	}
	for _, each := range taken {
		if !each.Edited || each.Number != 1 || each.Customer == "c6" {
			t.Errorf("taken %+v, want it edited, the rest as it was", each)
		}
	}
	var audit page[struct {
		Action  string `json:"action"`
		Actor   string `json:"actor"`
		Subject string `json:"subject"`
	}]
	s.api(http.MethodGet, "/audit?action=replay.create", &audit)
	if len(audit.Data) != 1 || audit.Data[0].Actor == "" || audit.Data[0].Subject != replay.ID {
		t.Errorf("the audit says %+v, want the replay once", audit.Data)
	}
}

// TestPausesAndCircuitsDoNotUndoEachOther resumes a destination whose circuit is open.
func TestPausesAndCircuitsDoNotUndoEachOther(t *testing.T) {
	s, partner, _ := partnered(t, "block")
	partner.down.Store(true)
	for customer := range 4 {
		s.sendItem(fmt.Sprintf("c%d", customer), 1)
	}
	s.waitForCircuit("erp", "open")
	s.waitForHeld("circuit", 4)
	if status := s.call(http.MethodPost, "/destination/erp/pause", map[string]string{"reason": "the partner asked for it"}, nil); status >= 300 {
		t.Fatalf("the pause is answered %d", status)
	}
	s.sendItem("c4", 1)
	s.waitForHeld("paused", 1)
	paused := partner.Count()
	partner.down.Store(false)
	if status := s.api(http.MethodPost, "/destination/erp/resume", nil); status >= 300 {
		t.Fatalf("resuming is answered %d", status)
	}
	partner.waitForItems(t, 5)
	if partner.Count() < paused+5 {
		t.Errorf("%d requests after the pause, want 5 at the least", partner.Count()-paused)
	}
	s.waitForCircuit("erp", "closed")
	var audit page[struct {
		Action string          `json:"action"`
		Actor  string          `json:"actor"`
		Detail json.RawMessage `json:"detail"`
	}]
	s.api(http.MethodGet, "/audit?action=destination.*", &audit)
	if len(audit.Data) != 2 || audit.Data[0].Action != "destination.resume" || audit.Data[1].Action != "destination.pause" ||
		!strings.Contains(string(audit.Data[1].Detail), "asked for it") {
		t.Errorf("the audit says %+v, want the pause with its reason and the end of it", audit.Data)
	}
}

// TestDeliveriesWaitForTheirTime has a connection with a delay, one whose deliveries
// expire, and one to a destination in its quiet hours.
func TestDeliveriesWaitForTheirTime(t *testing.T) {
	s, receiver := start(t, options{}), hooktest.NewReceiver(t)
	var days []string // today and tomorrow
	for _, day := range []time.Time{time.Now().UTC(), time.Now().UTC().AddDate(0, 0, 1)} {
		days = append(days, strings.ToLower(day.Weekday().String()[:3]))
	}
	s.apply(strings.ReplaceAll(`sources:
  shop: { verify: none }
destinations:
  late: { http: { url: "${URL}/late" } }
  expiring: { http: { url: "${URL}/expiring" }, paused: true }
  asleep: { http: { url: "${URL}/asleep" }, quiet: { from: "00:00", to: "00:00", days: [DAYS] } }
connections:
  to-late: { from: shop, to: late, delay: 1s }
  to-expiring: { from: shop, to: expiring, ttl: 500ms }
  to-asleep: { from: shop, to: asleep }
`, "DAYS", strings.Join(days, ", ")), "URL="+receiver.URL())
	began := time.Now()
	event := s.send("shop", http.Header{}, []byte(`{"n":1}`)).event
	if err := receiver.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if request := receiver.Requests()[0]; request.Path != "/late" || request.At.Sub(began) < time.Second {
		t.Errorf("%s was delivered after %s, want the late one after a second", request.Path, request.At.Sub(began))
	}
	if status := s.api(http.MethodPost, "/destination/expiring/resume", nil); status >= 300 {
		t.Fatalf("resuming is answered %d", status)
	}
	var found page[held]
	eventually(t, func() bool {
		s.api(http.MethodGet, "/delivery?state=canceled&event="+event, &found)
		return len(found.Data) == 1
	}, func() string { return "the delivery that expired is not canceled" })
	if !strings.Contains(found.Data[0].Reason, "expired") {
		t.Errorf("it was canceled because %q, want that it expired", found.Data[0].Reason)
	}
	s.api(http.MethodGet, "/delivery?state=pending&event="+event, &found)
	if len(found.Data) != 1 || !strings.Contains(found.Data[0].Waits, "quiet") {
		t.Errorf("what waits is %+v, want the one for the destination that sleeps", found.Data)
	}
	if n := receiver.Count(); n != 1 {
		t.Errorf("%d requests came, want one", n)
	}
}
