package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
)

// FuzzAPI sends arbitrary bodies, queries and ids to every route: the server never
// fails, and every answer has its documented shape.
func FuzzAPI(f *testing.F) {
	routes := (&server{}).table()
	for i := range routes {
		f.Add(uint8(i), "x?limit=1&iterator=-x", "{}")
	}
	f.Add(uint8(1), "shop", shopBody)
	f.Add(uint8(4), "shop", `{"type":{"or":{"or":{"expr":"data.a.b"}}},"verify":{"anyOf":[{"none":true},{"allOf":[]}]}}`)
	f.Add(uint8(9), "erp", `{"http":{"auth":{"mtls":{"cert":"x"}},"sign":{"content":"{body}","headers":{"a":"{signature}"}}}}`)
	f.Add(uint8(20), "orders", `{"filter":"data.exists(x, x > 1)","retry":{"schedule":["1s"]}}`)
	f.Add(uint8(30), "evt_0000000000001?after=2026-01-01T00:00:00Z&type=*&text=%00", `{"source":"shop","payload":[[[]]]}`)
	h := newHarness(f)
	h.wire()
	f.Fuzz(func(t *testing.T, which uint8, target, body string) {
		id, query, _ := strings.Cut(target, "?")
		e := routes[int(which)%len(routes)]
		if e.Stream || !strings.Contains(e.Path, "{id}") && id != "x" {
			return
		}
		r := httptest.NewRequestWithContext(t.Context(), e.Method, "/", strings.NewReader(body))
		r.URL.Path, r.URL.RawQuery = rest.Prefix+strings.ReplaceAll(e.Path, "{id}", id), query
		r.Header.Set("Authorization", "Bearer "+h.tokens[hook.RoleAdmin])
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Fatalf("%s %s: %d %s", e.Method, r.URL, w.Code, w.Body)
		}
		if w.Code != http.StatusMovedPermanently && w.Code != http.StatusTemporaryRedirect {
			h.schemas.check(t, r, &reply{t: t, what: e.ID, status: w.Code, header: w.Header(), body: w.Body.String()})
		}
	})
}
