package deliver_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
)

// bubble runs a test in virtual time with a running engine.
func bubble(t *testing.T, change func(*hook.Destination, *hook.Connection), test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, change)
		b.start()
		defer func() { b.stop() }()
		test(b)
	})
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestDeliveryAtOnce(t *testing.T) {
	bubble(t, nil, func(b *bench) {
		job := b.accept(destinationID, `{"id":1}`)
		synctest.Wait()
		row := b.queue.row(job.Delivery.ID)
		if row.state != hook.StateSucceeded || len(row.attempts) != 1 {
			t.Fatalf("state %v after %d attempts, want succeeded after one", row.state, len(row.attempts))
		}
		attempt := row.attempts[0]
		if attempt.Outcome != hook.OutcomeSuccess || attempt.ResponseStatus != 200 || attempt.URL != "https://erp.example.com/orders" {
			t.Errorf("attempt %+v", attempt)
		}
		got := b.receiver.got()
		if len(got) != 1 || got[0].id != job.Delivery.ID.String() || got[0].body != `{"id":1}` || got[0].attempt != "1" {
			t.Errorf("received %+v", got)
		}
	})
}

// Days of retries: the attempts come at the times of the schedule, within the jitter,
// with the same id, and end in the dead-letter.
func TestRetriesUntilExhausted(t *testing.T) {
	bubble(t, nil, func(b *bench) {
		b.receiver.answer(respond(500, 0))
		job := b.accept(destinationID, "{}")
		pass(100 * time.Hour)
		row := b.queue.row(job.Delivery.ID)
		schedule := hook.DefaultSchedule()
		if row.state != hook.StateFailed || len(row.attempts) != len(schedule)+1 {
			t.Fatalf("state %v after %d attempts, want failed after %d", row.state, len(row.attempts), len(schedule)+1)
		}
		if !strings.Contains(row.reason, "erp answered 500") || !strings.Contains(row.reason, "all 10 attempts") {
			t.Errorf("reason %q", row.reason)
		}
		got := b.receiver.got()
		for i, wait := range schedule {
			gap := got[i+1].at.Sub(got[i].at)
			low, high := time.Duration(float64(wait)*0.9), time.Duration(float64(wait)*1.1)+20*time.Millisecond
			if gap < low || gap > high {
				t.Errorf("attempt %d came %v after the one before, want %v to %v", i+2, gap, low, high)
			}
			if got[i+1].id != got[0].id {
				t.Errorf("attempt %d has another id", i+2)
			}
			if got[i+1].attempt != strconv.Itoa(i+2) {
				t.Errorf("attempt %d says it is number %s", i+2, got[i+1].attempt)
			}
		}
	})
}

func noJitter(schedule ...time.Duration) hook.RetryPolicy {
	policy := hook.RetryPolicy{Jitter: new(float64)}
	for _, wait := range schedule {
		policy.Schedule = append(policy.Schedule, hook.Duration(wait))
	}
	return policy
}

func TestRetryAfter(t *testing.T) {
	retry := func(_ *hook.Destination, c *hook.Connection) { c.Retry = noJitter(5*time.Second, 5*time.Second) }
	tests := []struct {
		name   string
		status int
		header func() string
		want   time.Duration
	}{
		{"seconds", 429, func() string { return "90" }, 90 * time.Second},
		{"date", 503, func() string { return time.Now().Add(2 * time.Minute).UTC().Format(http.TimeFormat) }, 2 * time.Minute},
		{"shorter than the schedule", 429, func() string { return "1" }, 5 * time.Second},
		{"beyond reason", 503, func() string { return "999999999" }, 24 * time.Hour},
		{"malformed", 429, func() string { return "soon" }, 5 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, retry, func(b *bench) {
				b.receiver.answer(func(_ *http.Request, n int) (int, http.Header, error) {
					if n > 1 {
						return 200, nil, nil
					}
					return test.status, http.Header{"Retry-After": {test.header()}}, nil
				})
				job := b.accept(destinationID, "{}")
				pass(48 * time.Hour)
				if row := b.queue.row(job.Delivery.ID); row.state != hook.StateSucceeded {
					t.Fatalf("state %v, want succeeded", row.state)
				}
				got := b.receiver.got()
				if gap := got[1].at.Sub(got[0].at); gap < test.want-time.Second || gap > test.want+time.Second {
					t.Errorf("the second attempt came after %v, want %v", gap, test.want)
				}
			})
		})
	}
}

