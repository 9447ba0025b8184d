package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
)

// canary begins every secret of the test below, so that one that flies out is seen.
const canary = "canary-must-not-fly"

// secretPlaces counts the places in a type where a secret may lie.
func secretPlaces(t reflect.Type, seen map[reflect.Type]bool) int {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return secretPlaces(t.Elem(), seen)
	case reflect.Struct:
		if seen[t] {
			return 0
		}
		seen[t] = true
		count := 0
		for field := range t.Fields() {
			if field.IsExported() {
				count += secretPlaces(field.Type, seen)
			}
		}
		return count
	default:
		if t == reflect.TypeFor[hook.Secret]() {
			return 1
		}
		return 0
	}
}

// TestCanary puts a marked secret into every place that takes one, then reads
// everything that can be read.
func TestCanary(t *testing.T) {
	h := newHarness(t)
	mark := 0
	secret := func() string {
		mark++
		return fmt.Sprintf("%s-%d", canary, mark)
	}
	hmac := `{"header":"x-sign","hash":"sha256"}`
	sources := []string{
		fmt.Sprintf(`{"name":"s1","verify":{"token":{"header":"x-token","secret":%q}},"secret":%q,"secrets":[%q]}`, secret(), secret(), secret()),
		fmt.Sprintf(`{"name":"s2","verify":{"basic":{"username":"u","password":%q}}}`, secret()),
		fmt.Sprintf(`{"name":"s3","verify":{"hmac":{"header":"x-sign","secret":%q}}}`, secret()),
		fmt.Sprintf(`{"name":"s4","verify":{"anyOf":[{"token":{"query":"k","secret":%q}},{"hmac":%s}]},"secret":%q}`, secret(), hmac, secret()),
	}
	sign := func() string {
		return fmt.Sprintf(`"sign":{"scheme":"github","secret":%q,"secrets":[%q]}`, secret(), secret())
	}
	destinations := []string{
		fmt.Sprintf(`{"name":"d1","http":{"url":"https://a.example.com/","auth":{"bearer":%q},%s}}`, secret(), sign()),
		fmt.Sprintf(`{"name":"d2","http":{"url":"https://a.example.com/","auth":{"basic":{"username":"u","password":%q}},%s}}`, secret(), sign()),
		fmt.Sprintf(`{"name":"d3","http":{"url":"https://a.example.com/","auth":{"header":{"name":"x-key","value":%q}}}}`, secret()),
		fmt.Sprintf(`{"name":"d4","http":{"url":"https://a.example.com/","auth":{"oauth2":{"tokenUrl":"https://a.example.com/t","clientId":"c","clientSecret":%q}}}}`, secret()),
	}
	for i, body := range sources {
		h.call("POST", "/source", body).want(http.StatusCreated).hasNot(canary)
		h.call("PATCH", fmt.Sprintf("/source/s%d", i+1), `{"maxBody":1000}`).want(http.StatusOK).hasNot(canary)
	}
	for i, body := range destinations {
		h.call("POST", "/destination", body).want(http.StatusCreated).hasNot(canary)
		h.call("PATCH", fmt.Sprintf("/destination/d%d", i+1), `{"concurrency":3}`).want(http.StatusOK).hasNot(canary)
	}
	h.call("POST", "/connection", `{"name":"c1","source":"s1","destination":"d1"}`).want(http.StatusCreated)

	// The client certificate's key is the one place that needs a real pair, and is
	// covered by Redact; everything else is in the bodies above.
	places := secretPlaces(reflect.TypeFor[hook.SourceSpec](), map[reflect.Type]bool{}) + secretPlaces(reflect.TypeFor[hook.DestinationSpec](), map[reflect.Type]bool{})
	if places != 12 {
		t.Errorf("there are %d places for secrets, the test knows 12: give the new one a canary", places)
	}

	knock := func(path, header, value, user string) int {
		r := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(`{}`))
		r.Header.Set("Content-Type", "application/json")
		if header != "" {
			r.Header.Set(header, value)
		}
		if user != "" {
			r.SetBasicAuth(user, value)
		}
		w := httptest.NewRecorder()
		h.door.ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), canary) {
			t.Errorf("%s: the answer to a sender shows a secret", path)
		}
		return w.Code
	}
	wrong := canary + "-wrong"
	for _, c := range []struct {
		path, header, value, user string
		want                      int
	}{
		{"/in/s1", "X-Token", canary + "-2", "", http.StatusOK},
		{"/in/s2", "", canary + "-4", "u", http.StatusOK},
		{"/in/s4?k=" + canary + "-6", "", "", "", http.StatusOK},
		{"/in/s1", "X-Token", wrong, "", http.StatusUnauthorized},
		{"/in/s2", "", wrong, "u", http.StatusUnauthorized},
		{"/in/s3", "X-Sign", "00", "", http.StatusUnauthorized},
		{"/in/s4?k=" + wrong, "", "", "", http.StatusUnauthorized},
	} {
		if got := knock(c.path, c.header, c.value, c.user); got != c.want {
			t.Fatalf("%s: status %d, want %d", c.path, got, c.want)
		}
	}
	if n := h.deliverAll(); n == 0 {
		t.Fatal("nothing was delivered")
	}

	read := 0
	for _, path := range h.readable() {
		h.call("GET", path, "").want(http.StatusOK).hasNot(canary)
		read++
	}
	if read < 60 {
		t.Errorf("only %d paths were read", read)
	}
	if strings.Contains(h.log.String(), canary) {
		t.Error("the log shows a secret")
	}
	plan := fmt.Sprintf(`{"state":{"sources":{"s1":{"verify":"none","secret":%q}}}}`, secret())
	h.call("POST", "/flow/plan", plan).want(http.StatusOK).hasNot(canary)
	h.call("POST", "/flow/apply", plan).want(http.StatusOK).hasNot(canary)
}

// deliverAll settles what waits for the first destination.
func (h *harness) deliverAll() int {
	h.t.Helper()
	h.call("PATCH", "/destination/d1", `{"name":"erp"}`).want(http.StatusOK)
	return h.deliver(hook.StateSucceeded, hook.OutcomeSuccess)
}

// readable returns every GET path of the table with every id that exists. The route
// that shows a signing secret on purpose, and the stream, are left out.
func (h *harness) readable() []string {
	h.t.Helper()
	var paths []string
	for _, e := range (&server{}).table() {
		if e.Method != http.MethodGet || e.Stream || e.ID == "destination.secret.get" {
			continue
		}
		before, after, one := strings.Cut(e.Path, "{id}")
		if e.ID == "key.list" {
			paths = append(paths, e.Path+"?parked=true")
			continue
		}
		if !one {
			paths = append(paths, e.Path, e.Path+"?limit=1")
			continue
		}
		list := strings.TrimPrefix(strings.TrimSuffix(before, "/"), "/stats")
		var found struct{ Data []struct{ ID, Name string } }
		h.call("GET", list+"?limit=250", "").want(http.StatusOK).into(&found)
		for _, item := range found.Data {
			if item.ID == "" {
				item.ID = item.Name
			}
			paths = append(paths, before+item.ID+after)
		}
	}
	return paths
}
