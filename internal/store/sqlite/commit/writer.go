// Package commit is group commit over one SQLite connection: a Writer takes all
// operations that wait, does them in one transaction, commits, and answers. The more
// wait, the less each of them costs. It never waits for more to come: while it commits,
// the next group gathers by itself.
//
// It knows nothing of what the operations do. They work on a Batch, which the owner
// makes: it gathers what is to be written once a transaction, and what is to be known
// once that is committed.
package commit

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/database"
)

const (
	// passEvery is how often the owner's periodic work is done.
	passEvery = 250 * time.Millisecond
	// retryEvery is how often kept operations are tried again while the storage takes
	// nothing.
	retryEvery = 500 * time.Millisecond
	// lingerTime is how long a group under load may grow before it is taken: when the
	// last one had so many operations as busy, and this one has less than crowd.
	lingerTime = 500 * time.Microsecond
	busy       = 16
	crowd      = 96
)

// Batch is one transaction under way.
type Batch interface {
	// Idle reports whether there is nothing to write without any operation.
	Idle() bool
	// Flush writes what was gathered, at the end of the transaction.
	Flush(ctx context.Context) error
	// Committed makes what was done known to the owner's memory.
	Committed()
}

// Options say what a Writer works with.
type Options[B Batch] struct {
	Conn   *sql.Conn // the writer's alone
	Logger *slog.Logger
	// Begin returns a new batch; with pass it also does the owner's periodic work.
	Begin func(pass bool) B
	// Unrest reports whether a pass would have something to do later, although nothing
	// else happens.
	Unrest func() bool
	// Between is called between two transactions after something was written.
	Between func(ctx context.Context)
	// Sync makes everything durable that was committed before the call. When it fails,
	// nobody knows any more what is on the disk, and the writer does nothing further.
	Sync func() error
}

// Writer is the only user of its connection. What Begin, Apply, Flush and Committed
// touch is its goroutine's own.
type Writer[B Batch] struct {
	options                 Options[B]
	begin, commit, rollback *Statement
	line                    *line[B]
	retry                   []*Operation[B] // kept operations that the storage did not take
	calls                   chan func()     // of After, run by a goroutine of their own
	passed                  time.Time       // when the last pass was
	unsynced                time.Time       // since when something is committed and not durable; zero: nothing is
	broken                  error           // why nothing can be made durable any more
	running                 sync.WaitGroup

	failing atomic.Pointer[error] // why the last commit failed; nil after one that did not
	counts  counters
}

// counters describe a writer's work since the start.
type counters struct {
	commits, operations, nanos, last atomic.Int64
}

// Stats describe a writer's work since the start.
type Stats struct {
	Commits    int64
	Operations int64
	Time       time.Duration // spent in commits
	Waiting    int           // operations in line
	Last       time.Time     // when the last commit was; zero before the first
}

// New returns a writer that Start starts.
func New[B Batch](ctx context.Context, options Options[B]) (*Writer[B], error) {
	w := &Writer[B]{options: options, line: newLine[B](), calls: make(chan func(), maxBatch)}
	err := Raw(options.Conn, func(conn Conn) error {
		var errs [3]error
		w.begin, errs[0] = Prepare(ctx, conn, "BEGIN IMMEDIATE")
		w.commit, errs[1] = Prepare(ctx, conn, "COMMIT")
		w.rollback, errs[2] = Prepare(ctx, conn, "ROLLBACK")
		return errors.Join(errs[:]...)
	})
	return w, err
}

// Conn is the driver's own connection, on which statements are prepared.
type Conn = driver.Conn

// Raw calls do with the driver's own connection, for Prepare.
func Raw(conn *sql.Conn, do func(conn Conn) error) error {
	return conn.Raw(func(raw any) error {
		driverConn, ok := raw.(driver.Conn)
		if !ok {
			return errors.New("the SQLite driver has no connection of its own")
		}
		return do(driverConn)
	})
}

// Start starts the writer's goroutine and the one that runs the callbacks, so that
// these can neither delay nor block it.
func (w *Writer[B]) Start(ctx context.Context) {
	w.running.Go(func() {
		defer close(w.calls)
		w.run(ctx)
	})
	w.running.Go(func() {
		for call := range w.calls {
			call()
		}
	})
}