// One answer that asks to wait stops the whole lane, and nothing gets lost or reordered
// by that.
func TestRetryAfterStopsTheLane(t *testing.T) {
	one := func(d *hook.Destination, c *hook.Connection) {
		d.Concurrency = 1
		c.Retry = noJitter(5 * time.Second)
	}
	bubble(t, one, func(b *bench) {
		b.receiver.answer(func(_ *http.Request, n int) (int, http.Header, error) {
			if n == 1 {
				return 429, http.Header{"Retry-After": {"60"}}, nil
			}
			return 200, nil, nil
		})
		start := time.Now()
		for i := range 10 {
			b.accept(destinationID, strconv.Itoa(i))
		}
		pass(59 * time.Second)
		if got := b.receiver.got(); len(got) != 1 {
			t.Fatalf("%d requests within the wait that was asked for, want only the first", len(got))
		}
		if count := b.queue.count(); count[hook.StateSending] != 0 {
			t.Errorf("states %v: what waits so long waits in the store", count)
		}
		b.accept(destinationID, "10")
		pass(30 * time.Second)
		if count := b.queue.count(); count[hook.StateSucceeded] != 11 {
			t.Fatalf("states %v, want 11 succeeded", count)
		}
		got := b.receiver.got()
		if got[1].at.Sub(start) < time.Minute {
			t.Errorf("the second request came after %v", got[1].at.Sub(start))
		}
		var bodies []string
		for _, r := range got[1:] {
			bodies = append(bodies, r.body)
		}
		// The one that was refused is due a minute after the others.
		if want := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "0"}; !slices.Equal(bodies, want) {
			t.Errorf("order %v, want %v", bodies, want)
		}
	})
}

func TestGonePausesTheDestination(t *testing.T) {
	one := func(d *hook.Destination, _ *hook.Connection) { d.Concurrency = 1 }
	bubble(t, one, func(b *bench) {
		b.receiver.answer(respond(410, time.Second))
		for range 5 {
			b.accept(destinationID, "{}")
		}
		pass(time.Minute)
		count := b.queue.count()
		if count[hook.StateFailed] != 1 || count[hook.StateHeld] != 4 {
			t.Fatalf("states %v, want one failed and the others held", count)
		}
		dst, _ := b.catalogue.Destination(destinationID)
		if !dst.Paused || !strings.Contains(dst.PauseReason, "410") {
			t.Errorf("paused %v, because of %q", dst.Paused, dst.PauseReason)
		}
		if row := b.queue.row(b.accepted[4]); !strings.Contains(row.reason, "paused: erp answered 410") {
			t.Errorf("held because of %q", row.reason)
		}
	})
}

func TestPermanentRefusal(t *testing.T) {
	bubble(t, nil, func(b *bench) {
		b.receiver.answer(respond(413, 0))
		job := b.accept(destinationID, "{}")
		pass(time.Hour)
		row := b.queue.row(job.Delivery.ID)
		if row.state != hook.StateFailed || len(row.attempts) != 1 {
			t.Errorf("state %v after %d attempts, want failed after one", row.state, len(row.attempts))
		}
	})
}

func TestTimeoutIsExact(t *testing.T) {
	slow := func(d *hook.Destination, c *hook.Connection) {
		d.HTTP.Timeout = hook.Duration(7 * time.Second)
		c.Retry.Off = true
	}
	bubble(t, slow, func(b *bench) {
		b.receiver.answer(respond(200, time.Hour))
		job := b.accept(destinationID, "{}")
		pass(time.Minute)
		row := b.queue.row(job.Delivery.ID)
		if row.state != hook.StateFailed || row.attempts[0].Outcome != hook.OutcomeTimeout {
			t.Fatalf("state %v, outcome %v, want failed by time-out", row.state, row.attempts[0].Outcome)
		}
		if took := time.Duration(row.attempts[0].Duration); took != 7*time.Second {
			t.Errorf("the attempt took %v, want 7s", took)
		}
		if !strings.Contains(row.reason, "no answer from erp within 7s") {
			t.Errorf("reason %q", row.reason)
		}
	})
}

