package database

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Damage lets SQLite look at every page and every index entry, and returns what it
// complains about, a line each; nothing when the database is sound. SQLite stops
// after the first hundred.
func Damage(ctx context.Context, tx *sql.Tx) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "PRAGMA integrity_check(100)")
	if err != nil {
		return nil, err
	}
	var found []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return found, errors.Join(err, rows.Close())
		}
		found = append(found, complaints(text)...)
	}
	return found, errors.Join(rows.Err(), rows.Close())
}

// complaints returns the complaints in one row of PRAGMA integrity_check, which may hold
// several of them below a heading in asterisks.
func complaints(text string) []string {
	var found []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && line != "ok" && !strings.HasPrefix(line, "***") {
			found = append(found, line)
		}
	}
	return found
}
