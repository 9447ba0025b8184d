package rest

import (
	"embed"
	"net/http"
)

//go:embed docs
var docsFiles embed.FS

// docsPolicy allows the page's own two files and the description, nothing foreign.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsPages are the files of the page that renders the description for people, by
// their paths.
func docsPages() map[string]string {
	return map[string]string{"/docs": "docs/index.html", "/docs/docs.js": "docs/docs.js", "/docs/docs.css": "docs/docs.css"}
}

// docs serves one file of the page.
func docs(file string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", docsPolicy)
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, docsFiles, file)
	})
}