func TestConcurrencyLimit(t *testing.T) {
	three := func(d *hook.Destination, _ *hook.Connection) { d.Concurrency = 3 }
	bubble(t, three, func(b *bench) {
		b.receiver.answer(respond(200, time.Second))
		start := time.Now()
		for range 30 {
			b.accept(destinationID, "{}")
		}
		pass(30 * time.Second)
		if b.receiver.most != 3 {
			t.Errorf("%d requests at once, want 3", b.receiver.most)
		}
		got := b.receiver.got()
		if len(got) != 30 {
			t.Fatalf("%d requests, want 30", len(got))
		}
		if took := got[29].at.Sub(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("the last one began after %v, want 9s", took)
		}
	})
}

// A rate is kept over any minute, and within it evenly.
func TestRateIsExact(t *testing.T) {
	for _, text := range []string{"50/s", "600/m", "7/s", "1000/s"} {
		t.Run(text, func(t *testing.T) {
			var limit hook.Rate
			if err := limit.UnmarshalText([]byte(text)); err != nil {
				t.Fatal(err)
			}
			bubble(t, func(d *hook.Destination, _ *hook.Connection) { d.Rate = limit }, func(b *bench) {
				perSecond := limit.PerSecond()
				start := time.Now()
				seconds := min(60, 3000/perSecond)
				for i := range int(perSecond * seconds * 1.5) {
					b.accept(destinationID, strconv.Itoa(i))
				}
				pass(time.Duration(seconds * float64(time.Second)))
				got := b.receiver.got()
				want := perSecond * seconds
				if n := float64(len(got)); n < want*0.98 || n > want*1.01+2 {
					t.Errorf("%v requests in %v seconds, want %v", n, seconds, want)
				}
				windows := map[int]int{}
				for _, r := range got {
					windows[int(r.at.Sub(start)/time.Second)]++
				}
				for second, n := range windows {
					if float64(n) > perSecond*1.01+1 {
						t.Errorf("%d requests in second %d, at most %v are allowed", n, second, perSecond)
					}
				}
			})
		})
	}
}

// What does not fit in memory waits in the store and comes in the order of acceptance.
func TestOverflowKeepsOrder(t *testing.T) {
	one := func(d *hook.Destination, _ *hook.Connection) { d.Concurrency = 1 }
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, one)
		b.options.MaxLane = 8
		b.start()
		defer func() { b.stop() }()
		b.receiver.answer(respond(200, 100*time.Millisecond))
		const total = 200
		for i := range total {
			b.accept(destinationID, strconv.Itoa(i))
			pass(10 * time.Millisecond)
			if waiting := b.queue.count()[hook.StateSending]; waiting > 8 {
				t.Fatalf("%d deliveries are in hand, at most 8 may be", waiting)
			}
		}
		pass(time.Minute)
		if count := b.queue.count(); count[hook.StateSucceeded] != total {
			t.Fatalf("states %v, want %d succeeded", count, total)
		}
		got := b.receiver.got()
		for i, r := range got {
			if r.body != strconv.Itoa(i) {
				t.Fatalf("delivery %s came in place %d", r.body, i)
			}
		}
		// The lane has caught up, so the next one takes the short way.
		if !b.engine.Reserve(destinationID).Inline {
			t.Error("the lane takes nothing although it has caught up")
		}
		b.engine.Release(destinationID)
	})
}

// A deferred delivery whose row is written late is found without anybody's help.
func TestLateRowIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(d *hook.Destination, _ *hook.Connection) { d.Concurrency = 1 })
		b.options.MaxLane = 1
		b.start()
		defer func() { b.stop() }()
		b.accept(destinationID, "0")
		synctest.Wait()
		if !b.engine.Reserve(destinationID).Inline {
			t.Fatal("no room in an empty lane")
		}
		late := b.newJob(destinationID, "late")
		if b.engine.Reserve(destinationID).Inline {
			t.Fatal("room beyond the limit")
		}
		b.engine.Release(destinationID)
		pass(3 * time.Second) // a slow disk
		b.queue.put(late, hook.StatePending, time.Now())
		pass(10 * time.Second)
		if row := b.queue.row(late.Delivery.ID); row.state != hook.StateSucceeded {
			t.Errorf("state %v, want succeeded", row.state)
		}
	})
}

