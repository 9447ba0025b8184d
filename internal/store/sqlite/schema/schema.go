// Package schema holds the migrations of the SQLite database: files 0001_….sql and so
// on, each of which brings it from one version to the next. A file that was released is
// never changed.
package schema

import (
	"embed"
	"io/fs"
)

//go:embed *.sql
var files embed.FS

// Files returns the migrations.
func Files() fs.FS { return files }
