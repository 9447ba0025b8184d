// Package pace decides how many attempts a destination gets at once, from what became
// of those before: fewer where it throttles, is too late, or gets slower the more it
// has to do; more again as long as it copes. It is arithmetic without a clock, and its
// caller's lock guards it.
//
// The number goes up by one for a full round of successes, or for several where that
// was too much before, and is halved by the first sign of too much in a round, as
// congestion control does it: many that share a receiver come to fair shares without
// knowing of each other. Where even one at a time is too much, the attempts keep a gap.
package pace

import "time"

// Verdict is what an attempt says of how much its destination can take.
type Verdict uint8

// The verdicts.
const (
	None      Verdict = iota // nothing
	Fine                     // it coped
	Throttled                // it asked for less
	Late                     // it did not answer in time
)

// The rules.
const (
	minGap      = 100 * time.Millisecond
	maxGap      = 30 * time.Second
	quick       = 20 * time.Millisecond // no latency below this is a sign of too much
	tooSlow     = 2                     // how many times the usual latency is too much
	outlier     = 4                     // times the usual latency: what took longer counts as this
	shortWeight = 8                     // of how many attempts the short average consists, about …
	longWeight  = 128                   // … and the long one
	calmWeight  = 256                   // in how many attempts the long one doubles at the most, about …
	busyWeight  = 4096                  // … and with more at once than after the last rise
	settled     = 16                    // successes before the long average means something
	few         = 4                     // at once: when fewer are too slow, one at a time is tried
	mostWary    = 31                    // full rounds of successes before one more at once is tried, at the most
	gapSteps    = 8                     // successes in a row that end a gap
)

// Pace is the pace of one destination. New makes one.
type Pace struct {
	most     int
	adaptive bool
	limit    int
	gap      time.Duration

	next   uint64 // ticket of the next attempt
	heeded uint64 // tickets before this one began before the last cut, and cut no more
	round  int    // successes since the limit last went up, or the last full round …
	rounds int    // … and full rounds to go until it goes up
	wary   int    // how many rounds it takes: more where going up ended in a cut before
	streak int    // successes since the destination last throttled

	short, long time.Duration // averages of latency
	measured    int           // attempts in them, up to settled
	calm        int           // at once after the last rise of latency
	learning    int           // successes to go, one at a time, until the latency is known anew
}

// New returns the pace of a destination that takes at most so many attempts at once.
// Unless it is adaptive, it gets as many.
func New(most int, adaptive bool) Pace {
	return Pace{most: most, limit: most, calm: most, adaptive: adaptive}
}

// Configure follows a change of the settings.
func (p *Pace) Configure(most int, adaptive bool) {
	if !adaptive {
		p.gap = 0
	}
	full := p.limit >= p.most || !adaptive
	p.most, p.adaptive = most, adaptive
	if full {
		p.limit, p.calm = most, most
	}
	p.limit = min(p.limit, most)
}

// Limit is how many attempts there may be at once, at least 1.
func (p *Pace) Limit() int { return p.limit }

// Gap is how long after an attempt began the next one may, at the earliest.
func (p *Pace) Gap() time.Duration { return p.gap }

// Reset forgets what there was of too much. It returns the ticket of the next attempt.
func (p *Pace) Reset() (next uint64) {
	p.limit, p.calm, p.gap, p.streak, p.learning = p.most, p.most, 0, 0, 0
	p.heeded, p.round, p.rounds, p.wary = p.next, 0, 0, 0
	return p.next
}

// Begin notes that an attempt begins, and returns the ticket that Done wants.
func (p *Pace) Begin() uint64 {
	p.next++
	return p.next - 1
}

// Done notes what an attempt says, and how long it took.
func (p *Pace) Done(ticket uint64, verdict Verdict, took time.Duration) {
	if !p.adaptive || verdict == None {
		return
	}
	if verdict == Fine {
		p.fine(ticket, took)
		return
	}
	p.streak = 0
	if ticket < p.heeded {
		return
	}
	if p.limit == 1 && verdict == Throttled {
		p.gap = min(max(2*p.gap, minGap), maxGap)
	}
	p.wary = min(2*p.wary+1, mostWary)
	p.cut(p.limit / 2)
}

// fine notes a success.
func (p *Pace) fine(ticket uint64, took time.Duration) {
	p.streak++
	if p.gap > 0 {
		// The first steps are small, so that a receiver of a steady rate is not overrun
		// time and again; the last ones are large, so that one that recovered is soon used.
		p.gap -= p.gap * time.Duration(min(p.streak, gapSteps)) / gapSteps
		if p.gap < minGap/2 {
			p.gap = 0
		}
		return
	}
	// What began before the last cut shows what was wrong then.
	if ticket >= p.heeded && p.measure(took) {
		p.slow()
		return
	}
	switch {
	case p.learning > 0:
		p.learning--
	case p.limit >= p.most:
		p.calm = p.most
	default:
		p.rise()
	}
}

// rise takes the limit up after enough full rounds.
func (p *Pace) rise() {
	p.round++
	if p.round < p.limit {
		return
	}
	p.round = 0
	p.rounds--
	if p.rounds > 0 {
		return
	}
	p.limit++
	p.wary /= 2
	p.rounds = p.wary
}

// slow follows a rise of latency.
func (p *Pace) slow() {
	p.short = p.long // one rise is one sign
	if p.limit > few {
		p.cut(p.limit / 2)
	} else {
		// Whether it is the load that makes it slow shows soonest without any.
		p.cut(1)
		p.learning = settled
	}
	p.calm = p.limit
}

// measure takes a latency into the averages and reports whether it rose too much. The
// long average is that of the short one, so that both mean the same of latencies that
// vary much. It learns next to nothing from a load that was too much before, lest what
// this pace causes becomes what it takes for usual. One at a time, the latency is the
// destination's own, and soon learned.
func (p *Pace) measure(took time.Duration) bool {
	if p.measured == 0 {
		p.short, p.long = took, took
	}
	usual := max(p.long, time.Millisecond)
	p.short += (min(took, outlier*usual) - p.short) / shortWeight
	most := usual / calmWeight
	switch {
	case p.measured < settled:
		p.measured++
		p.long += (took - p.long) / time.Duration(p.measured)
		return false
	case p.learning > 0:
		p.long += (took - p.long) / shortWeight
		p.short = p.long
		return false
	case p.limit > p.calm:
		most = usual / busyWeight
	}
	p.long += min(max((p.short-p.long)/longWeight, -most), most)
	return p.short > quick && p.short > tooSlow*p.long
}

// cut lowers the limit. Attempts that began until now are no reason for another cut.
func (p *Pace) cut(limit int) {
	p.limit = max(1, limit)
	p.heeded, p.round, p.rounds = p.next, 0, p.wary
}
