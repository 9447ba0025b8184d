// Package check looks for whatever could be wrong with a data folder.
package check

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store/sqlite/database"
	"malote.dev/malote/internal/store/sqlite/schema"
	"malote.dev/malote/internal/store/sqlstore"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// Severity says how bad a Finding is.
type Severity string

// The severities.
const (
	Problem Severity = "problem" // data is in danger, or the server will not start
	Warning Severity = "warning" // works, and should be mended
	Note    Severity = "note"    // good to know
)

// Finding is one thing that Folder noticed.
type Finding struct {
	Severity Severity `json:"severity"`
	What     string   `json:"what"` // a sentence
	Mend     string   `json:"mend"` // what to do about it; "" for notes
}

// Report is what Folder found out about a data folder.
type Report struct {
	Dir       string    `json:"dir"`
	InUse     bool      `json:"inUse"`     // a server has it open
	Version   int       `json:"version"`   // of the database's schema
	Engine    string    `json:"engine"`    // SQLite's version
	SizeBytes int64     `json:"sizeBytes"` // of the database with its log
	FreeBytes int64     `json:"freeBytes"` // left on its disk
	Findings  []Finding `json:"findings"`
}

// Healthy reports whether nothing was found that needs mending.
func (r *Report) Healthy() bool {
	for _, f := range r.Findings {
		if f.Severity != Note {
			return false
		}
	}
	return true
}

func (r *Report) add(severity Severity, mend, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Severity: severity, What: fmt.Sprintf(format, args...), Mend: mend})
}

// shownAlike is how many problems of one sort are told one by one.
const shownAlike = 10

// addEach adds the problems of one sort, a finding each.
func (r *Report) addEach(mend, sort string, texts []string) {
	for i, text := range texts {
		if i == shownAlike {
			r.add(Problem, mend, "%s: and %d more", sort, len(texts)-i)
			return
		}
		r.add(Problem, mend, "%s: %s", sort, text)
	}
}

const (
	mendRestore = "stop malote and restore the data folder from a backup"
	mendReport  = "this is a defect of malote: please report it"
	lowSpace    = 1 << 30
)

// Folder looks for whatever could be wrong with a data folder: who can read it, whether
// the key fits, the database's own integrity, and what must hold between its tables.
// It changes nothing and works beside a running server. It reads the whole database,
// which takes a while when that is large; an error means that it could not look.
func Folder(ctx context.Context, dir string) (Report, error) {
	report := Report{Dir: dir}
	info, err := os.Stat(dir)
	if err != nil {
		return report, fmt.Errorf("look at the data folder: %w", err)
	}
	if !info.IsDir() {
		return report, hook.Errorf(hook.KindInvalid, "%s is not a folder", dir)
	}
	if report.InUse, err = database.Locked(dir); err != nil {
		return report, err
	}
	report.checkModes(dir, info)
	if err := report.checkDisk(dir); err != nil {
		return report, err
	}
	path := filepath.Join(dir, database.FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		report.add(Note, "", "there is no database yet: the first start of malote creates it")
		return report, nil
	}
	db, err := database.Connect(path, 1, "query_only(1)")
	if err != nil {
		return report, err
	}
	return report, errors.Join(report.checkDatabase(ctx, db, dir), db.Close())
}

// checkModes looks at who else can read the data.
func (r *Report) checkModes(dir string, info fs.FileInfo) {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		r.add(Warning, "chmod 700 "+dir, "the data folder is open to other users (mode %04o)", mode)
	}
	for _, name := range []string{database.FileName, database.FileName + "-wal", database.FileName + "-shm", "admin-token", seal.FileName} {
		path := filepath.Join(dir, name)
		file, err := os.Stat(path)
		if err != nil {
			continue
		}
		if mode := file.Mode().Perm(); mode&0o077 != 0 {
			severity := Warning
			if name == seal.FileName {
				severity = Problem // The server refuses it.
			}
			r.add(severity, "chmod 600 "+path, "%s is open to other users (mode %04o)", name, mode)
		}
	}
}

