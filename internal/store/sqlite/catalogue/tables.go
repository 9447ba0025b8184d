// Package catalogue keeps what people set up, and their tokens, in the store's
// database. Changes of it are rare: each is a transaction of its own, which the store's
// writer runs between two of its batches.
package catalogue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore"
	"malote.dev/malote/internal/store/sqlstore/prepared"
)

// Options say what Tables work with. All are needed.
type Options struct {
	Nouns  *sqlstore.Catalogue
	Reader *prepared.Reader
	Stamp  func() sqlstore.Stamp
	// Write has the writer run a task, alone, on its connection.
	Write func(ctx context.Context, task func(ctx context.Context, conn *sql.Conn) error) error
	// Deleted is called in the writer after a connection was deleted, and then what it
	// returns by whoever deleted it.
	Deleted func(hook.ConnectionID) func(ctx context.Context) error
}

// Tables implements store.Catalogue and the part of store.Tokens that is no counting,
// and has the tables of store.Store. They are safe for concurrent use.
type Tables struct{ options Options }

// New returns the tables of a database.
func New(options Options) *Tables { return &Tables{options} }

// transact runs do in a transaction on conn.
func transact(ctx context.Context, conn *sql.Conn, do func(q sqlstore.Queryer) error) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin to change the catalogue: %w", err)
	}
	if err := do(tx); err != nil {
		if rollback := tx.Rollback(); !errors.Is(rollback, sql.ErrTxDone) {
			err = errors.Join(err, rollback)
		}
		return err
	}
	return tx.Commit()
}

// change runs do in a transaction of its own and counts a change of the catalogue.
func (t *Tables) change(ctx context.Context, conn *sql.Conn, do func(q sqlstore.Queryer) error) error {
	return transact(ctx, conn, func(q sqlstore.Queryer) error {
		if err := do(q); err != nil {
			return err
		}
		return t.options.Nouns.Changed(ctx, q)
	})
}

// write has the writer run do between two batches.
func (t *Tables) write(ctx context.Context, do func(ctx context.Context, q sqlstore.Queryer) error) error {
	return t.options.Write(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return t.change(ctx, conn, func(q sqlstore.Queryer) error { return do(ctx, q) })
	})
}

// Keyring returns what the catalogue is sealed with.
func (t *Tables) Keyring() *seal.Keyring { return t.options.Nouns.Keyring() }

// Reseal seals with the newest key what older ones sealed, all of it or, on an error,
// nothing. It returns how many specs that were.
func (t *Tables) Reseal(ctx context.Context) (n int, err error) {
	err = t.write(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		n, err = t.options.Nouns.Reseal(ctx, q)
		return err
	})
	return n, err
}

// Prepare gives a new database its first project, and each project the source of its
// notices. It returns the sources that were added. It works on conn itself: the writer
// need not run.
func (t *Tables) Prepare(ctx context.Context, conn *sql.Conn, first string) (added []hook.Source, err error) {
	nouns := t.options.Nouns
	projects, err := nouns.Projects.All(ctx, conn)
	if err != nil {
		return nil, err
	}
	if len(projects) == 0 {
		return nil, t.change(ctx, conn, func(q sqlstore.Queryer) error {
			return nouns.Projects.Create(ctx, q, &hook.Project{Name: first}, t.options.Stamp())
		})
	}
	missing, err := nouns.WithoutSystemSource(ctx, conn)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	err = t.change(ctx, conn, func(q sqlstore.Queryer) error {
		for _, project := range missing {
			source, err := nouns.AddSystemSource(ctx, q, project, t.options.Stamp())
			if err != nil {
				return err
			}
			added = append(added, source)
		}
		return nil
	})
	return added, err
}

// table implements store.Table for one kind of noun.
type table[T any] struct {
	*Tables

	nouns *sqlstore.Nouns[T]
	// deleted is called in the writer after a noun was deleted, and then what it
	// returns, if anything, by whoever deleted it.
	deleted func(id int64) func(ctx context.Context) error
}

// Projects implements store.Store.
func (t *Tables) Projects() store.Table[hook.Project] {
	return &table[hook.Project]{Tables: t, nouns: t.options.Nouns.Projects}
}

// Sources implements store.Store.
func (t *Tables) Sources() store.Table[hook.Source] {
	return &table[hook.Source]{Tables: t, nouns: t.options.Nouns.Sources}
}

// Destinations implements store.Store.
func (t *Tables) Destinations() store.Table[hook.Destination] {
	return &table[hook.Destination]{Tables: t, nouns: t.options.Nouns.Destinations}
}

// Connections implements store.Store.
func (t *Tables) Connections() store.Table[hook.Connection] {
	return &table[hook.Connection]{
		Tables: t, nouns: t.options.Nouns.Connections,
		deleted: func(id int64) func(context.Context) error { return t.options.Deleted(hook.ConnectionID(id)) },
	}
}

// Create implements store.Table.
func (t *table[T]) Create(ctx context.Context, item *T) error {
	created := *item
	err := t.write(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		return t.nouns.Create(ctx, q, &created, t.options.Stamp())
	})
	if err == nil {
		*item = created
	}
	return err
}

// Get implements store.Table.
func (t *table[T]) Get(ctx context.Context, project hook.ProjectID, ref string) (T, error) {
	return t.nouns.Get(ctx, t.options.Reader, project, ref)
}

// List implements store.Table.
func (t *table[T]) List(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[T], error) {
	return t.nouns.List(ctx, t.options.Reader, project, req)
}

// Update implements store.Table.
func (t *table[T]) Update(ctx context.Context, item *T) error {
	updated := *item
	err := t.write(ctx, func(ctx context.Context, q sqlstore.Queryer) error {
		return t.nouns.Update(ctx, q, &updated, t.options.Stamp())
	})
	if err == nil {
		*item = updated
	}
	return err
}

// Delete implements store.Table.
func (t *table[T]) Delete(ctx context.Context, project hook.ProjectID, ref string) error {
	var finish func(context.Context) error
	err := t.options.Write(ctx, func(ctx context.Context, conn *sql.Conn) error {
		var id int64
		err := t.change(ctx, conn, func(q sqlstore.Queryer) error {
			var err error
			id, err = t.nouns.Delete(ctx, q, project, ref)
			return err
		})
		if err == nil && t.deleted != nil {
			finish = t.deleted(id)
		}
		return err
	})
	if err == nil && finish != nil {
		err = finish(ctx)
	}
	return err
}

// Catalogue implements store.Catalogue.
func (t *Tables) Catalogue(ctx context.Context) (hook.Catalogue, error) {
	var all hook.Catalogue
	err := t.options.Reader.Snapshot(ctx, func(q sqlstore.Queryer) error {
		var err error
		all, err = t.options.Nouns.Everything(ctx, q)
		return err
	})
	return all, err
}

// Apply implements store.Catalogue.
func (t *Tables) Apply(ctx context.Context, project hook.ProjectID, changes []hook.Change) error {
	copies := sqlstore.CopyChanges(changes)
	var finish []func(context.Context) error
	err := t.options.Write(ctx, func(ctx context.Context, conn *sql.Conn) error {
		err := t.change(ctx, conn, func(q sqlstore.Queryer) error {
			return t.options.Nouns.Apply(ctx, q, project, copies, t.options.Stamp())
		})
		if err != nil {
			return err
		}
		for i := range copies {
			if c := &copies[i]; c.Op == hook.OpDelete && c.Connection != nil {
				finish = append(finish, t.options.Deleted(c.Connection.ID))
			}
		}
		return nil
	})
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
