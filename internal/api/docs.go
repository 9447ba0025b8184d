package api

import (
	"embed"
	"net/http"
	"strings"
)

//go:embed docs
var docsFiles embed.FS

// docsPolicy allows the page's own two files and the description, nothing foreign.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docs serves the page that renders the description for people.
func docs() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", docsPolicy)
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-cache")
		name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/docs"), "/")
		if name == "" {
			name = "index.html"
		}
		http.ServeFileFS(w, r, docsFiles, "docs/"+name)
	})
}
