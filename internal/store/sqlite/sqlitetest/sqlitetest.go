// Package sqlitetest opens stores for tests.
package sqlitetest

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store/sqlite"
)

// Open returns a new store in a folder of its own, closed when the test ends. In a
// bubble of testing/synctest, call it inside, and close the store before the bubble
// ends: closing twice does no harm.
func Open(t testing.TB) *sqlite.Store {
	t.Helper()
	return OpenWith(t, sqlite.Options{})
}

// OpenWith is Open with options; an empty Dir becomes a new folder.
func OpenWith(t testing.TB, options sqlite.Options) *sqlite.Store {
	t.Helper()
	if options.Dir == "" {
		options.Dir = t.TempDir()
	}
	s, err := sqlite.Open(t.Context(), options)
	if err != nil {
		t.Fatalf("open a store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

// Filled returns an open store, and its folder, with one connection and one event in
// each situation: its delivery in memory, pending and held.
func Filled(t testing.TB) (*sqlite.Store, string, hook.Connection) {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(dir, 0o700))
	s := OpenWith(t, sqlite.Options{Dir: dir})
	ctx := t.Context()
	_, err := s.Reclaim(ctx, time.Now())
	must(err)
	project, err := s.Projects().Get(ctx, 0, sqlite.DefaultProject)
	must(err)
	source := hook.Source{Project: project.ID, Name: "shop", SourceSpec: hook.SourceSpec{Secret: "top-s3cret"}}
	destination := hook.Destination{Project: project.ID, Name: "erp"}
	must(s.Sources().Create(ctx, &source))
	must(s.Destinations().Create(ctx, &destination))
	connection := hook.Connection{Project: project.ID, Name: "orders", Source: source.ID, Destination: destination.ID}
	must(s.Connections().Create(ctx, &connection))
	for _, target := range []hook.Target{{}, {Deferred: true}, {Held: true}} {
		target.Connection, target.Destination = connection.ID, destination.ID
		a := &hook.Acceptance{Event: hook.Event{Project: project.ID, Source: source.ID, Payload: []byte("{}"), Targets: []hook.Target{target}}}
		_, err := s.Accept(ctx, a)
		must(err)
	}
	return s, dir, connection
}

// Raw opens the database of a folder without the store, until the test ends.
func Raw(t testing.TB, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, sqlite.DatabaseFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Execute runs a statement on the database of a folder without the store.
func Execute(t testing.TB, dir, statement string) {
	t.Helper()
	db := Raw(t, dir)
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
