package database

import (
	"errors"
	"fmt"
	"os"
)

// Log is the write-ahead log's file, which SQLite writes and we make durable. SQLite
// itself does so with each commit under synchronous=FULL; under synchronous=NORMAL,
// which the writer's connection has, it is left to us, and it still does so wherever
// the log begins anew or is copied. So only the commits that somebody waits for cost
// the disk's time: frames lie one behind another, and what makes one durable does so
// with all before it.
type Log struct {
	path string
	file *os.File
}

// NewLog returns the log of the database at path.
func NewLog(path string) *Log { return &Log{path: path + "-wal"} }

// Sync makes everything durable that was committed before the call. The file is there
// as soon as something was.
func (l *Log) Sync() error {
	if l.file == nil {
		file, err := os.OpenFile(l.path, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("open the write-ahead log: %w", err)
		}
		l.file = file
	}
	if err := datasync(l.file); err != nil {
		return fmt.Errorf("make the write-ahead log durable: %w", err)
	}
	return nil
}

// Close lets go of the file.
func (l *Log) Close() error {
	if l == nil || l.file == nil {
		return nil
	}
	err := l.file.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
