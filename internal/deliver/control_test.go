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

// limited is a receiver that takes so many a second and answers the rest with 429.
type limited struct {
	perSecond  float64
	retryAfter string

	mu     sync.Mutex
	tokens float64
	at     time.Time
	taken  int
	vain   int
}

func (r *limited) answer(req *http.Request, _ int) (int, http.Header, error) {
	status, header := http.StatusOK, http.Header{}
	r.mu.Lock()
	now := time.Now()
	if !r.at.IsZero() {
		r.tokens = min(max(1, r.perSecond/10), r.tokens+r.perSecond*now.Sub(r.at).Seconds())
	}
	r.at = now
	if r.tokens >= 1 {
		r.tokens--
		r.taken++
	} else {
		r.vain++
		status = http.StatusTooManyRequests
		if r.retryAfter != "" {
			header.Set("Retry-After", r.retryAfter)
		}
	}
	r.mu.Unlock()
	return status, header, wait(req.Context(), 20*time.Millisecond)
}

// A receiver that throttles gets most of what it takes, with few attempts in vain,
// whether or not it says how long to wait; and its circuit stays closed.
func TestThrottlingReceiver(t *testing.T) {
	for _, test := range []struct {
		perSecond  float64
		retryAfter string
		used       float64
		vain       float64
	}{
		{50, "", 0.7, 0.3},
		{5, "", 0.4, 0.5},
		{50, "1", 0.2, 0.3},
	} {
		t.Run(fmt.Sprint(test.perSecond, test.retryAfter), func(t *testing.T) {
			bubble(t, func(_ *hook.Destination, c *hook.Connection) {
				c.Retry.Schedule = slices.Repeat([]hook.Duration{hook.Duration(10 * time.Second)}, 100)
			}, func(b *bench) {
				r := &limited{perSecond: test.perSecond, retryAfter: test.retryAfter}
				b.receiver.answer(r.answer)
				const span = 60 * time.Second
				for i := range int(2 * test.perSecond * span.Seconds()) {
					b.queue.put(b.newJob(destinationID, strconv.Itoa(i)), hook.StatePending, time.Now())
				}
				b.engine.Wake(destinationID)
				pass(span)
				used, vain := float64(r.taken)/(test.perSecond*span.Seconds()), float64(r.vain)/float64(r.taken+r.vain)
				t.Logf("%.2f used, %.2f in vain", used, vain)
				if used < test.used || vain > test.vain {
					t.Errorf("%.2f of what it takes is used, want %.2f; %.2f of the attempts are in vain, at most %.2f may be", used, test.used, vain, test.vain)
				}
				if circuit := b.engine.Circuit(destinationID); circuit.State != hook.CircuitClosed {
					t.Errorf("the circuit is %+v", circuit)
				}
			})
		})
	}
}

// In its quiet hours a destination gets nothing, as the clock on the wall shows them,
// also in the night in which that is set.
func TestQuietHoursOverAChangeOfClocks(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	bubbleDurable(t, func(dst *hook.Destination, _ *hook.Connection) {
		dst.Quiet = &hook.Quiet{From: "22:00", To: "06:00", Zone: "Europe/Berlin"}
	}, func(d *durable) {
		// The clocks of 2000 go forward on March 26.
		pass(time.Until(time.Date(2000, 3, 25, 12, 0, 0, 0, zone)))
		total := 0
		for range 3 * 24 * 2 {
			total++
			d.take(strconv.Itoa(total))
			pass(30 * time.Minute)
		}
		pass(24 * time.Hour)
		if states := d.states(); states[hook.StateSucceeded] != total {
			d.t.Errorf("states %v, want all %d succeeded", states, total)
		}
		mornings := map[int]time.Duration{}
		for _, r := range d.receiver.got() {
			at := r.at.In(zone)
			if at.Hour() < 6 || at.Hour() >= 22 {
				d.t.Errorf("%s was delivered at %s", r.body, at)
			}
			if _, ok := mornings[at.YearDay()]; !ok {
				mornings[at.YearDay()] = at.Sub(time.Date(2000, 1, at.YearDay(), 6, 0, 0, 0, zone))
			}
		}
		for day, late := range mornings {
			if first := d.receiver.got()[0].at.In(zone).YearDay(); day != first && late > 2*time.Second {
				d.t.Errorf("on day %d the first one came %v after the quiet hours", day, late)
			}
		}
		if status := d.engine.Lane(d.to); !status.ClosedUntil.IsZero() || status.Limit != hook.DefaultConcurrency {
			d.t.Errorf("at noon the lane is %+v", status)
		}
		pass(11 * time.Hour)
		if status := d.engine.Lane(d.to); status.ClosedUntil.In(zone).Hour() != 6 {
			d.t.Errorf("at night the lane is %+v", status)
		}
	})
}

