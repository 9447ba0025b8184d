package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	msqlite "modernc.org/sqlite" // registers the driver "sqlite"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore"
)

// DatabaseFile is the name of the database inside the data folder. SQLite keeps two
// more files beside it, with -wal and -shm added, while it is open.
const DatabaseFile = "malote.db"

// DefaultProject is the name of the project that a new database begins with.
const DefaultProject = "default"

// The data is its owner's alone.
const (
	folderMode fs.FileMode = 0o700
	fileMode   fs.FileMode = 0o600
)

const (
	// pageSize holds several events of 1 KiB; smaller pages cost a third more per event.
	pageSize = 8192
	// readers is how many lists can be read at once.
	readers = 4
)

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
	if err := os.MkdirAll(options.Dir, folderMode); err != nil {
		return nil, fmt.Errorf("create the data folder: %w", err)
	}
	s := &Store{ids: options.IDs, now: options.Now, dir: options.Dir, done: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if s.lockFile, err = lock(options.Dir); err != nil {
		return nil, err
	}
	if options.Keyring == nil {
		if options.Keyring, err = seal.Open(filepath.Join(options.Dir, seal.FileName)); err != nil {
			return nil, err
		}
	}
	s.catalogue = sqlstore.NewCatalogue(options.Keyring, options.IDs)
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
func (s *Store) openDatabase(ctx context.Context, options *Options) error {
	path := filepath.Join(options.Dir, DatabaseFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode) // SQLite would let the umask choose.
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	s.path = path
	limit := ""
	if options.MaxBytes > 0 {
		limit = "max_page_count(" + strconv.FormatInt(options.MaxBytes/pageSize, 10) + ")"
	}
	if s.writeDB, err = connect(path, 1, "page_size("+strconv.Itoa(pageSize)+")", "journal_mode(WAL)", "synchronous(FULL)",
		"wal_autocheckpoint(0)", "journal_size_limit("+strconv.Itoa(walLimit)+")", "cache_size(-16384)", "temp_store(MEMORY)", limit); err != nil {
		return err
	}
	if s.conn, err = s.writeDB.Conn(ctx); err != nil {
		return fmt.Errorf("open the database %s: %w", path, err)
	}
	if err := checkEngine(ctx, s.conn); err != nil {
		return err
	}
	if err := migrate(ctx, s.conn); err != nil {
		return err
	}
	if s.walDB, err = connect(path, 1, "wal_autocheckpoint(0)", "synchronous(FULL)", "cache_size(-256)"); err != nil {
		return err
	}
	readDB, err := connect(path, readers+1, "query_only(1)", "cache_size(-4096)", "temp_store(MEMORY)")
	if err != nil {
		return err
	}
	s.reader = sqlstore.NewReader(readDB, readers)
	return nil
}

// connect returns a pool of connections with the given pragmas.
func connect(path string, connections int, pragmas ...string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the database: %w", err)
	}
	values := url.Values{"_txlock": {"immediate"}, "_dqs": {"0"}, "_error_rc": {"1"}, "mode": {"rw"}}
	if strings.Contains(strings.Join(pragmas, " "), "query_only(1)") {
		values.Set("_txlock", "deferred")
	}
	for _, pragma := range append([]string{"busy_timeout(10000)"}, pragmas...) {
		if pragma != "" {
			values.Add("_pragma", pragma)
		}
	}
	dsn := url.URL{Scheme: "file", Path: absolute, RawQuery: values.Encode()}
	connector, err := msqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// oldestEngine is the first SQLite release without the WAL-reset bug, by which a
// checkpoint that races a write can lose committed pages.
var oldestEngine = [3]int{3, 51, 3} //nolint:gochecknoglobals // a constant

// checkEngine refuses a SQLite that can lose data.
func checkEngine(ctx context.Context, conn *sql.Conn) error {
	var text string
	if err := conn.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&text); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	return engineAllowed(text)
}