func TestSlowDestinationDelaysNobody(t *testing.T) {
	bubble(t, nil, func(b *bench) {
		const other = hook.DestinationID(2)
		b.add(other, func(d *hook.Destination, _ *hook.Connection) { d.HTTP.URL = "https://fast.example.com/" })
		b.receiver.answer(func(req *http.Request, _ int) (int, http.Header, error) {
			if req.URL.Host == "fast.example.com" {
				return 200, nil, nil
			}
			return 200, nil, wait(req.Context(), time.Hour)
		})
		for i := range 2000 {
			b.accept(destinationID, "slow")
			if i%10 != 0 {
				continue
			}
			start := time.Now()
			job := b.accept(other, "fast")
			synctest.Wait()
			if row := b.queue.row(job.Delivery.ID); row.state != hook.StateSucceeded || !time.Now().Equal(start) {
				t.Fatalf("after %d slow deliveries a fast one is %v after %v", i, row.state, time.Since(start))
			}
		}
		pass(10 * time.Minute)
		if waiting := b.queue.count()[hook.StateSending]; waiting > 200 {
			t.Errorf("the slow destination has %d deliveries in hand", waiting)
		}
	})
}

// Deliveries that wait long in memory keep their leases, and none is taken twice: the
// queue of the test complains about both.
func TestLeasesOutliveLongWaits(t *testing.T) {
	one := func(d *hook.Destination, c *hook.Connection) {
		d.Concurrency = 1
		d.HTTP.Timeout = hook.MaxTimeout
		c.Retry.Off = true
	}
	bubble(t, one, func(b *bench) {
		b.receiver.answer(respond(200, 119*time.Second))
		for i := range 40 {
			b.queue.put(b.newJob(destinationID, strconv.Itoa(i)), hook.StatePending, time.Now())
		}
		b.engine.Wake(destinationID)
		pass(2 * time.Hour)
		if count := b.queue.count(); count[hook.StateSucceeded] != 40 {
			t.Fatalf("states %v, want 40 succeeded", count)
		}
		if n := len(b.receiver.got()); n != 40 {
			t.Errorf("%d requests for 40 deliveries", n)
		}
		if b.queue.called().renew == 0 {
			t.Error("no lease was renewed")
		}
	})
}

// What waits for its turn under a low rate keeps its lease: the queue of the test
// complains when one runs out in hand.
func TestLeasesOutliveALowRate(t *testing.T) {
	low := func(d *hook.Destination, _ *hook.Connection) { d.Rate = hook.Rate{Count: 1, Per: time.Minute} }
	bubble(t, low, func(b *bench) {
		for i := range 16 {
			b.queue.put(b.newJob(destinationID, strconv.Itoa(i)), hook.StatePending, time.Now())
		}
		b.engine.Wake(destinationID)
		pass(20 * time.Minute)
		if count := b.queue.count(); count[hook.StateSucceeded] != 16 {
			t.Errorf("states %v, want 16 succeeded", count)
		}
	})
}

// No attempt begins that could outlast its lease, not even while the store renews none.
func TestLeasesThatCannotBeRenewed(t *testing.T) {
	one := func(d *hook.Destination, c *hook.Connection) {
		d.Concurrency = 1
		d.HTTP.Timeout = hook.MaxTimeout
		c.Retry.Off = true
	}
	bubble(t, one, func(b *bench) {
		b.receiver.answer(respond(200, 119*time.Second))
		for i := range 4 {
			b.queue.put(b.newJob(destinationID, strconv.Itoa(i)), hook.StatePending, time.Now())
		}
		b.engine.Wake(destinationID)
		synctest.Wait()
		b.queue.failWith(errDisk)
		pass(6 * time.Minute)
		if count := b.queue.count(); count[hook.StateSucceeded] == 0 || count[hook.StatePending] == 0 {
			t.Errorf("states %v, want some done and the others given back", count)
		}
		b.queue.failWith(nil)
		pass(time.Hour)
		if count := b.queue.count(); count[hook.StateSucceeded] != 4 || len(b.receiver.got()) != 4 {
			t.Errorf("states %v after %d requests, want 4 succeeded", count, len(b.receiver.got()))
		}
	})
}

