package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"malote.dev/malote/internal/hooktest"
)

// watching is a flow in which two destinations watch everything, each other and
// themselves, and all that is sent anywhere fails.
const watching = `sources:
  shop: { verify: none }
destinations:
  erp: { http: { url: "${URL}/erp" }, circuit: { off: true } }
  one: { http: { url: "${URL}/one" }, circuit: { failures: 1, probe: 100ms, maxProbe: 100ms } }
  two: { http: { url: "${URL}/two" }, circuit: { failures: 1, probe: 100ms, maxProbe: 100ms } }
connections:
  orders: { from: shop, to: erp, retry: { off: true } }
  all-to-one: { from: malote, to: one, retry: { off: true } }
  all-to-two: { from: malote, to: two, retry: { off: true } }
`

// TestEventsOfTheSystemDoNotFeedThemselves has two watchers fail at everything that
// they are told, which is more to tell.
func TestEventsOfTheSystemDoNotFeedThemselves(t *testing.T) {
	s, receiver := start(t, options{}), hooktest.NewReceiver(t)
	receiver.Behave(hooktest.Answer(http.StatusInternalServerError))
	s.apply(watching, "URL="+receiver.URL())
	s.waitForState(s.send("shop", http.Header{}, []byte("{}")).event, "failed")
	const probes = 30
	for _, watcher := range []string{"one", "two"} {
		var last circuit
		eventually(t, func() bool {
			last = s.circuit(watcher)
			return last.Probes >= probes
		}, func() string { return fmt.Sprintf("the circuit of %s is %+v, want %d probes", watcher, last, probes) })
	}
	var found page[struct {
		ID      string `json:"id"`
		Type    string `json:"type"`
		Key     string `json:"key"`
		Targets []struct {
			Destination string `json:"destination"`
		} `json:"targets"`
	}]
	s.api(http.MethodGet, "/event?source=malote&limit=250", &found)
	count := map[string]int{}
	for _, each := range found.Data {
		count[each.Type]++
		for _, target := range each.Targets {
			if target.Destination == each.Key {
				t.Errorf("%s about %s is delivered there", each.Type, each.Key)
			}
		}
	}
	if count["malote.delivery.exhausted"] != 1 {
		t.Errorf("%v were told, want one delivery that failed: that of the order", count)
	}
	// An outage is told transition by transition, until it is too much for a minute.
	if most := 2*12 + 2; len(found.Data) > most || count["malote.destination.circuit.opened"] < 2 {
		t.Errorf("%d events of the system, want %d at the most, and that both circuits opened: %v", len(found.Data), most, count)
	}
}

// TestTheSystemsOwnSourceIsShownAndLeftAlone meets the source that every project has.
func TestTheSystemsOwnSourceIsShownAndLeftAlone(t *testing.T) {
	s := start(t, options{})
	var sources page[struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		System bool   `json:"system"`
	}]
	s.api(http.MethodGet, "/source", &sources)
	if len(sources.Data) != 1 || sources.Data[0].Name != "malote" || !sources.Data[0].System {
		t.Fatalf("the sources of a new server are %+v, want the system's own", sources.Data)
	}
	if got := s.send("malote", http.Header{}, []byte("{}")); got.status != http.StatusNotFound {
		t.Errorf("a request to it is answered %d, want 404", got.status)
	}
	for what, status := range map[string]int{
		"publishing to it": s.call(http.MethodPost, "/event", map[string]any{"source": "malote", "payload": 1}, nil),
		"changing it":      s.call(http.MethodPatch, "/source/malote", map[string]any{"disabled": true}, nil),
		"deleting it":      s.api(http.MethodDelete, "/source/malote", nil),
		"another of them":  s.call(http.MethodPost, "/source", map[string]any{"name": "own", "system": true}, nil),
	} {
		if status != http.StatusConflict && status != http.StatusUnprocessableEntity {
			t.Errorf("%s is answered %d, want it refused", what, status)
		}
	}
	if out := s.mustCLI("export"); strings.Contains(out, "malote:") {
		t.Errorf("the export has it:\n%s", out)
	}
	var made struct {
		Source string `json:"source"`
	}
	body := map[string]any{"name": "on-call", "http": map[string]any{"url": "https://example.com/"}}
	if status := s.call(http.MethodPost, "/destination", body, nil); status != http.StatusCreated {
		t.Fatalf("a destination is answered %d", status)
	}
	body = map[string]any{"name": "alarms", "source": "malote", "destination": "on-call", "types": []string{"malote.*"}}
	if status := s.call(http.MethodPost, "/connection", body, &made); status != http.StatusCreated || made.Source != sources.Data[0].ID {
		t.Errorf("a connection from it is answered %d %+v", status, made)
	}
	if out := s.mustCLI("export"); !strings.Contains(out, "from: malote") {
		t.Errorf("the export does not have the connection:\n%s", out)
	}
}

// TestADestinationThatIsGoneIsPausedAndToldOf has a destination answer 410.
func TestADestinationThatIsGoneIsPausedAndToldOf(t *testing.T) {
	s, gone, onCall := start(t, options{}), hooktest.NewReceiver(t), hooktest.NewReceiver(t)
	gone.Behave(hooktest.Answer(http.StatusGone))
	s.apply(`sources:
  shop: { verify: none }
destinations:
  gone: { http: { url: "${GONE}" } }
  on-call: { http: { url: "${ON_CALL}" } }
connections:
  orders: { from: shop, to: gone }
  alarms: { from: malote, to: on-call, types: [malote.destination.paused] }
`, "GONE="+gone.URL(), "ON_CALL="+onCall.URL())
	s.waitForState(s.send("shop", http.Header{}, []byte("{}")).event, "failed")
	if told := waitForNotice(t, onCall, "malote.destination.paused"); told.Destination.Name != "gone" || told.Data.Reason == "" {
		t.Errorf("the people on call are told %+v", told)
	}
	var audit page[struct {
		Actor   string `json:"actor"`
		Action  string `json:"action"`
		Subject string `json:"subject"`
	}]
	eventually(t, func() bool {
		s.api(http.MethodGet, "/audit?action=destination.pause", &audit)
		return len(audit.Data) == 1
	}, func() string { return fmt.Sprintf("the audit says %+v", audit.Data) })
	if entry := audit.Data[0]; entry.Actor != "malote" || !strings.HasPrefix(entry.Subject, "dst_") {
		t.Errorf("the audit says %+v, want that the server did it", entry)
	}
}

// TestAStopTellsWhatHappened stops the server as soon as something has happened.
func TestAStopTellsWhatHappened(t *testing.T) {
	s, receiver := start(t, options{}), hooktest.NewReceiver(t)
	receiver.Behave(hooktest.Answer(http.StatusInternalServerError))
	s.apply(watching, "URL="+receiver.URL())
	const orders = 20
	for range orders {
		s.waitForState(s.send("shop", http.Header{}, []byte("{}")).event, "failed")
	}
	if code := s.stop(); code != 0 {
		t.Errorf("the server ends with code %d, want 0", code)
	}
	s = start(t, options{dir: s.dir})
	var found page[event]
	s.api(http.MethodGet, "/event?source=malote&type=malote.delivery.exhausted", &found)
	told := 0
	for _, each := range found.Data {
		var payload notice
		if err := json.Unmarshal([]byte(s.get("/api/v1/event/"+each.ID+"/payload", s.token()).body), &payload); err != nil {
			t.Fatal(err)
		}
		told += payload.Count
	}
	if told != orders {
		t.Errorf("%d of %d deliveries that failed were told of, in %d events", told, orders, len(found.Data))
	}
}
