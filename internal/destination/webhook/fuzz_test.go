package webhook_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/hook"
)

// FuzzEncodings sends events of any bytes in every encoding: the request is always one
// that HTTP can carry, and the data can always be had back.
func FuzzEncodings(f *testing.F) {
	f.Add("orders/create", "1001", "application/json", []byte(`{"id":1}`))
	f.Add("", "", "", []byte{})
	f.Add("a\r\nb: c", "\x00", "text/plain; charset=\"", []byte("x"))
	f.Add("é %\"", "ção", "application/json", []byte(`{"id":`))
	f.Add("t", "k", "application/octet-stream", []byte{0xff, 0})
	w := &lastRequest{}
	factory := webhook.NewFactory(webhook.Options{Guard: newGuard(f), Transport: w, Logger: quiet()})
	senders := map[string]*destination.Sender{}
	for _, encoding := range []string{"raw", "cloudevents-binary", "cloudevents-structured"} {
		sender, err := factory.Open(&hook.Destination{Name: "erp", DestinationSpec: hook.DestinationSpec{
			HTTP: target(func(h *hook.HTTPTarget) { h.Encoding = encoding }),
		}})
		if err != nil {
			f.Fatal(err)
		}
		senders[encoding] = sender
	}
	f.Fuzz(func(t *testing.T, eventType, key, contentType string, body []byte) {
		m := &destination.Message{
			Delivery: 1, Attempt: 1, Time: time.Unix(1, 0), Source: "/default/" + key, Body: body,
			Event: &hook.Event{ID: 1, Type: eventType, Key: key, ReceivedAt: time.Unix(1, 0), Headers: hook.Headers{{Name: "Content-Type", Value: contentType}}},
		}
		for encoding, sender := range senders {
			if _, try := sender.Send(t.Context(), m); try.Outcome != hook.OutcomeSuccess {
				t.Fatalf("%s: %v", encoding, try)
			}
			for name, values := range w.header {
				for _, value := range values {
					if strings.ContainsAny(name+value, "\r\n\x00") {
						t.Fatalf("%s: the header %q: %q cannot be sent", encoding, name, value)
					}
				}
			}
			if encoding == "cloudevents-structured" {
				structured(t, w.body, body)
			} else if !bytes.Equal(w.body, body) {
				t.Fatalf("%s: %q is sent as %q", encoding, body, w.body)
			}
		}
	})
}

// structured checks that a structured event holds the data that was sent.
func structured(t *testing.T, sent, body []byte) {
	t.Helper()
	var event struct {
		Data       json.RawMessage `json:"data"`
		DataBase64 string          `json:"data_base64"`
	}
	if err := json.Unmarshal(sent, &event); err != nil {
		t.Fatalf("%q is not JSON: %v", sent, err)
	}
	if data, err := base64.StdEncoding.DecodeString(event.DataBase64); err == nil && event.DataBase64 != "" && bytes.Equal(data, body) {
		return
	}
	var text string
	if json.Unmarshal(event.Data, &text) == nil && text == string(body) {
		return
	}
	var compact bytes.Buffer
	if len(body) != 0 && (json.Compact(&compact, body) != nil || !equalJSON(event.Data, body)) {
		t.Fatalf("the data %q of %q cannot be had back", body, sent)
	}
}

// equalJSON reports whether two JSON texts say the same.
func equalJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	first, err := json.Marshal(x)
	if err != nil {
		return false
	}
	second, err := json.Marshal(y)
	return err == nil && bytes.Equal(first, second)
}

// lastRequest keeps the last request.
type lastRequest struct {
	header http.Header
	body   []byte
}

func (l *lastRequest) RoundTrip(r *http.Request) (*http.Response, error) {
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		return nil, err
	}
	l.header, l.body = r.Header, body.Bytes()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}
