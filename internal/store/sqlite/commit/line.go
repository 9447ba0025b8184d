package commit

import (
	"context"
	"database/sql"
	"runtime"
	"sync"
	"sync/atomic"

	"malote.dev/malote/internal/hook"
)

// Operation is one piece of work for a Writer. Exactly one of Apply and Task is set.
type Operation[B Batch] struct {
	// Apply is done in the transaction of a batch, with others. It is repeated when the
	// batch fails and its operations are tried one by one, so it changes nothing but
	// the batch.
	Apply func(ctx context.Context, b B) error
	// Task is done between batches and opens its own transaction.
	Task func(ctx context.Context, conn *sql.Conn) error
	// Keep is set for what must wait, not fail, while the storage takes nothing.
	Keep bool
	// Lazy is set for what need not outlive a power cut the moment that it is answered,
	// because it is found out and done again: it is durable a moment later.
	Lazy bool
	// After is called with the result of an operation that nobody waits for. It runs
	// beside the writer and may add operations itself.
	After func(error)

	result chan error  // for whoever waits
	taken  atomic.Bool // by the writer, or by whoever gave up waiting
}

const (
	// maxBatch bounds a commit: beyond a few hundred operations a larger one saves
	// nothing more and only makes its first operation wait longer.
	maxBatch = 256
	// maxKept bounds how many operations with Keep stand in line before Add makes its
	// caller wait.
	maxKept = 8192
)

// line is where operations wait for the writer. Everything that waits is taken at
// once, up to a limit: that is the group of a group commit.
type line[B Batch] struct {
	mu      sync.Mutex
	room    *sync.Cond // signalled when kept operations leave
	waiting []*Operation[B]
	kept    int // operations with Keep among waiting
	closed  bool
	wake    chan struct{} // has a token while something may be waiting
}

func newLine[B Batch]() *line[B] {
	l := &line[B]{wake: make(chan struct{}, 1)}
	l.room = sync.NewCond(&l.mu)
	return l
}

// add puts an operation in line.
func (l *line[B]) add(op *Operation[B]) error {
	l.mu.Lock()
	for op.Keep && l.kept >= maxKept && !l.closed {
		l.room.Wait()
	}
	if l.closed {
		l.mu.Unlock()
		return hook.Errorf(hook.KindUnavailable, "the store is closed")
	}
	l.waiting = append(l.waiting, op)
	if op.Keep {
		l.kept++
	}
	l.mu.Unlock()
	l.nudge()
	return nil
}

// nudge lets the writer look at the line.
func (l *line[B]) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take appends what waits, in order, until there are maxBatch operations; those whose
// caller gave up are left out.
func (l *line[B]) take(into []*Operation[B]) []*Operation[B] {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.waiting) && len(into) < maxBatch {
		op := l.waiting[n]
		n++
		if op.Keep {
			l.kept--
		}
		if op.taken.CompareAndSwap(false, true) {
			into = append(into, op)
		}
	}
	rest := copy(l.waiting, l.waiting[n:])
	clear(l.waiting[rest:])
	l.waiting = l.waiting[:rest]
	if n > 0 {
		l.room.Broadcast()
	}
	return into
}

func (l *line[B]) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// gather lets whoever is about to add an operation do so first, as long as that makes
// the group larger. It waits for nobody: when nothing else can run, it returns at once.
// Under load it makes commits half as many, which is a tenth of an event's whole cost.
func (l *line[B]) gather() {
	for before := -1; ; {
		now := l.length()
		if now <= before || now >= maxBatch {
			return
		}
		before = now
		runtime.Gosched()
	}
}

// close refuses what comes from now on.
func (l *line[B]) close() {
	l.mu.Lock()
	l.closed = true
	l.room.Broadcast()
	l.mu.Unlock()
	l.nudge()
}

func (l *line[B]) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}
