package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"malote.dev/malote/internal/hooktest"
)

// senders are how many orders are under way at once in the crash test.
const senders = 16

// TestKillLosesNothing kills the server in the middle of load, again and again, and
// looks for every order that was acknowledged. The receiver is down for some requests,
// so that there are retries and deliveries in every state when the end comes.
func TestKillLosesNothing(t *testing.T) {
	s, receiver := pipeline(t, retrySoon, options{})
	receiver.Behave(hooktest.Flapping(50, 5))
	acknowledged := map[string]bool{}
	for round, moment := range []time.Duration{300 * time.Millisecond, 700 * time.Millisecond, 1100 * time.Millisecond} {
		took := s.loadUntil(round, moment, s.kill)
		for _, id := range took {
			acknowledged[id] = true
		}
		if len(took) == 0 {
			t.Fatalf("round %d: nothing was acknowledged before the server was killed", round)
		}
		t.Logf("round %d: killed after %d acknowledged orders", round, len(took))
		s = start(t, options{dir: s.dir})
	}
	receiver.Behave(nil)
	waitForOrders(t, receiver, acknowledged)
	repeated := 0
	for _, times := range receiver.Duplicates() {
		repeated += times - 1
	}
	t.Logf("%d orders acknowledged, %d requests, of which %d repetitions", len(acknowledged), receiver.Count(), repeated)
	if bad := receiver.BadSignatures(); len(bad) > 0 {
		t.Errorf("%d deliveries are signed wrongly", len(bad))
	}
	waitUntilDrained(t, s)
	if code := s.stop(); code != 0 {
		t.Errorf("the server ends with code %d, want 0", code)
	}
	if p := command(t, nil, "doctor", "--data", s.dir); p.code != 0 {
		t.Errorf("malote doctor finds faults after the crashes: code %d\n%s%s", p.code, p.out, p.err)
	}
}

// TestStopLosesNothing stops the server in the middle of load as an operator does.
func TestStopLosesNothing(t *testing.T) {
	s, receiver := pipeline(t, retrySoon, options{})
	receiver.Behave(hooktest.Always(hooktest.Reaction{Delay: 20 * time.Millisecond}))
	code := 0
	took := s.loadUntil(0, 500*time.Millisecond, func() { code = s.stop() })
	if code != 0 {
		t.Errorf("the server ends with code %d, want 0", code)
	}
	acknowledged := map[string]bool{}
	for _, id := range took {
		acknowledged[id] = true
	}
	s = start(t, options{dir: s.dir})
	waitForOrders(t, receiver, acknowledged)
	waitUntilDrained(t, s)
	if again := receiver.Duplicates(); len(again) > 0 {
		t.Errorf("%d orders were delivered twice although the server was stopped in order", len(again))
	}
}

// loadUntil sends orders from many senders, ends the server after a while, and returns
// the ids of the orders that were acknowledged.
func (s *server) loadUntil(round int, while time.Duration, end func()) []string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var mu sync.Mutex
	var acknowledged []string
	var next atomic.Int64
	var group sync.WaitGroup
	for range senders {
		group.Go(func() {
			for ctx.Err() == nil {
				id := fmt.Sprintf("load-%d-%d", round, next.Add(1))
				headers, body := order(id, 500)
				got, err := s.trySend(ctx, "shop", headers, body)
				if err != nil {
					continue // the server is gone, or going
				}
				if got.status == http.StatusOK {
					mu.Lock()
					acknowledged = append(acknowledged, id)
					mu.Unlock()
				}
			}
		})
	}
	<-time.After(while)
	end()
	cancel()
	group.Wait()
	return acknowledged
}

// waitUntilDrained waits until no delivery is under way.
func waitUntilDrained(t *testing.T, s *server) {
	t.Helper()
	var left page[delivery]
	eventually(t, func() bool {
		for _, state := range []string{"pending", "sending"} {
			s.api(http.MethodGet, "/delivery?limit=5&state="+state, &left)
			if len(left.Data) > 0 {
				return false
			}
		}
		return true
	}, func() string { return fmt.Sprintf("deliveries are still under way: %+v", left.Data) })
}
