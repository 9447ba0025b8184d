package pace_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"malote.dev/malote/internal/deliver/pace"
)

// round makes as many attempts as there may be at once, all of one verdict.
func round(p *pace.Pace, verdict pace.Verdict, took time.Duration) {
	tickets := make([]uint64, p.Limit())
	for i := range tickets {
		tickets[i] = p.Begin()
	}
	for _, ticket := range tickets {
		p.Done(ticket, verdict, took)
	}
}

func TestOneRoundChangesTheLimitOnce(t *testing.T) {
	const took = 10 * time.Millisecond
	p := pace.New(16, true)
	for i, step := range []struct {
		verdict pace.Verdict
		want    int
	}{
		{pace.Fine, 16},
		{pace.Throttled, 8},
		{pace.Fine, 9},
		{pace.Fine, 10},
		{pace.None, 10},
		{pace.Late, 5},
		{pace.Throttled, 2},
		{pace.Throttled, 1},
		{pace.Late, 1},
		{pace.Fine, 1},
	} {
		round(&p, step.verdict, took)
		if p.Limit() != step.want {
			t.Fatalf("step %d: %d at once, want %d", i, p.Limit(), step.want)
		}
	}
}

// Where one more was too much, it takes longer until that is tried again, but not for ever.
func TestWarinessFades(t *testing.T) {
	p := pace.New(16, true)
	for range 10 {
		round(&p, pace.Late, 0)
	}
	var rounds []int
	for p.Limit() < 16 {
		count, before := 0, p.Limit()
		for ; p.Limit() == before; count++ {
			round(&p, pace.Fine, 0)
		}
		rounds = append(rounds, count)
	}
	if rounds[0] < 16 || rounds[0] > 31 || rounds[len(rounds)-1] != 1 || !slices.IsSortedFunc(rounds, func(a, b int) int { return b - a }) {
		t.Errorf("rounds of successes for one more at once each time: %v", rounds)
	}
}

func TestGapsWhereOneIsTooMuch(t *testing.T) {
	p := pace.New(1, true)
	var gaps []time.Duration
	for range 12 {
		round(&p, pace.Throttled, 0)
		gaps = append(gaps, p.Gap())
	}
	if gaps[0] != 100*time.Millisecond || gaps[1] != 200*time.Millisecond || gaps[11] != 30*time.Second {
		t.Errorf("gaps %v, want 100ms, 200ms, … 30s", gaps)
	}
	var waited time.Duration
	steps := 0
	for ; p.Gap() > 0; steps++ {
		before := p.Gap()
		waited += before
		round(&p, pace.Fine, 0)
		if p.Gap() >= before {
			t.Fatalf("after a success the gap is %v, and was %v", p.Gap(), before)
		}
	}
	if steps > 8 || waited > 2*time.Minute {
		t.Errorf("the gap ends after %d successes and %v", steps, waited)
	}
}

func TestSettingsAreFollowed(t *testing.T) {
	p := pace.New(16, true)
	p.Configure(32, true)
	if p.Limit() != 32 {
		t.Errorf("%d at once after the concurrency went up, want 32", p.Limit())
	}
	round(&p, pace.Throttled, 0)
	p.Configure(64, true)
	if p.Limit() != 16 {
		t.Errorf("%d at once: a destination that throttles gets no more by a change", p.Limit())
	}
	p.Configure(4, true)
	if p.Limit() != 4 {
		t.Errorf("%d at once, want at most 4", p.Limit())
	}
	for range 5 {
		round(&p, pace.Throttled, 0)
	}
	p.Configure(8, false)
	if p.Limit() != 8 || p.Gap() != 0 {
		t.Errorf("%d at once with a gap of %v although nothing adapts", p.Limit(), p.Gap())
	}
	round(&p, pace.Throttled, 0)
	if p.Limit() != 8 {
		t.Errorf("%d at once although nothing adapts", p.Limit())
	}
}

// Whatever happens, the limit and the gap stay within their bounds.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 40).Draw(t, "most")
		p := pace.New(most, rapid.Bool().Draw(t, "adaptive"))
		var open []uint64
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 20).Draw(t, "do") {
			case 0, 1:
				most = rapid.IntRange(1, 40).Draw(t, "most")
				p.Configure(most, rapid.Bool().Draw(t, "adaptive"))
			case 2, 3, 4, 5, 6, 7, 8:
				open = append(open, p.Begin())
			default:
				if len(open) > 0 {
					verdict := pace.Verdict(rapid.IntRange(0, 3).Draw(t, "verdict"))
					p.Done(open[0], verdict, time.Duration(rapid.IntRange(0, 10_000).Draw(t, "took"))*time.Millisecond)
					open = open[1:]
				}
			}
			if p.Limit() < 1 || p.Limit() > most || p.Gap() < 0 || p.Gap() > 30*time.Second {
				t.Fatalf("%d at once of %d, a gap of %v", p.Limit(), most, p.Gap())
			}
		}
	})
}

// partner is a receiver in a simulation.
type partner interface {
	// take answers an attempt that begins while so many are under way, itself included.
	take(now time.Duration, flying int) (pace.Verdict, time.Duration)
}

// throttling takes so many a second and answers the rest with 429.
type throttling struct {
	perSecond float64
	latency   time.Duration
	tokens    float64
	at        time.Duration
}

func (r *throttling) take(now time.Duration, _ int) (pace.Verdict, time.Duration) {
	r.tokens = min(max(1, r.perSecond/10), r.tokens+r.perSecond*(now-r.at).Seconds())
	r.at = now
	if r.tokens < 1 {
		return pace.Throttled, r.latency / 2
	}
	r.tokens--
	return pace.Fine, r.latency
}

