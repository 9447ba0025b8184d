package deliver_test

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"malote.dev/malote/internal/hook"
)

// storm is a receiver that answers anything at any time, and notices when a delivery
// is attempted twice at once.
type storm struct {
	calm  atomic.Bool
	mu    sync.Mutex
	rand  *rand.Rand
	fly   map[string]bool
	twice int
}

func (s *storm) answer(req *http.Request, _ int) (int, http.Header, error) {
	id := req.Header.Get("Webhook-Id")
	s.mu.Lock()
	if s.fly[id] {
		s.twice++
	}
	s.fly[id] = true
	kind, latency := s.rand.IntN(12), time.Duration(s.rand.Int64N(int64(3*time.Second)))
	seconds := strconv.Itoa(s.rand.IntN(60))
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fly[id] = false
	}()
	if s.calm.Load() {
		return http.StatusOK, nil, nil
	}
	if kind == 0 {
		latency = time.Hour // it never answers
	}
	if err := wait(req.Context(), latency); err != nil {
		return 0, nil, err
	}
	switch kind {
	case 1:
		return http.StatusTooManyRequests, http.Header{"Retry-After": {seconds}}, nil
	case 2:
		return http.StatusServiceUnavailable, nil, nil
	case 3, 4, 5:
		return http.StatusInternalServerError, nil, nil
	}
	return http.StatusOK, nil, nil
}

// Whatever happens (failures, throttling, changes, pauses, a failing store, restarts),
// every delivery ends, none is attempted twice at once, and none is forgotten. The
// queue of the test checks leases and transitions besides.
func TestStorm(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { weather(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

const stormDestinations = 4

// weather runs one storm.
func weather(t *testing.T, random *rand.Rand) {
	t.Helper()
	b := newBench(t, nil)
	b.options.MaxLane = 40
	b.options.MaxJobs = 100
	for id := hook.DestinationID(1); id <= stormDestinations; id++ {
		b.add(id, func(d *hook.Destination, c *hook.Connection) {
			d.Concurrency = 1 + random.IntN(8)
			if random.IntN(2) == 0 {
				d.Rate = hook.Rate{Count: 1 + random.IntN(30), Per: time.Second}
			}
			d.HTTP.Timeout = hook.Duration(10 * time.Second)
			for range 50 {
				c.Retry.Schedule = append(c.Retry.Schedule, hook.Duration(time.Duration(1+random.IntN(60))*time.Second))
			}
		})
	}
	s := &storm{rand: rand.New(rand.NewPCG(random.Uint64(), 2)), fly: map[string]bool{}}
	b.receiver.answer(s.answer)
	b.start()
	for range 300 {
		id := hook.DestinationID(1 + random.IntN(stormDestinations))
		switch random.IntN(20) {
		case 0:
			b.catalogue.change(id, func(d *hook.Destination) { d.Concurrency = 1 + random.IntN(8) })
		case 1:
			b.catalogue.change(id, func(d *hook.Destination) { d.Paused = !d.Paused })
		case 2:
			b.queue.failWith(errDisk)
			pass(time.Duration(random.IntN(5)) * time.Second)
			b.queue.failWith(nil)
		case 3:
			b.stop()
			b.start()
		case 4:
			b.catalogue.change(id, func(d *hook.Destination) { d.Rate = hook.Rate{Count: 1 + random.IntN(30), Per: time.Second} })
		default:
			for range random.IntN(30) {
				b.accept(id, "{}")
			}
		}
		pass(time.Duration(random.IntN(1000)) * time.Millisecond)
	}
	s.calm.Store(true)
	for id := hook.DestinationID(1); id <= stormDestinations; id++ {
		b.catalogue.change(id, func(d *hook.Destination) { d.Paused = false })
	}
	b.queue.releaseAll()
	for id := hook.DestinationID(1); id <= stormDestinations; id++ {
		b.engine.Wake(id)
	}
	pass(2 * time.Hour)
	count := b.queue.count()
	if count[hook.StateSucceeded] != len(b.accepted) {
		t.Errorf("states %v, want all %d succeeded", count, len(b.accepted))
	}
	if s.twice != 0 {
		t.Errorf("%d deliveries were attempted twice at once", s.twice)
	}
	b.stop()
}
