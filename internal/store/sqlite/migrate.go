package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// The files of schema/ are the migrations: the one numbered n brings a database of
// version n-1, as PRAGMA user_version tells it, to version n. A file that was released
// is never changed.
//
//go:embed schema/*.sql
var schema embed.FS

// migrations returns the texts of the migrations in their order.
func migrations() ([]string, error) {
	names, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list the migrations: %w", err)
	}
	texts := make([]string, 0, len(names))
	for i, name := range names { // Glob sorts.
		if want := fmt.Sprintf("schema/%04d_", i+1); !strings.HasPrefix(name, want) {
			return nil, fmt.Errorf("migration %s is out of order: %s… is next", name, want)
		}
		text, err := schema.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read a migration: %w", err)
		}
		texts = append(texts, string(text))
	}
	return texts, nil
}

// migrate brings the database to the newest version, each step in a transaction with
// the number that tells of it.
func migrate(ctx context.Context, conn *sql.Conn) error {
	texts, err := migrations()
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, conn)
	if err != nil {
		return err
	}
	if version > len(texts) {
		return hook.Errorf(hook.KindConflict,
			"%w: its version is %d and this program knows versions up to %d: run the newer malote, or restore a backup of before the upgrade",
			store.ErrNewer, version, len(texts))
	}
	for ; version < len(texts); version++ {
		if err := migrateOne(ctx, conn, version+1, texts[version]); err != nil {
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

func schemaVersion(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
},
) (int, error) {
	var version int
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, fmt.Errorf("read the database's version: %w", err)
	}
	return version, nil
}
