// Package sqlstore is the part of a store that is the same on every SQL database: how
// nouns and log rows are written as columns, the catalogue's reads and changes, the
// lists and the roll-ups. A backend brings connections, schema, the hot path and
// everything that waits.
//
// Placeholders are written $1, $2, …, which the databases that matter understand. No
// statement depends on a database's own functions.
package sqlstore

import "malote.dev/malote/internal/store/sqlstore/prepared"

// Queryer runs statements: a *sql.DB, *sql.Conn or *sql.Tx, or a prepared.Reader.
type Queryer = prepared.Queryer