// checkDisk looks at the room that is left.
func (r *Report) checkDisk(dir string) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("look at the disk: %w", err)
	}
	r.FreeBytes = int64(stat.Bavail) * stat.Bsize
	if r.FreeBytes < lowSpace {
		r.add(Warning, "free some space, or shorten the projects' retention", "only %d MiB are left on the disk", r.FreeBytes>>20)
	}
	var err error
	r.SizeBytes, err = database.Size(filepath.Join(dir, database.FileName))
	return err
}

// checkDatabase runs all that needs the database, as it is at one moment.
func (r *Report) checkDatabase(ctx context.Context, db *sql.DB, dir string) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		r.add(Problem, mendRestore, "the database cannot be opened: %v", err)
		return nil
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	known, err := database.ReadMigrations(schema.Files())
	if err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&r.Engine)
	if err == nil {
		r.Version, err = database.Version(ctx, tx)
	}
	if err != nil {
		r.add(Problem, mendRestore, "the database is damaged: %v", err)
		return nil
	}
	switch {
	case r.Version > len(known):
		r.add(Problem, "run the newer malote", "the database has version %d; this program knows versions up to %d", r.Version, len(known))
		return nil
	case r.Version < len(known):
		r.add(Note, "", "the database has version %d; the next start brings it to version %d", r.Version, len(known))
		return nil
	}
	for _, check := range []func(context.Context, *sql.Tx) error{
		r.checkIntegrity, r.checkOrphans, r.checkBacklog, r.checkReplays, r.checkOrder, r.checkMark,
		func(ctx context.Context, tx *sql.Tx) error { return r.checkSeal(ctx, tx, dir) },
	} {
		if err := check(ctx, tx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.add(Problem, mendRestore, "the database is damaged: %v", err)
		}
	}
	return nil
}

// checkIntegrity lets SQLite look at every page and every index entry.
func (r *Report) checkIntegrity(ctx context.Context, tx *sql.Tx) error {
	damage, err := database.Damage(ctx, tx)
	r.addEach(mendRestore, "the database is damaged", damage)
	return err
}

// checkOrphans looks for rows whose owner is gone.
func (r *Report) checkOrphans(ctx context.Context, tx *sql.Tx) error {
	for what, query := range map[string]string{
		"deliveries belong to no event":  "delivery d WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.id = d.event)",
		"attempts belong to no delivery": "attempt a WHERE NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = a.delivery)",
		"events are in no list":          "event e WHERE NOT EXISTS (SELECT 1 FROM log_source s WHERE s.project = e.project AND s.source = e.source)",
		"deliveries are in no list": "delivery d WHERE NOT EXISTS (SELECT 1 FROM log_connection c" +
			" WHERE c.project = d.project AND c.connection = d.connection AND c.destination = d.destination)",
		"connections lead from or to nobody": "connection c WHERE NOT EXISTS (SELECT 1 FROM source s WHERE s.id = c.source AND s.project = c.project)" +
			" OR NOT EXISTS (SELECT 1 FROM destination d WHERE d.id = c.destination AND d.project = c.project)",
		"circuits belong to no destination": "circuit c WHERE NOT EXISTS" +
			" (SELECT 1 FROM destination d WHERE d.id = c.destination AND d.project = c.project)",
		"examples of failures belong to no destination": "example x WHERE NOT EXISTS (SELECT 1 FROM destination d WHERE d.id = x.destination)",
		"replays belong to no project":                  "replay r WHERE NOT EXISTS (SELECT 1 FROM project p WHERE p.id = r.project)",
	} {
		var count int64
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM "+query).Scan(&count); err != nil {
			return err
		}
		if count > 0 {
			r.add(Warning, mendReport, "%d %s", count, what)
		}
	}
	return nil
}

// checkBacklog compares the counts of waiting deliveries with the deliveries.
func (r *Report) checkBacklog(ctx context.Context, tx *sql.Tx) error {
	var wrong int64
	err := tx.QueryRowContext(ctx, `
		SELECT count(*) FROM (
			SELECT project, destination, state, sum(n) AS n FROM (
				SELECT project, destination, state, count(*) AS n FROM delivery WHERE state IN (1, 2, 4, 5) GROUP BY project, destination, state
				UNION ALL
				SELECT project, destination, state, -deliveries FROM backlog
			) GROUP BY project, destination, state HAVING sum(n) <> 0
		)`).Scan(&wrong)
	if err == nil && wrong > 0 {
		r.add(Warning, mendReport, "%d counts of waiting deliveries are wrong", wrong)
	}
	return err
}

