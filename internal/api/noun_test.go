package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
)

func TestSourceLife(t *testing.T) {
	h := newHarness(t)
	made := h.call("POST", "/source", shopBody).want(http.StatusCreated).
		has(`"name":"shop"`, `"path":"/in/shop"`, `"hasSecret":true`, `"secretCount":1`, `"version":1`).hasNot("shop-secret")
	id := made.id()
	if tag := made.header.Get("Etag"); tag != `"1"` {
		t.Errorf("ETag %s", tag)
	}
	// Read your writes: the door knows the source before the answer is out.
	if status := h.knock("shop-secret", `{"order":"1"}`); status != http.StatusOK {
		t.Fatalf("the new source answered %d", status)
	}
	h.call("POST", "/source", shopBody).want(http.StatusConflict).has(`"code":"conflict"`)
	h.call("GET", "/source/shop", "").want(http.StatusOK).has(id)
	h.call("GET", "/source/"+id, "").want(http.StatusOK).has(`"shop"`)

	h.call("PATCH", "/source/shop", `{"disabled":true}`).want(http.StatusOK).has(`"disabled":true`, `"version":2`, `"hasSecret":true`)
	if status := h.knock("shop-secret", `{}`); status != http.StatusNotFound {
		t.Errorf("the disabled source answered %d", status)
	}
	h.call("PATCH", "/source/shop", `{"disabled":null,"key":null,"type":"sale"}`).want(http.StatusOK).
		has(`"type":{"value":"sale"}`).hasNot(`"disabled"`, `"key"`)

	// What a client read can be sent back: the secret, never shown, stays.
	h.call("PUT", "/source/shop", `{"name":"shop2","verify":{"token":{"header":"x-token"}}}`).want(http.StatusOK).
		has(`"name":"shop2"`, `"hasSecret":true`, "/in/shop2").hasNot(`"type"`)
	h.call("PUT", "/source/shop2", `{"name":"shop","verify":{"token":{"header":"x-token"}}}`).want(http.StatusOK)
	if status := h.knock("shop-secret", `{}`); status != http.StatusOK {
		t.Errorf("after a change without the secret the source answered %d", status)
	}
	h.call("PATCH", "/source/shop", `{"verify":"none","secret":null}`).want(http.StatusOK).has(`"secretCount":0`)

	h.call("DELETE", "/source/shop", "").want(http.StatusNoContent)
	h.call("GET", "/source/shop", "").want(http.StatusNotFound)
	h.call("DELETE", "/source/shop", "").want(http.StatusNotFound)
}

