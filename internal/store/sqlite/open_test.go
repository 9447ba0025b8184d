package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/database"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func version(t *testing.T, dir string) int {
	t.Helper()
	db := sqlitetest.Raw(t, dir)
	number, err := database.Version(t.Context(), db)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return number
}

// TestADatabaseOfTheFirstVersionIsUpgraded opens one that was made with the schema of
// the first version and has rows of it.
func TestADatabaseOfTheFirstVersionIsUpgraded(t *testing.T) {
	dir := t.TempDir()
	first, err := os.ReadFile("schema/0001_first.sql")
	if err != nil {
		t.Fatal(err)
	}
	sqlitetest.Execute(t, dir, string(first))
	sqlitetest.Execute(t, dir, "PRAGMA user_version = 1")
	s := sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
	projects, err := s.Projects().List(t.Context(), 0, page.Request{})
	if err != nil || len(projects.Items) != 1 {
		t.Fatalf("projects %v, error %v; want the default one", projects.Items, err)
	}
	event := hook.Event{Project: projects.Items[0].ID, Source: 1, Type: "order.paid", Key: "7", Payload: []byte("{}")}
	if _, err := s.Accept(t.Context(), &hook.Acceptance{Event: event}); err != nil {
		t.Fatal(err)
	}
	found, err := s.Events(t.Context(), store.EventQuery{Project: event.Project, Type: "order.*", Key: "7"})
	if err != nil || len(found.Items) != 1 {
		t.Errorf("found %v, error %v; want the event", found.Items, err)
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	s, dir, _ := sqlitetest.Filled(t)
	_, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if !errors.Is(err, store.ErrLocked) || hook.KindOf(err) != hook.KindConflict || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened twice: %v; want ErrLocked that names the folder", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	s, dir, _ := sqlitetest.Filled(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	known := version(t, dir)
	sqlitetest.Execute(t, dir, "PRAGMA user_version = 99")
	_, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	var e *hook.Error
	if !errors.Is(err, store.ErrNewer) || !errors.As(err, &e) || !strings.Contains(e.Message, "99") {
		t.Errorf("error %v, want ErrNewer with the version", err)
	}
	sqlitetest.Execute(t, dir, fmt.Sprintf("PRAGMA user_version = %d", known)) // It was left as it was, and is not locked.
	sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
}

func TestAForeignKeyIsRefused(t *testing.T) {
	s, dir, _ := sqlitetest.Filled(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, seal.FileName)); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(filepath.Join(dir, seal.FileName)); err != nil {
		t.Fatal(err)
	}
	_, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if hook.KindOf(err) != hook.KindInvalid || !strings.Contains(err.Error(), seal.FileName) {
		t.Errorf("error %v, want one that names the key file", err)
	}
}

func TestOnlyTheOwnerReadsTheData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSecretsAreNotReadableOnDisk(t *testing.T) {
	s, dir, _ := sqlitetest.Filled(t)
	token := hook.Token{Name: "ci", Role: hook.RoleAdmin, Hash: [32]byte{1, 2, 3}}
	project, err := s.Projects().Get(t.Context(), 0, sqlite.DefaultProject)
	if err != nil {
		t.Fatal(err)
	}
	token.Project = project.ID
	if err := s.CreateToken(t.Context(), &token); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, sqlite.DatabaseFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte("shop")) {
		t.Fatal("the database does not even hold the source's name; is it the right file?")
	}
	if bytes.Contains(data, []byte("top-s3cret")) {
		t.Error("a secret lies in the database in plain text")
	}
}

// full returns a store whose disk is nearly full.
func full(t *testing.T) *sqlite.Store {
	t.Helper()
	return sqlitetest.OpenWith(t, sqlite.Options{MaxBytes: 1 << 20})
}

func big(n int) *hook.Acceptance {
	return &hook.Acceptance{Event: hook.Event{
		Project: 1, Source: 2, Payload: make([]byte, n), Targets: []hook.Target{{Connection: 3, Destination: 4}},
	}}
}

