package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlite/dedupe"
)

// dedupeTables is the dedupe.Storage in the writer's database.
type dedupeTables struct{ sql *statements }

// openDedupe reads what is remembered to recognise duplicates.
func openDedupe(ctx context.Context, w *writer) (*dedupe.Index, error) {
	var fresh []dedupe.Fresh
	err := eachRow(ctx, w.conn, "SELECT id, window, entries FROM dedupe_fresh ORDER BY id", func(rows *sql.Rows) error {
		var f dedupe.Fresh
		var window int64
		err := rows.Scan(&f.ID, &window, &f.Entries)
		f.Window = time.Duration(window) * time.Millisecond
		fresh = append(fresh, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	var runs []*dedupe.Run
	err = eachRow(ctx, w.conn, "SELECT id, window, expires, hashes, filter, firsts FROM dedupe_run ORDER BY id", func(rows *sql.Rows) error {
		r := &dedupe.Run{}
		var window int64
		err := rows.Scan(&r.ID, &window, &r.Expires, &r.Count, &r.Filter, &r.Firsts)
		r.Window = time.Duration(window) * time.Millisecond
		runs = append(runs, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return dedupe.New(&dedupeTables{w.sql}, fresh, runs)
}

func eachRow(ctx context.Context, conn *sql.Conn, query string, do func(*sql.Rows) error) error {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("read the memory of duplicates: %w", err)
	}
	for rows.Next() {
		if err := do(rows); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// SaveFresh implements dedupe.Storage.
func (t *dedupeTables) SaveFresh(ctx context.Context, f dedupe.Fresh) error {
	_, err := t.sql.saveFresh.Exec(ctx, f.ID, f.Window.Milliseconds(), f.Entries)
	return err
}

// DropFresh implements dedupe.Storage.
func (t *dedupeTables) DropFresh(ctx context.Context, id int64) error {
	_, err := t.sql.dropFresh.Exec(ctx, id)
	return err
}

// SaveRun implements dedupe.Storage.
func (t *dedupeTables) SaveRun(ctx context.Context, r *dedupe.Run) error {
	_, err := t.sql.saveRun.Exec(ctx, r.ID, r.Window.Milliseconds(), r.Expires, r.Count, r.Filter, r.Firsts)
	return err
}

// SaveChunk implements dedupe.Storage.
func (t *dedupeTables) SaveChunk(ctx context.Context, id int64, entries []byte) error {
	_, err := t.sql.saveChunk.Exec(ctx, id, entries)
	return err
}

// DropRun implements dedupe.Storage.
func (t *dedupeTables) DropRun(ctx context.Context, r *dedupe.Run) error {
	first, last := r.Chunks()
	if _, err := t.sql.dropChunks.Exec(ctx, first, last); err != nil {
		return err
	}
	_, err := t.sql.dropRun.Exec(ctx, r.ID)
	return err
}

// Chunk implements dedupe.Storage.
func (t *dedupeTables) Chunk(ctx context.Context, id int64) ([]byte, error) {
	var entries []byte
	err := t.sql.readChunk.Each(ctx, func(row []driver.Value) error {
		entries = bytes.Clone(commit.Bytes(row[0]))
		return nil
	}, id)
	return entries, err
}
