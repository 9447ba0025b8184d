package deliver

import (
	"container/heap"
	"sync"
	"time"
)

// agenda is what the scheduler has to do: lanes to look at, each at its time, workers
// to start, lanes to claim for, lanes whose deliveries are to be held or released. It
// has a lock of its own, taken after a lane's.
type agenda struct {
	kick chan struct{} // has room for one: something was added that is sooner than planned

	mu     sync.Mutex
	lanes  laneHeap
	starts []*lane // each entry is a worker to start, already counted in its lane
	claims []*lane // lanes to claim for, marked as claiming
	shifts []*lane // lanes with a shift to make, marked as shifting
}

func newAgenda() *agenda { return &agenda{kick: make(chan struct{}, 1)} }

// at plans to look at a lane at a time, or earlier if that is planned already.
func (a *agenda) at(l *lane, when time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case l.planned < 0:
		l.when = when
		heap.Push(&a.lanes, l)
	case when.Before(l.when):
		l.when = when
		heap.Fix(&a.lanes, l.planned)
	default:
		return
	}
	if l.planned == 0 {
		a.wakeLocked()
	}
}

// start asks for workers.
func (a *agenda) start(l *lane, count int) {
	if count == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for range count {
		a.starts = append(a.starts, l)
	}
	a.wakeLocked()
}

// claim asks for a claim.
func (a *agenda) claim(l *lane) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims = append(a.claims, l)
	a.wakeLocked()
}

// shift asks for a part of a shift.
func (a *agenda) shift(l *lane) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shifts = append(a.shifts, l)
	a.wakeLocked()
}

// recheck has the scheduler look again if anything waits for a helper.
func (a *agenda) recheck() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.claims)+len(a.shifts) > 0 {
		a.wakeLocked()
	}
}

func (a *agenda) wakeLocked() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// work is what the scheduler does in one round.
type work struct {
	due    []*lane
	starts []*lane
	claims int           // how many lanes wait to be claimed for
	shifts int           // how many lanes wait for a shift
	wait   time.Duration // until the next lane is due
}

// round takes what is due.
func (a *agenda) round(now time.Time) work {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := work{starts: a.starts, claims: len(a.claims), shifts: len(a.shifts), wait: reviewEvery}
	a.starts = nil
	for len(a.lanes) > 0 && !a.lanes[0].when.After(now) {
		next, _ := heap.Pop(&a.lanes).(*lane)
		out.due = append(out.due, next)
	}
	if len(a.lanes) > 0 {
		out.wait = a.lanes[0].when.Sub(now)
	}
	return out
}

// nextClaim takes one lane that waits to be claimed for; nil when there is none.
func (a *agenda) nextClaim() *lane { return a.take(&a.claims) }

// nextShift takes one lane that waits for a shift; nil when there is none.
func (a *agenda) nextShift() *lane { return a.take(&a.shifts) }

func (a *agenda) take(line *[]*lane) *lane {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(*line) == 0 {
		return nil
	}
	next := (*line)[0]
	(*line)[0] = nil
	*line = (*line)[1:]
	return next
}

// laneHeap orders lanes by the time at which to look at them.
type laneHeap []*lane

// Len implements heap.Interface.
func (h *laneHeap) Len() int { return len(*h) }

// Less implements heap.Interface.
func (h *laneHeap) Less(i, j int) bool { return (*h)[i].when.Before((*h)[j].when) }

// Swap implements heap.Interface.
func (h *laneHeap) Swap(i, j int) {
	lanes := *h
	lanes[i], lanes[j] = lanes[j], lanes[i]
	lanes[i].planned, lanes[j].planned = i, j
}

// Push implements heap.Interface.
func (h *laneHeap) Push(x any) {
	l, _ := x.(*lane)
	l.planned = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *laneHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	last.planned = -1
	return last
}

// dueTimes are the moments at which deliveries in the store become due, the next one
// first, each once. It is bounded: of the moments that it has no room for it keeps only
// the first.
type dueTimes struct {
	times   timeHeap
	known   map[int64]struct{}
	dropped int64 // the first of the moments without room; 0: none
	partial bool  // the store may hold moments that are not here
}

const maxDueTimes = 1024

// add notes a moment, rounded up so that many retries share one claim.
func (d *dueTimes) add(at time.Time) {
	step := int64(dueResolution)
	rounded := (at.UnixNano() + step - 1) / step * step
	if _, ok := d.known[rounded]; ok {
		return
	}
	if len(d.times) >= maxDueTimes {
		rounded = d.replaceLast(rounded)
		d.partial = true
		if d.dropped == 0 || rounded < d.dropped {
			d.dropped = rounded
		}
		return
	}
	if d.known == nil {
		d.known = make(map[int64]struct{})
	}
	d.known[rounded] = struct{}{}
	heap.Push(&d.times, rounded)
}

// replaceLast puts a moment in the place of the last one if it is sooner. It returns
// the moment without a place.
func (d *dueTimes) replaceLast(moment int64) int64 {
	last := len(d.times) / 2 // the last moment is a leaf
	for i := last; i < len(d.times); i++ {
		if d.times[i] > d.times[last] {
			last = i
		}
	}
	loser := d.times[last]
	if loser <= moment {
		return moment
	}
	delete(d.known, loser)
	d.known[moment] = struct{}{}
	d.times[last] = moment
	heap.Fix(&d.times, last)
	return loser
}

// next returns the next moment.
func (d *dueTimes) next() (time.Time, bool) {
	switch {
	case len(d.times) > 0 && (d.dropped == 0 || d.times[0] <= d.dropped):
		return time.Unix(0, d.times[0]), true
	case d.dropped != 0:
		return time.Unix(0, d.dropped), true
	}
	return time.Time{}, false
}

// take removes the moments up to now and reports whether there were any.
func (d *dueTimes) take(now time.Time) bool {
	found := false
	for len(d.times) > 0 && d.times[0] <= now.UnixNano() {
		delete(d.known, d.times[0])
		heap.Pop(&d.times)
		found = true
	}
	if d.dropped != 0 && d.dropped <= now.UnixNano() {
		d.dropped = 0
		found = true
	}
	return found
}

// timeHeap orders moments, in nanoseconds of Unix time.
type timeHeap []int64

// Len implements heap.Interface.
func (h *timeHeap) Len() int { return len(*h) }

// Less implements heap.Interface.
func (h *timeHeap) Less(i, j int) bool { return (*h)[i] < (*h)[j] }

// Swap implements heap.Interface.
func (h *timeHeap) Swap(i, j int) { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }

// Push implements heap.Interface.
func (h *timeHeap) Push(x any) {
	at, _ := x.(int64)
	*h = append(*h, at)
}

// Pop implements heap.Interface.
func (h *timeHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
