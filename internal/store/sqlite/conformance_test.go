package sqlite_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
	"malote.dev/malote/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	var folders sync.Map // store → data folder
	open := func(t *testing.T, dir string) store.Store {
		t.Helper()
		s := sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
		folders.Store(s, dir)
		return s
	}
	folder := func(s store.Store) string {
		dir, _ := folders.Load(s)
		return dir.(string)
	}
	storetest.Run(t, storetest.Harness{
		Open: func(t *testing.T) store.Store {
			t.Helper()
			return open(t, t.TempDir())
		},
		Crash: func(t *testing.T, s store.Store) store.Store {
			t.Helper()
			// What a power cut leaves is what lies on the disk now: the database and its
			// write-ahead log, as they are while the store is open.
			after := t.TempDir()
			copyFolder(t, folder(s), after)
			return open(t, after)
		},
		Restart: func(t *testing.T, s store.Store) store.Store {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, folder(s))
		},
	})
}

// copyFolder copies the files that outlive a process; the shared memory beside the
// database does not.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), "-shm") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, entry.Name()), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
