package api

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
)

func TestEveryRouteHasARoleAndAName(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range (&server{}).table() {
		if !e.Role.Valid() {
			t.Errorf("%s: the role %q is none", nameOf(e), e.Role)
		}
		if e.Summary == "" || e.ID == "" || e.Bind == nil {
			t.Errorf("%s: summary, id or handler is missing", nameOf(e))
		}
		if seen[e.ID] || seen[nameOf(e)] {
			t.Errorf("%s: the id %s or the path is used twice", nameOf(e), e.ID)
		}
		seen[e.ID], seen[nameOf(e)] = true, true
		changes := e.Method != http.MethodGet
		if changes && e.Role == hook.RoleViewer {
			t.Errorf("%s: a viewer must not change anything", nameOf(e))
		}
	}
}

func TestRoutesAreClosed(t *testing.T) {
	h := newHarness(t)
	for _, e := range (&server{}).table() {
		path := strings.ReplaceAll(e.Path, "{id}", "x")
		h.call(e.Method, path, "", "Authorization", "").want(http.StatusUnauthorized).has(`"code":"authentication_failed"`)
		h.call(e.Method, path, "", "Authorization", "Bearer mlt_"+strings.Repeat("A", 43)).want(http.StatusUnauthorized)
		h.call(e.Method, path, "", "Authorization", "Basic "+h.tokens[hook.RoleAdmin]).want(http.StatusUnauthorized)
		for role, token := range h.tokens {
			if !role.Includes(e.Role) {
				h.call(e.Method, path, "", "Authorization", "Bearer "+token).want(http.StatusForbidden).has(`"code":"insufficient_access"`)
			}
		}
	}
}

func TestRoutesAreOpenToTheirRole(t *testing.T) {
	h := newHarness(t)
	for _, e := range (&server{}).table() {
		if e.Stream {
			continue
		}
		path := strings.ReplaceAll(e.Path, "{id}", "x")
		got := h.call(e.Method, path, "", "Authorization", "Bearer "+h.tokens[e.Role])
		if got.status == http.StatusUnauthorized || got.status == http.StatusForbidden || got.status >= http.StatusInternalServerError {
			t.Errorf("%s: status %d for the role %s: %s", nameOf(e), got.status, e.Role, got.body)
		}
	}
}

func TestUnauthorizedSaysHow(t *testing.T) {
	h := newHarness(t)
	got := h.call("GET", "/source", "", "Authorization", "").want(http.StatusUnauthorized).has("Authorization: Bearer")
	if got.header.Get("Www-Authenticate") == "" {
		t.Error("no WWW-Authenticate header")
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/source?token="+h.tokens[hook.RoleAdmin], http.NoBody)
	r.AddCookie(&http.Cookie{Name: "token", Value: h.tokens[hook.RoleAdmin]})
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("a token outside of the Authorization header gave %d", w.Code)
	}
}

func TestRevokedTokenIsRefusedAtOnce(t *testing.T) {
	h := newHarness(t)
	var made struct{ ID, Token string }
	h.call("POST", "/token", `{"name":"ci","role":"viewer"}`).want(http.StatusCreated).into(&made)
	bearer := []string{"Authorization", "Bearer " + made.Token}
	h.call("GET", "/source", "", bearer...).want(http.StatusOK)
	h.call("GET", "/token", "").want(http.StatusOK).has(made.ID, `"ci"`).hasNot(made.Token)
	h.call("DELETE", "/token/"+made.ID, "").want(http.StatusNoContent)
	h.call("GET", "/source", "", bearer...).want(http.StatusUnauthorized)
	h.call("DELETE", "/token/"+made.ID, "").want(http.StatusNotFound)
	if strings.Contains(h.log.String(), made.Token) {
		t.Error("the log shows a token")
	}
}

