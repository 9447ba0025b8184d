package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/database"
	"malote.dev/malote/internal/store/sqlstore"
)

// Store is a store.Store in one SQLite database. It is safe for concurrent use.
type Store struct {
	dir, path string
	ids       *hook.IDs
	now       func() time.Time
	lockFile  *os.File
	catalogue *sqlstore.Catalogue

	writeDB *sql.DB
	conn    *sql.Conn // of writeDB: the writer's
	walDB   *sql.DB
	reader  *sqlstore.Reader
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
	if s.walDB != nil {
		errs = append(errs, s.walDB.Close())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.writeDB != nil {
		errs = append(errs, s.writeDB.Close())
	}
	if s.lockFile != nil {
		errs = append(errs, s.lockFile.Close())
	}
	return errors.Join(errs...)
}

func (s *Store) stamp() sqlstore.Stamp { return sqlstore.Stamp{Now: s.now(), IDs: s.ids} }

// change runs do in a transaction of its own and counts a change of the catalogue.
func (s *Store) change(ctx context.Context, conn *sql.Conn, do func(q sqlstore.Queryer) error) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin to change the catalogue: %w", err)
	}
	if err := do(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	if err := s.catalogue.Changed(ctx, tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

// ignoreDone drops the complaint that a transaction has ended already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// changeCatalogue has the writer run do between two batches.
func (s *Store) changeCatalogue(ctx context.Context, do func(ctx context.Context, q sqlstore.Queryer) error) error {
	return s.writer.Do(ctx, &operation{Task: func(ctx context.Context, conn *sql.Conn) error {
		return s.change(ctx, conn, func(q sqlstore.Queryer) error { return do(ctx, q) })
	}})
}

// Keyring returns what the catalogue is sealed with.
func (s *Store) Keyring() *seal.Keyring { return s.catalogue.Keyring() }

// Reseal seals with the newest key what older ones sealed, all of it or, on an error,
// nothing. It returns how many specs that were.
func (s *Store) Reseal(ctx context.Context) (n int, err error) {
	err = s.changeCatalogue(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		n, err = s.catalogue.Reseal(ctx, q)
		return err
	})
	return n, err
}

// table implements store.Table for one kind of noun.
type table[T any] struct {
	store *Store
	nouns *sqlstore.Nouns[T]
	// deleted is called in the writer after a noun was deleted, and then what it
	// returns, if anything, by whoever deleted it.
	deleted func(id int64) func(ctx context.Context) error
}

// Projects implements store.Store.
func (s *Store) Projects() store.Table[hook.Project] {
	return &table[hook.Project]{store: s, nouns: s.catalogue.Projects}
}

// Sources implements store.Store.
func (s *Store) Sources() store.Table[hook.Source] {
	return &table[hook.Source]{store: s, nouns: s.catalogue.Sources}
}

// Destinations implements store.Store.
func (s *Store) Destinations() store.Table[hook.Destination] {
	return &table[hook.Destination]{store: s, nouns: s.catalogue.Destinations}
}

// Connections implements store.Store.
func (s *Store) Connections() store.Table[hook.Connection] {
	return &table[hook.Connection]{store: s, nouns: s.catalogue.Connections, deleted: s.connectionDeleted}
}

// Create implements store.Table.
func (t *table[T]) Create(ctx context.Context, item *T) error {
	created := *item
	err := t.store.changeCatalogue(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		return t.nouns.Create(ctx, q, &created, t.store.stamp())
	})
	if err == nil {
		*item = created
	}
	return err
}

// Get implements store.Table.
func (t *table[T]) Get(ctx context.Context, project hook.ProjectID, ref string) (T, error) {
	return t.nouns.Get(ctx, t.store.reader, project, ref)
}

// List implements store.Table.
func (t *table[T]) List(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[T], error) {
	return t.nouns.List(ctx, t.store.reader, project, req)
}

// Update implements store.Table.
func (t *table[T]) Update(ctx context.Context, item *T) error {
	updated := *item
	err := t.store.changeCatalogue(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		return t.nouns.Update(ctx, q, &updated, t.store.stamp())
	})
	if err == nil {
		*item = updated
	}
	return err
}

// Delete implements store.Table.
func (t *table[T]) Delete(ctx context.Context, project hook.ProjectID, ref string) error {
	var finish func(context.Context) error
	err := t.store.writer.Do(ctx, &operation{Task: func(ctx context.Context, conn *sql.Conn) error {
		var id int64
		err := t.store.change(ctx, conn, func(q sqlstore.Queryer) error {
			var err error
			id, err = t.nouns.Delete(ctx, q, project, ref)
			return err
		})
		if err == nil && t.deleted != nil {
			finish = t.deleted(id)
		}
		return err
	}})
	if err == nil && finish != nil {
		err = finish(ctx)
	}
	return err
}

// connectionDeleted makes the writer turn away what still comes for a connection, and
// returns what cancels the deliveries that wait for it.
func (s *Store) connectionDeleted(id int64) func(context.Context) error {
	connection := hook.ConnectionID(id)
	s.writer.known.deleted[connection] = struct{}{}
	var lanes []lane
	for key := range s.writer.known.connections {
		if key[1] == id {
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

// Catalogue implements store.Catalogue.
func (s *Store) Catalogue(ctx context.Context) (hook.Catalogue, error) {
	var all hook.Catalogue
	err := s.reader.Snapshot(ctx, func(q sqlstore.Queryer) error {
		var err error
		all, err = s.catalogue.Everything(ctx, q)
		return err
	})
	return all, err
}

// Apply implements store.Catalogue.
func (s *Store) Apply(ctx context.Context, project hook.ProjectID, changes []hook.Change) error {
	copies := sqlstore.CopyChanges(changes)
	var finish []func(context.Context) error
	err := s.writer.Do(ctx, &operation{Task: func(ctx context.Context, conn *sql.Conn) error {
		err := s.change(ctx, conn, func(q sqlstore.Queryer) error {
			return s.catalogue.Apply(ctx, q, project, copies, s.stamp())
		})
		if err != nil {
			return err
		}
		for i := range copies {
			if c := &copies[i]; c.Op == hook.OpDelete && c.Connection != nil {
				finish = append(finish, s.connectionDeleted(int64(c.Connection.ID)))
			}
		}
		return nil
	}})
	if err != nil {
		return err
	}
	sqlstore.FillChanges(changes, copies)
	for _, do := range finish {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}
