package database

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

// The write-ahead log is copied into the database file off the request path. While
// the writer goes on, a checkpoint never reaches the log's end, and SQLite begins the
// log anew only when a checkpoint did. So it takes two: the Checkpointer copies most
// of it in the background, and the writer finishes the few frames that came meanwhile,
// between two batches.
const (
	// walPages is how many pages the log grows to before a checkpoint: many, because a
	// page that is changed again and again in between is copied once.
	walPages = 8000
	// WALLimit is what the log's file is cut to after it grew beyond, in bytes; a long
	// read makes that happen, because it keeps the log from beginning anew.
	WALLimit = 2 * walPages * PageSize
	// askEvery is after how many rounds of the writer the log's length is looked at.
	askEvery = 16
)

// Checkpointer copies the write-ahead log into the database.
type Checkpointer struct {
	db     *sql.DB
	log    *slog.Logger
	wake   chan struct{}
	halt   chan struct{}
	halted sync.Once
	rounds int         // of the writer, since it last asked for a look
	finish atomic.Bool // the writer is to copy the rest
}

// NewCheckpointer returns a Checkpointer with a connection of its own, which it does
// not close.
func NewCheckpointer(db *sql.DB, log *slog.Logger) *Checkpointer {
	return &Checkpointer{db: db, log: log, wake: make(chan struct{}, 1), halt: make(chan struct{})}
}

// Wrote is called by the writer, between two transactions.
func (c *Checkpointer) Wrote(ctx context.Context, conn *sql.Conn) {
	if c.finish.CompareAndSwap(true, false) {
		if _, _, err := checkpoint(ctx, conn, "PASSIVE"); err != nil {
			c.log.WarnContext(ctx, "the write-ahead log could not be finished", "error", err)
		}
		return
	}
	c.rounds++
	if c.rounds >= askEvery {
		c.rounds = 0
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// Run copies in the background until Stop.
func (c *Checkpointer) Run(ctx context.Context) {
	for {
		select {
		case <-c.halt:
			return
		case <-c.wake:
		}
		if err := c.look(ctx); err != nil {
			c.log.WarnContext(ctx, "the write-ahead log could not be copied", "error", err)
		}
	}
}

func (c *Checkpointer) look(ctx context.Context) error {
	length, done, err := checkpoint(ctx, c.db, "NOOP")
	if err != nil || length < walPages {
		return err
	}
	if length-done >= walPages/4 {
		if _, _, err := checkpoint(ctx, c.db, "PASSIVE"); err != nil {
			return err
		}
	}
	c.finish.Store(true)
	return nil
}

// Stop ends Run.
func (c *Checkpointer) Stop() { c.halted.Do(func() { close(c.halt) }) }

// checkpoint runs a checkpoint and returns how many frames the log has and how many of
// them are in the database.
func checkpoint(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, mode string,
) (length, done int, err error) {
	var busy int
	if err := q.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &length, &done); err != nil {
		return 0, 0, fmt.Errorf("checkpoint: %w", err)
	}
	return length, done, nil
}
