package signature_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

func provider(t *testing.T, name, secret string, settings map[string]string) *signature.Verifier {
	t.Helper()
	v, err := signature.Compile(&hook.SourceSpec{Provider: name, Secret: hook.Secret(secret), Settings: settings}, gallery(t), keyFile{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// get is a request without a body.
func get(method, query string, headers ...string) *signature.Request {
	req := request("", headers...)
	req.Method, req.Query = method, query
	return req
}

func hexMAC(content string) string {
	return hex.EncodeToString(sum(sha256.New, testSecret, content))
}

// answer is a reply as a table writes it.
type answer struct {
	Status int
	Type   string
	Body   string
}

func TestHandshakes(t *testing.T) {
	edKey := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))
	public, _ := edKey.Public().(ed25519.PublicKey)
	discord := func(body string) *signature.Request {
		return request(body, "X-Signature-Timestamp", unix(), "X-Signature-Ed25519", hex.EncodeToString(ed25519.Sign(edKey, []byte(unix()+body))))
	}
	const (
		slackBody = `{"token":"x","challenge":"3eZbrw1a\"B","type":"url_verification"}`
		zoomBody  = `{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}`
		gridBody  = `[{"id":"1","data":{"validationCode":"512d38b6"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]`
	)
	text := "text/plain; charset=utf-8"
	tests := map[string]struct {
		provider string
		secret   string
		settings map[string]string
		req      *signature.Request
		want     *answer // nil: no handshake
	}{
		"slack":               {"slack", testSecret, nil, request(slackBody, "X-Slack-Request-Timestamp", unix(), "X-Slack-Signature", "v0="+hexMAC("v0:"+unix()+":"+slackBody)), &answer{200, text, `3eZbrw1a"B`}},
		"slack, unsigned":     {"slack", testSecret, nil, request(slackBody), nil},
		"meta":                {"meta", testSecret, map[string]string{"verifyToken": "v"}, get("GET", "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=v"), &answer{200, text, "1158201444"}},
		"meta, wrong token":   {"meta", testSecret, map[string]string{"verifyToken": "v"}, get("GET", "hub.mode=subscribe&hub.challenge=1&hub.verify_token=w"), nil},
		"meta, no token":      {"meta", testSecret, map[string]string{"verifyToken": "v"}, get("GET", "hub.mode=subscribe&hub.challenge=1"), nil},
		"x":                   {"x", testSecret, nil, get("GET", "crc_token=abc"), &answer{200, "application/json", `{"response_token":"sha256=` + base64MAC("abc") + `"}`}},
		"graph":               {"microsoft-graph", testSecret, nil, get("POST", "validationToken=Validation%3A+Testing+client+application"), &answer{200, "text/plain", "Validation: Testing client application"}},
		"zoom":                {"zoom", testSecret, nil, request(zoomBody, "x-zm-request-timestamp", unix(), "x-zm-signature", "v0="+hexMAC("v0:"+unix()+":"+zoomBody)), &answer{200, "application/json", `{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"` + hexMAC("qgg8vlvZRS6UYooatFL8Aw") + `"}`}},
		"dropbox":             {"dropbox", testSecret, nil, get("GET", "challenge=abc123"), &answer{200, "text/plain", "abc123"}},
		"adobe":               {"adobe-io", "", map[string]string{"clientId": "c"}, get("GET", "challenge=8ec8d794"), &answer{200, text, "8ec8d794"}},
		"okta":                {"okta", testSecret, nil, get("GET", "", "X-Okta-Verification-Challenge", "my verification challenge"), &answer{200, "application/json", `{"verification":"my verification challenge"}`}},
		"woocommerce":         {"woocommerce", testSecret, nil, request("webhook_id=3", "Content-Type", "application/x-www-form-urlencoded"), &answer{200, "", ""}},
		"woocommerce, signed": {"woocommerce", testSecret, nil, request("webhook_id=3", "Content-Type", "application/x-www-form-urlencoded", "X-WC-Webhook-Signature", "x"), nil},
		"trello":              {"trello", testSecret, nil, get("HEAD", ""), &answer{200, "", ""}},
		"intercom":            {"intercom", testSecret, nil, get("HEAD", ""), &answer{200, "", ""}},
		"discord ping":        {"discord", hex.EncodeToString(public), nil, discord(`{"version":1,"type":0}`), &answer{204, "application/json", ""}},
		"discord interaction": {"discord", hex.EncodeToString(public), nil, discord(`{"type":1,"token":"t","id":"1"}`), &answer{200, "application/json", `{"type":1}`}},
		"discord event":       {"discord", hex.EncodeToString(public), nil, discord(`{"type":1,"event":{}}`), nil},
		"discord, bad":        {"discord", hex.EncodeToString(public), nil, request(`{"version":1,"type":0}`, "X-Signature-Timestamp", unix(), "X-Signature-Ed25519", strings.Repeat("00", 64)), nil},
		"event grid":          {"azure-event-grid", testSecret, nil, withQuery(request(gridBody, "aeg-event-type", "SubscriptionValidation"), "token=a+made-up+secret"), &answer{200, "application/json", `{"validationResponse":"512d38b6"}`}},
		"event grid, foreign": {"azure-event-grid", testSecret, nil, request(gridBody, "aeg-event-type", "SubscriptionValidation"), nil},
		"vtex":                {"vtex", testSecret, nil, request(`{"hookConfig":"ping"}`), &answer{200, "", ""}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			reply, ok := provider(t, test.provider, test.secret, test.settings).Handshake(t.Context(), test.req)
			if ok != (test.want != nil) {
				t.Fatalf("answered: %v, %+v", ok, reply)
			}
			if !ok {
				return
			}
			got := &answer{reply.Status, reply.Headers.Get("Content-Type"), string(reply.Body)}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if reply.Headers.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("a browser may take the reply for a page")
			}
		})
	}
}

