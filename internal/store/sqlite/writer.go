package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlite/dedupe"
	"malote.dev/malote/internal/store/sqlite/inline"
	"malote.dev/malote/internal/store/sqlite/tally"
	"malote.dev/malote/internal/store/sqlstore"
)

// operation is one piece of work for the writer.
type operation = commit.Operation[*batch]

// writer is the only goroutine that changes the database, and what it knows. Its
// fields are its own, but for inline.
type writer struct {
	*commit.Writer[*batch]

	conn    *sql.Conn
	sql     *statements
	now     func() time.Time
	inline  *inline.Set
	known   known
	dedupe  *dedupe.Index
	tally   *tally.Tally
	mark    inline.Mark
	turns   map[hook.DestinationID]hook.ConnectionID // whose turn was last in a claim
	ordered atomic.Bool                              // all keys were advanced after the first Reclaim
	// inherited is the newest event of earlier processes. What came later has always
	// been in memory, so that Reclaim looks no further: it would never end while new
	// events come.
	inherited hook.EventID
}

// known is what the writer knows of the catalogue and the log's parts.
type known struct {
	sources     map[[2]int64]struct{} // project, source
	connections map[[3]int64]struct{} // project, connection, destination
	deleted     map[hook.ConnectionID]struct{}
}

// beginBatch returns a new batch.
func (w *writer) beginBatch(pass bool) *batch {
	b := newBatch(w)
	if pass {
		b.startPass()
	}
	return b
}

// close ends the writer and its statements.
func (w *writer) close() error {
	var errs []error
	if w.Writer != nil {
		errs = append(errs, w.Close())
	}
	if w.sql != nil {
		errs = append(errs, w.sql.close())
	}
	return errors.Join(errs...)
}

// newWriter prepares the writer on the store's own connection. What it returns is to be
// closed also when it fails.
func newWriter(ctx context.Context, s *Store, options *Options) (*writer, error) {
	w := &writer{
		conn: s.conn, now: options.Now, inline: inline.NewSet(), turns: map[hook.DestinationID]hook.ConnectionID{},
	}
	err := commit.Raw(s.conn, func(conn driver.Conn) error {
		var err error
		w.sql, err = prepareAll(ctx, conn)
		return err
	})
	if err != nil {
		return w, err
	}
	w.Writer, err = commit.New(ctx, commit.Options[*batch]{
		Conn: s.conn, Logger: options.Logger, Begin: w.beginBatch,
		Unrest:  func() bool { return w.mark.Behind() || w.inline.Unwritten() },
		Between: func(ctx context.Context) { s.wal.Wrote(ctx, s.conn) },
		Sync:    s.pools.Log.Sync,
	})
	if err != nil {
		return w, err
	}
	w.tally = tally.New(tally.Statements{
		ReadNumbers: w.sql.readNumbers, SaveNumbers: w.sql.saveNumbers, AddBacklog: w.sql.addBacklog,
		AddProgress: w.sql.addProgress, SaveExample: w.sql.saveExample,
	})
	w.dedupe, err = dedupe.Open(ctx, w.conn, &dedupe.Tables{
		InsertFresh: w.sql.saveFresh, DeleteFresh: w.sql.dropFresh, InsertRun: w.sql.saveRun, DeleteRun: w.sql.dropRun,
		InsertChunk: w.sql.saveChunk, SelectChunk: w.sql.readChunk, DeleteChunks: w.sql.dropChunks,
	})
	if err != nil {
		return w, err
	}
	if err := w.learn(ctx); err != nil {
		return w, err
	}
	highest := int64(0)
	for _, table := range []string{"event", "delivery", "refusal", "source", "destination", "connection", "project", "token", "replay", "audit"} {
		var id sql.NullInt64
		if err := s.conn.QueryRowContext(ctx, "SELECT max(id) FROM "+table).Scan(&id); err != nil {
			return w, fmt.Errorf("look for the newest id: %w", err)
		}
		if table == "event" {
			w.inherited = hook.EventID(id.Int64)
		}
		highest = max(highest, id.Int64)
	}
	options.IDs.Passed(highest)
	if err := s.conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'mark'").Scan((*int64)(&w.mark.Stored)); err != nil {
		return w, fmt.Errorf("read the mark: %w", err)
	}
	return w, nil
}

// learn reads which parts the log has and which connections are gone.
func (w *writer) learn(ctx context.Context) error {
	w.known = known{sources: map[[2]int64]struct{}{}, connections: map[[3]int64]struct{}{}, deleted: map[hook.ConnectionID]struct{}{}}
	origins, err := sqlstore.Origins(ctx, w.conn, 0)
	if err != nil {
		return err
	}
	for _, o := range origins {
		w.known.sources[[2]int64{int64(o.Project), int64(o.Source)}] = struct{}{}
	}
	lanes, err := sqlstore.AllLanes(ctx, w.conn)
	if err != nil {
		return err
	}
	for _, l := range lanes {
		w.known.connections[[3]int64{int64(l.Project), int64(l.Connection), int64(l.Destination)}] = struct{}{}
	}
	gone, err := sqlstore.DeletedLanes(ctx, w.conn)
	for _, l := range gone {
		w.known.deleted[l.Connection] = struct{}{}
	}
	return err
}