// Retries and what is given back keep to quiet hours that begin meanwhile.
func TestQuietHoursHoldRetries(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, c *hook.Connection) {
		dst.Quiet = &hook.Quiet{From: "00:10", To: "05:00"}
		dst.Concurrency = 1
		c.Retry = noJitter(10*time.Minute, time.Hour)
	}, func(d *durable) {
		d.receiver.answer(respond(500, 2*time.Minute/10))
		for i := range 50 {
			d.take(strconv.Itoa(i))
		}
		pass(9 * time.Minute)
		d.receiver.answer(respond(200, time.Second))
		pass(4 * time.Hour)
		if status := d.engine.Lane(d.to); status.InHand != 0 || status.ClosedUntil.IsZero() {
			d.t.Errorf("at night the lane is %+v", status)
		}
		pass(2 * time.Hour)
		if states := d.states(); states[hook.StateSucceeded] != 50 {
			d.t.Errorf("states %v, want 50 succeeded", states)
		}
		for _, r := range d.receiver.got() {
			if minutes := r.at.UTC().Hour()*60 + r.at.UTC().Minute(); minutes >= 10 && minutes < 300 {
				d.t.Errorf("%s was delivered at %s", r.body, r.at.UTC())
			}
		}
	})
}

func TestDelay(t *testing.T) {
	bubbleDurable(t, func(_ *hook.Destination, c *hook.Connection) { c.Delay = hook.Duration(10 * time.Minute) }, func(d *durable) {
		start := time.Now()
		for i := range 20 {
			d.take(strconv.Itoa(i))
			pass(time.Minute)
		}
		pass(15 * time.Minute)
		got := d.receiver.got()
		if len(got) != 20 {
			d.t.Fatalf("%d requests, want 20", len(got))
		}
		for i, r := range got {
			want := start.Add(time.Duration(i+10) * time.Minute)
			if late := r.at.Sub(want); late < 0 || late > time.Second {
				d.t.Errorf("%s came %v after its time", r.body, late)
			}
		}
	})
}

// What was not delivered in time is canceled, however it waited, unless a person wants it.
func TestExpiry(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, c *hook.Connection) {
		dst.Circuit = &hook.CircuitPolicy{Failures: 3}
		c.TTL = hook.Duration(time.Hour)
		c.Retry = noJitter(slices.Repeat([]time.Duration{50 * time.Minute}, 5)...)
	}, func(d *durable) {
		d.receiver.answer(respond(500, 0))
		var ids []hook.DeliveryID
		for i := range 5 {
			ids = append(ids, d.take(strconv.Itoa(i)))
			pass(time.Second)
		}
		pass(2 * time.Hour)
		d.receiver.answer(nil)
		fresh := d.take("fresh")
		pass(10 * time.Minute)
		for _, id := range ids {
			delivery, _ := d.delivery(id)
			if delivery.State != hook.StateCanceled || !strings.HasPrefix(delivery.Reason, "it expired: ") {
				d.t.Errorf("delivery %v is %v: %s", id, delivery.State, delivery.Reason)
			}
		}
		if delivery, _ := d.delivery(fresh); delivery.State != hook.StateSucceeded {
			d.t.Errorf("the fresh one is %v: %s", delivery.State, delivery.Reason)
		}
		_, err := d.store.Retry(d.t.Context(), d.project, ids[:1], time.Now())
		d.must(err)
		d.engine.Wake(d.to)
		synctest.Wait()
		if delivery, _ := d.delivery(ids[0]); delivery.State != hook.StateSucceeded {
			d.t.Errorf("sent again by hand it is %v: %s", delivery.State, delivery.Reason)
		}
	})
}

