package commit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// Statement is a prepared statement of the writer's connection, used below
// database/sql: the writer is one goroutine with one connection, so that the pool, its
// locks and its conversions would buy nothing.
type Statement struct {
	stmt interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}
	args []driver.NamedValue
	row  []driver.Value
}

// Prepare prepares the text for the life of the connection.
func Prepare(ctx context.Context, conn Conn, text string) (*Statement, error) {
	preparer, ok := conn.(driver.ConnPrepareContext)
	if !ok {
		return nil, errors.New("the SQLite driver cannot prepare statements with a context")
	}
	stmt, err := preparer.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", text, err)
	}
	s := &Statement{}
	if s.stmt, ok = stmt.(interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}); !ok {
		return nil, errors.Join(errors.New("the SQLite driver's statements take no context"), stmt.Close())
	}
	return s, nil
}

// Close ends the statement's life; the connection cannot be closed before.
func (s *Statement) Close() error { return s.stmt.Close() }

// bind sets the statement's parameters. The driver complains about too few.
func (s *Statement) bind(values []driver.Value) {
	if len(s.args) != len(values) {
		s.args = make([]driver.NamedValue, len(values))
	}
	for i, value := range values {
		s.args[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
}

// release lets go of the last values, which may be large.
func (s *Statement) release() {
	for i := range s.args {
		s.args[i].Value = nil
	}
}

// Exec runs the statement and returns how many rows it changed.
func (s *Statement) Exec(ctx context.Context, values ...driver.Value) (int64, error) {
	s.bind(values)
	defer s.release()
	result, err := s.stmt.ExecContext(ctx, s.args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Each runs a query and calls do for each of its rows, whose values are good only
// until do returns. The statement must not be used again before each has returned.
func (s *Statement) Each(ctx context.Context, do func(row []driver.Value) error, values ...driver.Value) error {
	s.bind(values)
	defer s.release()
	rows, err := s.stmt.QueryContext(ctx, s.args)
	if err != nil {
		return err
	}
	if s.row == nil {
		s.row = make([]driver.Value, len(rows.Columns()))
	}
	for {
		switch err := rows.Next(s.row); {
		case errors.Is(err, io.EOF):
			return rows.Close()
		case err != nil:
			return errors.Join(err, rows.Close())
		}
		if err := do(s.row); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
}

// Int reads a column; NULL is 0.
func Int(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

// Text reads a column; NULL is "".
func Text(v driver.Value) string {
	s, _ := v.(string)
	return s
}

// Bytes reads a column; NULL is nil.
func Bytes(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

// NullText stores "" as NULL, which costs a byte less and compares as nothing.
func NullText(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}
