package ingest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule"
)

func tokenSource(secret hook.Secret) hook.Source {
	return source(10, "shop", func(s *hook.Source) {
		s.Verify, s.Secret = &hook.Verify{Token: &hook.TokenRule{Header: "X-Token"}}, secret
		s.Type = &hook.Field{Header: "X-Topic"}
	})
}

func TestRefusedRequestsAreKeptWithAnExplanation(t *testing.T) {
	w := newWorld(t, withConnection(tokenSource("right")))
	answer := w.post("/in/shop?a=b", "body", "X-Token", "wrong")
	if answer.Code != 401 || len(w.store.refusals) != 1 {
		t.Fatalf("%d, %d refusals", answer.Code, len(w.store.refusals))
	}
	kept := w.store.refusals[0]
	if kept.Reason != rule.BadToken || len(kept.Explanation) == 0 || string(kept.Payload) != "body" || kept.Query != "a=b" ||
		kept.Method != http.MethodPost || kept.Source != 10 || kept.Project != projectID || kept.ID == 0 || kept.Remote != "192.0.2.1" || kept.Truncated {
		t.Errorf("%+v", kept)
	}
	for _, sentence := range kept.Explanation {
		if sentence == "" || strings.Contains(sentence, "right") {
			t.Errorf("the explanation says %q", sentence)
		}
		if strings.Contains(answer.Body.String(), sentence) {
			t.Error("the sender is told the explanation")
		}
	}
}

// What a flood of refused requests writes is bounded; all of it is counted.
func TestRefusalsHaveAPace(t *testing.T) {
	now := time.Now()
	w := newWorld(t, withConnection(tokenSource("right")), func(o *Options) { o.Now = func() time.Time { return now } })
	for range 500 {
		w.post("/in/shop", "x", "X-Token", "wrong")
	}
	if len(w.store.refusals) != refusalsAtOnce || w.counted(t, "malote_ingest_refused_total") != 500 {
		t.Errorf("%d kept, %v counted", len(w.store.refusals), w.counted(t, "malote_ingest_refused_total"))
	}
	now = now.Add(time.Second)
	for range 500 {
		w.post("/in/shop", "x", "X-Token", "wrong")
	}
	if len(w.store.refusals) != refusalsAtOnce+refusalsPerSecond {
		t.Errorf("%d kept a second later", len(w.store.refusals))
	}
}

// Twenty requests a second that nobody signed would otherwise write gigabytes in an hour.
func TestAFloodOfGreatRefusedRequestsDoesNotFillTheDisk(t *testing.T) {
	now := time.Now()
	w := newWorld(t, withConnection(tokenSource("right")), func(o *Options) { o.Now = func() time.Time { return now } })
	body, header := strings.Repeat("x", maxKeptBody), strings.Repeat("y", 32<<10)
	explained, bytes := 0, 0
	const seconds = 60
	for range seconds {
		for range 2 * refusalsPerSecond {
			w.post("/in/shop", body, "X-Token", "wrong", "X-Great", header)
		}
		now = now.Add(time.Second)
	}
	for _, kept := range w.store.refusals {
		bytes += len(kept.Payload)
		for _, field := range kept.Headers {
			bytes += len(field.Name) + len(field.Value)
		}
		if len(kept.Explanation) > 1 {
			explained++
		}
		if len(kept.Payload) == 0 && !kept.Truncated {
			t.Fatal("a refusal without its body does not say so")
		}
	}
	if most := refusedBytesAtOnce + seconds*refusedBytesPerSecond; bytes > most || bytes < most/2 {
		t.Errorf("%d bytes were kept, at most %d should be", bytes, most)
	}
	if most := explanationsAtOnce + seconds*explanationsPerSecond; explained > most || explained == 0 {
		t.Errorf("%d were explained, at most %d should be", explained, most)
	}
}

