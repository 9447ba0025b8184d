package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/seal"
)

// canary is the text that a database keeps sealed, to recognise its key file by.
const canary = "malote"

// Keyring returns what the catalogue is sealed with.
func (c *Catalogue) Keyring() *seal.Keyring { return c.keyring }

// CheckKey makes sure that the keyring is the one that the database was sealed with,
// before anything new is sealed with another. A new database takes any.
func (c *Catalogue) CheckKey(ctx context.Context, q Queryer) error {
	var sealed []byte
	err := q.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'canary'").Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = q.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES ('canary', $1)", c.keyring.Seal([]byte(canary), IDKey("meta", 0)))
		return err
	}
	if err != nil {
		return fmt.Errorf("check the key file: %w", err)
	}
	if _, err := c.keyring.Unseal(sealed, IDKey("meta", 0)); err != nil {
		return hook.Errorf(hook.KindInvalid, "the key file does not belong to this database: restore %s from the backup of that database: %w", seal.FileName, err)
	}
	return nil
}

// sealedTable says where one table keeps what is sealed.
type sealedTable struct {
	name   string
	rows   string // queries the id, the name and the sealed text of each row
	update string // replaces the sealed text, $1, of the row with the id $2
}

// sealedTables returns everything in a database that is sealed: the specs, and what
// recognises the key file.
func sealedTables() []sealedTable {
	tables := []sealedTable{{
		name: "meta", rows: "SELECT 0, key, value FROM meta WHERE key = 'canary'",
		update: "UPDATE meta SET value = $1 WHERE key = 'canary' AND $2 = 0",
	}}
	for _, name := range []string{"project", "source", "destination", "connection"} {
		tables = append(tables, sealedTable{
			name: name, rows: "SELECT id, name, spec FROM " + name + " ORDER BY id",
			update: "UPDATE " + name + " SET spec = $1 WHERE id = $2",
		})
	}
	return append(tables, sealedTable{
		name: replayTable, rows: "SELECT id, CAST(id AS TEXT), spec FROM replay ORDER BY id", update: "UPDATE replay SET spec = $1 WHERE id = $2",
	})
}

// sealedText is one sealed column of a row.
type sealedText struct {
	id   int64
	name string
	text []byte
}

// stale returns the rows of a table that another key than the newest sealed.
func (c *Catalogue) stale(ctx context.Context, q Queryer, table *sealedTable) ([]sealedText, error) {
	rows, err := q.QueryContext(ctx, table.rows)
	if err != nil {
		return nil, fmt.Errorf("read what is sealed in %s: %w", table.name, err)
	}
	var list []sealedText
	for rows.Next() {
		var each sealedText
		if err := rows.Scan(&each.id, &each.name, &each.text); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if !c.keyring.Current(each.text) {
			list = append(list, each)
		}
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// Stale returns how many texts another key than the newest sealed: specs, and one more
// for what recognises the key file. While there are any, the older keys are needed.
func (c *Catalogue) Stale(ctx context.Context, q Queryer) (int, error) {
	n := 0
	tables := sealedTables()
	for i := range tables {
		list, err := c.stale(ctx, q, &tables[i])
		if err != nil {
			return 0, err
		}
		n += len(list)
	}
	return n, nil
}

// Reseal seals with the newest key whatever an older one sealed, and returns how many
// specs that were. It needs a transaction of its own: one text that does not open, and
// nothing may change. After its commit the older keys are of no use to the database.
func (c *Catalogue) Reseal(ctx context.Context, q Queryer) (int, error) {
	specs := 0
	tables := sealedTables()
	for i := range tables {
		table := &tables[i]
		list, err := c.stale(ctx, q, table)
		if err != nil {
			return 0, err
		}
		for _, each := range list {
			bound := IDKey(table.name, each.id)
			plain, err := c.keyring.Unseal(each.text, bound)
			if err != nil {
				return 0, fmt.Errorf("%s %q: %w", table.name, each.name, err)
			}
			if _, err := q.ExecContext(ctx, table.update, c.keyring.Seal(plain, bound), each.id); err != nil {
				return 0, fmt.Errorf("seal %s %q anew: %w", table.name, each.name, err)
			}
		}
		if table.name != "meta" {
			specs += len(list)
		}
	}
	left, err := c.Stale(ctx, q)
	if err == nil && left > 0 {
		err = fmt.Errorf("%d sealed texts still need an older key", left)
	}
	return specs, err
}