// A head that is never taken blocks, is skipped, or parks its key, and other keys go on.
func TestPoisonousHead(t *testing.T) {
	for _, stuck := range []string{"block", "skip after 3", "park"} {
		t.Run(stuck, func(t *testing.T) {
			told := &notices{}
			bubbleDurable(t, func(_ *hook.Destination, c *hook.Connection) {
				c.Order = &hook.Order{Key: "data.customer", Stuck: stuck}
				c.Retry = noJitter(10*time.Second, 30*time.Second)
			}, func(d *durable) {
				d.stop()
				d.options.Notify = told.add
				d.start()
				d.receiver.poison("a/1")
				var a, b []hook.DeliveryID
				for i := range 3 {
					a = append(a, d.takeOver(d.connection, "a", fmt.Sprint("a/", i+1)))
					b = append(b, d.takeOver(d.connection, "b", fmt.Sprint("b/", i+1)))
				}
				pass(10 * time.Minute)
				for _, id := range b {
					if delivery, _ := d.delivery(id); delivery.State != hook.StateSucceeded {
						d.t.Errorf("another key's delivery is %v", delivery.State)
					}
				}
				head, attempts := d.delivery(a[0])
				next, _ := d.delivery(a[1])
				switch stuck {
				case "block":
					if head.State != hook.StatePending || len(attempts) < 10 || next.State != hook.StatePending || !strings.Contains(head.Reason, "its key waits for it") {
						d.t.Errorf("the head is %v after %d attempts (%s), the next one %v", head.State, len(attempts), head.Reason, next.State)
					}
				case "park":
					if head.State != hook.StateHeld || head.Cause != hook.CauseParked || len(attempts) != 3 || next.State != hook.StatePending {
						d.t.Errorf("the head is %v (%v) after %d attempts, the next one %v", head.State, head.Cause, len(attempts), next.State)
					}
					if told.count(hook.NoticeKeyParked) != 1 {
						d.t.Errorf("told: %v", told.types())
					}
				default:
					if head.State != hook.StateFailed || len(attempts) != 3 || next.State != hook.StateSucceeded {
						d.t.Errorf("the head is %v after %d attempts, the next one %v", head.State, len(attempts), next.State)
					}
					if told.count(hook.NoticeDeliveryExhausted) != 1 {
						d.t.Errorf("told: %v", told.types())
					}
				}
				d.receiver.poison("")
				if stuck == "park" {
					_, err := d.store.Retry(d.t.Context(), d.project, a[:1], time.Now())
					d.must(err)
					d.engine.Wake(d.to)
				}
				pass(10 * time.Minute)
				var order []string
				for _, r := range d.receiver.got() {
					if strings.HasPrefix(r.body, "a/") {
						order = append(order, r.body)
					}
				}
				order = slices.Compact(order)
				if want := []string{"a/1", "a/2", "a/3"}; !slices.Equal(order, want) {
					d.t.Errorf("the key came as %v, want %v", order, want)
				}
			})
		})
	}
}

// The head of a key is in nobody's way for long: what follows it comes right after.
func TestOrderedKeysAreFast(t *testing.T) {
	bubbleDurable(t, func(_ *hook.Destination, c *hook.Connection) { c.Order = &hook.Order{Key: "data.customer"} }, func(d *durable) {
		d.receiver.answer(respond(200, 10*time.Millisecond))
		var ids []hook.DeliveryID
		for i := range 200 {
			key := fmt.Sprint(i % 4)
			ids = append(ids, d.takeOver(d.connection, key, fmt.Sprintf("%s/%d", key, i)))
		}
		start := time.Now()
		pass(30 * time.Second)
		inOrder(d.t, d.receiver.got())
		got := d.receiver.got()
		if states := d.states(); states[hook.StateSucceeded] != len(ids) {
			d.t.Fatalf("states %v", states)
		}
		if took := got[len(got)-1].at.Sub(start); took > 5*time.Second {
			d.t.Errorf("50 deliveries of each key took %v, 10ms each", took)
		}
		if d.receiver.most > 4 {
			d.t.Errorf("%d at once of 4 keys", d.receiver.most)
		}
	})
}

// A dead destination, with its circuit opening and closing over a backlog, delays no
// other one.
func TestOutageDelaysNobody(t *testing.T) {
	bubbleDurable(t, nil, func(d *durable) {
		other := d.another("other", func(dst *hook.Destination) { dst.HTTP.URL = "https://fast.example.com/" })
		d.receiver.answer(func(req *http.Request, _ int) (int, http.Header, error) {
			if req.URL.Host == "fast.example.com" {
				return 200, nil, nil
			}
			return 500, nil, nil
		})
		for i := range 600 {
			d.take(strconv.Itoa(i))
			if i%10 != 0 {
				continue
			}
			id := d.takeOver(other, "", "fast")
			start := time.Now()
			synctest.Wait()
			if delivery, _ := d.delivery(id); delivery.State != hook.StateSucceeded || !time.Now().Equal(start) {
				d.t.Fatalf("after %d dead deliveries a fast one is %v", i, delivery.State)
			}
		}
		d.receiver.answer(nil)
		pass(10 * time.Minute)
		if states := d.states(); states[hook.StateSucceeded] != 660 {
			d.t.Errorf("states %v, want 660 succeeded", states)
		}
	})
}

