package database

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestLogIsTheFileThatSQLiteWrites makes the log durable, lets SQLite begin it anew, and
// looks whether it is still the same file.
func TestLogIsTheFileThatSQLiteWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	pools, err := Open(t.Context(), PoolOptions{Path: path, Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pools.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, text := range []string{
		"CREATE TABLE note (n INTEGER)", "INSERT INTO note VALUES (1)", "PRAGMA wal_checkpoint(RESTART)", "INSERT INTO note VALUES (2)",
	} {
		if _, err := pools.Conn.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		if err := pools.Log.Sync(); err != nil {
			t.Fatalf("after %s: %v", text, err)
		}
	}
	written, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if synced, err := pools.Log.file.Stat(); err != nil || !os.SameFile(written, synced) || written.Size() == 0 {
		t.Errorf("another file was made durable: %v, error %v", synced, err)
	}
	var level int
	if err := pools.Conn.QueryRowContext(context.WithoutCancel(t.Context()), "PRAGMA synchronous").Scan(&level); err != nil || level < 1 {
		t.Errorf("synchronous=%d, error %v: a checkpoint would not be durable", level, err)
	}
}
