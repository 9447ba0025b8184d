package interop_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
)

// recorder is a receiver that keeps the last request and answers 204.
type recorder struct{ last *request }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.last = &request{method: req.Method, url: req.URL.String(), header: req.Header.Clone(), body: body}
	return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// deliver sends an event as the program does, and returns the request that goes out.
func deliver(t *testing.T, target *hook.HTTPTarget, event *hook.Event) *request {
	t.Helper()
	guard, err := egress.NewGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	receiver := &recorder{}
	target.URL = "https://erp.example.com/orders"
	sender, err := webhook.NewFactory(webhook.Options{Guard: guard, Transport: receiver}).Open(&hook.Destination{
		Name: "erp", DestinationSpec: hook.DestinationSpec{HTTP: target},
	})
	if err != nil {
		t.Fatal(err)
	}
	attempt, _ := sender.Send(context.Background(), &destination.Message{
		Delivery: 42, Attempt: 1, Time: time.Now(), Event: event, Source: "/default/loja", Body: event.Payload,
	})
	if receiver.last == nil {
		t.Fatalf("nothing was sent: %+v", attempt)
	}
	return receiver.last
}

func paidOrder() *hook.Event {
	return &hook.Event{
		ID: 1042, Type: "order.paid", Key: "pedido-1042", Method: http.MethodPost, ReceivedAt: time.Now(),
		Headers: hook.Headers{{Name: "Content-Type", Value: "application/json"}}, Payload: []byte(order),
	}
}

// TestDeliveriesVerify shows that whole deliveries, and not only their signatures, are
// what the official libraries expect of Standard Webhooks.
func TestDeliveriesVerify(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"", "cloudevents-binary", "cloudevents-structured"} {
		r := deliver(t, &hook.HTTPTarget{Sign: &hook.Sign{Secret: whsec}, Encoding: encoding}, paidOrder())
		libraries := map[string]library{"go standardwebhooks": goStandard, "go svix": goSvix, "npm standardwebhooks": npm(t, "standardwebhooks")}
		for name, library := range present(libraries) {
			if err := library(whsec, r); err != nil {
				t.Errorf("encoding %q: %s: %v", encoding, name, err)
			}
		}
		r = deliver(t, &hook.HTTPTarget{Sign: &hook.Sign{Scheme: "svix", Secret: whsec}, Encoding: encoding}, paidOrder())
		for name, library := range present(map[string]library{"go svix": goSvix, "npm svix": npm(t, "svix")}) {
			if err := library(whsec, r); err != nil {
				t.Errorf("encoding %q: %s: %v", encoding, name, err)
			}
		}
	}
}

// TestDeliveriesAreCloudEvents has the CloudEvents libraries read what Malote sends.
func TestDeliveriesAreCloudEvents(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"cloudevents-binary", "cloudevents-structured"} {
		event := paidOrder()
		r := deliver(t, &hook.HTTPTarget{Sign: &hook.Sign{None: true}, Encoding: encoding}, event)
		read, err := cloudevents.NewEventFromHTTPRequest(r.http())
		if err != nil {
			t.Errorf("%s: %v", encoding, err)
			continue
		}
		if err := read.Validate(); err != nil {
			t.Errorf("%s: %v", encoding, err)
		}
		got := [...]string{read.ID(), read.Type(), read.Source(), read.SpecVersion(), read.DataContentType()}
		want := [...]string{event.ID.String(), "order.paid", "/default/loja", "1.0", "application/json"}
		if got != want {
			t.Errorf("%s: read %q, want %q", encoding, got, want)
		}
		// In structured mode the data is a JSON value within another, so it may be written differently.
		if diff := cmp.Diff(gjson.Parse(order).Value(), gjson.ParseBytes(read.Data()).Value()); diff != "" {
			t.Errorf("%s: data (-want +got):\n%s", encoding, diff)
		}
		if library := npm(t, "cloudevents"); library != nil {
			if err := library("", r); err != nil {
				t.Errorf("%s: npm cloudevents: %v", encoding, err)
			}
		}
	}
}

// TestCloudEventsArrive has the npm library encode events that a source of Malote's reads.
func TestCloudEventsArrive(t *testing.T) {
	t.Parallel()
	n := needNode(t)
	compiled := verifier(t, &hook.SourceSpec{Provider: "cloudevents", Secret: secret}, nil)
	for _, mode := range []string{"binary", "structured"} {
		answer := n.ask(&question{Library: "cloudevents", Op: "sign", MessageID: "evt_1042", Mode: mode, Body: []byte(order)})
		if !answer.OK {
			t.Fatalf("%s: %s", mode, answer.Error)
		}
		r := newRequest(address, answer.Headers[""])
		delete(answer.Headers, "")
		for name, value := range answer.Headers {
			r.header.Set(name, value)
		}
		r.header.Set("Authorization", "Bearer "+secret)
		got := receive(t, compiled, r, time.Now())
		if got.kind != "order.paid" || got.id != "/loja evt_1042" {
			t.Errorf("%s: read %+v", mode, got)
		}
	}
}
