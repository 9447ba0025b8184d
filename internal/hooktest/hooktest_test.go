package hooktest

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"malote.dev/malote/internal/hook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestVerifiesPublishedVector holds v1 to the vector that the libraries of the
// Standard Webhooks specification publish in their tests.
func TestVerifiesPublishedVector(t *testing.T) {
	content := []byte(`msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}`)
	signature, err := base64.StdEncoding.DecodeString("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	if err != nil {
		t.Fatal(err)
	}
	if !fits("v1", signature, content, Secret) {
		t.Error("the published signature does not fit")
	}
	if fits("v1", signature, append(content, ' '), Secret) {
		t.Error("the published signature fits another body")
	}
}

func TestVerifyStandard(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key := "whpk_" + base64.StdEncoding.EncodeToString(public)
	body := []byte(`{"id":1}`)
	symmetric, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(Secret, "whsec_"))
	sign := func(at time.Time) http.Header {
		stamp := strconv.FormatInt(at.Unix(), 10)
		content := []byte("msg_1." + stamp + "." + string(body))
		headers := http.Header{}
		headers.Set("webhook-id", "msg_1")
		headers.Set("webhook-timestamp", stamp)
		headers.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(digest(symmetric, content))+
			" v1a,"+base64.StdEncoding.EncodeToString(ed25519.Sign(private, content)))
		return headers
	}
	tests := map[string]struct {
		headers http.Header
		body    []byte
		secret  string
		want    string // part of the error; "" for none
	}{
		"symmetric":       {sign(time.Now()), body, Secret, ""},
		"asymmetric":      {sign(time.Now()), body, key, ""},
		"another body":    {sign(time.Now()), []byte("{}"), Secret, "no signature"},
		"another secret":  {sign(time.Now()), body, "whsec_" + base64.StdEncoding.EncodeToString([]byte("x")), "no signature"},
		"too old":         {sign(time.Now().Add(-time.Hour)), body, Secret, "off"},
		"from the future": {sign(time.Now().Add(time.Hour)), body, Secret, "off"},
		"no headers":      {http.Header{}, body, Secret, "webhook-id"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := VerifyStandard(test.headers, test.body, []string{"whsec_", test.secret})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("VerifyStandard() = %v, want %q", err, test.want)
			}
		})
	}
}

func post(ctx context.Context, t *testing.T, client *http.Client, url, id string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(id))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("webhook-id", id)
	return client.Do(req)
}

func TestRemembersWhatCame(t *testing.T) {
	r := NewReceiver(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, id := range []string{"a1", "b1", "a2", "b1", "a1"} {
		resp, err := post(t.Context(), t, client, r.URL()+"/orders?x=1", id)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if err := r.Wait(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if got := r.Duplicates(); len(got) != 2 || got["a1"] != 2 || got["b1"] != 2 {
		t.Errorf("Duplicates() = %v", got)
	}
	if first := r.Requests()[0]; first.Path != "/orders" || first.Query != "x=1" || string(first.Body) != "a1" {
		t.Errorf("the first request is kept as %+v", first)
	}
}

func TestMisbehavesOverSockets(t *testing.T) {
	r := NewReceiver(t)
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	get := func(behavior Behavior) (status int, size int64, err error) {
		r.Behave(behavior)
		resp, err := post(t.Context(), t, client, r.URL(), "m")
		if err != nil {
			return 0, 0, err
		}
		size, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode, size, err
	}
	if status, _, err := get(Answer(http.StatusGone)); status != http.StatusGone || err != nil {
		t.Errorf("Answer: %d, %v", status, err)
	}
	if status, _, err := get(Redirect("http://192.0.2.1/")); status != http.StatusFound || err != nil {
		t.Errorf("Redirect: %d, %v", status, err)
	}
	if _, _, err := get(Always(Reaction{Drop: true})); err == nil {
		t.Error("Drop: an answer came")
	}
	if _, size, err := get(Always(Reaction{Huge: 3 << 20})); size != 3<<20 || err != nil {
		t.Errorf("Huge: %d bytes, %v", size, err)
	}
	r.Behave(Always(Reaction{Hang: true}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if resp, err := post(ctx, t, client, r.URL(), "m"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Hang: %v, %v", resp, err)
	}
	r.Behave(Flapping(2, 1))
	for i, want := range []int{200, 200, 503, 200, 200, 503} {
		if resp, err := post(t.Context(), t, client, r.URL(), "m"); err != nil || resp.StatusCode != want {
			t.Errorf("Flapping, request %d: %v, %v, want %d", i, resp, err, want)
		}
	}
}

func TestAnswersWithoutANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Receiver{}
		client := &http.Client{Transport: r}
		r.Behave(Sequence(Reaction{Delay: time.Minute}, Reaction{Drop: true}, Reaction{Status: http.StatusTooManyRequests}))
		began := time.Now()
		if resp, err := post(t.Context(), t, client, "http://erp.example/", "m"); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("the first answer is %v, %v", resp, err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("the answer took %s, want the minute of its delay", took)
		}
		if _, err := post(t.Context(), t, client, "http://erp.example/", "m"); err == nil {
			t.Error("an answer came from a dropped connection")
		}
		if resp, _ := post(t.Context(), t, client, "http://erp.example/", "m"); resp == nil || resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("the third answer is %v, want 429", resp)
		}
		r.Trust(Secret)
		if resp, _ := post(t.Context(), t, client, "http://erp.example/", "m"); resp == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("an unsigned request is answered %v, want 401", resp)
		}
		if bad := r.BadSignatures(); len(bad) != 1 || bad[0].Number != 4 {
			t.Errorf("BadSignatures() = %v", bad)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Wait(ctx, 5); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait() for what never comes = %v", err)
		}
	})
}

func TestBuildersFitTogether(t *testing.T) {
	ids, now := hook.NewIDs(1), time.Now()
	source := Source(5, "shop", func(s *hook.Source) { s.ID, s.Provider = 7, "shopify" })
	destination := Destination(5, "erp", "http://erp.example/", func(d *hook.Destination) { d.ID = 9 })
	connection := Connection(&source, &destination, func(c *hook.Connection) { c.ID = 11 })
	event := Event(&source, ids, now, func(e *hook.Event) { e.Key = "1001" })
	event.Targets = append(event.Targets, Target(&connection, ids, now))
	if connection.Name != "shop-to-erp" || event.Source != 7 || event.Targets[0].Destination != 9 || event.Targets[0].Connection != 11 {
		t.Errorf("%+v", event)
	}
}