func TestNounsAreChecked(t *testing.T) {
	h := newHarness(t)
	h.wire()
	for _, c := range []struct{ path, body, loc, msg string }{
		{"/source", `{}`, `["body","name"]`, "a name is needed"},
		{"/source", `{"name":"a b","verify":"none"}`, `["body","name"]`, "cannot be a name"},
		{"/source", `{"name":"src_01h2xcejqtf2n","verify":"none"}`, `["body","name"]`, "looks like an id"},
		{"/source", `{"name":"x","provider":"shopfy"}`, `["body","provider"]`, `did you mean \"shopify\"`},
		{"/source", `{"name":"x","verify":"none","type":{"expr":"data.("}}`, `["body","type","expr"]`, "column"},
		{"/source", `{"name":"x","verify":"none","maxBody":-1}`, `["body","maxBody"]`, "not a number of bytes"},
		{"/source", `{"name":"x","verifi":"none"}`, `["body","verifi"]`, `did you mean \"verify\"`},
		{"/destination", `{"name":"x"}`, `["body"]`, "no kind"},
		{"/destination", `{"name":"x","http":{"url":"http://127.0.0.1/"}}`, `["body","http","url"]`, "--allow-private"},
		{"/destination", `{"name":"x","http":{"url":"http://169.254.169.254/latest"}}`, `["body","http","url"]`, ""},
		{"/destination", `{"name":"x","http":{"url":"ftp://example.com/"}}`, `["body","http","url"]`, ""},
		{"/destination", `{"name":"x","http":{"url":"https://example.com/","headers":{"bad name":"v"}}}`, `["body","http","headers`, ""},
		{"/destination", `{"name":"x","http":{"url":"https://example.com/","sign":{"scheme":"strpe"}}}`, `["body","http","sign","scheme"]`, "stripe"},
		{"/destination", `{"name":"x","http":{"url":"https://example.com/","timeout":"soon"}}`, `["body","http","timeout"]`, "not a duration"},
		{"/destination", `{"name":"x","rate":"lots","http":{"url":"https://example.com/"}}`, `["body","rate"]`, "not a rate"},
		{"/connection", `{"name":"x"}`, `["body","source"]`, "a source is needed"},
		{"/connection", `{"name":"x","source":"shop"}`, `["body","destination"]`, "a destination is needed"},
		{"/connection", `{"name":"x","source":"nope","destination":"erp"}`, `["body","source"]`, "nope"},
		{"/connection", `{"name":"x","source":"shop","destination":"erp","filter":"data.total >"}`, `["body","filter"]`, "column"},
		{"/connection", `{"name":"x","source":"shop","destination":"erp","retry":{"jitter":2}}`, `["body","retry","jitter"]`, "from 0 to 1"},
		{"/event", `{"payload":1}`, `["body","source"]`, "a source is needed"},
		{"/event", `{"source":"nope","payload":1}`, `["body","source"]`, "nope"},
		{"/event", `{"source":"shop"}`, `["body","payload"]`, "give either"},
		{"/event", `{"source":"shop","payload":1,"text":"x"}`, `["body","payload"]`, "give either"},
		{"/delivery/retry", `{}`, `["body","ids"]`, "give either"},
		{"/delivery/retry", `{"ids":["dlv_0000000000001"]}`, `["body","ids","0"]`, ""},
		{"/delivery/retry", `{"filter":{"state":"pending"}}`, `["body","filter","state"]`, "not retried in bulk"},
		{"/delivery/retry", `{"filter":{},"limit":5000}`, `["body","limit"]`, "1000"},
		{"/project", `{"name":""}`, `["body","name"]`, "a name is needed"},
		{"/project", `{"name":"x","retention":{"events":"-1"}}`, `["body","retention","events"]`, "not a duration"},
	} {
		got := h.call("POST", c.path, c.body).want(http.StatusUnprocessableEntity).has(`"loc":`+c.loc, `"type":"value_error"`)
		if c.msg != "" {
			got.has(c.msg)
		}
	}
	h.call("POST", "/source", `{"name":`).want(http.StatusUnprocessableEntity).has(`"loc":["body"]`, "not JSON")
}

func TestConflicts(t *testing.T) {
	h := newHarness(t)
	h.wire()
	for _, path := range []string{"/source/shop", "/destination/erp", "/connection/orders"} {
		h.call("PATCH", path, `{"version":7}`).want(http.StatusConflict).has("somebody else changed it", "version 1")
		h.call("PATCH", path, `{}`, "If-Match", `"7"`).want(http.StatusConflict)
		h.call("DELETE", path, "", "If-Match", `"7"`).want(http.StatusConflict)
		h.call("PATCH", path, `{"version":1}`, "If-Match", `W/"1"`).want(http.StatusOK).has(`"version":2`)
		h.call("PATCH", path, `{"version":1}`).want(http.StatusConflict)
		h.call("PATCH", path, `{}`, "If-Match", "*").want(http.StatusOK)
	}
	h.call("DELETE", "/source/shop", "").want(http.StatusConflict).has("orders")
	h.call("DELETE", "/destination/erp", "").want(http.StatusConflict).has("orders")
	h.call("POST", "/source", `{"name":"other","verify":"none"}`).want(http.StatusCreated)
	h.call("PATCH", "/source/other", `{"name":"shop"}`).want(http.StatusConflict)
}

func TestConnectionLife(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.call("PATCH", "/connection/orders", `{"types":["order/*"],"filter":"double(data.total) >= 100.0","order":{"key":"data.customer"}}`).
		want(http.StatusOK).has(`"types":["order/*"]`, `"order":{"key":"data.customer"}`)
	h.call("PATCH", "/connection/orders", `{"order":null,"types":null}`).want(http.StatusOK).has(`"filter"`).hasNot(`"types"`, `"order"`)
	h.call("POST", "/destination", `{"name":"crm","http":{"url":"https://crm.example.com/"}}`).want(http.StatusCreated)
	crm := h.call("GET", "/destination/crm", "").id()
	h.call("PATCH", "/connection/orders", `{"destination":"crm"}`).want(http.StatusOK).has(`"destination":"`+crm+`"`, `"filter"`)
	h.call("PUT", "/connection/orders", `{"name":"all"}`).want(http.StatusOK).has(`"name":"all"`, crm).hasNot(`"filter"`)
	h.call("DELETE", "/connection/all", "").want(http.StatusNoContent)
	h.call("DELETE", "/destination/crm", "").want(http.StatusNoContent)
}