func withQuery(req *signature.Request, query string) *signature.Request {
	req.Query = query
	return req
}

func base64MAC(content string) string {
	return encodeBase64(sum(sha256.New, testSecret, content))
}

func TestCloudEventsAbuseProtection(t *testing.T) {
	options := get("OPTIONS", "", "WebHook-Request-Origin", "eventemitter.example.com", "WebHook-Request-Rate", "120")
	open, ok := provider(t, "cloudevents", testSecret, nil).Handshake(t.Context(), options)
	if !ok || open.Status != 200 || open.Headers.Get("WebHook-Allowed-Origin") != "*" || open.Headers.Get("WebHook-Allowed-Rate") != "*" {
		t.Errorf("reply %+v", open)
	}
	narrow := map[string]string{"origin": "eventemitter.example.com", "rate": "60"}
	reply, ok := provider(t, "cloudevents", testSecret, narrow).Handshake(t.Context(), options)
	if !ok || reply.Headers.Get("WebHook-Allowed-Origin") != "eventemitter.example.com" || reply.Headers.Get("WebHook-Allowed-Rate") != "60" {
		t.Errorf("reply %+v", reply)
	}
	if _, ok := provider(t, "cloudevents", testSecret, nil).Handshake(t.Context(), get("OPTIONS", "")); ok {
		t.Error("an ordinary OPTIONS request is no handshake")
	}
}

