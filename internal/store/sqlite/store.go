package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store/sqlite/catalogue"
	"malote.dev/malote/internal/store/sqlite/database"
	"malote.dev/malote/internal/store/sqlstore"
	"malote.dev/malote/internal/store/sqlstore/prepared"
)

// Store is a store.Store in one SQLite database. It is safe for concurrent use.
type Store struct {
	*catalogue.Tables
	*sqlstore.Log

	dir, path string
	ids       *hook.IDs
	now       func() time.Time
	lockFile  *os.File
	nouns     *sqlstore.Catalogue

	pools   *database.Pools
	conn    *sql.Conn // the writer's
	reader  *prepared.Reader
	wal     *database.Checkpointer
	touched sqlstore.Touches
	writer  *writer

	running sync.WaitGroup
	closing sync.Once
	closed  error // what Close returned
}

// start starts what runs beside the callers.
func (s *Store) start(ctx context.Context) {
	s.writer.Start(ctx)
	s.running.Go(func() { s.wal.Run(ctx) })
}

// Close implements store.Upkeep. It takes no more work, finishes what it has and
// writes the whole log into the database file.
func (s *Store) Close() error {
	s.closing.Do(func() { s.closed = s.release() })
	return s.closed
}

// release ends what runs and closes what is open, in the order that SQLite wants.
func (s *Store) release() error {
	var errs []error
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.wal != nil {
		s.wal.Stop()
	}
	s.running.Wait()
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.pools != nil {
		errs = append(errs, s.pools.Close())
	}
	if s.lockFile != nil {
		errs = append(errs, s.lockFile.Close())
	}
	return errors.Join(errs...)
}

// connectionDeleted makes the writer turn away what still comes for a connection, and
// returns what cancels the deliveries that wait for it.
func (s *Store) connectionDeleted(connection hook.ConnectionID) func(context.Context) error {
	s.writer.known.deleted[connection] = struct{}{}
	var lanes []lane
	for key := range s.writer.known.connections {
		if key[1] == int64(connection) {
			lanes = append(lanes, lane{hook.ProjectID(key[0]), connection, hook.DestinationID(key[2])})
		}
	}
	return func(ctx context.Context) error {
		for _, l := range lanes {
			if err := s.cancelLane(ctx, l); err != nil {
				return err
			}
		}
		return nil
	}
}
