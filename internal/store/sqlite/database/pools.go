package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
)

// Pools are the connections to one database, each for its purpose.
type Pools struct {
	Conn *sql.Conn // the only one that writes
	WAL  *sql.DB   // copies the write-ahead log into the database
	Read *sql.DB   // sees the last commit
	Log  *Log      // makes durable what Conn committed

	write *sql.DB // has Conn
}

// PoolOptions say what Open opens.
type PoolOptions struct {
	Path       string
	MaxBytes   int64 // bounds the file, to the page; 0: no bound
	Readers    int   // connections that read
	Migrations Migrations
}

// Open opens a database, which it creates when it is missing and brings to the newest
// version. What it returns is to be closed also when it fails.
func Open(ctx context.Context, options PoolOptions) (*Pools, error) {
	p := &Pools{Log: NewLog(options.Path)}
	if err := Create(options.Path); err != nil {
		return p, err
	}
	limit := ""
	if options.MaxBytes > 0 {
		limit = "max_page_count(" + strconv.FormatInt(options.MaxBytes/PageSize, 10) + ")"
	}
	var err error
	if p.write, err = Connect(options.Path, 1, "page_size("+strconv.Itoa(PageSize)+")", "journal_mode(WAL)", "synchronous(NORMAL)",
		"wal_autocheckpoint(0)", "journal_size_limit("+strconv.Itoa(WALLimit)+")", "cache_size(-4096)", "temp_store(MEMORY)", limit); err != nil {
		return p, err
	}
	if p.Conn, err = p.write.Conn(ctx); err != nil {
		return p, fmt.Errorf("open the database %s: %w", options.Path, err)
	}
	if err := CheckEngine(ctx, p.Conn); err != nil {
		return p, err
	}
	if err := options.Migrations.Apply(ctx, p.Conn); err != nil {
		return p, err
	}
	if p.WAL, err = Connect(options.Path, 1, "wal_autocheckpoint(0)", "synchronous(FULL)", "cache_size(-256)"); err != nil {
		return p, err
	}
	p.Read, err = Connect(options.Path, options.Readers, "query_only(1)", "cache_size(-4096)", "temp_store(MEMORY)")
	return p, err
}

// Close closes what is open, in the order that SQLite wants.
func (p *Pools) Close() error {
	var errs []error
	if p.Read != nil {
		errs = append(errs, p.Read.Close())
	}
	if p.WAL != nil {
		errs = append(errs, p.WAL.Close())
	}
	errs = append(errs, p.Log.Close())
	if p.Conn != nil {
		errs = append(errs, p.Conn.Close())
	}
	if p.write != nil {
		errs = append(errs, p.write.Close())
	}
	return errors.Join(errs...)
}
