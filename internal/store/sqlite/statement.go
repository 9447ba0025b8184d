package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// statement is a prepared statement of the writer's connection, used below
// database/sql: the writer is one goroutine with one connection, so that the pool, its
// locks and its conversions would buy nothing.
type statement struct {
	text string
	stmt driver.Stmt
	args []driver.NamedValue
	row  []driver.Value
}

// prepare prepares the text for the life of the connection.
func prepare(ctx context.Context, conn driver.Conn, text string) (*statement, error) {
	preparer, ok := conn.(driver.ConnPrepareContext)
	if !ok {
		return nil, errors.New("the SQLite driver cannot prepare statements with a context")
	}
	stmt, err := preparer.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", text, err)
	}
	return &statement{text: text, stmt: stmt}, nil
}

// bind sets the statement's parameters. The driver complains about too few.
func (s *statement) bind(values []driver.Value) {
	if len(s.args) != len(values) {
		s.args = make([]driver.NamedValue, len(values))
	}
	for i, value := range values {
		s.args[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
}

// release lets go of the last values, which may be large.
func (s *statement) release() {
	for i := range s.args {
		s.args[i].Value = nil
	}
}

// exec runs the statement and returns how many rows it changed.
func (s *statement) exec(ctx context.Context, values ...driver.Value) (int64, error) {
	s.bind(values)
	defer s.release()
	result, err := s.stmt.(driver.StmtExecContext).ExecContext(ctx, s.args) //nolint:forcetypeassert // checked by statements.prepare
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// each runs a query and calls do for each of its rows, whose values are good only
// until do returns. The statement must not be used again before each has returned.
func (s *statement) each(ctx context.Context, do func(row []driver.Value) error, values ...driver.Value) error {
	s.bind(values)
	defer s.release()
	rows, err := s.stmt.(driver.StmtQueryContext).QueryContext(ctx, s.args) //nolint:forcetypeassert // checked by statements.prepare
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

// The readers of a row's columns take NULL as zero.

func asInt(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func asText(v driver.Value) string {
	s, _ := v.(string)
	return s
}

func asBytes(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

// nullText stores "" as NULL, which costs a byte less and compares as nothing.
func nullText(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}