// Destinations that use up the memory for all leave each other one a little.
func TestHogsStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.options.MaxJobs = 10
		const other = hook.DestinationID(2)
		b.add(other, func(d *hook.Destination, _ *hook.Connection) { d.HTTP.URL = "https://fast.example.com/" })
		b.start()
		defer func() { b.stop() }()
		b.receiver.answer(func(req *http.Request, _ int) (int, http.Header, error) {
			if req.URL.Host == "fast.example.com" {
				return 200, nil, nil
			}
			return 200, nil, wait(req.Context(), time.Hour)
		})
		for range 50 {
			b.accept(destinationID, "{}")
		}
		synctest.Wait()
		for range 20 {
			job := b.accept(other, "{}")
			pass(time.Millisecond)
			if row := b.queue.row(job.Delivery.ID); row.state != hook.StateSucceeded {
				t.Fatalf("a delivery to the other destination is %v", row.state)
			}
		}
	})
}

func TestFailedClaimIsRepeated(t *testing.T) {
	bubble(t, nil, func(b *bench) {
		b.queue.failWith(errDisk)
		b.queue.put(b.newJob(destinationID, "{}"), hook.StatePending, time.Now())
		b.engine.Wake(destinationID)
		pass(10 * time.Second)
		if calls := b.queue.called().claim; calls < 5 || calls > 20 {
			t.Errorf("%d claims in ten seconds, want about one a second", calls)
		}
		b.queue.failWith(nil)
		pass(2 * time.Second)
		if count := b.queue.count(); count[hook.StateSucceeded] != 1 {
			t.Errorf("states %v, want succeeded", count)
		}
	})
}

func TestPausedHoldsAndResumes(t *testing.T) {
	bubble(t, nil, func(b *bench) {
		b.catalogue.change(destinationID, func(d *hook.Destination) { d.Paused, d.PauseReason = true, "stock-taking" })
		for range 3 {
			b.accept(destinationID, "{}")
		}
		synctest.Wait()
		if count := b.queue.count(); count[hook.StateHeld] != 3 || len(b.receiver.got()) != 0 {
			t.Fatalf("states %v and %d requests, want 3 held and none", count, len(b.receiver.got()))
		}
		if row := b.queue.row(b.accepted[0]); row.reason != "the destination is paused: stock-taking" || len(row.attempts) != 0 {
			t.Errorf("reason %q, %d attempts", row.reason, len(row.attempts))
		}
		b.catalogue.change(destinationID, func(d *hook.Destination) { d.Paused, d.PauseReason = false, "" })
		for _, id := range b.accepted {
			b.queue.mu.Lock()
			b.queue.rows[id].state, b.queue.rows[id].due = hook.StatePending, time.Now()
			b.queue.mu.Unlock()
		}
		b.engine.Wake(destinationID)
		synctest.Wait()
		if count := b.queue.count(); count[hook.StateSucceeded] != 3 {
			t.Errorf("states %v, want 3 succeeded", count)
		}
	})
}

func TestPausedConnectionHoldsItsOwnOnly(t *testing.T) {
	bubble(t, nil, func(b *bench) {
		b.catalogue.connections[2] = hook.Connection{ID: 2, Destination: destinationID, ConnectionSpec: hook.ConnectionSpec{Paused: true}}
		open := b.accept(destinationID, "{}")
		paused := b.newJob(destinationID, "{}")
		paused.Delivery.Connection = 2
		b.queue.put(paused, hook.StatePending, time.Now())
		b.engine.Wake(destinationID)
		synctest.Wait()
		if state := b.queue.row(open.Delivery.ID).state; state != hook.StateSucceeded {
			t.Errorf("the open connection's delivery is %v", state)
		}
		if row := b.queue.row(paused.Delivery.ID); row.state != hook.StateHeld || row.reason != "the connection is paused" {
			t.Errorf("the paused connection's delivery is %v because %q", row.state, row.reason)
		}
	})
}

func TestDeletedConnectionCancels(t *testing.T) {
	bubble(t, nil, func(b *bench) {
		b.receiver.answer(respond(500, 0))
		job := b.accept(destinationID, "{}")
		synctest.Wait()
		b.catalogue.mu.Lock()
		delete(b.catalogue.connections, connectionID)
		b.catalogue.mu.Unlock()
		pass(time.Hour)
		row := b.queue.row(job.Delivery.ID)
		if row.state != hook.StateCanceled || len(row.attempts) != 1 || row.reason != "its connection was deleted" {
			t.Errorf("state %v after %d attempts because %q", row.state, len(row.attempts), row.reason)
		}
	})
}

