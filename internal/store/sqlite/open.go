package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/catalogue"
	"malote.dev/malote/internal/store/sqlite/database"
	"malote.dev/malote/internal/store/sqlite/schema"
	"malote.dev/malote/internal/store/sqlstore"
	"malote.dev/malote/internal/store/sqlstore/prepared"
)

// DatabaseFile is the name of the database inside the data folder.
const DatabaseFile = database.FileName

// DefaultProject is the name of the project that a new database begins with.
const DefaultProject = "default"

// readers is how many lists can be read at once.
const readers = 4

// Options say how to open a store. Dir is needed; the rest has defaults.
type Options struct {
	// Dir is the data folder, created when it is missing.
	Dir string
	// Keyring seals the catalogue; by default that of the key file in Dir.
	Keyring *seal.Keyring
	// IDs makes the ids of what the store creates; by default those of node 0. Open
	// moves it beyond every id in the database.
	IDs    *hook.IDs
	Logger *slog.Logger     // default: none
	Now    func() time.Time // default: time.Now
	// MaxBytes bounds the database file, to the page; 0: no bound. Beyond it the
	// storage counts as full.
	MaxBytes int64
}

func (o *Options) fill() error {
	if o.Dir == "" {
		return errors.New("open the store: no data folder is named")
	}
	if o.IDs == nil {
		o.IDs = hook.NewIDs(0)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// Open opens the store of a data folder, which no other process may have open. It
// creates what is missing, brings an older database to the newest version, and begins
// a new one with the project "default". ctx bounds the opening only.
func Open(ctx context.Context, options Options) (_ *Store, err error) {
	if err := options.fill(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(options.Dir, database.FolderMode); err != nil {
		return nil, fmt.Errorf("create the data folder: %w", err)
	}
	s := &Store{ids: options.IDs, now: options.Now, dir: options.Dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if s.lockFile, err = database.Lock(options.Dir); err != nil {
		return nil, err
	}
	if options.Keyring == nil {
		if options.Keyring, err = seal.Open(filepath.Join(options.Dir, seal.FileName)); err != nil {
			return nil, err
		}
	}
	s.nouns = sqlstore.NewCatalogue(options.Keyring, options.IDs)
	if err := s.openDatabase(ctx, &options); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, &options); err != nil {
		return nil, err
	}
	s.start(context.WithoutCancel(ctx))
	return s, nil
}

// openDatabase opens the connections and migrates.
func (s *Store) openDatabase(ctx context.Context, options *Options) (err error) {
	migrations, err := database.ReadMigrations(schema.Files())
	if err != nil {
		return err
	}
	s.path = filepath.Join(options.Dir, DatabaseFile)
	s.pools, err = database.Open(ctx, database.PoolOptions{Path: s.path, MaxBytes: options.MaxBytes, Readers: readers + 1, Migrations: migrations})
	if err != nil {
		return err
	}
	s.conn = s.pools.Conn
	s.reader = prepared.NewReader(s.pools.Read, readers)
	s.wal = database.NewCheckpointer(s.pools.WAL, options.Logger)
	return nil
}

// prepare reads what the writer must know and repairs what an earlier process left.
func (s *Store) prepare(ctx context.Context, options *Options) error {
	var err error
	if s.writer, err = newWriter(ctx, s, options); err != nil {
		return err
	}
	s.Log = sqlstore.NewLog(s.reader, s.writer.inline, s.nouns)
	s.Tables = catalogue.New(catalogue.Options{
		Nouns: s.nouns, Reader: s.reader, Deleted: s.connectionDeleted,
		Stamp: func() sqlstore.Stamp { return sqlstore.Stamp{Now: s.now(), IDs: s.ids} },
		Write: func(ctx context.Context, task func(context.Context, *sql.Conn) error) error {
			return s.writer.Do(ctx, &operation{Task: task})
		},
	})
	if err := s.nouns.CheckKey(ctx, s.conn); err != nil {
		return err
	}
	if err := s.endLeases(ctx); err != nil {
		return err
	}
	added, err := s.Prepare(ctx, s.conn, DefaultProject)
	for i := range added {
		if name := added[i].Name; name != hook.SystemSource {
			options.Logger.Warn("a source has the name of the system's own, which got another one",
				"project", added[i].Project.String(), "taken", hook.SystemSource, "instead", name)
		}
	}
	return err
}

// endLeases ends what was leased when the folder was last in use: the process that
// held the leases is gone, or it would hold the lock.
func (s *Store) endLeases(ctx context.Context) error {
	if _, err := s.conn.ExecContext(ctx, "UPDATE delivery SET lease = 0, owner = NULL WHERE state = 2"); err != nil {
		return fmt.Errorf("end the leases of an earlier process: %w", err)
	}
	return nil
}

var _ store.Store = (*Store)(nil)