// another sets up a further destination and a connection to it.
func (d *durable) another(name string, change func(*hook.Destination)) hook.ConnectionID {
	d.t.Helper()
	dst := hook.Destination{Project: d.project, Name: name, DestinationSpec: hook.DestinationSpec{
		HTTP: &hook.HTTPTarget{URL: "https://erp.example.com/", Sign: &hook.Sign{None: true}},
	}}
	change(&dst)
	d.must(d.store.Destinations().Create(d.t.Context(), &dst))
	d.catalogue.mu.Lock()
	d.catalogue.destinations[dst.ID] = &dst
	d.catalogue.mu.Unlock()
	return d.connect(name, dst.ID)
}

// connect adds a connection to a destination.
func (d *durable) connect(name string, to hook.DestinationID) hook.ConnectionID {
	d.t.Helper()
	connection := hook.Connection{Project: d.project, Name: name, Source: d.source, Destination: to}
	d.must(d.store.Connections().Create(d.t.Context(), &connection))
	d.catalogue.mu.Lock()
	defer d.catalogue.mu.Unlock()
	d.catalogue.connections[connection.ID] = connection
	return connection.ID
}

// The backlog of one connection does not delay another one of the same destination.
func TestConnectionsTakeTurns(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, _ *hook.Connection) { dst.Concurrency = 4 }, func(d *durable) {
		fresh := d.connect("fresh", d.to)
		d.receiver.answer(respond(200, 100*time.Millisecond))
		for i := range 2000 {
			d.takeOver(d.connection, "", strconv.Itoa(i))
		}
		for range 20 {
			pass(time.Second)
			start := time.Now()
			id := d.takeOver(fresh, "", "fresh")
			for range 100 {
				pass(50 * time.Millisecond)
				if delivery, _ := d.delivery(id); delivery.State == hook.StateSucceeded {
					break
				}
			}
			if took := time.Since(start); took > 3*time.Second {
				d.t.Fatalf("beside a backlog a new delivery took %v", took)
			}
		}
		if states := d.states(); states[hook.StatePending]+states[hook.StateSending] < 500 {
			d.t.Errorf("states %v: the backlog was gone too soon to be one", states)
		}
	})
}

// Where memory is scarce, a project with more than its part of it makes room for others.
func TestProjectsShareMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(d *hook.Destination, _ *hook.Connection) { d.Project = 1 })
		b.options.MaxJobs = 100
		for id := hook.DestinationID(2); id <= 20; id++ {
			b.add(id, func(d *hook.Destination, _ *hook.Connection) { d.Project = 1 })
		}
		const other = hook.DestinationID(30)
		b.add(other, func(d *hook.Destination, _ *hook.Connection) { d.Project = 2 })
		b.start()
		defer func() { b.stop() }()
		b.receiver.answer(respond(200, 10*time.Second))
		inline := func(id hook.DestinationID) (count int) {
			for range 30 {
				if b.engine.Reserve(id).Inline {
					count++
				}
			}
			return count
		}
		b.accept(other, "{}")
		for range 30 {
			for id := hook.DestinationID(1); id <= 20; id++ {
				b.accept(id, "{}")
			}
		}
		greedy, small := inline(1), inline(other)
		if greedy != 0 || small < hook.DefaultConcurrency {
			t.Errorf("room for %d of the large project, and for %d of the small one", greedy, small)
		}
		b.receiver.answer(nil)
	})
}

// What a project has in hand may be bounded for each destination.
func TestInFlightCapAndBurst(t *testing.T) {
	bubble(t, func(d *hook.Destination, _ *hook.Connection) {
		d.InFlight = 3
		d.Rate = hook.Rate{Count: 10, Per: time.Second}
		d.Burst = 5
	}, func(b *bench) {
		b.receiver.answer(respond(200, time.Second/2))
		start := time.Now()
		for i := range 60 {
			b.accept(destinationID, strconv.Itoa(i))
			if n := b.queue.count()[hook.StateSending]; n > 3 {
				t.Fatalf("%d in hand, want 3", n)
			}
		}
		pass(time.Minute)
		b.receiver.answer(nil)
		if count := b.queue.count(); count[hook.StateSucceeded] != 60 || b.receiver.most > 3 {
			t.Errorf("states %v, %d at once", count, b.receiver.most)
		}
		got := b.receiver.got()
		if took := got[59].at.Sub(start); took < 9*time.Second || took > 13*time.Second {
			t.Errorf("60 with 3 in hand of half a second took %v", took)
		}
		pass(time.Minute)
		before := len(b.receiver.got())
		for i := range 3 {
			b.accept(destinationID, strconv.Itoa(i))
		}
		synctest.Wait()
		if n := len(b.receiver.got()) - before; n != 3 {
			t.Errorf("%d at once of a burst of 5", n)
		}
	})
}