// A person retries from the dead-letter: one attempt, whatever comes of it.
func TestManualRetry(t *testing.T) {
	for _, status := range []int{200, 500} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			off := func(_ *hook.Destination, c *hook.Connection) { c.Retry.Off = true }
			bubble(t, off, func(b *bench) {
				b.receiver.answer(respond(500, 0))
				job := b.accept(destinationID, "{}")
				synctest.Wait()
				b.catalogue.mu.Lock()
				b.catalogue.connections[connectionID] = hook.Connection{ID: connectionID, Destination: destinationID}
				b.catalogue.mu.Unlock()
				b.receiver.answer(respond(status, 0))
				b.queue.mu.Lock()
				row := b.queue.rows[job.Delivery.ID]
				row.state, row.due, row.job.Manual = hook.StatePending, time.Now(), true
				b.queue.mu.Unlock()
				b.engine.Wake(destinationID)
				pass(100 * time.Hour)
				settled := b.queue.row(job.Delivery.ID)
				want := map[int]hook.State{200: hook.StateSucceeded, 500: hook.StateFailed}[status]
				if settled.state != want || len(settled.attempts) != 2 || !settled.attempts[1].Manual {
					t.Errorf("state %v after attempts %+v, want %v after a manual second", settled.state, settled.attempts, want)
				}
			})
		})
	}
}

// A change of the destination counts from the next attempt on.
func TestChangedDestination(t *testing.T) {
	retry := func(_ *hook.Destination, c *hook.Connection) { c.Retry = noJitter(time.Minute) }
	bubble(t, retry, func(b *bench) {
		b.receiver.answer(func(req *http.Request, _ int) (int, http.Header, error) {
			if req.URL.Host == "new.example.com" {
				return 200, nil, nil
			}
			return 500, nil, nil
		})
		job := b.accept(destinationID, "{}")
		synctest.Wait()
		b.catalogue.change(destinationID, func(d *hook.Destination) {
			target := *d.HTTP
			target.URL = "https://new.example.com/"
			d.HTTP = &target
		})
		pass(2 * time.Minute)
		if row := b.queue.row(job.Delivery.ID); row.state != hook.StateSucceeded || row.attempts[1].URL != "https://new.example.com/" {
			t.Errorf("state %v, attempts %+v", row.state, row.attempts)
		}
	})
}

func TestUnusableDestinationIsTriedAgain(t *testing.T) {
	bubble(t, nil, func(b *bench) {
		b.catalogue.change(destinationID, func(d *hook.Destination) { d.HTTP = &hook.HTTPTarget{URL: "http://10.0.0.3/"} })
		job := b.accept(destinationID, "{}")
		synctest.Wait()
		row := b.queue.row(job.Delivery.ID)
		if row.state != hook.StatePending || row.attempts[0].Outcome != hook.OutcomeConfig || !strings.Contains(row.reason, "--allow-private 10.0.0.3/32:80") {
			t.Errorf("state %v, attempts %+v because %q", row.state, row.attempts, row.reason)
		}
	})
}

// The log says why a delivery failed, without a word of what the destination answered.
func TestFailuresAreLoggedWithTheirReason(t *testing.T) {
	for name, test := range map[string]struct {
		url    string
		status int
		want   string
	}{
		"closed":   {"http://10.0.0.3/", 0, "--allow-private 10.0.0.3/32:80"},
		"answered": {"https://erp.example.com/", http.StatusRequestEntityTooLarge, "status=413"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(_ *hook.Destination, c *hook.Connection) { c.Retry.Off = true })
				var log bytes.Buffer
				b.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
				b.catalogue.change(destinationID, func(d *hook.Destination) {
					d.Name, d.HTTP = "erp", &hook.HTTPTarget{URL: test.url, Sign: &hook.Sign{None: true}}
				})
				b.receiver.answer(func(*http.Request, int) (int, http.Header, error) { return test.status, nil, nil })
				b.start()
				b.accept(destinationID, "{}")
				synctest.Wait()
				b.stop()
				if said := log.String(); !strings.Contains(said, "a delivery failed") || !strings.Contains(said, test.want) || !strings.Contains(said, "name=erp") {
					t.Errorf("the log says %s", said)
				}
			})
		})
	}
}

func TestPanickingDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.options.Senders = func(*hook.Destination) (*destination.Sender, error) {
			return destination.NewSender(panicking{}, destination.Options{Name: "erp", Logger: quiet()}), nil
		}
		b.start()
		defer func() { b.stop() }()
		job := b.accept(destinationID, "{}")
		synctest.Wait()
		if row := b.queue.row(job.Delivery.ID); row.state != hook.StatePending || row.attempts[0].Outcome != hook.OutcomeConfig {
			t.Errorf("state %v, attempts %+v", row.state, row.attempts)
		}
	})
}

// At the end attempts in flight may finish within the grace, the others go back to the
// store as if they had never begun, and so does what waits.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(d *hook.Destination, _ *hook.Connection) { d.Concurrency = 2 })
		b.start()
		b.receiver.answer(func(req *http.Request, n int) (int, http.Header, error) {
			if n == 1 {
				return 200, nil, wait(req.Context(), 2*time.Second)
			}
			return 200, nil, wait(req.Context(), 14*time.Second)
		})
		for i := range 5 {
			b.accept(destinationID, strconv.Itoa(i))
			synctest.Wait()
		}
		stopped := time.Now()
		var stop sync.WaitGroup
		stop.Go(b.stop)
		synctest.Wait()
		if count := b.queue.count(); count[hook.StatePending] != 3 {
			t.Errorf("states %v: what has not begun goes back at once", count)
		}
		stop.Wait()
		if took := time.Since(stopped); took != 10*time.Second {
			t.Errorf("the end took %v, want the grace of 10s", took)
		}
		first := b.queue.row(b.accepted[0])
		if first.state != hook.StateSucceeded {
			t.Errorf("the attempt that finished within the grace is %v", first.state)
		}
		for _, id := range b.accepted[1:] {
			row := b.queue.row(id)
			if row.state != hook.StatePending || len(row.attempts) != 0 || row.due.After(stopped) {
				t.Errorf("delivery %v is %v with %d attempts, due %v", id, row.state, len(row.attempts), row.due)
			}
		}
		if b.engine.Reserve(destinationID).Inline {
			t.Error("the engine promises room after its end")
		}
		late := b.newJob(destinationID, "late")
		b.queue.inline(late)
		b.engine.Dispatch(late)
		if row := b.queue.row(late.Delivery.ID); row.state != hook.StatePending {
			t.Errorf("a delivery that came after the end is %v, want pending in the store", row.state)
		}
	})
}

// A start takes up what the last run left, due now and due later.
func TestStartTakesUpTheBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		for i := range 5 {
			b.queue.put(b.newJob(destinationID, strconv.Itoa(i)), hook.StatePending, time.Now().Add(time.Duration(i)*time.Hour))
		}
		lost := b.newJob(destinationID, "lost")
		lost.Inline = false
		b.queue.put(lost, hook.StateSending, time.Now().Add(-2*time.Hour))
		start := time.Now()
		b.start()
		defer func() { b.stop() }()
		pass(5 * time.Hour)
		if count := b.queue.count(); count[hook.StateSucceeded] != 6 {
			t.Fatalf("states %v, want 6 succeeded", count)
		}
		for _, r := range b.receiver.got() {
			n, err := strconv.Atoi(r.body)
			if err != nil {
				continue
			}
			if late := r.at.Sub(start) - time.Duration(n)*time.Hour; late < 0 || late > 2*time.Second {
				t.Errorf("delivery %d is %v late", n, late)
			}
		}
	})
}

// Very many retries of one destination do not need as many timers.
func TestManyRetries(t *testing.T) {
	bubble(t, func(_ *hook.Destination, c *hook.Connection) {
		c.Retry.Schedule = []hook.Duration{hook.Duration(10 * time.Minute)}
	}, func(b *bench) {
		const total = 2500
		var mended atomic.Bool
		b.receiver.answer(func(*http.Request, int) (int, http.Header, error) {
			if mended.Load() {
				return 200, nil, nil
			}
			return 502, nil, nil
		})
		for i := range total {
			b.accept(destinationID, strconv.Itoa(i))
			if i%10 == 9 {
				pass(time.Millisecond)
			}
		}
		pass(10 * time.Second)
		mended.Store(true)
		pass(20 * time.Minute)
		if count := b.queue.count(); count[hook.StateSucceeded] != total {
			t.Errorf("states %v, want %d succeeded", count, total)
		}
	})
}

