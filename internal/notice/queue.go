package notice

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
)

// Limits of what waits to be told.
const (
	maxWaiting = 16 << 10 // notices, each possibly of several
	maxLines   = 64 << 10 // things that something was told of lately
)

// paceEvery is how often there may be one more event of a line that has used up what it
// may tell at once.
const paceEvery = time.Minute

// transitionsAtOnce is how many transitions of one circuit are told as they come. An
// outage makes a handful; a destination that flaps makes one event a minute.
const transitionsAtOnce = 12

// class is what notices share a pace with others of the same key: the transitions of
// a circuit, so that they keep their order, and each other type for itself.
func class(kind string) (name string, atOnce int) {
	switch kind {
	case hook.NoticeCircuitOpened, hook.NoticeCircuitReopened, hook.NoticeCircuitProbing, hook.NoticeCircuitRamping, hook.NoticeCircuitClosed:
		return "circuit", transitionsAtOnce
	default:
		return kind, 1
	}
}

// topic identifies a line.
type topic struct {
	project hook.ProjectID
	class   string
	key     string
}

// item is what becomes one event: a notice, or several of the same type.
type item struct {
	notice   hook.Notice // the last one
	since    time.Time   // when the first one happened
	count    int
	examples []any
	tries    int // to publish it
	line     *line
}

// add makes the item one of one more notice.
func (it *item) add(notice hook.Notice) {
	it.notice = notice
	it.count++
	if len(it.examples) < MaxExamples && notice.Data != nil {
		it.examples = append(it.examples, notice.Data)
	}
}

// line is what is to be told of one topic, in order, and how fast.
type line struct {
	topic   topic
	waiting []*item
	atOnce  int
	tokens  int       // events that may be told now
	since   time.Time // when the tokens were counted
	due     time.Time // while it is later: when it is looked at again
	place   int       // in the heap; -1: not there
	state   lineState
}

// lineState is which of the queue's lists a line is in.
type lineState uint8

const (
	lineLater  lineState = iota // has nothing to tell, or may not tell it yet
	lineReady                   // may tell something
	lineInHand                  // is telling something, and what comes after has to wait
)

// refill counts the tokens as of now.
func (l *line) refill(now time.Time) {
	if n := int(now.Sub(l.since) / paceEvery); n > 0 {
		l.tokens = min(l.atOnce, l.tokens+n)
		l.since = l.since.Add(time.Duration(n) * paceEvery)
	}
	if l.tokens == l.atOnce {
		l.since = now
	}
}

// same returns what waits of a type.
func (l *line) same(kind string) *item {
	for _, it := range slices.Backward(l.waiting) {
		if it.notice.Type == kind {
			return it
		}
	}
	return nil
}

// queue is what is to be told. It is no more than bounded memory and a clock that is
// passed in: not safe for concurrent use.
type queue struct {
	lines   map[topic]*line
	ready   []*line
	later   lineHeap
	waiting int // items
}

func newQueue() *queue { return &queue{lines: map[topic]*line{}} }

// fate is what became of a notice.
type fate uint8

const (
	queued fate = iota
	merged
	dropped
)

// add takes a notice. It is merged with one of its type that waits where that may not
// be told yet, or where there is no room; without one, it is dropped for want of room.
func (q *queue) add(notice hook.Notice, now time.Time) fate {
	name, atOnce := class(notice.Type)
	id := topic{notice.Project, name, notice.Key}
	l, ok := q.lines[id]
	if !ok {
		if len(q.lines) >= maxLines || q.waiting >= maxWaiting {
			return dropped
		}
		l = &line{topic: id, atOnce: atOnce, tokens: atOnce, since: now, place: -1}
		q.lines[id] = l
	}
	l.refill(now)
	if other := l.same(notice.Type); other != nil && (len(l.waiting) >= l.tokens || q.waiting >= maxWaiting) {
		other.add(notice)
		// What is told last is what happened last.
		i := slices.Index(l.waiting, other)
		l.waiting = append(slices.Delete(l.waiting, i, i+1), other)
		return merged
	}
	if q.waiting >= maxWaiting {
		return dropped
	}
	it := &item{since: notice.At, line: l}
	it.add(notice)
	l.waiting = append(l.waiting, it)
	q.waiting++
	if l.state == lineLater {
		q.place(l, now)
	}
	return queued
}

