package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"malote.dev/malote/internal/api/rest"
)

func TestDescriptionHasEveryRoute(t *testing.T) {
	h := newHarness(t)
	if version := h.schemas.document["openapi"]; version != "3.1.0" {
		t.Errorf("openapi %v", version)
	}
	paths := h.schemas.document["paths"].(map[string]any)
	operations := 0
	for _, item := range paths {
		operations += len(item.(map[string]any))
	}
	if operations != len((&server{}).table()) {
		t.Errorf("%d operations, %d routes", operations, len((&server{}).table()))
	}
	for _, e := range (&server{}).table() {
		item, _ := paths[rest.Prefix+e.Path].(map[string]any)
		operation, ok := item[strings.ToLower(e.Method)].(map[string]any)
		if !ok {
			t.Errorf("%s is not in the description", nameOf(e))
			continue
		}
		if operation["operationId"] != e.ID || operation["x-role"] != string(e.Role) {
			t.Errorf("%s: %v, %v", nameOf(e), operation["operationId"], operation["x-role"])
		}
		if _, body := operation["requestBody"]; body != (e.In != nil) {
			t.Errorf("%s: documented body %v", nameOf(e), body)
		}
		for status := range operation["responses"].(map[string]any) {
			response := operation["responses"].(map[string]any)[status].(map[string]any)
			if content, ok := response["content"].(map[string]any); ok && content["application/json"] != nil {
				escape := strings.NewReplacer("/", "~1", "{", "%7B", "}", "%7D").Replace
				h.schemas.schema(t, documentURL+"#/paths/"+escape(rest.Prefix+e.Path)+"/"+strings.ToLower(e.Method)+"/responses/"+status+"/content/application~1json/schema")
			}
		}
	}
}

func TestDescriptionIsSound(t *testing.T) {
	h := newHarness(t)
	text, err := json.Marshal(h.schemas.document)
	if err != nil {
		t.Fatal(err)
	}
	components := h.schemas.document["components"].(map[string]any)["schemas"].(map[string]any)
	for _, match := range regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		if components[match[1]] == nil {
			t.Errorf("%s is referred to and not there", match[1])
		}
	}
	if strings.Contains(string(text), "$schema") {
		t.Error("bodies have a $schema property")
	}
	for name := range components {
		if !regexp.MustCompile(`^[A-Z][A-Za-z0-9]+$`).MatchString(name) {
			t.Errorf("the schema %q has no proper name", name)
		}
	}
}

func TestDocsPageNeedsNobodyElse(t *testing.T) {
	h := newHarness(t)
	for path, kind := range map[string]string{
		"/docs": "text/html", "/docs/docs.js": "javascript", "/docs/docs.css": "text/css",
	} {
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, http.NoBody))
		if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if regexp.MustCompile(`(src|href|from|url)\W{1,3}(https?:)?//`).MatchString(w.Body.String()) {
			t.Errorf("%s loads something from elsewhere", path)
		}
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/docs/..%2f..%2fserver.go", http.NoBody))
	if w.Code != http.StatusNotFound {
		t.Errorf("a path out of the folder gave %d", w.Code)
	}
}