func TestHandshakesOfTheSourceComeFirst(t *testing.T) {
	own := hook.Handshake{
		Name: "own", When: hook.HandshakeMatch{Methods: []string{"GET"}},
		Reply: hook.HandshakeReply{Status: 418, Headers: map[string]string{"X-Name": "{query:name}"}, Body: "[{method}] {{"},
	}
	v, err := signature.Compile(&hook.SourceSpec{Provider: "dropbox", Secret: testSecret, Handshakes: []hook.Handshake{own}}, gallery(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, ok := v.Handshake(t.Context(), get("GET", "challenge=x&name=n"))
	if !ok || reply.Status != 418 || string(reply.Body) != "[GET] {" || reply.Headers.Get("X-Name") != "n" {
		t.Errorf("reply %+v", reply)
	}
	for _, query := range []string{"challenge=x&name=a%0d%0aSet-Cookie:b", "challenge=x&name=%00"} {
		if reply, ok := v.Handshake(t.Context(), get("GET", query)); ok && reply.Name == "own" {
			t.Errorf("a header with control characters went out: %+v", reply.Headers)
		}
	}
}

func TestLongChallengesAreNotReflected(t *testing.T) {
	v := provider(t, "dropbox", testSecret, nil)
	if _, ok := v.Handshake(t.Context(), get("GET", "challenge="+strings.Repeat("x", 1<<20))); ok {
		t.Error("a megabyte was sent back")
	}
}

func TestASettingThatIsMissingMatchesNothing(t *testing.T) {
	shake := hook.Handshake{
		Name: "token", When: hook.HandshakeMatch{Query: map[string]string{"token": "{setting:token}"}}, Reply: hook.HandshakeReply{Body: "in"},
	}
	v := compile(t, hook.Verify{None: true}, func(s *hook.SourceSpec) { s.Handshakes = []hook.Handshake{shake} })
	for _, query := range []string{"", "token="} {
		if _, ok := v.Handshake(t.Context(), get("GET", query)); ok {
			t.Errorf("%q was let in", query)
		}
	}
}

func TestAnySecretFitsAHandshake(t *testing.T) {
	shake := hook.Handshake{
		Name: "token", When: hook.HandshakeMatch{Headers: map[string]string{"X-Token": "t-{secret}"}}, Reply: hook.HandshakeReply{Body: "in"},
	}
	v := compile(t, hook.Verify{None: true}, func(s *hook.SourceSpec) {
		s.Secrets, s.Handshakes = []hook.Secret{"second"}, []hook.Handshake{shake}
	})
	for value, want := range map[string]bool{"t-" + testSecret: true, "t-second": true, "t-": false, "t-third": false} {
		if _, ok := v.Handshake(t.Context(), get("GET", "", "X-Token", value)); ok != want {
			t.Errorf("%q: %v", value, ok)
		}
	}
}

func TestEveryHandshakeOfAProfileCompilesAndIsNamed(t *testing.T) {
	for _, p := range gallery(t).Profiles() {
		names := map[string]bool{}
		for _, h := range p.Handshakes {
			if names[h.Name] {
				t.Errorf("%s: two handshakes are called %s", p.Name, h.Name)
			}
			names[h.Name] = true
			if h.Fetch != "" && slices.ContainsFunc(h.Hosts, func(host string) bool { return strings.HasPrefix(host, "*") && strings.Count(host, ".") < 2 }) {
				t.Errorf("%s: the hosts of %s are too wide", p.Name, h.Name)
			}
		}
	}
}

// X signs challenges and requests with the same key over nothing but their text: who may
// have any text signed as a challenge can send forged events.
func TestAChallengeIsNoOracleForSignatures(t *testing.T) {
	_, v := sampleOf(t, "x")
	ask := func(challenge string) (*signature.Reply, bool) {
		req := request("")
		req.Method, req.Query = "GET", "crc_token="+url.QueryEscape(challenge)
		return v.Handshake(t.Context(), req)
	}
	for _, good := range []string{"MGExNGY4MjUtZmZjMC00OTVhLThhZDAtZjA1YTllYmNhNzFj", "0a14f825-ffc0-495a-8ad0-f05a9ebca71c", "a/b+c=="} {
		if _, ok := ask(good); !ok {
			t.Errorf("the challenge %q was not answered", good)
		}
	}
	for _, forged := range []string{
		`{"for_user_id":"1","tweet_create_events":[]}`, `[]`, `v0:1700000000:{}`, "a b", "a\nb", "a&b", strings.Repeat("a", 257), "é",
	} {
		if reply, ok := ask(forged); ok {
			t.Errorf("%q was signed: %s", forged, reply.Body)
		}
	}
}
