package commit_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlite/database"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// diary is a Batch that writes what its operations note, and an owner that remembers
// what was committed.
type diary struct {
	insert *commit.Statement
	noted  []int64
	sizes  *[]int // of the committed batches
}

func (d *diary) Idle() bool { return len(d.noted) == 0 }

func (d *diary) Flush(ctx context.Context) error {
	for _, n := range d.noted {
		if _, err := d.insert.Exec(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (d *diary) Committed() { *d.sizes = append(*d.sizes, len(d.noted)) }

func note(n int64) func(context.Context, *diary) error {
	return func(_ context.Context, d *diary) error {
		d.noted = append(d.noted, n)
		return nil
	}
}

type operation = commit.Operation[*diary]

// disk counts how often it was to make things durable, and fails when it is told to.
type disk struct {
	syncs  atomic.Int64
	broken atomic.Bool
}

var errDisk = errors.New("input/output error")

func (d *disk) sync() error {
	d.syncs.Add(1)
	if d.broken.Load() {
		return errDisk
	}
	return nil
}

// start returns a running writer, which the test closes, and what tells the sizes of
// its batches and the rows that there are afterwards.
func start(t *testing.T) (w *commit.Writer[*diary], sizes *[]int, rows func() []int64) {
	t.Helper()
	return startOn(t, &disk{})
}

func startOn(t *testing.T, under *disk) (w *commit.Writer[*diary], sizes *[]int, rows func() []int64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	if err := database.Create(path); err != nil {
		t.Fatal(err)
	}
	db, err := database.Connect(path, 1, "journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "CREATE TABLE note (n INTEGER PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	var insert *commit.Statement
	err = commit.Raw(conn, func(raw commit.Conn) error {
		var err error
		insert, err = commit.Prepare(t.Context(), raw, "INSERT INTO note (n) VALUES (?)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sizes = new([]int)
	w, err = commit.New(t.Context(), commit.Options[*diary]{
		Conn: conn, Logger: slog.New(slog.DiscardHandler),
		Begin:   func(bool) *diary { return &diary{insert: insert, sizes: sizes} },
		Unrest:  func() bool { return false },
		Between: func(context.Context) {},
		Sync:    under.sync,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Start(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		if err := errors.Join(w.Close(), insert.Close(), conn.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return w, sizes, func() (list []int64) {
		found, err := conn.QueryContext(context.WithoutCancel(t.Context()), "SELECT n FROM note ORDER BY n")
		if err != nil {
			t.Fatal(err)
		}
		defer found.Close()
		for found.Next() {
			var n int64
			if err := found.Scan(&n); err != nil {
				t.Fatal(err)
			}
			list = append(list, n)
		}
		if err := found.Err(); err != nil {
			t.Fatal(err)
		}
		return list
	}
}

// stop occupies the writer until the returned function is called.
func stop(t *testing.T, w *commit.Writer[*diary]) (resume func()) {
	t.Helper()
	held, free := make(chan struct{}), make(chan struct{})
	err := w.Add(&operation{
		Task: func(context.Context, *sql.Conn) error {
			close(held)
			<-free
			return nil
		},
		After: func(error) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-held
	return func() { close(free) }
}

func TestWhatWaitsSharesACommit(t *testing.T) {
	w, sizes, rows := start(t)
	resume := stop(t, w)
	var group sync.WaitGroup
	const waiting = 100
	for n := range int64(waiting) {
		group.Add(1)
		if err := w.Add(&operation{Apply: note(n), After: func(error) { group.Done() }}); err != nil {
			t.Fatal(err)
		}
	}
	resume()
	group.Wait()
	if len(*sizes) != 1 || (*sizes)[0] != waiting || len(rows()) != waiting {
		t.Errorf("batches of %v, %d rows; want one of %d", *sizes, len(rows()), waiting)
	}
	if stats := w.Stats(); stats.Commits != 1 || stats.Operations != waiting || stats.Waiting != 0 || stats.Last.IsZero() {
		t.Errorf("stats %+v", stats)
	}
}

func TestWhoGivesUpWaitingLeavesNothing(t *testing.T) {
	w, _, rows := start(t)
	resume := stop(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() { gaveUp <- w.Do(ctx, &operation{Apply: note(1)}) }()
	for w.Stats().Waiting == 0 {
		runtime.Gosched() // It gets in line at once; nothing tells when.
	}
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	resume()
	if err := w.Do(t.Context(), &operation{Apply: note(2)}); err != nil {
		t.Fatal(err)
	}
	if got := rows(); len(got) != 1 || got[0] != 2 {
		t.Errorf("rows %v, want those of who stayed", got)
	}
}

func TestOneAtFaultFailsAlone(t *testing.T) {
	w, _, rows := start(t)
	resume := stop(t, w)
	results := make(chan error, 4)
	for _, n := range []int64{1, 2, 2, 3} {
		if err := w.Add(&operation{Apply: note(n), After: func(err error) { results <- err }}); err != nil {
			t.Fatal(err)
		}
	}
	resume()
	failed := 0
	for range 4 {
		if err := <-results; err != nil {
			failed++
		}
	}
	if got := rows(); failed != 1 || len(got) != 3 {
		t.Errorf("%d failed, rows %v; want one failure and three rows", failed, got)
	}
}

func TestTasksKeepTheirPlaceInLine(t *testing.T) {
	w, _, rows := start(t)
	resume := stop(t, w)
	seen := make(chan int, 1)
	for _, op := range []*operation{
		{Apply: note(1)},
		{Task: func(ctx context.Context, conn *sql.Conn) error {
			var n int
			err := conn.QueryRowContext(ctx, "SELECT count(*) FROM note").Scan(&n)
			seen <- n
			return err
		}},
		{Apply: note(2)},
	} {
		op.After = func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		if err := w.Add(op); err != nil {
			t.Fatal(err)
		}
	}
	resume()
	if n := <-seen; n != 1 {
		t.Errorf("the task saw %d rows, want the one of before it", n)
	}
	if err := w.Do(t.Context(), &operation{Apply: note(3)}); err != nil || len(rows()) != 3 {
		t.Errorf("%v, rows %v", err, rows())
	}
}

func TestAClosedWriterTakesNothing(t *testing.T) {
	w, _, _ := start(t)
	resume := stop(t, w)
	last := make(chan error, 1)
	if err := w.Add(&operation{Apply: note(1), Keep: true, After: func(err error) { last <- err }}); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- w.Close() }()
	for {
		if err := w.Add(&operation{Apply: func(context.Context, *diary) error { return nil }, After: func(error) {}}); err != nil {
			if hook.KindOf(err) != hook.KindUnavailable {
				t.Errorf("error %v, want one of kind unavailable", err)
			}
			break
		}
	}
	resume()
	if err := <-last; err != nil {
		t.Errorf("what stood in line failed: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestOnlyWhatSomebodyWaitsForIsMadeDurableAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := &disk{}
		w, _, _ := startOn(t, under)
		if err := w.Do(t.Context(), &operation{Apply: note(1), Lazy: true}); err != nil || under.syncs.Load() != 0 {
			t.Fatalf("error %v, made durable %d times; a lazy operation does not wait for that", err, under.syncs.Load())
		}
		<-time.After(time.Second)
		synctest.Wait()
		if syncs := under.syncs.Load(); syncs != 1 {
			t.Errorf("made durable %d times within a second, want once", syncs)
		}
		<-time.After(time.Minute)
		if err := w.Do(t.Context(), &operation{Apply: note(2)}); err != nil || under.syncs.Load() != 2 {
			t.Errorf("error %v, made durable %d times in all; want once more before the answer, and not while nothing happens", err, under.syncs.Load())
		}
		task := &operation{Task: func(context.Context, *sql.Conn) error { return nil }}
		if err := w.Do(t.Context(), task); err != nil || under.syncs.Load() != 3 {
			t.Errorf("a task: error %v, made durable %d times in all, want 3", err, under.syncs.Load())
		}
	})
}

func TestNothingIsStoredAfterTheDiskFailed(t *testing.T) {
	under := &disk{}
	w, sizes, _ := startOn(t, under)
	under.broken.Store(true)
	if err := w.Do(t.Context(), &operation{Apply: note(1)}); !errors.Is(err, store.ErrFull) || !errors.Is(err, errDisk) {
		t.Fatalf("error %v, want ErrFull for what may not be durable", err)
	}
	under.broken.Store(false) // The system forgets what it could not write.
	called := make(chan error, 1)
	if err := w.Add(&operation{Apply: note(2), Keep: true, Lazy: true, After: func(err error) { called <- err }}); err != nil {
		t.Fatal(err)
	}
	task := &operation{Task: func(context.Context, *sql.Conn) error { return nil }}
	if err, kept := w.Do(t.Context(), task), <-called; !errors.Is(err, store.ErrFull) || !errors.Is(kept, store.ErrFull) {
		t.Errorf("errors %v and %v after the disk failed once, want ErrFull", err, kept)
	}
	if len(*sizes) != 1 {
		t.Errorf("batches of %v were committed, want one", *sizes)
	}
}