func TestTokenIsChecked(t *testing.T) {
	h := newHarness(t)
	past := time.Now().Add(-time.Hour).Format(time.RFC3339)
	for body, loc := range map[string]string{
		`{"role":"viewer"}`:                           `["body","name"]`,
		`{"name":"x","role":"root"}`:                  `["body","role"]`,
		`{"name":"x","expiresAt":"` + past + `"}`:     `["body","expiresAt"]`,
		`{"name":"x","expiresAt":"soon"}`:             `["body","expiresAt"]`,
		`{"name":"x","rolle":"viewer"}`:               `["body","rolle"]`,
		`{"name":"x","role":"viewer","project":"p1"}`: `["body","project"]`,
	} {
		h.call("POST", "/token", body).want(http.StatusUnprocessableEntity).has(`"loc":`+loc, `"type":"value_error"`)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/nothing", "/source/x/y/z", "/"} {
		h.call("GET", path, "").want(http.StatusNotFound).has(`"code":"not_found"`)
	}
	got := h.call("PATCH", "/event", "{}").want(http.StatusMethodNotAllowed)
	if allow := strings.Join(got.header["Allow"], ","); allow != "GET,POST" {
		t.Errorf("Allow: %s", allow)
	}
	h.call("GET", "/source/", "").want(http.StatusOK)
}

func TestEveryAnswerIsHardened(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/source", "/nothing", "/source/x"} {
		header := h.call("GET", path, "").header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		} {
			if header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, header.Get(name))
			}
		}
		if !strings.Contains(header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s: policy %q", path, header.Get("Content-Security-Policy"))
		}
		if !regexp.MustCompile(`^req_[0-9a-f]{16}$`).MatchString(header.Get("X-Request-Id")) {
			t.Errorf("%s: request id %q", path, header.Get("X-Request-Id"))
		}
		if header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: other origins are let in", path)
		}
	}
}

// bodyLimit is how many bytes a body may have.
const bodyLimit = 1 << 20

func TestBodyLimits(t *testing.T) {
	h := newHarness(t)
	long := `{"name":"` + strings.Repeat("a", bodyLimit) + `"}`
	h.call("POST", "/source", long).want(http.StatusRequestEntityTooLarge).has("payload_too_large")
	exact := `{"name":"` + strings.Repeat("a", bodyLimit-11) + `"}`
	h.call("POST", "/source", exact).want(http.StatusUnprocessableEntity)
	h.call("POST", "/source", "").want(http.StatusBadRequest)
	h.call("POST", "/source", "a=b", "Content-Type", "application/x-www-form-urlencoded").
		want(http.StatusUnsupportedMediaType).has("application/json")
}

func TestInternalErrorsStayInside(t *testing.T) {
	h := newHarness(t)
	if err := h.sqlite.Close(); err != nil {
		t.Fatal(err)
	}
	got := h.call("GET", "/source", "", h.as(hook.RoleViewer)...)
	if got.status < http.StatusInternalServerError {
		t.Errorf("status %d without a database", got.status)
	}
	got.hasNot("sql", "SELECT", "/tmp")
}

func TestProjectHeader(t *testing.T) {
	h := newHarness(t)
	other := h.call("POST", "/project", `{"name":"other"}`).want(http.StatusCreated).id()
	h.call("POST", "/source", shopBody, "Malote-Project", other).want(http.StatusCreated).has(`"path":"/in/src_`, other)
	h.call("GET", "/source/shop", "").want(http.StatusNotFound)
	h.call("GET", "/source/shop", "", "Malote-Project", "other").want(http.StatusOK)
	h.call("GET", "/source/shop", "", "Malote-Project", "nowhere").want(http.StatusNotFound)
	h.call("GET", "/source", "", append(h.as(hook.RoleOperator), "Malote-Project", other)...).want(http.StatusForbidden)

	var made struct{ Token string }
	h.call("POST", "/token", `{"name":"theirs","role":"admin"}`, "Malote-Project", other).want(http.StatusCreated).into(&made)
	theirs := []string{"Authorization", "Bearer " + made.Token}
	h.call("GET", "/source/shop", "", theirs...).want(http.StatusOK)
	h.call("GET", "/source/shop", "", append(theirs, "Malote-Project", other)...).want(http.StatusOK)
	h.call("GET", "/source", "", append(theirs, "Malote-Project", "default")...).want(http.StatusForbidden)
	h.call("GET", "/project", "", theirs...).want(http.StatusForbidden)
	h.call("POST", "/project", `{"name":"third"}`, theirs...).want(http.StatusForbidden)
}

func nameOf(e *rest.Route) string { return e.Method + " " + rest.Prefix + e.Path }