func TestDestinationSecrets(t *testing.T) {
	h := newHarness(t)
	h.call("POST", "/destination", erpBody).want(http.StatusCreated).has(`"hasSecret":true`, `"secretCount":1`).hasNot("whsec_")
	secret := func() (all []string) {
		var shown struct{ Secrets []string }
		h.call("GET", "/destination/erp/secret", "").want(http.StatusOK).into(&shown)
		return shown.Secrets
	}
	first := secret()
	if len(first) != 1 || !strings.HasPrefix(first[0], "whsec_") {
		t.Fatalf("generated %v", first)
	}
	if !strings.Contains(h.log.String(), "looked at the signing secret") || strings.Contains(h.log.String(), first[0]) {
		t.Error("who looks at a secret is noted, the secret is not")
	}
	// Changes that do not name it keep it.
	h.call("PUT", "/destination/erp", erpBody).want(http.StatusOK)
	h.call("PATCH", "/destination/erp", `{"http":{"method":"PUT"}}`).want(http.StatusOK).has(`"method":"PUT"`)
	if got := secret(); len(got) != 1 || got[0] != first[0] {
		t.Errorf("the secret changed to %v", got)
	}
	// Rotation keeps the one before for a while, and no longer.
	h.call("POST", "/destination/erp/secret/rotate", "").want(http.StatusOK).has(first[0])
	second := secret()
	if len(second) != 2 || second[1] != first[0] || second[0] == first[0] {
		t.Fatalf("after one rotation: %v", second)
	}
	given := "whsec_" + strings.Repeat("QUFB", 10) + "QUE="
	h.call("POST", "/destination/erp/secret/rotate", `{"secret":"`+given+`"}`).want(http.StatusOK)
	if got := secret(); len(got) != 2 || got[0] != given || got[1] != second[0] {
		t.Errorf("after two rotations: %v", got)
	}
	h.call("POST", "/destination/erp/secret/rotate", `{"keep":0}`).want(http.StatusOK)
	if got := secret(); len(got) != 1 || got[0] == given {
		t.Errorf("after a rotation that keeps none: %v", got)
	}
	h.call("POST", "/destination/erp/secret/rotate", `{"keep":10}`).want(http.StatusUnprocessableEntity)
	h.call("POST", "/destination/erp/secret/rotate", `{"secret":"whsec_short"}`).want(http.StatusUnprocessableEntity).hasNot("whsec_short")
	// A secret belongs to its scheme.
	h.call("PATCH", "/destination/erp", `{"http":{"sign":{"scheme":"ed25519"}}}`).want(http.StatusOK)
	h.call("GET", "/destination/erp/secret", "").want(http.StatusOK).has("whsk_", `"publicKey":"whpk_`)
	h.call("PATCH", "/destination/erp", `{"http":{"sign":"none"}}`).want(http.StatusOK).has(`"hasSecret":false`)
	h.call("GET", "/destination/erp/secret", "").want(http.StatusNotFound).has("does not sign")
	h.call("PATCH", "/destination/erp", `{"http":{"sign":null}}`).want(http.StatusOK).has(`"hasSecret":true`)
}

func TestCredentialsAreKeptAndReplaced(t *testing.T) {
	h := newHarness(t)
	create := `{"name":"erp","http":{"url":"https://erp.example.com/","auth":{"bearer":"old-bearer"}}}`
	h.call("POST", "/destination", create).want(http.StatusCreated).has(`"hasCredentials":true`).hasNot("old-bearer")
	stored := func() *hook.Auth {
		d, err := h.sqlite.Destinations().Get(t.Context(), h.home.ID, "erp")
		if err != nil {
			t.Fatal(err)
		}
		return d.HTTP.Auth
	}
	h.call("PUT", "/destination/erp", `{"http":{"url":"https://erp.example.com/2","auth":{}}}`).want(http.StatusOK)
	if got := stored(); got.Bearer != "old-bearer" {
		t.Errorf("the bearer became %#v", got)
	}
	h.call("PATCH", "/destination/erp", `{"http":{"auth":{"basic":{"username":"u","password":"pass"}}}}`).want(http.StatusOK).hasNot(`"pass"`)
	if got := stored(); got.Bearer != "" || got.Basic.Password != "pass" {
		t.Error("another kind of credentials stands beside the old one")
	}
	h.call("PATCH", "/destination/erp", `{"http":{"auth":{"basic":{"username":"other"}}}}`).want(http.StatusOK)
	if got := stored(); got.Basic.Username != "other" || got.Basic.Password != "pass" {
		t.Error("the password was lost")
	}
	h.call("PATCH", "/destination/erp", `{"http":{"auth":null}}`).want(http.StatusOK).has(`"hasCredentials":false`)
}

