package notice

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

var epoch = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// about is a notice of a type about a key.
func about(kind, key string, at time.Time) hook.Notice {
	return hook.Notice{Project: 1, Type: kind, Key: key, At: at, Data: at.Sub(epoch).String()}
}

// drain takes and tells everything that may be told now.
func (q *queue) drain(now time.Time) (told []*item) {
	for {
		items, _ := q.take(now, 3)
		if len(items) == 0 {
			return told
		}
		for _, it := range items {
			told = append(told, it)
			q.told(it, now)
		}
	}
}

func TestTheFirstIsToldAtOnceAndThoseAfterItTogether(t *testing.T) {
	q := newQueue()
	now := epoch
	q.add(about(hook.NoticeDeliveryExhausted, "dst", now), now)
	if told := q.drain(now); len(told) != 1 || told[0].count != 1 {
		t.Fatalf("the first notice: told %d times", len(told))
	}
	for range 30 {
		now = now.Add(time.Second)
		q.add(about(hook.NoticeDeliveryExhausted, "dst", now), now)
		if told := q.drain(now); len(told) != 0 {
			t.Fatalf("a second event %s after the first", now.Sub(epoch))
		}
	}
	items, next := q.take(now, 3)
	if len(items) != 0 || !next.Equal(epoch.Add(paceEvery)) {
		t.Fatalf("%d items, and the next at %s; want none before %s", len(items), next, epoch.Add(paceEvery))
	}
	told := q.drain(next)
	if len(told) != 1 || told[0].count != 30 || len(told[0].examples) != MaxExamples ||
		!told[0].since.Equal(epoch.Add(time.Second)) || !told[0].notice.At.Equal(now) {
		t.Errorf("after a minute: %+v, want one event of 30", told)
	}
}

func TestTransitionsOfACircuitAreToldOneByOneUntilItFlaps(t *testing.T) {
	q := newQueue()
	kinds := []string{hook.NoticeCircuitOpened, hook.NoticeCircuitReopened, hook.NoticeCircuitProbing, hook.NoticeCircuitClosed}
	now := epoch
	var told []string
	for range 100 {
		for _, kind := range kinds {
			now = now.Add(100 * time.Millisecond)
			q.add(about(kind, "dst", now), now)
			for _, it := range q.drain(now) {
				told = append(told, it.notice.Type)
			}
		}
	}
	if len(told) != transitionsAtOnce {
		t.Fatalf("%d events in 40 s, want %d", len(told), transitionsAtOnce)
	}
	for i, kind := range told {
		if kind != kinds[i%len(kinds)] {
			t.Errorf("event %d is %s, want %s", i, kind, kinds[i%len(kinds)])
		}
	}
	var last []*item
	for range 10 {
		now = now.Add(paceEvery)
		last = append(last, q.drain(now)...)
	}
	if len(last) != len(kinds) {
		t.Fatalf("%d events tell the rest, want one of each type", len(last))
	}
	for i, it := range last {
		if it.notice.Type != kinds[i] || it.count != 100-transitionsAtOnce/len(kinds) {
			t.Errorf("the rest: event %d is %s of %d, want the order in which they happened last", i, it.notice.Type, it.count)
		}
	}
}

func TestAFullQueueMergesAndThenDrops(t *testing.T) {
	q := newQueue()
	for i := range maxWaiting {
		if what := q.add(about(hook.NoticeCircuitOpened, fmt.Sprint(i), epoch), epoch); what != queued {
			t.Fatalf("notice %d is not queued: %d", i, what)
		}
	}
	if what := q.add(about(hook.NoticeCircuitOpened, "7", epoch), epoch); what != merged {
		t.Errorf("one more about the same: %d, want it merged", what)
	}
	if what := q.add(about(hook.NoticeCircuitClosed, "7", epoch), epoch); what != dropped {
		t.Errorf("one of another type: %d, want it dropped", what)
	}
	if what := q.add(about(hook.NoticeCircuitOpened, "new", epoch), epoch); what != dropped || len(q.lines) != maxWaiting {
		t.Errorf("one about something else: %d with %d lines, want it dropped without a trace", what, len(q.lines))
	}
}

// TestNothingIsLostOrToldTooOften draws histories and holds the queue to its promises.
func TestNothingIsLostOrToldTooOften(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue()
		now := epoch
		kinds := []string{hook.NoticeCircuitOpened, hook.NoticeCircuitClosed, hook.NoticeDeliveryExhausted, hook.NoticeKeyParked}
		given, told := map[string]int{}, map[string]int{}
		times := map[topic][]time.Time{}
		last := map[topic]time.Time{}
		tell := func(it *item) {
			name := it.notice.Type + " " + it.notice.Key
			told[name] += it.count
			times[it.line.topic] = append(times[it.line.topic], now)
			if it.notice.At.Before(last[it.line.topic]) {
				t.Fatalf("%s is told after what came later", name)
			}
			last[it.line.topic] = it.notice.At
		}
		steps := rapid.IntRange(1, 200).Draw(t, "steps")
		for range steps {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				kind, key := rapid.SampledFrom(kinds).Draw(t, "kind"), fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "key"))
				if q.add(about(kind, key, now), now) != dropped {
					given[kind+" "+key]++
				}
				now = now.Add(time.Millisecond)
			case 2:
				items, _ := q.take(now, 2)
				for _, it := range items {
					if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
						q.putBack(it, now)
						continue
					}
					tell(it)
					q.told(it, now)
				}
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
			}
		}
		for items := q.takeAll(2); len(items) > 0; items = q.takeAll(2) {
			for _, it := range items {
				told[it.notice.Type+" "+it.notice.Key] += it.count
				q.told(it, now)
			}
		}
		for name, n := range given {
			if told[name] != n {
				t.Errorf("%s: %d given, %d told", name, n, told[name])
			}
		}
		for id, at := range times {
			most := 1
			if id.class == "circuit" {
				most = transitionsAtOnce + 1 // the minute need not begin with the first one
			}
			for i := range at {
				for j := range at[i:] {
					if span := at[i+j].Sub(at[i]); j+1 > most+int(span/paceEvery) {
						t.Errorf("%v: %d told within %s", id, j+1, span)
					}
				}
			}
		}
	})
}

func TestLinesAreForgotten(t *testing.T) {
	q := newQueue()
	now := epoch
	for i := range 5000 {
		q.add(about(hook.NoticeDeliveryExhausted, fmt.Sprint(rand.IntN(1000)), now), now)
		q.drain(now)
		now = now.Add(time.Duration(i%7) * time.Millisecond)
	}
	for range transitionsAtOnce {
		now = now.Add(paceEvery)
		q.drain(now)
	}
	if len(q.lines) != 0 || len(q.later) != 0 || len(q.ready) != 0 || q.waiting != 0 {
		t.Errorf("%d lines, %d later, %d ready, %d waiting are left when all is told", len(q.lines), len(q.later), len(q.ready), q.waiting)
	}
}
