package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"

	"malote.dev/malote/internal/hook"
)

// operation is one piece of work for the writer. Exactly one of apply and task is set.
type operation struct {
	// apply is done in the transaction of a batch, with others. It is repeated when a
	// batch fails and its operations are tried one by one, so it changes nothing but
	// the batch.
	apply func(ctx context.Context, b *batch) error
	// task is done between batches and opens its own transaction.
	task func(ctx context.Context, conn *sql.Conn) error
	// keep is set for what must wait, not fail, while the disk takes nothing.
	keep bool
	// after is called with the result, if it is set; else the result goes to result.
	after  func(error)
	result chan error
	taken  atomic.Bool // by the writer, or by whoever gave up waiting
}

// line is where operations wait for the writer. Everything that waits is taken at
// once, up to a limit: that is the group of a group commit.
type line struct {
	mu      sync.Mutex
	room    *sync.Cond // signalled when kept operations leave
	waiting []*operation
	kept    int // operations with keep among waiting
	closed  bool
	wake    chan struct{} // has a token while something may be waiting
}

const (
	// maxBatch bounds a commit: beyond a few hundred operations a larger one saves
	// nothing more and only makes its first operation wait longer.
	maxBatch = 256
	// maxKept bounds how many settlements wait before Settle makes its caller wait.
	maxKept = 8192
)

func newLine() *line {
	l := &line{wake: make(chan struct{}, 1)}
	l.room = sync.NewCond(&l.mu)
	return l
}

func errClosed() error { return hook.Errorf(hook.KindUnavailable, "the store is closed") }

// add puts an operation in line.
func (l *line) add(op *operation) error {
	l.mu.Lock()
	for op.keep && l.kept >= maxKept && !l.closed {
		l.room.Wait()
	}
	if l.closed {
		l.mu.Unlock()
		return errClosed()
	}
	l.waiting = append(l.waiting, op)
	if op.keep {
		l.kept++
	}
	l.mu.Unlock()
	l.nudge()
	return nil
}

// nudge lets the writer look at the line.
func (l *line) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take returns what waits, in order, up to maxBatch operations; those whose caller
// gave up are left out.
func (l *line) take(into []*operation) []*operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.waiting) && len(into) < maxBatch {
		op := l.waiting[n]
		n++
		if op.keep {
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

func (l *line) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// close refuses what comes from now on.
func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	l.room.Broadcast()
	l.mu.Unlock()
	l.nudge()
}

func (l *line) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// do puts an operation in line and waits for its result, or until ctx ends while the
// operation still waits for its turn: then nothing of it is done.
func (l *line) do(ctx context.Context, op *operation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	op.result = make(chan error, 1)
	if err := l.add(op); err != nil {
		return err
	}
	select {
	case err := <-op.result:
		return err
	case <-ctx.Done():
		if op.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-op.result
	}
}