func TestSourceRotation(t *testing.T) {
	h := newHarness(t)
	h.call("POST", "/source", shopBody).want(http.StatusCreated)
	var shown struct{ Secret string }
	h.call("POST", "/source/shop/secret/rotate", "").want(http.StatusOK).into(&shown)
	if h.knock("shop-secret", "{}") != http.StatusOK || h.knock(shown.Secret, "{}") != http.StatusOK {
		t.Error("old and new secret are valid while rotating")
	}
	h.call("GET", "/source/shop", "").has(`"secretCount":2`)
	h.call("PATCH", "/source/shop", `{"secrets":null}`).want(http.StatusOK).has(`"secretCount":1`)
	if h.knock("shop-secret", "{}") != http.StatusUnauthorized || h.knock(shown.Secret, "{}") != http.StatusOK {
		t.Error("the old secret ends when it is cleared")
	}
	h.call("POST", "/source/shop/secret/rotate", `{"secret":"mine","keep":0}`).want(http.StatusOK).has("mine").hasNot(shown.Secret)
}

func TestPauseHoldsAndResumeReleases(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.publish(`1`)
	d, err := h.sqlite.Destinations().Get(t.Context(), h.home.ID, "erp")
	if err != nil {
		t.Fatal(err)
	}
	h.call("POST", "/destination/erp/pause", `{"reason":"the ERP moves"}`).want(http.StatusOK).has(`"paused":true`, `"deliveries":1`)
	h.call("GET", "/destination/erp", "").has(`"paused":true`, "the ERP moves")
	h.publish(`2`)
	h.call("GET", "/delivery?state=held", "").want(http.StatusOK).has("the ERP moves")
	h.call("GET", "/delivery?state=pending", "").want(http.StatusOK).has(`"data":[]`)
	h.call("GET", "/stats/backlog", "").want(http.StatusOK).has(`"held":2`)

	// A connection that is paused by itself stays held when the destination resumes.
	h.call("POST", "/connection/orders/pause", "").want(http.StatusOK)
	h.call("POST", "/destination/erp/resume", "").want(http.StatusOK).has(`"paused":false`, `"deliveries":0`)
	h.call("POST", "/connection/orders/resume", "").want(http.StatusOK).has(`"deliveries":2`)
	h.call("GET", "/delivery?state=held", "").want(http.StatusOK).has(`"data":[]`)
	if !h.lanes.wokenOnce(d.ID) {
		t.Error("the destination was not woken")
	}
	h.call("PATCH", "/destination/erp", `{"paused":true}`).want(http.StatusOK)
	h.call("GET", "/stats/backlog", "").has(`"held":2`)
	h.call("POST", "/connection/orders/pause", "").want(http.StatusOK)
	h.call("POST", "/connection/orders/resume", "").want(http.StatusOK).has(`"deliveries":0`)
	h.call("PATCH", "/destination/erp", `{"paused":false}`).want(http.StatusOK).hasNot("pauseReason")
	h.call("GET", "/stats/backlog", "").has(`"pending":2`)
}

func TestDestinationTest(t *testing.T) {
	h := newHarness(t)
	h.call("POST", "/destination", erpBody).want(http.StatusCreated)
	h.call("POST", "/destination/erp/test", "", h.as(hook.RoleOperator)...).want(http.StatusOK).
		has(`"outcome":"success"`, `"responseStatus":200`, `"manual":true`)
	h.call("POST", "/destination/nope/test", "").want(http.StatusNotFound)
}

func TestSourceTest(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.call("POST", "/source/shop/test", "").want(http.StatusConflict).has("POST /api/v1/event")
	h.call("POST", "/source", `{"name":"gh","provider":"github","secret":"its own"}`).want(http.StatusCreated)
	first := h.call("POST", "/source/gh/test", "").want(http.StatusOK).has(`"verified":true`, `"event":"evt_`)
	second := h.call("POST", "/source/gh/test", "").want(http.StatusOK).has(`"verified":true`)
	var a, b struct{ Event string }
	first.into(&a)
	second.into(&b)
	if a.Event == b.Event {
		t.Error("the second test is a duplicate of the first")
	}
	h.call("GET", "/event/"+a.Event, "").want(http.StatusOK)
	h.call("POST", "/source", `{"name":"odd","provider":"github","secret":"s","verify":{"token":{"header":"x-other"}}}`).want(http.StatusCreated)
	h.call("POST", "/source/odd/test", "").want(http.StatusOK).has(`"verified":false`, `"explanation":[`)
}

