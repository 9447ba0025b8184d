package deliver_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"malote.dev/malote/internal/hook"
)

// notices keeps what the engine tells.
type notices struct {
	mu  sync.Mutex
	all []hook.Notice
}

func (n *notices) add(notice hook.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, notice)
}

// types returns the types of what was told, those that come in a row once.
func (n *notices) types() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var types []string
	for _, notice := range n.all {
		types = append(types, strings.TrimPrefix(notice.Type, "malote."))
	}
	return slices.Compact(types)
}

func (n *notices) count(kind string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, notice := range n.all {
		if notice.Type == kind {
			count++
		}
	}
	return count
}

// inOrder reports the first place where the requests that were taken break the order of
// a key. A body is "key/number".
func inOrder(t *testing.T, requests []received) {
	t.Helper()
	last := map[string]int{}
	for i, r := range requests {
		key, text, _ := strings.Cut(r.body, "/")
		number, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("body %q", r.body)
		}
		if number < last[key] {
			t.Errorf("request %d: %s comes after number %d of its key", i, r.body, last[key])
			return
		}
		last[key] = number
	}
}

// A destination is down for three hours under steady traffic: nothing is lost, no
// delivery uses up its schedule, probes come less and less often, a ramp drains what
// waits, and each key keeps its order.
func TestOutageOfHours(t *testing.T) {
	told := &notices{}
	bubbleDurable(t, nil, func(d *durable) {
		d.stop()
		d.options.Notify = told.add
		d.start()
		d.receiver.answer(respond(200, 50*time.Millisecond))
		sent := map[string]int{}
		total := 0
		traffic := func(span time.Duration) {
			for end := time.Now().Add(span); time.Now().Before(end); total++ {
				key := ""
				if total%2 == 0 {
					key = fmt.Sprint("customer-", total%10)
				}
				sent[key]++
				d.takeOver(d.connection, key, fmt.Sprintf("%s/%d", key, sent[key]))
				pass(20 * time.Second)
			}
		}
		traffic(10 * time.Minute)
		d.receiver.answer(respond(500, 50*time.Millisecond))
		down := time.Now()
		before := len(d.receiver.got())
		traffic(3 * time.Hour)

		circuit := d.engine.Circuit(d.to)
		if !circuit.Holds() || !strings.Contains(circuit.Reason, "attempts in a row failed since") || circuit.Probes < 30 {
			d.t.Fatalf("after three hours the circuit is %+v", circuit)
		}
		tries := d.receiver.got()[before:]
		probes, tried := 0, map[string]int{}
		for _, r := range tries {
			tried[r.id]++
			if r.at.Sub(down) > 10*time.Minute {
				probes++
			}
		}
		// At the longest wait there is one in five minutes, give or take a fifth.
		if least, most := 25, 50; probes < least || probes > most {
			d.t.Errorf("%d probes in the last hours, want %d to %d", probes, least, most)
		}
		waiting := d.states()
		if waiting[hook.StateHeld] < total-40 || waiting[hook.StateFailed] != 0 || waiting[hook.StateSending] != 0 {
			d.t.Errorf("states %v of %d", waiting, total)
		}

		d.receiver.answer(respond(200, 50*time.Millisecond))
		mended := len(d.receiver.got())
		traffic(15 * time.Minute)
		if states := d.states(); states[hook.StateSucceeded] != total {
			d.t.Errorf("states %v, want all %d succeeded", states, total)
		}
		after := d.receiver.got()[mended:]
		drained := after[min(len(after)-1, waiting[hook.StateHeld])].at.Sub(after[0].at)
		if drained > time.Minute {
			d.t.Errorf("what waited was drained in %v after the first probe that was taken", drained)
		}
		var ordered []received
		for _, r := range slices.Concat(d.receiver.got()[:before], after) {
			if !strings.HasPrefix(r.body, "/") {
				ordered = append(ordered, r)
			}
		}
		inOrder(d.t, ordered)
		d.checkFree(tried)
		want := []string{
			"destination.circuit.opened", "destination.circuit.probing", "destination.circuit.ramping", "destination.circuit.closed",
		}
		if types := told.types(); types[0] != want[0] || !slices.Equal(types[len(types)-3:], want[1:]) {
			d.t.Errorf("told: %v … %v, want %v", types[0], types[len(types)-3:], want)
		}
		if opened, reopened := told.count(hook.NoticeCircuitOpened), told.count(hook.NoticeCircuitReopened); opened != 1 || reopened != circuit.Probes {
			d.t.Errorf("told %d times that it opened and %d times that it opened again; want once, and %d times", opened, reopened, circuit.Probes)
		}
		if closed := d.engine.Circuit(d.to); closed.State != hook.CircuitClosed || told.count(hook.NoticeDeliveryExhausted) != 0 {
			d.t.Errorf("the circuit is %+v, and %d deliveries were given up", closed, told.count(hook.NoticeDeliveryExhausted))
		}
	})
}