// place puts a line that is not in hand into the list where it belongs, or forgets it.
func (q *queue) place(l *line, now time.Time) {
	if l.place >= 0 {
		heap.Remove(&q.later, l.place)
	}
	l.refill(now)
	l.state = lineLater
	switch {
	case len(l.waiting) > 0 && l.tokens > 0:
		l.state = lineReady
		q.ready = append(q.ready, l)
		return
	case len(l.waiting) > 0:
		l.due = l.since.Add(paceEvery)
	case l.tokens == l.atOnce:
		delete(q.lines, l.topic)
		return
	default: // it is kept until it could be forgotten without loss
		l.due = l.since.Add(time.Duration(l.atOnce-l.tokens) * paceEvery)
	}
	heap.Push(&q.later, l)
}

// take returns up to limit items that may be told now, of each line the first, and
// takes their lines in hand. Without any, it says when to ask again; the zero time:
// when something is added.
func (q *queue) take(now time.Time, limit int) (items []*item, next time.Time) {
	for len(q.later) > 0 && !now.Before(q.later[0].due) {
		q.place(q.later[0], now)
	}
	n := min(limit, len(q.ready))
	for _, l := range q.ready[:n] {
		l.refill(now)
		l.tokens--
		items = append(items, q.first(l))
	}
	q.ready = slices.Delete(q.ready, 0, n)
	if len(items) == 0 && len(q.later) > 0 {
		next = q.later[0].due
	}
	return items, next
}

// first takes the first item of a line in hand.
func (q *queue) first(l *line) *item {
	it := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	l.state = lineInHand
	q.waiting--
	return it
}

// takeAll is take for the end: it asks nobody for patience.
func (q *queue) takeAll(limit int) (items []*item) {
	q.ready, q.later = nil, nil
	for _, l := range q.lines {
		if l.place = -1; len(l.waiting) > 0 && len(items) < limit {
			items = append(items, q.first(l))
		}
	}
	slices.SortFunc(items, func(a, b *item) int { return cmp.Compare(a.notice.At.UnixNano(), b.notice.At.UnixNano()) })
	return items
}

// told gives back the line of an item that was told, or given up.
func (q *queue) told(it *item, now time.Time) { q.place(it.line, now) }

// notices returns how many notices wait.
func (q *queue) notices() (n int) {
	for _, l := range q.lines {
		for _, it := range l.waiting {
			n += it.count
		}
	}
	return n
}

// putBack gives back an item that could not be told, to be the next of its line.
func (q *queue) putBack(it *item, now time.Time) {
	l := it.line
	l.waiting = slices.Insert(l.waiting, 0, it)
	l.tokens++
	q.waiting++
	q.place(l, now)
}

// lineHeap orders lines by when they are due.
type lineHeap []*line

// Len implements heap.Interface.
func (h *lineHeap) Len() int { return len(*h) }

// Less implements heap.Interface.
func (h *lineHeap) Less(i, j int) bool { return (*h)[i].due.Before((*h)[j].due) }

// Swap implements heap.Interface.
func (h *lineHeap) Swap(i, j int) {
	lines := *h
	lines[i], lines[j] = lines[j], lines[i]
	lines[i].place, lines[j].place = i, j
}

// Push implements heap.Interface.
func (h *lineHeap) Push(x any) {
	l := x.(*line) //nolint:forcetypeassert // the heap holds nothing else
	l.place = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *lineHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.place = -1
	return l
}