func engineAllowed(text string) error {
	for i, part := range strings.SplitN(text, ".", len(oldestEngine)) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return fmt.Errorf("the SQLite version %q is not one", text)
		}
		if n > oldestEngine[i] {
			return nil
		}
		if n < oldestEngine[i] {
			return hook.Errorf(hook.KindInternal, "this program was built with SQLite %s, which can lose data when it is busy: build it with 3.51.3 or later", text)
		}
	}
	return nil
}

// prepare reads what the writer must know and repairs what an earlier process left.
func (s *Store) prepare(ctx context.Context, options *Options) error {
	var err error
	if s.writer, err = newWriter(ctx, s, options); err != nil {
		return err
	}
	if err := s.checkKey(ctx, options.Keyring); err != nil {
		return err
	}
	if err := s.endLeases(ctx); err != nil {
		return err
	}
	return s.ensureProject(ctx)
}

// checkKey makes sure that the keyring is the one that the database was sealed with,
// before anything new is sealed with another.
func (s *Store) checkKey(ctx context.Context, keyring *seal.Keyring) error {
	const canary = "malote"
	var sealed []byte
	err := s.conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'canary'").Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = s.conn.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES ('canary', ?)", keyring.Seal([]byte(canary), sqlstore.IDKey("meta", 0)))
		return err
	}
	if err != nil {
		return fmt.Errorf("check the key file: %w", err)
	}
	if _, err := keyring.Unseal(sealed, sqlstore.IDKey("meta", 0)); err != nil {
		return hook.Errorf(hook.KindInvalid, "the key file does not belong to this database: restore %s from the backup of that database: %w", seal.FileName, err)
	}
	return nil
}

// endLeases ends what was leased when the folder was last in use: the process that
// held the leases is gone, or it would hold the lock.
func (s *Store) endLeases(ctx context.Context) error {
	if _, err := s.conn.ExecContext(ctx, "UPDATE delivery SET lease = 0, owner = NULL WHERE state = 2"); err != nil {
		return fmt.Errorf("end the leases of an earlier process: %w", err)
	}
	return nil
}

// ensureProject gives a new database its first project.
func (s *Store) ensureProject(ctx context.Context) error {
	all, err := s.catalogue.Projects.All(ctx, s.conn)
	if err != nil || len(all) > 0 {
		return err
	}
	return s.change(ctx, s.conn, func(q sqlstore.Queryer) error {
		return s.catalogue.Projects.Create(ctx, q, &hook.Project{Name: DefaultProject}, s.stamp())
	})
}

// newWriter prepares the writer on the store's own connection.
func newWriter(ctx context.Context, s *Store, options *Options) (*writer, error) {
	w := &writer{
		conn: s.conn, log: options.Logger, now: options.Now, line: newLine(), inline: newInlineSet(),
		numbers: map[numbersKey]*hook.Numbers{}, calls: make(chan func(), maxBatch),
		wal: newCheckpointer(s.walDB, s.path, options.Logger),
	}
	err := s.conn.Raw(func(driverConn any) error {
		conn, ok := driverConn.(driver.Conn)
		if !ok {
			return errors.New("the SQLite driver has no connection of its own")
		}
		var err error
		w.sql, err = prepareAll(ctx, conn)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := w.learn(ctx); err != nil {
		return nil, err
	}
	highest := int64(0)
	for _, table := range []string{"event", "delivery", "refusal", "source", "destination", "connection", "project", "token"} {
		var id sql.NullInt64
		if err := s.conn.QueryRowContext(ctx, "SELECT max(id) FROM "+table).Scan(&id); err != nil {
			return nil, fmt.Errorf("look for the newest id: %w", err)
		}
		highest = max(highest, id.Int64)
	}
	options.IDs.Passed(highest)
	if err := s.conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'mark'").Scan((*int64)(&w.mark.stored)); err != nil {
		return nil, fmt.Errorf("read the mark: %w", err)
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

var _ store.Store = (*Store)(nil)