// checkFree makes sure that failed probes are counted as such, and nothing else.
func (d *durable) checkFree(tried map[string]int) {
	d.t.Helper()
	used := 0
	for text := range tried {
		id, err := hook.ParseID[hook.DeliveryID](text)
		d.must(err)
		delivery, attempts := d.delivery(id)
		failed := 0
		for _, a := range attempts {
			if a.Probe && a.Outcome != hook.OutcomeSuccess {
				failed++
			}
		}
		if failed != delivery.Probes || len(attempts) != delivery.Attempts {
			d.t.Errorf("delivery %v counts %d attempts, of these %d probes; %d and %d are kept", id, delivery.Attempts, delivery.Probes, len(attempts), failed)
		}
		used += delivery.Attempts - delivery.Probes - 1
	}
	// One delivery that fails twice in a row is counted once.
	if most := 2 * hook.DefaultCircuitFailures; used > most {
		d.t.Errorf("%d attempts were used up by the outage, at most %d may be", used, most)
	}
}

// flapping works and fails by turns.
func TestFlappingDestination(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, c *hook.Connection) {
		dst.Circuit = &hook.CircuitPolicy{Failures: 3, MaxProbe: hook.Duration(10 * time.Second)}
		c.Retry = noJitter(time.Second, 5*time.Second, 10*time.Second, 30*time.Second, 30*time.Second, 30*time.Second)
	}, func(d *durable) {
		start := time.Now()
		d.receiver.answer(func(req *http.Request, _ int) (int, http.Header, error) {
			status := http.StatusOK
			if int(time.Since(start)/(25*time.Second))%2 == 1 {
				status = http.StatusBadGateway
			}
			return status, http.Header{}, wait(req.Context(), 30*time.Millisecond)
		})
		total := 0
		for range 1200 {
			total++
			d.take(strconv.Itoa(total))
			pass(500 * time.Millisecond)
		}
		d.receiver.answer(nil)
		pass(2 * time.Minute)
		if states := d.states(); states[hook.StateSucceeded] != total {
			d.t.Errorf("states %v, want all %d succeeded", states, total)
		}
	})
}

// A process may end in any state of a circuit, and the next one goes on with it.
func TestRestartInEachState(t *testing.T) {
	policy := func(dst *hook.Destination, _ *hook.Connection) {
		dst.Circuit = &hook.CircuitPolicy{Failures: 3, Probe: hook.Duration(time.Minute)}
		dst.Concurrency = 4
	}
	fail := func(d *durable) {
		for i := range 20 {
			d.take(strconv.Itoa(i))
		}
		pass(5 * time.Second)
	}
	for _, test := range []struct {
		name   string
		state  hook.CircuitState
		before func(d *durable)
	}{
		{"open", hook.CircuitOpen, fail},
		{"half-open", hook.CircuitHalfOpen, func(d *durable) {
			fail(d)
			d.receiver.answer(respond(200, 14*time.Second))
			d.engine.ProbeNow(d.to)
			pass(2 * time.Second)
		}},
		{"ramp", hook.CircuitRamp, func(d *durable) {
			fail(d)
			d.receiver.answer(respond(200, 14*time.Second))
			d.engine.ProbeNow(d.to)
			pass(15 * time.Second)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubbleDurable(t, policy, func(d *durable) {
				d.receiver.answer(respond(500, time.Second))
				test.before(d)
				before := d.engine.Circuit(d.to)
				if before.State != test.state {
					d.t.Fatalf("the circuit is %+v", before)
				}
				d.stop()
				d.must(d.store.Close())
				d.open()
				d.start()
				if after := d.engine.Circuit(d.to); after.State != test.state || after.Reason != before.Reason {
					d.t.Errorf("after the restart the circuit is %+v, and was %+v", after, before)
				}
				count := len(d.receiver.got())
				pass(10 * time.Second)
				if now := d.receiver.got(); test.state == hook.CircuitOpen && len(now) != count {
					d.t.Errorf("%d requests while the circuit is open", len(now)-count)
				}
				d.receiver.answer(nil)
				pass(3 * time.Minute)
				if states := d.states(); states[hook.StateSucceeded] != 20 || d.engine.Circuit(d.to).State != hook.CircuitClosed {
					d.t.Errorf("states %v, want 20 succeeded; the circuit is %+v", states, d.engine.Circuit(d.to))
				}
			})
		})
	}
}