// checkReplays compares what replays have made and not seen end with the deliveries.
func (r *Report) checkReplays(ctx context.Context, tx *sql.Tx) error {
	var wrong int64
	err := tx.QueryRowContext(ctx, `
		SELECT count(*) FROM replay r WHERE made - succeeded - failed - canceled <>
			(SELECT count(*) FROM delivery d WHERE d.replay = r.id AND d.state IN (1, 2, 5))`).Scan(&wrong)
	if err == nil && wrong > 0 {
		r.add(Warning, mendReport, "the progress of %d replays is wrong", wrong)
	}
	return err
}

// checkOrder looks for keys of which more than one delivery has its turn.
func (r *Report) checkOrder(ctx context.Context, tx *sql.Tx) error {
	var wrong int64
	err := tx.QueryRowContext(ctx, `
		SELECT count(*) FROM (
			SELECT 1 FROM delivery WHERE order_key IS NOT NULL AND (state = 2 OR state = 1 AND next_at IS NOT NULL)
			GROUP BY connection, order_key HAVING count(*) > 1
		)`).Scan(&wrong)
	if err == nil && wrong > 0 {
		r.add(Problem, mendReport, "of %d order keys more than one delivery has its turn", wrong)
	}
	return err
}

// checkedEvents is how many events below the mark are looked at.
const checkedEvents = 100_000

// checkMark looks for deliveries below the mark that were accepted and have no row:
// they would never be attempted.
func (r *Report) checkMark(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT id, targets FROM event WHERE id < (SELECT value FROM meta WHERE key = 'mark')"+
		" AND targets IS NOT NULL ORDER BY id DESC LIMIT $1", checkedEvents)
	if err != nil {
		return err
	}
	var targets []hook.Target
	for rows.Next() {
		var id int64
		var data []byte
		if err := rows.Scan(&id, &data); err != nil {
			return errors.Join(err, rows.Close())
		}
		list, err := codec.DecodeTargets(hook.EventID(id), data)
		if err != nil {
			return errors.Join(err, rows.Close())
		}
		targets = append(targets, list...)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	lost := 0
	for i := range targets {
		var one int
		err := tx.QueryRowContext(ctx, "SELECT 1 FROM delivery WHERE id = $1", int64(targets[i].Delivery)).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			lost++
		} else if err != nil {
			return err
		}
	}
	if lost > 0 {
		r.add(Problem, mendReport, "%d deliveries that were accepted have no row and would never be attempted", lost)
	}
	return nil
}

// checkSeal looks whether the key file opens what the database holds sealed.
func (r *Report) checkSeal(ctx context.Context, tx *sql.Tx, dir string) error {
	path := filepath.Join(dir, seal.FileName)
	restore := "restore " + path + " from the backup of this folder"
	keyring, err := seal.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.add(Problem, restore, "the key file %s is missing: the secrets in the database cannot be read", seal.FileName)
		return nil
	case errors.Is(err, seal.ErrExposed):
		return nil // It is reported with the modes.
	case err != nil:
		r.add(Problem, restore, "the key file cannot be used: %v", err)
		return nil
	}
	catalogue := sqlstore.NewCatalogue(keyring, hook.NewIDs(0))
	_, err = catalogue.Everything(ctx, tx)
	if errors.Is(err, seal.ErrUnknownKey) || errors.Is(err, seal.ErrForged) {
		r.addEach(restore, "the key file does not belong to this database", strings.Split(err.Error(), "\n")) // a line for each noun
		return nil
	}
	stale, staleErr := catalogue.Stale(ctx, tx)
	if old := len(keyring.Keys()) - 1; old > 0 {
		r.add(Warning, "stop malote and run: malote key rotate", "a rotation of the key did not end: old keys %d, texts sealed with them %d", old, stale)
	}
	return errors.Join(err, staleErr)
}