func TestAFullDiskRefusesAndLosesNothing(t *testing.T) {
	s := full(t)
	ctx := t.Context()
	var jobs []*hook.Job
	size := 60_000
	for {
		a := big(size)
		_, err := s.Accept(ctx, a)
		if err != nil {
			if !errors.Is(err, store.ErrFull) || hook.KindOf(err) != hook.KindUnavailable || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %q, want ErrFull of kind unavailable, in one line", err)
			}
			if size /= 2; size == 0 {
				break
			}
			continue
		}
		target := a.Event.Targets[0]
		jobs = append(jobs, &hook.Job{Inline: true, Event: &a.Event, Delivery: hook.Delivery{
			ID: target.Delivery, Project: 1, Event: a.Event.ID, Connection: 3, Destination: 4, CreatedAt: a.Event.ReceivedAt,
		}})
	}
	if len(jobs) < 5 {
		t.Fatalf("only %d events fitted", len(jobs))
	}
	if err := s.Ready(ctx); !errors.Is(err, store.ErrFull) {
		t.Errorf("a full store is ready: %v", err)
	}
	// The results of what was accepted do not fit either. They wait, and count as soon
	// as there is room.
	var settled sync.WaitGroup
	for _, job := range jobs {
		settled.Add(1)
		s.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded, Attempt: &hook.Attempt{
			Outcome: hook.OutcomeSuccess, ResponseBody: make([]byte, hook.MaxKeptResponse),
		}}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			settled.Done()
		})
	}
	if _, err := s.Accept(ctx, big(60_000)); !errors.Is(err, store.ErrFull) {
		t.Errorf("an event was taken by a full store: %v", err)
	}
	if _, err := s.Events(ctx, store.EventQuery{Project: 1}); err != nil {
		t.Errorf("a full store cannot be read: %v", err)
	}
	if err := s.SetMaxBytes(ctx, 64<<20); err != nil {
		t.Fatal(err)
	}
	settled.Wait()
	if _, err := s.Accept(ctx, big(60_000)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := s.Ready(ctx); err != nil {
		t.Error(err)
	}
	for _, job := range jobs {
		d, err := s.Delivery(ctx, 1, job.Delivery.ID)
		if err != nil || d.State != hook.StateSucceeded {
			t.Errorf("delivery %v is %v, %v", job.Delivery.ID, d.State, err)
		}
	}
}

