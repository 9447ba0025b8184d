// Package prepared reads a SQL database with statements that are prepared once, also of
// one moment.
package prepared

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// Queryer runs statements: a *sql.DB, *sql.Conn or *sql.Tx.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Reader is a Queryer over a pool of connections that prepares each text once. Do
// not give it texts with values in them: it keeps each of them.
type Reader struct {
	db *sql.DB
	// snapshots has room for fewer of them than there are connections, so that one
	// that has to prepare a text, for which it needs a second connection, gets it.
	snapshots chan struct{}

	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

// NewReader returns a Reader over db, which it closes, for so many snapshots at once.
// It sets how many connections db opens: one more.
func NewReader(db *sql.DB, snapshots int) *Reader {
	db.SetMaxOpenConns(snapshots + 1)
	db.SetMaxIdleConns(snapshots + 1)
	return &Reader{db: db, snapshots: make(chan struct{}, snapshots), stmts: map[string]*sql.Stmt{}}
}

// Close closes the statements and the pool.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, stmt := range r.stmts {
		errs = append(errs, stmt.Close())
	}
	clear(r.stmts)
	return errors.Join(append(errs, r.db.Close())...)
}

func (r *Reader) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	r.mu.Lock()
	stmt := r.stmts[query]
	r.mu.Unlock()
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := r.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare a query: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.stmts[query]; other != nil {
		return other, stmt.Close()
	}
	r.stmts[query] = stmt
	return stmt, nil
}

// runner is what of a prepared statement is used; the Reader closes it.
type runner interface {
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
}

func (r *Reader) prepared(ctx context.Context, query string) (runner, error) {
	return r.prepare(ctx, query)
}

// QueryContext implements Queryer.
func (r *Reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := r.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// QueryRowContext implements Queryer.
func (r *Reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	stmt, err := r.prepared(ctx, query)
	if err != nil {
		return r.db.QueryRowContext(ctx, query, args...) // It fails in the same way and says so in the row.
	}
	return stmt.QueryRowContext(ctx, args...)
}

// ExecContext implements Queryer.
func (r *Reader) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := r.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// Snapshot calls do with a Queryer that sees the database as it is at one moment.
func (r *Reader) Snapshot(ctx context.Context, do func(q Queryer) error) error {
	select {
	case r.snapshots <- struct{}{}:
		defer func() { <-r.snapshots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tx, err := r.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	err = do(&snapshot{tx: tx, reader: r})
	if rollback := tx.Rollback(); !errors.Is(rollback, sql.ErrTxDone) { // Nothing was written; ctx may have ended it.
		err = errors.Join(err, rollback)
	}
	return err
}

// snapshot runs a Reader's statements in a transaction.
type snapshot struct {
	tx     *sql.Tx
	reader *Reader
}

func (s *snapshot) stmt(ctx context.Context, query string) (runner, error) {
	stmt, err := s.reader.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.tx.StmtContext(ctx, stmt), nil
}

func (s *snapshot) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (s *snapshot) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return s.tx.QueryRowContext(ctx, query, args...) // It fails in the same way and says so in the row.
	}
	return stmt.QueryRowContext(ctx, args...)
}

func (s *snapshot) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}