// thrashing gets slower the more it has to do at once, beyond what it does well.
type thrashing struct {
	well    int
	latency time.Duration
	random  *rand.Rand
}

func (r *thrashing) take(_ time.Duration, flying int) (pace.Verdict, time.Duration) {
	took := float64(r.latency) * (0.9 + 0.2*r.random.Float64())
	if over := float64(flying) / float64(r.well); over > 1 {
		took *= over * over
	}
	return pace.Fine, time.Duration(took)
}

// flight is an attempt under way in a simulation.
type flight struct {
	ends    time.Duration
	took    time.Duration
	ticket  uint64
	verdict pace.Verdict
}

type flights []flight

func (f *flights) Len() int           { return len(*f) }
func (f *flights) Less(i, j int) bool { return (*f)[i].ends < (*f)[j].ends }
func (f *flights) Swap(i, j int)      { (*f)[i], (*f)[j] = (*f)[j], (*f)[i] }
func (f *flights) Push(x any)         { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

// outcome is what a simulation came to.
type outcome struct {
	fine, throttled int
	limits          float64 // mean, weighed by time
}

// simulate lets a backlog without end go to a receiver for a while.
func simulate(p *pace.Pace, to partner, span time.Duration) (got outcome) {
	var now, last time.Duration // last: when the last one began
	var under flights
	for now < span {
		for under.Len() < p.Limit() && now >= last+p.Gap() {
			verdict, took := to.take(now, under.Len()+1)
			heap.Push(&under, flight{ends: now + took, took: took, ticket: p.Begin(), verdict: verdict})
			last = now
		}
		next := span
		if under.Len() > 0 {
			next = under[0].ends
		}
		if open := last + p.Gap(); under.Len() < p.Limit() && open > now {
			next = min(next, open)
		}
		got.limits += float64(p.Limit()) * (next - now).Seconds() / span.Seconds()
		now = next
		for under.Len() > 0 && under[0].ends <= now {
			done := heap.Pop(&under).(flight)
			p.Done(done.ticket, done.verdict, done.took)
			switch done.verdict {
			case pace.Fine:
				got.fine++
			default:
				got.throttled++
			}
		}
	}
	return got
}

// A receiver that throttles gets most of what it takes, and few attempts are in vain.
func TestReceiverThatThrottles(t *testing.T) {
	for _, test := range []struct {
		perSecond float64
		latency   time.Duration
		used      float64 // of its rate, at least
		vain      float64 // of the attempts, at most
	}{
		{100, 50 * time.Millisecond, 0.7, 0.2},
		{200, 20 * time.Millisecond, 0.6, 0.2},
		{20, 100 * time.Millisecond, 0.6, 0.35},
		{5, 20 * time.Millisecond, 0.5, 0.4},
		{1, 50 * time.Millisecond, 0.5, 0.4},
		{0.2, 50 * time.Millisecond, 0.5, 0.4},
	} {
		span := time.Duration(2000 / test.perSecond * float64(time.Second))
		p := pace.New(32, true)
		got := simulate(&p, &throttling{perSecond: test.perSecond, latency: test.latency}, span)
		used := float64(got.fine) / (test.perSecond * span.Seconds())
		vain := float64(got.throttled) / float64(got.fine+got.throttled)
		t.Logf("%v/s: %.2f of it used, %.2f of the attempts in vain", test.perSecond, used, vain)
		if used < test.used || vain > test.vain {
			t.Errorf("%v/s: %.2f of it is used, want %.2f; %.2f of the attempts are in vain, at most %.2f may be", test.perSecond, used, test.used, vain, test.vain)
		}
		fixed := pace.New(32, false)
		if before := simulate(&fixed, &throttling{perSecond: test.perSecond, latency: test.latency}, span); before.throttled < 2*got.throttled {
			t.Errorf("%v/s: %d throttled with a fixed pace, %d with an adaptive one", test.perSecond, before.throttled, got.throttled)
		}
	}
}

// A receiver that thrashes gets more done with fewer at once; one that copes keeps all.
func TestReceiverThatGetsSlow(t *testing.T) {
	const span = 5 * time.Minute
	for _, test := range []struct {
		name string
		well int
		most float64 // mean limit, at the most
		min  float64
	}{
		{"thrashing beyond 8", 8, 40, 2},
		{"coping with all", 1000, 64.01, 63},
	} {
		p := pace.New(4, true)
		slow := &thrashing{well: test.well, latency: 50 * time.Millisecond, random: rand.New(rand.NewPCG(1, 2))}
		simulate(&p, slow, 10*time.Second) // what is usual
		p.Configure(64, true)
		got := simulate(&p, slow, span)
		t.Logf("%s: %d taken, %.1f at once", test.name, got.fine, got.limits)
		if got.limits > test.most || got.limits < test.min {
			t.Errorf("%s: %.1f at once, want %v to %v", test.name, got.limits, test.min, test.most)
		}
	}
}

// A receiver that got slower for good, whatever it has to do, is used in full again
// once that is usual.
func TestSlownessThatStays(t *testing.T) {
	p := pace.New(16, true)
	steady := &thrashing{well: 1000, latency: 20 * time.Millisecond, random: rand.New(rand.NewPCG(1, 2))}
	simulate(&p, steady, time.Minute)
	steady.latency = 200 * time.Millisecond
	simulate(&p, steady, time.Second)
	if p.Limit() >= 16 {
		t.Errorf("%d at once although it is ten times as slow as usual", p.Limit())
	}
	simulate(&p, steady, 2*time.Minute)
	if p.Limit() != 16 {
		t.Errorf("%d at once after two minutes of the same latency, want 16", p.Limit())
	}
}
