package dedupe

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// Statement is a statement of the store's writer, prepared.
type Statement interface {
	Exec(ctx context.Context, values ...driver.Value) (changed int64, err error)
	Each(ctx context.Context, do func(row []driver.Value) error, values ...driver.Value) error
}

// Tables is the Storage in the tables dedupe_fresh, dedupe_run and dedupe_chunk. The
// values of its statements are the columns in their order.
type Tables struct {
	InsertFresh, DeleteFresh               Statement
	InsertRun, DeleteRun                   Statement
	InsertChunk, SelectChunk, DeleteChunks Statement // the last: chunks from an id to another
}

// Open returns an Index over what the tables hold.
func Open(ctx context.Context, conn *sql.Conn, tables *Tables) (*Index, error) {
	var fresh []Fresh
	err := eachRow(ctx, conn, "SELECT id, window, entries FROM dedupe_fresh ORDER BY id", func(rows *sql.Rows) error {
		var f Fresh
		var window int64
		err := rows.Scan(&f.ID, &window, &f.Entries)
		f.Window = time.Duration(window) * time.Millisecond
		fresh = append(fresh, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	var runs []*Run
	err = eachRow(ctx, conn, "SELECT id, window, expires, hashes, filter, firsts FROM dedupe_run ORDER BY id", func(rows *sql.Rows) error {
		r := &Run{}
		var window int64
		err := rows.Scan(&r.ID, &window, &r.Expires, &r.Count, &r.Filter, &r.Firsts)
		r.Window = time.Duration(window) * time.Millisecond
		runs = append(runs, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return New(tables, fresh, runs)
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

// SaveFresh implements Storage.
func (t *Tables) SaveFresh(ctx context.Context, f Fresh) error {
	_, err := t.InsertFresh.Exec(ctx, f.ID, f.Window.Milliseconds(), f.Entries)
	return err
}

// DropFresh implements Storage.
func (t *Tables) DropFresh(ctx context.Context, id int64) error {
	_, err := t.DeleteFresh.Exec(ctx, id)
	return err
}

// SaveRun implements Storage.
func (t *Tables) SaveRun(ctx context.Context, r *Run) error {
	_, err := t.InsertRun.Exec(ctx, r.ID, r.Window.Milliseconds(), r.Expires, r.Count, r.Filter, r.Firsts)
	return err
}

// SaveChunk implements Storage.
func (t *Tables) SaveChunk(ctx context.Context, id int64, entries []byte) error {
	_, err := t.InsertChunk.Exec(ctx, id, entries)
	return err
}

// DropRun implements Storage.
func (t *Tables) DropRun(ctx context.Context, r *Run) error {
	first, last := r.Chunks()
	if _, err := t.DeleteChunks.Exec(ctx, first, last); err != nil {
		return err
	}
	_, err := t.DeleteRun.Exec(ctx, r.ID)
	return err
}

// Chunk implements Storage.
func (t *Tables) Chunk(ctx context.Context, id int64) ([]byte, error) {
	var entries []byte
	err := t.SelectChunk.Each(ctx, func(row []driver.Value) error {
		data, _ := row[0].([]byte)
		entries = bytes.Clone(data)
		return nil
	}, id)
	return entries, err
}
