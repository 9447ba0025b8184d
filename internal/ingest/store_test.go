package ingest

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/hooktest"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// TestWithTheRealStore sends requests through the handler into SQLite and reads them
// back.
func TestWithTheRealStore(t *testing.T) {
	ctx := t.Context()
	db := sqlitetest.Open(t)
	project, err := db.Projects().Get(ctx, 0, route.DefaultProject)
	if err != nil {
		t.Fatal(err)
	}
	shop := hooktest.Source(project.ID, "shop", func(s *hook.Source) {
		s.Verify, s.Secret = &hook.Verify{Token: &hook.TokenRule{Header: "X-Token"}}, "right"
		s.Type, s.Dedupe = &hook.Field{Path: "type"}, &hook.Dedupe{Field: hook.Field{Path: "id"}}
	})
	erp := hooktest.Destination(project.ID, "erp", "https://erp.example.com/")
	must(t, db.Sources().Create(ctx, &shop))
	must(t, db.Destinations().Create(ctx, &erp))
	link := hooktest.Connection(&shop, &erp)
	must(t, db.Connections().Create(ctx, &link))

	gallery := profilesOf(t)
	router := route.New(route.Options{
		Load:    db.Catalogue,
		Compile: func(spec *hook.SourceSpec) (*signature.Verifier, error) { return signature.Compile(spec, gallery, nil) },
	})
	must(t, router.Reload(ctx))
	lanes := &fakeLanes{room: 1000, reserved: map[hook.DestinationID]int{}}
	handler, err := New(Options{Catalogue: router, Store: db, Lanes: lanes, IDs: hook.NewIDs(3)})
	if err != nil {
		t.Fatal(err)
	}

	// The same event from many senders at the same moment.
	const senders, malformed = 16, `{"type":"a","id":`
	answers := make([]*httptest.ResponseRecorder, senders)
	var wait sync.WaitGroup
	for i := range senders {
		wait.Go(func() {
			answers[i] = httptest.NewRecorder()
			handler.ServeHTTP(answers[i], request(http.MethodPost, "/in/shop", `{"type":"a","id":"1"}`, "X-Token", "right"))
		})
	}
	wait.Wait()
	for _, answer := range answers {
		if answer.Code != 200 || answer.Body.String() != answers[0].Body.String() {
			t.Fatalf("%d %s, the first was %s", answer.Code, answer.Body, answers[0].Body)
		}
	}
	if len(lanes.jobs) != 1 || !lanes.balanced() {
		t.Fatalf("%d deliveries of one event", len(lanes.jobs))
	}
	event, err := db.Event(ctx, project.ID, idOf(t, answers[0]))
	if err != nil || event.Type != "a" || event.ProviderID != "1" || event.Duplicates != senders-1 || len(event.Targets) != 1 || !event.Verdict.Verified {
		t.Errorf("%+v, %v", event, err)
	}

	// What is not JSON is kept byte by byte.
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request(http.MethodPost, "/in/shop", malformed, "X-Token", "right"))
	event, err = db.Event(ctx, project.ID, idOf(t, answer))
	if err != nil || !bytes.Equal(event.Payload, []byte(malformed)) || event.Type != signature.DefaultType {
		t.Errorf("%+v, %v", event, err)
	}

	// A refused request, and its way back in.
	answer = httptest.NewRecorder()
	handler.ServeHTTP(answer, request(http.MethodPost, "/in/shop", `{"type":"late"}`, "X-Token", "new"))
	refusals, err := db.ListRefusals(ctx, store.RefusalQuery{Project: project.ID})
	if err != nil || answer.Code != 401 || len(refusals.Items) != 1 {
		t.Fatalf("%d, %d refusals, %v", answer.Code, len(refusals.Items), err)
	}
	kept, err := db.Refusal(ctx, project.ID, refusals.Items[0].ID)
	if err != nil || len(kept.Explanation) == 0 || strings.Contains(strings.Join(kept.Explanation, " "), "right") {
		t.Fatalf("%+v, %v", kept, err)
	}
	shop.Secrets = []hook.Secret{"new"}
	must(t, db.Sources().Update(ctx, &shop))
	must(t, router.Reload(ctx))
	receipt, err := handler.Readmit(ctx, &kept)
	if err != nil {
		t.Fatal(err)
	}
	kept, err = db.Refusal(ctx, project.ID, kept.ID)
	if err != nil || kept.Admitted != receipt.Event {
		t.Errorf("%+v, %v", kept, err)
	}
	if event, err = db.Event(ctx, project.ID, receipt.Event); err != nil || !event.Verdict.Admitted || event.Type != "late" {
		t.Errorf("%+v, %v", event, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
