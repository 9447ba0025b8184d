package notice_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/notice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told is an event that was published.
type told struct {
	at      time.Time
	event   *hook.Event
	except  hook.DestinationID
	payload notice.Payload
}

// channel is where an Announcer of a test publishes.
type channel struct {
	mu     sync.Mutex
	events []told
	fail   func(event *hook.Event) error // nil: nothing fails
	then   func(event *hook.Event, except hook.DestinationID)
}

func (c *channel) publish(ctx context.Context, _ hook.ProjectID, event *hook.Event, except hook.DestinationID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var payload notice.Payload
	if err := json.Unmarshal(event.Payload, &payload); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		if err := c.fail(event); err != nil {
			return err
		}
	}
	c.events = append(c.events, told{at: time.Now(), event: event, except: except, payload: payload})
	if c.then != nil {
		c.then(event, except)
	}
	return nil
}

func (c *channel) got() []told {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// setFail says what fails from now on.
func (c *channel) setFail(fail func(event *hook.Event) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

// running is an Announcer that runs.
type running struct {
	*notice.Announcer

	channel  *channel
	log      *bytes.Buffer // read it after stop
	registry *prometheus.Registry
	stop     func()
}

func run(t *testing.T) *running {
	t.Helper()
	r := &running{channel: &channel{}, log: &bytes.Buffer{}, registry: prometheus.NewRegistry()}
	r.Announcer = notice.New(notice.Options{
		Publish: r.channel.publish, Name: func(id hook.DestinationID) string { return fmt.Sprintf("dst-%d", id) },
		Logger: slog.New(slog.NewTextHandler(r.log, nil)), Metrics: r.registry,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	return r
}

// count reads a counter without labels.
func (r *running) count(t *testing.T, name string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func exhausted(destination hook.DestinationID) hook.Notice {
	return hook.Notice{
		Project: 1, Type: hook.NoticeDeliveryExhausted, Key: destination.String(), Destination: destination,
		Data: map[string]string{"delivery": "dlv_" + time.Now().Format("150405.000")},
	}
}

func TestANoticeBecomesAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		defer r.stop()
		at := time.Now().Add(-time.Second).UTC().Truncate(time.Millisecond)
		r.Notify(hook.Notice{
			Project: 3, Type: hook.NoticeCircuitOpened, Key: hook.DestinationID(7).String(), At: at, Destination: 7,
			Data: hook.Circuit{Destination: 7, State: hook.CircuitOpen, Reason: "10 attempts in a row failed"},
		})
		synctest.Wait()
		events := r.channel.got()
		if len(events) != 1 {
			t.Fatalf("%d events, want one", len(events))
		}
		event := events[0].event
		if event.Type != hook.NoticeCircuitOpened || event.Key != hook.DestinationID(7).String() || events[0].except != 7 ||
			event.Headers.Get("Content-Type") != "application/json" || event.PayloadSize != len(event.Payload) {
			t.Errorf("published %+v except to %s", event, events[0].except)
		}
		stamp, err := json.Marshal(at)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"type":"malote.destination.circuit.opened","at":%s,"project":%q,"key":%q,"destination":{"id":%q,"name":"dst-7"},`+
			`"count":1,"since":%s,"data":{"destination":%q,"project":"","state":"open","reason":"10 attempts in a row failed","failures":0}}`,
			stamp, hook.ProjectID(3), hook.DestinationID(7), hook.DestinationID(7), stamp, hook.DestinationID(7))
		if string(event.Payload) != want {
			t.Errorf("the payload is\n%s\nwant\n%s", event.Payload, want)
		}
	})
}

func TestWhatIsToldTwiceIsOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now()
		var ids []string
		for range 2 { // the second process does not know of the first
			r := run(t)
			opened := hook.Notice{Project: 1, Type: hook.NoticeCircuitOpened, Key: "dst_1", At: at}
			r.Notify(opened)
			opened.At = at.Add(time.Second)
			r.Notify(opened)
			synctest.Wait()
			for _, event := range r.channel.got() {
				ids = append(ids, event.event.ProviderID)
			}
			r.stop()
		}
		if len(ids) != 4 || ids[0] == "" || ids[0] != ids[2] || ids[1] != ids[3] || ids[0] == ids[1] {
			t.Errorf("the provider ids are %q, want those of the second process the same", ids)
		}
	})
}

func TestFailedDeliveriesAreOneEventAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		defer r.stop()
		for range 600 {
			r.Notify(exhausted(1))
			r.Notify(exhausted(2))
			time.Sleep(time.Second)
		}
		counts := map[hook.DestinationID][]int{}
		for _, each := range r.channel.got() {
			counts[each.except] = append(counts[each.except], each.payload.Count)
			if n := len(each.payload.Examples); each.payload.Count > 1 && n != notice.MaxExamples || each.payload.Count == 1 && n != 0 {
				t.Errorf("%d examples for %d deliveries", n, each.payload.Count)
			}
		}
		want := []int{1, 60, 60, 60, 60, 60, 60, 60, 60, 60}
		for id := hook.DestinationID(1); id <= 2; id++ {
			if got := counts[id]; len(got) < 10 || got[0] != 1 || got[1] < 59 || len(got) > 11 {
				t.Errorf("destination %d: events of %v deliveries, want about %v", id, got, want)
			}
		}
	})
}

func TestNobodyWaitsAndNothingIsLostWhileNothingCanBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		defer r.stop()
		r.channel.setFail(func(*hook.Event) error { return hook.Errorf(hook.KindUnavailable, "the disk is full") })
		began := time.Now()
		for i := range 5000 {
			r.Notify(exhausted(hook.DestinationID(1 + i%50)))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Notify waited %s", took)
		}
		time.Sleep(10 * time.Minute)
		if n := len(r.channel.got()); n != 0 {
			t.Fatalf("%d events were published to a full disk", n)
		}
		r.channel.setFail(nil)
		time.Sleep(3 * time.Minute)
		sum := 0
		for _, each := range r.channel.got() {
			sum += each.payload.Count
		}
		if sum != 5000 {
			t.Errorf("%d of 5000 notices were told", sum)
		}
	})
}

func TestAnErrorThatDoesNotPassIsGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		tries int
	}{
		"the project is gone": {hook.Errorf(hook.KindNotFound, "no such project"), 1},
		"nobody knows":        {errors.New("boom"), 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t)
				tries := 0
				r.channel.setFail(func(*hook.Event) error { tries++; return test.err })
				r.Notify(exhausted(1))
				time.Sleep(time.Hour)
				r.channel.setFail(nil)
				r.Notify(exhausted(2))
				synctest.Wait()
				if got := r.channel.got(); tries != test.tries || len(got) != 1 || got[0].except != 2 {
					t.Errorf("%d tries, want %d; then %d events, want the one about another destination", tries, test.tries, len(got))
				}
				r.stop()
				if lost := r.count(t, "malote_notices_lost_total"); lost != 1 || !strings.Contains(r.log.String(), test.err.Error()) {
					t.Errorf("%g were counted as lost, want 1; logged:\n%s", lost, r.log)
				}
			})
		})
	}
}

func TestAStopTellsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		for i := range 1000 {
			r.Notify(exhausted(hook.DestinationID(1 + i%200)))
			if i == 199 {
				synctest.Wait() // the first of each are told, the others wait for their minute
			}
		}
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > 0 {
			t.Errorf("the stop took %s", took)
		}
		sum := 0
		for _, each := range r.channel.got() {
			sum += each.payload.Count
		}
		if sum != 1000 {
			t.Errorf("%d of 1000 notices were told", sum)
		}
		r.Notify(exhausted(1))
		if lost := r.count(t, "malote_notices_lost_total"); lost != 1 {
			t.Errorf("%g notices were counted as lost after the end, want 1", lost)
		}
	})
}

func TestAStopDoesNotWaitForADiskThatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		r.channel.setFail(func(*hook.Event) error { return hook.Errorf(hook.KindUnavailable, "the disk is full") })
		for range 3 {
			r.Notify(exhausted(1))
		}
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the stop took %s", took)
		}
		if lost := r.count(t, "malote_notices_lost_total"); lost != 3 || !strings.Contains(r.log.String(), "notices=3") {
			t.Errorf("%g were counted as lost, want 3; logged:\n%s", lost, r.log)
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t)
		defer r.stop()
		for range 3 {
			r.Notify(exhausted(1))
		}
		time.Sleep(2 * time.Minute)
		if problems, err := testutil.GatherAndLint(r.registry); err != nil || len(problems) > 0 {
			t.Errorf("the metrics have problems: %v %v", problems, err)
		}
		if n := r.count(t, "malote_notices_total"); n != 3 {
			t.Errorf("%g notices were counted, want 3", n)
		}
	})
}

// world has destinations that all fail at once and are all fed with the events of the
// system itself. It keeps the rules that the delivery engine keeps.
type world struct {
	announcer *running
	watchers  []hook.DestinationID // who wants the events
	delivered map[hook.DestinationID]int
	honest    bool // no notice of the delivery of a notice
}

// deliver is what becomes of an event: it fails, everywhere.
func (w *world) deliver(event *hook.Event, except hook.DestinationID) {
	for _, to := range w.watchers {
		if to == except {
			continue
		}
		w.delivered[to]++
		if !w.honest {
			w.announcer.Notify(exhausted(to))
		}
	}
	_ = event
}

// TestEventsAboutFailingWatchersDoNotFeedThemselves: even if somebody gave notice of
// failed deliveries of notices, there would be one event a minute and destination.
func TestEventsAboutFailingWatchersDoNotFeedThemselves(t *testing.T) {
	for name, test := range map[string]struct {
		watchers []hook.DestinationID
		honest   bool
		most     int // deliveries in an hour to one of them
	}{
		"one that watches itself":             {[]hook.DestinationID{1}, false, 0},
		"two that watch each other":           {[]hook.DestinationID{1, 2}, true, 1},
		"two, and everybody tells everything": {[]hook.DestinationID{1, 2}, false, 61},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t)
				defer r.stop()
				w := &world{announcer: r, watchers: test.watchers, delivered: map[hook.DestinationID]int{}, honest: test.honest}
				r.channel.mu.Lock()
				r.channel.then = w.deliver
				r.channel.mu.Unlock()
				r.Notify(exhausted(1))
				time.Sleep(time.Hour)
				r.channel.mu.Lock()
				defer r.channel.mu.Unlock()
				for to, n := range w.delivered {
					if n > test.most {
						t.Errorf("%d events were delivered to %d within an hour, want %d at the most", n, to, test.most)
					}
				}
				if len(r.channel.events) == 0 {
					t.Error("nothing was told at all")
				}
			})
		})
	}
}