func TestClosingAFullStoreEnds(t *testing.T) {
	s, dir, connection := sqlitetest.Filled(t)
	if err := s.SetMaxBytes(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	var last *hook.Job
	for {
		a := &hook.Acceptance{Event: hook.Event{
			Project: connection.Project, Source: connection.Source, Payload: make([]byte, 60_000),
			Targets: []hook.Target{{Connection: connection.ID, Destination: connection.Destination}},
		}}
		if _, err := s.Accept(t.Context(), a); err != nil {
			break
		}
		last = &hook.Job{Inline: true, Delivery: hook.Delivery{
			ID: a.Event.Targets[0].Delivery, Project: connection.Project, Event: a.Event.ID,
			Connection: connection.ID, Destination: connection.Destination,
		}}
	}
	failed := make(chan error, 1)
	s.Settle(hook.Settlement{Job: last, State: hook.StateFailed, Attempt: &hook.Attempt{ResponseBody: make([]byte, hook.MaxKeptResponse), Error: strings.Repeat("x", 100_000)}},
		func(err error) { failed <- err })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, store.ErrFull) {
		t.Errorf("a settlement that could not be stored ended with %v", err)
	}
	s = sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
	if _, err := s.Reclaim(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	d, err := s.Delivery(t.Context(), connection.Project, last.Delivery.ID)
	if err != nil || d.State != hook.StatePending {
		t.Errorf("its delivery is %v, %v; want it to be due again", d.State, err)
	}
}

func TestSlowDeliveriesGetARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
		ctx := t.Context()
		if _, err := s.Reclaim(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		a := big(10)
		if _, err := s.Accept(ctx, a); err != nil {
			t.Fatal(err)
		}
		rows := func() (n int) {
			if err := sqlitetest.Raw(t, dir).QueryRowContext(ctx, "SELECT count(*) FROM delivery WHERE state = 2").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		time.Sleep(500 * time.Millisecond)
		if rows() != 0 {
			t.Error("a delivery has a row after half a second")
		}
		time.Sleep(2 * time.Second)
		if rows() != 1 {
			t.Error("a delivery has no row after two seconds and a half")
		}
		if n, err := s.Reclaim(ctx, time.Now().Add(1000*time.Hour)); n != 0 || err != nil {
			t.Errorf("%d reclaimed, %v, of those in hand", n, err)
		}
		backlog, err := s.Backlog(ctx, 1)
		if err != nil || backlog[4][hook.StateSending] != 1 {
			t.Errorf("backlog %v, %v", backlog, err)
		}
		target := a.Event.Targets[0]
		done := make(chan error, 1)
		s.Settle(hook.Settlement{
			Job:   &hook.Job{Inline: true, Delivery: hook.Delivery{ID: target.Delivery, Project: 1, Event: a.Event.ID, Connection: 3, Destination: 4}},
			State: hook.StateSucceeded, Attempt: &hook.Attempt{Outcome: hook.OutcomeSuccess},
		}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		d, err := s.Delivery(ctx, 1, target.Delivery)
		if err != nil || d.State != hook.StateSucceeded || d.Attempts != 1 {
			t.Errorf("settled as %+v, %v", d, err)
		}
	})
}

// TestTheMarkFollows holds the mark to both of its promises: a delivery without a row
// is never below it, and it does not stay behind, or a start would look at everything.
func TestTheMarkFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)))
		dir := t.TempDir()
		s := sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
		ctx := t.Context()
		if _, err := s.Reclaim(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		mark := func() (id hook.EventID) {
			if err := sqlitetest.Raw(t, dir).QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'mark'").Scan((*int64)(&id)); err != nil {
				t.Fatal(err)
			}
			return id
		}
		var open []*hook.Job
		settle := func(job *hook.Job) {
			done := make(chan error, 1)
			s.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded}, func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		for i := range 60 {
			a := big(1)
			if _, err := s.Accept(ctx, a); err != nil {
				t.Fatal(err)
			}
			open = append(open, &hook.Job{Inline: true, Delivery: hook.Delivery{
				ID: a.Event.Targets[0].Delivery, Project: 1, Event: a.Event.ID, Connection: 3, Destination: 4,
			}})
			if i%3 != 0 {
				settle(open[0])
				open = open[1:]
			}
			time.Sleep(50 * time.Millisecond)
			for _, job := range open {
				if _, err := s.Delivery(ctx, 1, job.Delivery.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		if m := mark(); m == 0 {
			t.Error("the mark did not move in three seconds of traffic")
		}
		for _, job := range open {
			settle(job)
		}
		last := open[len(open)-1].Delivery.Event
		time.Sleep(3 * time.Second)
		if m := mark(); m <= last {
			t.Errorf("with nothing open the mark is %v, not beyond %v", m, last)
		}
		late := big(1) // Its id was made long before it stood in line.
		late.Event.ID = open[0].Delivery.Event - 1
		if _, err := s.Accept(ctx, late); err != nil {
			t.Fatal(err)
		}
		if m := mark(); m > late.Event.ID {
			t.Errorf("the mark %v is beyond %v, which is open", m, late.Event.ID)
		}
	})
}

func TestSettleNeverBlocksItsCallbacks(t *testing.T) {
	s := sqlitetest.Open(t)
	const chain = 200
	done := make(chan struct{})
	var next func(n int)
	next = func(n int) {
		if n == chain {
			close(done)
			return
		}
		job := &hook.Job{Delivery: hook.Delivery{ID: hook.DeliveryID(n + 1)}}
		s.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded}, func(error) { next(n + 1) })
	}
	next(0)
	<-done
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlite.Open(ctx, sqlite.Options{Dir: t.TempDir()}); err == nil {
		t.Error("a store was opened under a context that had ended")
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Options{}); err == nil {
		t.Error("a store was opened without a folder")
	}
}