// A person closes a circuit, or has it probed at once.
func TestCircuitByHand(t *testing.T) {
	for _, probe := range []bool{true, false} {
		bubbleDurable(t, func(dst *hook.Destination, _ *hook.Connection) {
			dst.Circuit = &hook.CircuitPolicy{Failures: 3, Probe: hook.Duration(time.Hour), MaxProbe: hook.Duration(time.Hour)}
		}, func(d *durable) {
			d.receiver.answer(respond(503, time.Second))
			for i := range 30 {
				d.take(strconv.Itoa(i))
			}
			pass(time.Minute)
			if states := d.states(); states[hook.StateHeld] != 30 {
				d.t.Fatalf("states %v, want 30 held", states)
			}
			d.receiver.answer(nil)
			if probe {
				d.engine.ProbeNow(d.to)
			} else {
				d.must(d.engine.CloseCircuit(d.t.Context(), d.to))
			}
			pass(time.Minute)
			if states := d.states(); states[hook.StateSucceeded] != 30 || d.engine.Circuit(d.to).Holds() {
				d.t.Errorf("states %v, want 30 succeeded; the circuit is %+v", states, d.engine.Circuit(d.to))
			}
			stored, err := d.store.Circuits(d.t.Context())
			d.must(err)
			if len(stored) != 1 || stored[0].State != hook.CircuitClosed {
				d.t.Errorf("stored: %+v", stored)
			}
		})
	}
}

// With nothing waiting, the next new delivery is the probe.
func TestNewDeliveryIsTheProbe(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, c *hook.Connection) {
		dst.Circuit = &hook.CircuitPolicy{Failures: 2}
		c.Retry.Off = true
	}, func(d *durable) {
		d.receiver.answer(respond(500, time.Second))
		d.take("1")
		d.take("2")
		pass(time.Minute)
		if circuit := d.engine.Circuit(d.to); circuit.State != hook.CircuitHalfOpen || d.states()[hook.StateFailed] != 2 {
			d.t.Fatalf("the circuit is %+v with %v", circuit, d.states())
		}
		third := d.take("3") // the probe
		fourth := d.take("4")
		pass(1500 * time.Millisecond)
		for _, id := range []hook.DeliveryID{third, fourth} {
			if delivery, _ := d.delivery(id); delivery.State != hook.StateHeld || delivery.Cause != hook.CauseCircuit {
				d.t.Errorf("delivery %v is %v (%s)", id, delivery.State, delivery.Reason)
			}
		}
		if delivery, attempts := d.delivery(third); delivery.Probes != 1 || len(attempts) != 1 || !attempts[0].Probe {
			d.t.Errorf("the probe has %d of them, attempts %+v", delivery.Probes, attempts)
		}
		d.receiver.answer(nil)
		pass(time.Minute)
		if states := d.states(); states[hook.StateSucceeded] != 2 {
			d.t.Errorf("states %v, want 2 succeeded", states)
		}
		// Nothing waits any more, so there is nothing to be careful with.
		if circuit := d.engine.Circuit(d.to); circuit.State != hook.CircuitClosed {
			d.t.Errorf("the circuit is %+v, want closed", circuit)
		}
	})
}

