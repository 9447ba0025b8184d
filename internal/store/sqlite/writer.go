package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	msqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

const (
	// passEvery is how often the writer moves the mark and gives rows to inline
	// deliveries that take long.
	passEvery = 250 * time.Millisecond
	// retryEvery is how often kept settlements are tried again while the disk takes
	// nothing.
	retryEvery = 500 * time.Millisecond
)

// writer is the only goroutine that changes the database. All its fields but the
// counters are its own.
type writer struct {
	conn    *sql.Conn
	sql     *statements
	line    *line
	log     *slog.Logger
	now     func() time.Time
	wal     *checkpointer
	inline  *inlineSet
	known   known
	numbers map[numbersKey]*hook.Numbers // stored values of the minutes in use
	mark    mark
	retry   []*operation // settlements that the disk did not take
	calls   chan func()  // callbacks of settlements, run by their own goroutine
	passed  time.Time    // when the last pass was

	failing atomic.Pointer[error] // why the last commit failed; nil after one that did not
	stats   counters
}

// counters describe the writer's work since the start.
type counters struct {
	commits, operations, nanos, lastCommit atomic.Int64
}

// known is what the writer knows of the catalogue and the log's parts.
type known struct {
	sources     map[[2]int64]struct{} // project, source
	connections map[[3]int64]struct{} // project, connection, destination
	deleted     map[hook.ConnectionID]struct{}
}

// run works until the line is closed and empty.
func (w *writer) run(ctx context.Context) {
	timer := time.NewTimer(passEvery)
	defer timer.Stop()
	var ops []*operation
	for {
		ops = w.line.take(append(ops[:0], w.retry...))
		w.retry = nil
		if len(ops) > 0 {
			w.process(ctx, ops)
			clear(ops)
		} else if w.line.isClosed() {
			return
		}
		if len(ops) > 0 && len(w.retry) == 0 {
			continue
		}
		if w.line.isClosed() {
			w.giveUp()
			continue
		}
		w.wait(ctx, timer)
	}
}

// wait returns when something may have come, or when it is time for a pass.
func (w *writer) wait(ctx context.Context, timer *time.Timer) {
	var tick <-chan time.Time
	switch {
	case len(w.retry) > 0:
		timer.Reset(retryEvery)
		tick = timer.C
	case w.mark.behind() || w.inline.unwritten():
		timer.Reset(passEvery)
		tick = timer.C
	}
	select {
	case <-w.line.wake:
	case <-tick:
		if len(w.retry) == 0 {
			w.commit(ctx, nil)
		}
	}
}

// giveUp answers the settlements that a closing store could not write. Reclaim makes
// their deliveries due again at the next start.
func (w *writer) giveUp() {
	failed := w.retry
	w.retry = nil
	for _, op := range failed {
		w.finish(op, *w.failing.Load())
	}
}

// process does the operations in their order, those in a row without a task together.
func (w *writer) process(ctx context.Context, ops []*operation) {
	begin := 0
	for i, op := range ops {
		if op.task == nil {
			continue
		}
		if i > begin {
			w.commit(ctx, ops[begin:i])
		}
		begin = i + 1
		err := op.task(ctx, w.conn)
		if code, isSQLite := codeOf(err); isSQLite && storageFailed(code) {
			err = full(err)
		}
		w.finish(op, err)
	}
	if begin < len(ops) {
		w.commit(ctx, ops[begin:])
	}
	w.wal.wrote(ctx, w.conn)
}

// commit does the operations in one transaction. When the storage fails, those that
// may wait are kept and the others fail. When one operation is at fault, each is done
// again by itself, so that it fails alone.
func (w *writer) commit(ctx context.Context, ops []*operation) {
	started := time.Now()
	b, err := w.attempt(ctx, ops)
	if err == nil {
		b.committed()
		w.count(len(ops), started)
		for _, op := range ops {
			w.finish(op, nil)
		}
		return
	}
	code, isSQLite := codeOf(err)
	switch {
	case isSQLite && storageFailed(code):
		w.fail(err, ops)
	case len(ops) > 1:
		for i := range ops {
			w.commit(ctx, ops[i:i+1])
		}
	case len(ops) == 1:
		w.log.ErrorContext(ctx, "an operation cannot be stored", "error", err)
		w.finish(ops[0], err)
	default:
		w.log.ErrorContext(ctx, "the store's own upkeep fails", "error", err)
	}
}

// attempt runs the operations and the batch's own writes in one transaction.
func (w *writer) attempt(ctx context.Context, ops []*operation) (*batch, error) {
	b := newBatch(w)
	if now := time.Now(); now.Sub(w.passed) >= passEvery {
		w.passed = now
		b.startPass()
	}
	if len(ops) == 0 && b.idle() {
		return b, nil
	}
	if _, err := w.sql.begin.exec(ctx); err != nil {
		return b, err
	}
	for _, op := range ops {
		if err := op.apply(ctx, b); err != nil {
			return b, w.undo(ctx, err)
		}
	}
	if err := b.flush(ctx); err != nil {
		return b, w.undo(ctx, err)
	}
	if _, err := w.sql.commit.exec(ctx); err != nil {
		return b, w.undo(ctx, err)
	}
	return b, nil
}

// undo rolls back after err. SQLite has done so itself after some errors, and then
// complains that there is nothing to roll back.
func (w *writer) undo(ctx context.Context, err error) error {
	if _, rollbackErr := w.sql.rollback.exec(ctx); rollbackErr != nil {
		w.log.DebugContext(ctx, "nothing was left to roll back", "error", rollbackErr)
	}
	return err
}

func (w *writer) count(ops int, started time.Time) {
	if before := w.failing.Swap(nil); before != nil {
		w.log.Info("the storage takes data again")
	}
	if ops == 0 {
		return
	}
	now := time.Now()
	w.stats.commits.Add(1)
	w.stats.operations.Add(int64(ops))
	w.stats.nanos.Add(int64(now.Sub(started)))
	w.stats.lastCommit.Store(now.UnixMilli())
}

// fail deals with operations whose batch the storage did not take.
func (w *writer) fail(cause error, ops []*operation) {
	err := full(cause)
	if before := w.failing.Swap(&err); before == nil {
		w.log.Error("the storage takes no data: new events are refused, results wait", "error", cause)
	}
	for _, op := range ops {
		if op.keep {
			w.retry = append(w.retry, op)
		} else {
			w.finish(op, err)
		}
	}
}

// finish tells whoever waits for an operation.
func (w *writer) finish(op *operation, err error) {
	switch {
	case op.after != nil:
		w.calls <- func() { op.after(err) }
	case op.result != nil:
		op.result <- err
	}
}

// full is the error that a caller sees when the storage failed.
func full(cause error) error {
	return &hook.Error{
		Kind: hook.KindUnavailable, Message: "nothing can be stored at the moment: try again later",
		Err: errors.Join(store.ErrFull, cause),
	}
}

// codeOf returns the primary result code of a SQLite error.
func codeOf(err error) (int, bool) {
	var e *msqlite.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.Code() & 0xff, true
}

// storageFailed tells a failure of the storage, which hits whatever is written, from
// one of a single operation.
func storageFailed(code int) bool {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_ERROR:
		return false
	default:
		return true
	}
}