// The limit on bytes holds over all destinations, and nobody starves under it.
func TestMemoryLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.options.MaxBytes = 1 << 20
		for id := hook.DestinationID(2); id <= 10; id++ {
			b.add(id, nil)
		}
		b.start()
		defer func() { b.stop() }()
		b.receiver.answer(respond(200, 50*time.Millisecond))
		body := strings.Repeat("x", 100<<10)
		for range 20 {
			for id := hook.DestinationID(1); id <= 10; id++ {
				b.accept(id, body)
			}
			if waiting := b.queue.count()[hook.StateSending]; waiting > 10*4+11 {
				t.Fatalf("%d deliveries of 100 KiB are in hand with a limit of 1 MiB", waiting)
			}
		}
		pass(time.Minute)
		if count := b.queue.count(); count[hook.StateSucceeded] != 200 {
			t.Errorf("states %v, want 200 succeeded", count)
		}
	})
}

// closing is a driver that counts its ends.
type closing struct{ closed *atomic.Int32 }

func (closing) Send(ctx context.Context, _ *destination.Message) (*destination.Answer, error) {
	return &destination.Answer{Status: http.StatusOK}, wait(ctx, 5*time.Second)
}

func (c closing) Close() error {
	c.closed.Add(1)
	return nil
}

// A sender is closed when its destination has changed and no attempt uses it any more,
// when its lane had nothing to do for long, and at the end.
func TestSendersAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		var opened, closed atomic.Int32
		b.options.Senders = func(*hook.Destination) (*destination.Sender, error) {
			opened.Add(1)
			return destination.NewSender(closing{&closed}, destination.Options{Logger: quiet()}), nil
		}
		b.start()
		check := func(when string, wantOpened, wantClosed int32) {
			t.Helper()
			if opened.Load() != wantOpened || closed.Load() != wantClosed {
				t.Errorf("%s: %d opened and %d closed, want %d and %d", when, opened.Load(), closed.Load(), wantOpened, wantClosed)
			}
		}
		b.accept(destinationID, "{}")
		pass(time.Second)
		b.catalogue.change(destinationID, func(*hook.Destination) {})
		b.accept(destinationID, "{}")
		pass(time.Second)
		check("while the old one is in use", 2, 0)
		pass(10 * time.Second)
		check("when the old one is not in use any more", 2, 1)
		pass(time.Hour)
		check("after an hour without work", 2, 2)
		b.accept(destinationID, "{}")
		pass(10 * time.Second)
		b.stop()
		check("at the end", 3, 3)
	})
}

// A throttling destination without Retry-After is asked less often, too.
func TestThrottledWithoutRetryAfter(t *testing.T) {
	off := func(_ *hook.Destination, c *hook.Connection) { c.Retry = noJitter(time.Hour) }
	bubble(t, off, func(b *bench) {
		b.receiver.answer(respond(429, 0))
		for range 500 {
			b.accept(destinationID, "{}")
		}
		pass(10 * time.Second)
		if n := len(b.receiver.got()); n < 9 || n > 11*hook.DefaultConcurrency {
			t.Errorf("%d requests in ten seconds", n)
		}
		b.receiver.answer(nil)
		pass(30 * time.Second) // the gaps shrink as it takes what it gets
		if count := b.queue.count(); count[hook.StateSucceeded] < 480 {
			t.Errorf("states %v after it works again", count)
		}
	})
}

// Slow, throttled and paced destinations are no reason to be unready; deliveries that
// could leave and do not are.
func TestReady(t *testing.T) {
	slow := func(d *hook.Destination, c *hook.Connection) {
		d.Concurrency = 1
		d.HTTP.Timeout = hook.MaxTimeout
		c.Retry.Off = true
	}
	bubble(t, slow, func(b *bench) {
		b.receiver.answer(respond(200, time.Hour))
		for range 10 {
			b.accept(destinationID, "{}")
		}
		for range 15 {
			pass(time.Minute)
			if err := b.engine.Ready(); err != nil {
				t.Errorf("with a slow destination: %v", err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.engine = deliver.New(b.options)
		job := b.accept(destinationID, "{}")
		if err := b.engine.Ready(); err != nil {
			t.Errorf("at the start: %v", err)
		}
		pass(6 * time.Minute) // nothing runs the engine
		if err := b.engine.Ready(); err == nil {
			t.Errorf("delivery %v waits for ever, and the engine is ready", job.Delivery.ID)
		}
	})
}