// One payload that no receiver takes neither opens a circuit nor keeps one open.
func TestPoisonousPayload(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, c *hook.Connection) {
		dst.Circuit = &hook.CircuitPolicy{Failures: 2}
		c.Retry = noJitter(time.Minute, time.Minute, time.Minute, time.Minute)
	}, func(d *durable) {
		d.receiver.poison("poison")
		first := d.take("poison")
		pass(5 * time.Minute)
		if delivery, attempts := d.delivery(first); delivery.State != hook.StateFailed || len(attempts) != 5 || d.engine.Circuit(d.to).Holds() {
			d.t.Errorf("the poisonous delivery is %v after %d attempts, the circuit %+v", delivery.State, len(attempts), d.engine.Circuit(d.to))
		}
		d.receiver.answer(respond(500, 0))
		for _, body := range []string{"poison", "a", "b", "c"} {
			d.take(body)
		}
		pass(time.Minute)
		d.receiver.answer(nil)
		pass(10 * time.Minute)
		if states := d.states(); states[hook.StateSucceeded] != 3 || states[hook.StateFailed] != 2 || d.engine.Circuit(d.to).Holds() {
			d.t.Errorf("states %v, want 3 succeeded and 2 failed; the circuit is %+v", states, d.engine.Circuit(d.to))
		}
		late := d.take("late")
		synctest.Wait()
		if delivery, _ := d.delivery(late); delivery.State != hook.StateSucceeded {
			d.t.Errorf("what came later is %v", delivery.State)
		}
	})
}

// A thousand deliveries that expired during an outage do not keep the destination waiting
// once it works again.
func TestExpiredDeliveriesAreNoProbes(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, c *hook.Connection) {
		dst.Circuit = &hook.CircuitPolicy{Failures: 2, MaxProbe: hook.Duration(2 * time.Second)}
		c.TTL = hook.Duration(10 * time.Second)
		c.Retry = noJitter(time.Second)
	}, func(d *durable) {
		d.receiver.answer(respond(500, 0))
		const old = 1000
		for i := range old {
			d.take(strconv.Itoa(i))
		}
		pass(time.Minute)
		d.receiver.answer(nil)
		fresh := d.take("fresh")
		pass(6 * time.Second)
		if delivery, _ := d.delivery(fresh); delivery.State != hook.StateSucceeded {
			d.t.Errorf("what came when it worked again is %v: %s", delivery.State, delivery.Reason)
		}
		if states := d.states(); states[hook.StateCanceled]+states[hook.StateFailed] != old {
			d.t.Errorf("states %v, want %d canceled or failed", states, old)
		}
	})
}

// What comes to be due while the circuit is open is held like all the rest, and neither
// attempted nor forgotten.
func TestWhatComesDueIsHeld(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, _ *hook.Connection) {
		dst.Circuit = &hook.CircuitPolicy{Failures: 2, Probe: hook.Duration(time.Hour), MaxProbe: hook.Duration(time.Hour)}
	}, func(d *durable) {
		delayed := d.connect("delayed", d.to)
		d.catalogue.changeConnection(delayed, func(c *hook.Connection) { c.Delay = hook.Duration(time.Minute) })
		d.receiver.answer(respond(500, 0))
		d.take("1")
		d.take("2")
		pass(time.Second)
		late := d.takeOver(delayed, "", "late")
		pass(90 * time.Second)
		if delivery, attempts := d.delivery(late); delivery.State != hook.StateHeld || delivery.Cause != hook.CauseCircuit || len(attempts) != 0 {
			d.t.Errorf("when it is due it is %v (%v) after %d attempts", delivery.State, delivery.Cause, len(attempts))
		}
		d.receiver.answer(nil)
		d.engine.ProbeNow(d.to)
		pass(time.Minute)
		if states := d.states(); states[hook.StateSucceeded] != 3 {
			d.t.Errorf("states %v, want 3 succeeded", states)
		}
	})
}
