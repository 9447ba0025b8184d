// Package database opens SQLite databases so that they are safe and fast, and knows
// what of that has nothing to do with what they hold: connections, versions, the lock on
// a folder, checkpoints, and which errors mean that the storage failed.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	msqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"malote.dev/malote/internal/hook"
)

// The data is its owner's alone.
const (
	FolderMode fs.FileMode = 0o700
	FileMode   fs.FileMode = 0o600
)

// FileName is the name of the database inside a data folder. SQLite keeps two more files
// beside it, with -wal and -shm added, while it is open.
const FileName = "malote.db"

// PageSize is the databases' page size in bytes. A page holds several events of 1 KiB;
// smaller pages cost a third more per event.
const PageSize = 8192

// Create makes an empty file when there is none, readable by its owner only: SQLite
// would let the umask choose, and gives the files beside it the same mode.
func Create(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, FileMode)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	return nil
}

// Connect returns a pool of connections with the given pragmas, empty ones left out.
func Connect(path string, connections int, pragmas ...string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the database: %w", err)
	}
	values := url.Values{"_txlock": {"immediate"}, "_dqs": {"0"}, "_error_rc": {"1"}, "mode": {"rw"}}
	if strings.Contains(strings.Join(pragmas, " "), "query_only(1)") {
		values.Set("_txlock", "deferred")
	}
	for _, pragma := range append([]string{"busy_timeout(10000)"}, pragmas...) {
		if pragma != "" {
			values.Add("_pragma", pragma)
		}
	}
	dsn := url.URL{Scheme: "file", Path: absolute, RawQuery: values.Encode()}
	connector, err := msqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// oldestEngine is the first SQLite release without the WAL-reset bug, by which a
// checkpoint that races a write can lose committed pages.
var oldestEngine = [3]int{3, 51, 3} //nolint:gochecknoglobals // a constant

// CheckEngine refuses a SQLite that can lose data.
func CheckEngine(ctx context.Context, conn *sql.Conn) error {
	var text string
	if err := conn.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&text); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	return engineAllowed(text)
}

func engineAllowed(text string) error {
	for i, part := range strings.SplitN(text, ".", len(oldestEngine)) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return fmt.Errorf("the SQLite version %q is not one", text)
		}
		if n > oldestEngine[i] {
			return nil
		}
		if n < oldestEngine[i] {
			return hook.Errorf(hook.KindInternal, "this program was built with SQLite %s, which can lose data when it is busy: build it with 3.51.3 or later", text)
		}
	}
	return nil
}

// Size returns the size of a database with the files beside it, in bytes.
func Size(path string) (int64, error) {
	total := int64(0)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return total, fmt.Errorf("measure the database: %w", err)
		}
		total += info.Size()
	}
	return total, nil
}

// StorageFailed tells a failure of the storage, which hits whatever is written, from
// one of a single statement or of something else.
func StorageFailed(err error) bool {
	var e *msqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_ERROR:
		return false
	default:
		return true
	}
}