// Close takes no more operations, does those in line, and ends the writer.
func (w *Writer[B]) Close() error {
	w.line.close()
	w.running.Wait()
	var errs []error
	for _, s := range []*Statement{w.begin, w.commit, w.rollback} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// Add puts an operation in line and returns at once; one with Keep waits for room.
func (w *Writer[B]) Add(op *Operation[B]) error { return w.line.add(op) }

// Do puts an operation in line and waits for its result, or until ctx ends while the
// operation still waits for its turn: then nothing of it is done.
func (w *Writer[B]) Do(ctx context.Context, op *Operation[B]) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	op.result = make(chan error, 1)
	if err := w.line.add(op); err != nil {
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

// Stats returns what the writer has done so far.
func (w *Writer[B]) Stats() Stats {
	stats := Stats{
		Commits: w.counts.commits.Load(), Operations: w.counts.operations.Load(),
		Time: time.Duration(w.counts.nanos.Load()), Waiting: w.line.length(),
	}
	if last := w.counts.last.Load(); last != 0 {
		stats.Last = time.UnixMilli(last).UTC()
	}
	return stats
}

// Crowded reports whether operations wait in line, so that one that is at a long piece
// of work may end its step.
func (w *Writer[B]) Crowded() bool { return w.line.length() > 0 }

// run works until the line is closed and empty.
func (w *Writer[B]) run(ctx context.Context) {
	timer := time.NewTimer(passEvery)
	defer timer.Stop()
	var ops []*Operation[B]
	for {
		w.line.gather()
		w.linger(len(ops), timer)
		ops = w.line.take(append(ops[:0], w.retry...))
		w.retry = nil
		worked := len(ops) > 0
		if worked {
			w.process(ctx, ops)
			clear(ops)
		}
		switch closed := w.line.isClosed(); {
		case len(w.retry) == 0 && worked: // More may wait by now.
		case closed && len(w.retry) > 0:
			w.giveUp()
		case closed && w.line.length() == 0:
			_ = w.sync(ctx) // it has told of its failure
			return
		case !closed:
			w.wait(ctx, timer)
		}
	}
}

// linger lets the next group grow under load, which a large last one tells. A commit
// costs the same for a few operations as for many, so that half as many commits save
// more than the wait takes; with few or with plenty of operations nothing is gained.
func (w *Writer[B]) linger(last int, timer *time.Timer) {
	if waiting := w.line.length(); last >= busy && waiting > 0 && waiting < crowd {
		timer.Reset(lingerTime)
		<-timer.C
	}
}

// wait returns when something may have come, or when something is due.
func (w *Writer[B]) wait(ctx context.Context, timer *time.Timer) {
	var tick <-chan time.Time
	switch {
	case len(w.retry) > 0:
		timer.Reset(retryEvery)
		tick = timer.C
	case !w.unsynced.IsZero() || w.options.Unrest():
		timer.Reset(passEvery)
		tick = timer.C
	}
	select {
	case <-w.line.wake:
	case <-tick:
		if len(w.retry) == 0 && w.broken == nil {
			w.batch(ctx, nil)
			_ = w.sync(ctx) // it has told of its failure
		}
	}
}

// giveUp answers the kept operations that a closing writer could not do.
func (w *Writer[B]) giveUp() {
	failed := w.retry
	w.retry = nil
	for _, op := range failed {
		w.finish(op, *w.failing.Load())
	}
}

// process does the operations in their order, those in a row without a task together.
func (w *Writer[B]) process(ctx context.Context, ops []*Operation[B]) {
	begin := 0
	for i, op := range ops {
		if op.Task == nil {
			continue
		}
		if i > begin {
			w.batch(ctx, ops[begin:i])
		}
		begin = i + 1
		w.task(ctx, op)
	}
	if begin < len(ops) {
		w.batch(ctx, ops[begin:])
	}
	if !w.unsynced.IsZero() && time.Since(w.unsynced) >= passEvery {
		_ = w.sync(ctx) // it has told of its failure
	}
	w.options.Between(ctx)
}

// task does an operation that has a transaction of its own.
func (w *Writer[B]) task(ctx context.Context, op *Operation[B]) {
	if w.broken != nil {
		w.finish(op, w.broken)
		return
	}
	err := op.Task(ctx, w.options.Conn)
	switch {
	case database.StorageFailed(err):
		err = full(err)
	case err == nil:
		w.committed()
		err = w.sync(ctx)
	}
	w.finish(op, err)
}

// committed notes that there is something to make durable.
func (w *Writer[B]) committed() {
	if w.unsynced.IsZero() {
		w.unsynced = time.Now()
	}
}

// sync makes everything durable that was committed. After a failure the system may have
// dropped what it could not write, and would call the next attempt a success.
func (w *Writer[B]) sync(ctx context.Context) error {
	if w.broken != nil || w.unsynced.IsZero() {
		return w.broken
	}
	if err := w.options.Sync(); err != nil {
		w.broken = full(err)
		w.failing.Store(&w.broken)
		w.options.Logger.ErrorContext(ctx, "what was stored cannot be made durable: nothing is stored any more until a restart", "error", err)
		return w.broken
	}
	w.unsynced = time.Time{}
	return nil
}

// batch does the operations in one transaction. When the storage fails, those that may
// wait are kept and the others fail. When one operation is at fault, each is done again
// by itself, so that it fails alone.
func (w *Writer[B]) batch(ctx context.Context, ops []*Operation[B]) {
	if w.broken != nil {
		w.finishAll(ops, w.broken)
		return
	}
	started := time.Now()
	b, err := w.attempt(ctx, ops)
	switch {
	case err == nil:
		b.Committed()
		if slices.ContainsFunc(ops, func(op *Operation[B]) bool { return !op.Lazy }) {
			err = w.sync(ctx)
		}
		if err == nil {
			w.count(len(ops), started)
		}
		w.finishAll(ops, err)
	case database.StorageFailed(err):
		w.fail(ctx, err, ops)
	case len(ops) > 1:
		for i := range ops {
			w.batch(ctx, ops[i:i+1])
		}
	case len(ops) == 1:
		// An operation may also refuse: whoever asked for it is told, and nothing is wrong here.
		if hook.KindOf(err) == hook.KindInternal {
			w.options.Logger.ErrorContext(ctx, "an operation cannot be stored", "error", err)
		}
		w.finish(ops[0], err)
	default:
		w.options.Logger.ErrorContext(ctx, "the store's own upkeep fails", "error", err)
	}
}

// attempt runs the operations and the batch's own writes in one transaction.
func (w *Writer[B]) attempt(ctx context.Context, ops []*Operation[B]) (B, error) {
	now := time.Now()
	pass := now.Sub(w.passed) >= passEvery
	if pass {
		w.passed = now
	}
	b := w.options.Begin(pass)
	if len(ops) == 0 && b.Idle() {
		return b, nil
	}
	if _, err := w.begin.Exec(ctx); err != nil {
		return b, err
	}
	for _, op := range ops {
		if err := op.Apply(ctx, b); err != nil {
			return b, w.undo(ctx, err)
		}
	}
	if err := b.Flush(ctx); err != nil {
		return b, w.undo(ctx, err)
	}
	if _, err := w.commit.Exec(ctx); err != nil {
		return b, w.undo(ctx, err)
	}
	w.committed()
	return b, nil
}

// undo rolls back after err. SQLite has done so itself after some errors, and then
// complains that there is nothing to roll back.
func (w *Writer[B]) undo(ctx context.Context, err error) error {
	if _, rollbackErr := w.rollback.Exec(ctx); rollbackErr != nil {
		w.options.Logger.DebugContext(ctx, "nothing was left to roll back", "error", rollbackErr)
	}
	return err
}

func (w *Writer[B]) count(ops int, started time.Time) {
	if ops == 0 {
		return
	}
	if before := w.failing.Swap(nil); before != nil {
		w.options.Logger.Info("the storage takes data again")
	}
	now := time.Now()
	w.counts.commits.Add(1)
	w.counts.operations.Add(int64(ops))
	w.counts.nanos.Add(int64(now.Sub(started)))
	w.counts.last.Store(now.UnixMilli())
}

// fail deals with operations whose batch the storage did not take.
func (w *Writer[B]) fail(ctx context.Context, cause error, ops []*Operation[B]) {
	err := full(cause)
	if before := w.failing.Swap(&err); before == nil {
		w.options.Logger.ErrorContext(ctx, "the storage takes no data: new events are refused, results wait", "error", cause)
	}
	for _, op := range ops {
		if op.Keep {
			w.retry = append(w.retry, op)
		} else {
			w.finish(op, err)
		}
	}
}

// finish tells whoever waits for an operation.
func (w *Writer[B]) finish(op *Operation[B], err error) {
	switch {
	case op.After != nil:
		w.calls <- func() { op.After(err) }
	case op.result != nil:
		op.result <- err
	}
}

// finishAll tells whoever waits for operations that went the same way. Those with a
// callback share one call, because each costs a hand-over to another goroutine.
func (w *Writer[B]) finishAll(ops []*Operation[B], err error) {
	var calls []func(error)
	for _, op := range ops {
		switch {
		case op.After != nil:
			calls = append(calls, op.After)
		case op.result != nil:
			op.result <- err
		}
	}
	if len(calls) > 0 {
		w.calls <- func() {
			for _, call := range calls {
				call(err)
			}
		}
	}
}

// full is the error that a caller sees when the storage failed.
func full(cause error) error {
	return &hook.Error{
		Kind: hook.KindUnavailable, Message: "nothing can be stored at the moment: try again later",
		Err: fmt.Errorf("%w: %w", store.ErrFull, cause),
	}
}
