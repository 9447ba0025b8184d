// Package web holds the pages that the program serves, embedded in the binary. It
// knows nothing of the domain: the pages speak to the HTTP API like anybody else.
package web

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
)

//go:embed static
var files embed.FS

// contentPolicy allows the page's own files and calls to its own server, nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the pages. A path that names no file gets the index, so that every
// view of the page has an address of its own.
func Handler() http.Handler {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic("web: the embedded files lack their folder: " + err.Error()) // a broken build, not a state
	}
	server := http.FileServerFS(static)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-cache")
		name := path.Clean("/" + r.URL.Path)[1:]
		if _, err := fs.Stat(static, name); name == "" || err != nil {
			http.ServeFileFS(w, r, static, "index.html")
			return
		}
		server.ServeHTTP(w, r)
	})
}