func TestLatenessAloneIsKnownOnlyWhereNothingElseIsAsked(t *testing.T) {
	late := &rule.Refusal{Reason: rule.OutOfTolerance}
	hmac := hook.Verify{HMAC: &hook.HMACRule{}}
	both := hook.Verify{AllOf: []hook.Verify{hmac, {IPs: []string{"192.0.2.1"}}}}
	for name, c := range map[string]struct {
		verify hook.Verify
		want   bool
	}{
		"one scheme": {hmac, true}, "either": {hook.Verify{AnyOf: []hook.Verify{hmac, hmac}}, true},
		"both": {both, false}, "both, further in": {hook.Verify{AnyOf: []hook.Verify{hmac, both}}, false},
		"an address": {hook.Verify{AnyOf: []hook.Verify{{HMAC: &hook.HMACRule{}, IPs: []string{"192.0.2.1"}}}}, false},
	} {
		if got := onlyLate(late, &c.verify); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLongRefusedBodiesAreCut(t *testing.T) {
	w := newWorld(t, withConnection(tokenSource("right")))
	w.post("/in/shop", strings.Repeat("x", maxKeptBody+1), "X-Token", "wrong")
	kept := w.store.refusals[0]
	if len(kept.Payload) != maxKeptBody || !kept.Truncated {
		t.Errorf("%d bytes, truncated %v", len(kept.Payload), kept.Truncated)
	}
	if _, err := w.Readmit(t.Context(), kept); hook.KindOf(err) != hook.KindInvalid {
		t.Errorf("got %v", err)
	}
}

func TestReadmit(t *testing.T) {
	w := newWorld(t, withConnection(tokenSource("right")))
	w.post("/in/shop?a=b", "body", "X-Token", "new", "X-Topic", "orders/create")
	kept := w.store.refusals[0]

	_, err := w.Readmit(t.Context(), kept)
	if hook.KindOf(err) != hook.KindInvalid || len(w.store.accepted) != 0 {
		t.Fatalf("it is let in before the source is mended: %v", err)
	}
	w.change(t, func(s *hook.Source) { s.Secrets = []hook.Secret{"new"} })
	receipt, err := w.Readmit(t.Context(), kept)
	if err != nil || receipt.Event == 0 || w.store.admitted[kept.ID] != receipt.Event {
		t.Fatalf("%+v, %v", receipt, err)
	}
	event := &w.store.accepted[0].Event
	if event.ID != receipt.Event || string(event.Payload) != "body" || event.Type != "orders/create" || !event.Verdict.Admitted ||
		!event.Verdict.Verified || event.Verdict.Secret != 2 || event.Headers.Get("X-Token") != "[secret]" || event.Query != "a=b" {
		t.Errorf("%+v", event)
	}
	if len(w.lanes.jobs) != 1 || !w.lanes.balanced() {
		t.Error("it is not delivered")
	}
	kept.Admitted = receipt.Event
	if _, err := w.Readmit(t.Context(), kept); hook.KindOf(err) != hook.KindConflict {
		t.Errorf("a second time: %v", err)
	}
	gone := *kept
	gone.Source, gone.Admitted = 99, 0
	if _, err := w.Readmit(t.Context(), &gone); hook.KindOf(err) != hook.KindNotFound {
		t.Errorf("without its source: %v", err)
	}
	other := *kept
	other.Project, other.Admitted = 2, 0
	if _, err := w.Readmit(t.Context(), &other); hook.KindOf(err) != hook.KindNotFound {
		t.Errorf("from another project: %v", err)
	}
}

// A request whose signature fits and whose time did not is let in when a person asks
// for it; one whose signature does not fit is not.
func TestReadmitIgnoresTheTimeAlone(t *testing.T) {
	w, kept := stripeRefusal(t, "t=1492774577,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd")
	if kept.Reason != rule.BadSignature {
		t.Fatalf("the reason is %q", kept.Reason)
	}
	if _, err := w.Readmit(t.Context(), kept); hook.KindOf(err) != hook.KindInvalid {
		t.Errorf("a wrong signature: %v", err)
	}
	gallerySample(t, w)
	late := w.store.refusals[len(w.store.refusals)-1]
	if late.Reason != rule.OutOfTolerance {
		t.Fatalf("the reason is %q", late.Reason)
	}
	receipt, err := w.Readmit(t.Context(), late)
	if err != nil || receipt.Event == 0 {
		t.Fatal(err)
	}
	if verdict := w.store.accepted[0].Event.Verdict; !verdict.Admitted || verdict.Scheme != SchemeLate {
		t.Errorf("%+v", verdict)
	}
}

func stripeRefusal(t *testing.T, header string) (*world, *hook.Refusal) {
	t.Helper()
	w := newWorld(t, withConnection(source(10, "stripe", func(s *hook.Source) {
		s.Verify, s.Provider, s.Secret = nil, "stripe", "whsec_test_secret"
	})))
	w.post("/in/stripe", "{}", "Stripe-Signature", header)
	if len(w.store.refusals) != 1 {
		t.Fatal("it was not refused")
	}
	return w, w.store.refusals[0]
}

// gallerySample sends the profile's own sample long after it was signed.
func gallerySample(t *testing.T, w *world) {
	t.Helper()
	profile := builtIn(t, "stripe")
	w.change(t, func(s *hook.Source) { s.Secret = profile.Sample.Secret })
	if answer := w.send(sampleRequest(t, profile)); answer.Code != http.StatusUnauthorized {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
}

func TestPublish(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) {
		s.Type, s.MaxBody = &hook.Field{Path: "kind"}, 20
		s.Dedupe = &hook.Dedupe{Field: hook.Field{Path: "id"}}
	})))
	shop, _ := w.router.Current().Source("shop")
	given := &hook.Event{Type: "given", Key: "k", ProviderID: "p", Payload: []byte(`{"kind":"read"}`), Headers: hook.Headers{{Name: "X", Value: "y"}}}
	receipt, err := w.Publish(t.Context(), shop, given)
	if err != nil {
		t.Fatal(err)
	}
	event := &w.store.accepted[0].Event
	if event.ID != receipt.Event || event.Type != "given" || event.Key != "k" || event.ProviderID != "p" || event.Source != 10 ||
		event.Project != projectID || event.Verdict.Scheme != SchemeAPI || event.ReceivedAt.IsZero() || event.PayloadSize != 15 || len(w.lanes.jobs) != 1 {
		t.Errorf("%+v", event)
	}
	if given.ID != 0 {
		t.Error("the caller's event was changed")
	}
	again, err := w.Publish(t.Context(), shop, given)
	if err != nil || !again.Duplicate || again.Event != receipt.Event {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := w.Publish(t.Context(), shop, &hook.Event{Payload: []byte(`{"kind":"read"}`)}); err != nil || w.store.accepted[1].Event.Type != "read" {
		t.Errorf("%v", err)
	}
	if _, err := w.Publish(t.Context(), shop, &hook.Event{Payload: make([]byte, 21)}); hook.KindOf(err) != hook.KindTooLarge {
		t.Errorf("too large: %v", err)
	}
	w.store.err = hook.Errorf(hook.KindUnavailable, "full")
	if _, err := w.Publish(t.Context(), shop, given); hook.KindOf(err) != hook.KindUnavailable || !w.lanes.balanced() {
		t.Errorf("full: %v", err)
	}
	w.change(t, func(s *hook.Source) { s.Disabled = true })
	shop, _ = w.router.Current().Source("shop")
	if _, err := w.Publish(t.Context(), shop, given); hook.KindOf(err) != hook.KindConflict {
		t.Errorf("disabled: %v", err)
	}
}

