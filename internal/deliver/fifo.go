package deliver

import (
	"time"

	"malote.dev/malote/internal/hook"
)

// item is a delivery in hand.
type item struct {
	job   *hook.Job
	until time.Time // end of its lease
}

// size is how much memory a delivery in hand is counted as, in bytes.
func (it *item) size() int64 {
	const overhead = 1 << 10
	if it.job.Event == nil {
		return overhead
	}
	return overhead + int64(len(it.job.Event.Payload))
}

// fifo is a queue in a ring that grows and shrinks with need. The zero value is empty.
type fifo struct {
	ring  []*item
	head  int
	count int
}

const minRing = 16

func (q *fifo) push(it *item) {
	if q.count == len(q.ring) {
		q.resize(max(minRing, 2*len(q.ring)))
	}
	q.ring[(q.head+q.count)%len(q.ring)] = it
	q.count++
}

// pop takes the item that waits longest; nil when there is none.
func (q *fifo) pop() *item {
	if q.count == 0 {
		return nil
	}
	it := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.count--
	q.shrink()
	return it
}

// popLast takes the item that came last; nil when there is none.
func (q *fifo) popLast() *item {
	if q.count == 0 {
		return nil
	}
	at := (q.head + q.count - 1) % len(q.ring)
	it := q.ring[at]
	q.ring[at] = nil
	q.count--
	q.shrink()
	return it
}

func (q *fifo) shrink() {
	if len(q.ring) > minRing && q.count <= len(q.ring)/8 {
		q.resize(len(q.ring) / 2)
	}
}

func (q *fifo) resize(size int) {
	ring := make([]*item, size)
	for i := range q.count {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}
