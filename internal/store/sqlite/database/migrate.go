package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// Migrations are the texts that bring a database from each version to the next: the
// one at place n brings it to version n+1, as PRAGMA user_version tells it.
type Migrations []string

// ReadMigrations reads the files 0001_….sql and so on.
func ReadMigrations(schema fs.FS) (Migrations, error) {
	names, err := fs.Glob(schema, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list the migrations: %w", err)
	}
	texts := make(Migrations, 0, len(names))
	for i, name := range names { // Glob sorts.
		if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(name, want) {
			return nil, fmt.Errorf("migration %s is out of order: %s… is next", name, want)
		}
		text, err := fs.ReadFile(schema, name)
		if err != nil {
			return nil, fmt.Errorf("read a migration: %w", err)
		}
		texts = append(texts, string(text))
	}
	return texts, nil
}

// Apply brings the database to the newest version, each step in a transaction with the
// number that tells of it. A database of a version beyond is refused with
// store.ErrNewer.
func (m Migrations) Apply(ctx context.Context, conn *sql.Conn) error {
	version, err := Version(ctx, conn)
	if err != nil {
		return err
	}
	if version > len(m) {
		return hook.Errorf(hook.KindConflict,
			"%w: its version is %d and this program knows versions up to %d: run the newer malote, or restore a backup of before the upgrade",
			store.ErrNewer, version, len(m))
	}
	for ; version < len(m); version++ {
		if err := migrateOne(ctx, conn, version+1, m[version]); err != nil {
			return fmt.Errorf("bring the database to version %d: %w", version+1, err)
		}
	}
	return nil
}

func migrateOne(ctx context.Context, conn *sql.Conn, version int, text string) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, text); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Version returns the version of the database's schema; 0 of an empty one.
func Version(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
},
) (int, error) {
	var version int
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, fmt.Errorf("read the database's version: %w", err)
	}
	return version, nil
}
