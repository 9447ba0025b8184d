package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"malote.dev/malote/web"
)

func get(t *testing.T, path string) *http.Response {
	t.Helper()
	recorder := httptest.NewRecorder()
	web.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return recorder.Result()
}

func body(t *testing.T, path string) string {
	t.Helper()
	text, err := io.ReadAll(get(t, path).Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPagesAreServedUnderAStrictPolicy(t *testing.T) {
	for path, wantType := range map[string]string{
		"/": "text/html", "/any/deep/link": "text/html", "/malote.js": "text/javascript", "/malote.css": "text/css", "/seal.svg": "image/svg+xml",
	} {
		response := get(t, path)
		if response.StatusCode != http.StatusOK {
			t.Errorf("GET %s answered %d", path, response.StatusCode)
		}
		if got := response.Header.Get("Content-Type"); !strings.HasPrefix(got, wantType) {
			t.Errorf("GET %s has the type %q, want %q", path, got, wantType)
		}
		if got := response.Header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") {
			t.Errorf("GET %s has the policy %q", path, got)
		}
	}
}

func TestBothLanguagesHaveEveryText(t *testing.T) {
	english, portuguese, ok := strings.Cut(body(t, "/texts.js"), "  pt: {")
	if !ok {
		t.Fatal("texts.js has no block for Portuguese")
	}
	key := regexp.MustCompile(`(?m)(?:^\s+|, )(\w+): (?:"|\(|\w+ =>)`)
	keys := func(block string) (found []string) {
		for _, match := range key.FindAllStringSubmatch(block, -1) {
			found = append(found, match[1])
		}
		slices.Sort(found)
		return found
	}
	en, pt := keys(english), keys(portuguese)
	if len(en) < 40 || !slices.Equal(en, pt) {
		t.Errorf("the languages differ:\nen %v\npt %v", en, pt)
	}
	for _, match := range regexp.MustCompile(`\btext\.(\w+)`).FindAllStringSubmatch(body(t, "/malote.js"), -1) {
		if !slices.Contains(en, match[1]) {
			t.Errorf("malote.js uses the text %q, which texts.js lacks", match[1])
		}
	}
}

func TestForeignTextNeverBecomesMarkup(t *testing.T) {
	for _, name := range []string{"/malote.js", "/api.js"} {
		for _, risky := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
			if strings.Contains(body(t, name), risky) {
				t.Errorf("%s uses %s: set text, not markup", name, risky)
			}
		}
	}
}