func TestMisconfiguredRequestsCanBeReadmitted(t *testing.T) {
	w := newWorld(t, withConnection(source(10, "shop", func(s *hook.Source) { s.Verify, s.Provider = nil, "githb" })))
	answer := w.post("/in/shop", "x")
	if answer.Code != 503 || len(w.store.refusals) != 1 {
		t.Fatalf("%d, %d refusals", answer.Code, len(w.store.refusals))
	}
	kept := w.store.refusals[0]
	if kept.Reason != ReasonMisconfigured || !strings.Contains(strings.Join(kept.Explanation, " "), "github") {
		t.Errorf("%+v", kept)
	}
	if _, err := w.Readmit(t.Context(), kept); hook.KindOf(err) != hook.KindConflict {
		t.Errorf("got %v", err)
	}
	w.change(t, func(s *hook.Source) { s.Provider, s.Verify = "", &hook.Verify{None: true} })
	if _, err := w.Readmit(t.Context(), kept); err != nil || !w.store.accepted[0].Event.Verdict.Admitted {
		t.Errorf("got %v", err)
	}
}

// When the sender's keys cannot be had, its request may be genuine: it is asked to come again.
func TestUnavailableKeysAreNotTheSendersFault(t *testing.T) {
	w := newWorldWithKeys(t, withConnection(source(10, "shop", func(s *hook.Source) {
		s.Verify = &hook.Verify{JWT: &hook.JWTRule{JWKS: "https://issuer.example/keys", Issuer: "https://issuer.example", Audience: "malote"}}
	})), keyFile{})
	// {"alg":"RS256","kid":"1"}.{"iss":"https://issuer.example"}.x
	answer := w.post("/in/shop", "x", "Authorization", "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.eHg")
	if answer.Code != 503 || answer.Header().Get("Retry-After") == "" || len(w.store.refusals) != 1 || w.store.refusals[0].Reason != rule.KeysUnavailable {
		t.Errorf("%d %s, %d refusals", answer.Code, answer.Body, len(w.store.refusals))
	}
}
