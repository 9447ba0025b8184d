// Package sqlitetest opens stores for tests.
package sqlitetest

import (
	"testing"

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