func TestProjects(t *testing.T) {
	h := newHarness(t)
	h.call("GET", "/project", "").want(http.StatusOK).has(`"name":"default"`)
	h.call("POST", "/project", `{"name":"lab","retention":{"events":"7d"}}`).want(http.StatusCreated).has(`"events":"7d"`)
	h.call("PATCH", "/project/lab", `{"retention":{"refused":"1d"}}`).want(http.StatusOK).has(`"events":"7d"`, `"refused":"1d"`)
	h.call("PATCH", "/project/lab", `{"name":"default"}`).want(http.StatusConflict)
	h.call("PATCH", "/project/default", `{"name":"mine"}`).want(http.StatusUnprocessableEntity)
	h.call("PATCH", "/project/default", `{"retention":{"events":"30d"}}`).want(http.StatusOK)
	h.call("GET", "/project/nope", "").want(http.StatusNotFound)
}

func TestPages(t *testing.T) {
	h := newHarness(t)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		h.call("POST", "/destination", `{"name":"`+name+`","http":{"url":"https://erp.example.com/"}}`).want(http.StatusCreated)
	}
	type list struct {
		Data         []struct{ Name string }
		Iterator     *string
		PrevIterator *string
		Done         bool
	}
	var walked []string
	var last list
	for query := "?limit=2"; ; query = "?limit=2&iterator=" + *last.Iterator {
		last = list{}
		h.call("GET", "/destination"+query, "").want(http.StatusOK).into(&last)
		for _, item := range last.Data {
			walked = append(walked, item.Name)
		}
		if last.Done {
			break
		}
	}
	if got := strings.Join(walked, ""); got != "abcde" {
		t.Errorf("walked %s", got)
	}
	var back list
	h.call("GET", "/destination?limit=2&iterator="+*last.PrevIterator, "").want(http.StatusOK).into(&back)
	if len(back.Data) != 2 || back.Data[0].Name != "c" || back.Data[1].Name != "d" {
		t.Errorf("walked back to %v", back.Data)
	}
	var empty list
	h.call("GET", "/event", "").want(http.StatusOK).has(`"data":[]`, `"iterator":null`).into(&empty)
	for query, loc := range map[string]string{
		"?limit=0": `["query","limit"]`, "?limit=251": `["query","limit"]`, "?limit=x": `["query","limit"]`,
		"?iterator=x": `["query","iterator"]`, "?iterator=evt_0000000000001": `["query","iterator"]`,
	} {
		h.call("GET", "/destination"+query, "").want(http.StatusUnprocessableEntity).has(`"loc":` + loc)
	}
}

func TestGallery(t *testing.T) {
	h := newHarness(t)
	h.call("GET", "/provider", "").want(http.StatusOK).has(`"name":"shopify"`, `"confirmed":true`)
	profile, ok := h.Gallery.Profile("shopify")
	if !ok {
		t.Fatal("no shopify")
	}
	h.call("GET", "/provider/shopify", "").want(http.StatusOK).has(`"sample"`).hasNot(profile.Sample.Secret.Reveal())
	h.call("GET", "/provider/nope", "").want(http.StatusNotFound)
	for _, profile := range h.Gallery.Profiles() {
		h.call("GET", "/provider/"+profile.Name, "").want(http.StatusOK)
	}
}

func TestEverySampleCanBeSent(t *testing.T) {
	h := newHarness(t)
	for _, profile := range h.Gallery.Profiles() {
		if profile.Sample == nil {
			continue
		}
		body, err := json.Marshal(SourceIn{Name: profile.Name, SourceSpec: hook.SourceSpec{
			Provider: profile.Name, Secret: profile.Sample.Secret, Settings: profile.Sample.Settings,
		}})
		if err != nil {
			t.Fatal(err)
		}
		h.call("POST", "/source", string(body)).want(http.StatusCreated)
		h.call("POST", "/source/"+profile.Name+"/test", "").want(http.StatusOK).has(`"verified":true`, `"event":"evt_`)
	}
}
