// Package destinationtest holds a destination driver to its contract. A new kind of
// destination calls Run from its tests.
package destinationtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
)

// Behavior is what the other side does.
type Behavior int

// The behaviors.
const (
	Accept Behavior = iota // takes the message
	Refuse                 // answers that it does not want it
	Hang                   // takes the connection and never answers
	Break                  // closes the connection instead of answering
	Flood                  // accepts with an answer that does not end
)

// Secret is a credential. The harness sets destinations up with it wherever their kind
// has room for one; it must not show in what is kept of an attempt.
const Secret = "correct-horse-battery-staple"

// patience is how long a driver may take after its context ended.
const patience = 5 * time.Second

// Subject is a driver under test with its other side.
type Subject struct {
	Driver destination.Driver
	// Received returns the bodies that the other side took, in any order. The suite
	// calls it only where the behavior is Accept.
	Received func() [][]byte
}

// Run holds a kind of destination to the contract. open sets up the other side, which
// ends with the test, and a driver for it; the suite closes the driver.
func Run(t *testing.T, open func(t *testing.T, behavior Behavior) Subject) {
	t.Helper()
	t.Run("bodies arrive as they are", func(t *testing.T) { bodies(t, open(t, Accept)) })
	t.Run("many at once", func(t *testing.T) { concurrent(t, open(t, Accept)) })
	t.Run("a refusal is told", func(t *testing.T) { refused(t, open(t, Refuse)) })
	t.Run("the deadline is kept", func(t *testing.T) { hangs(t, open(t, Hang)) })
	t.Run("an ended context ends it", func(t *testing.T) { ended(t, open(t, Accept)) })
	t.Run("a broken connection is told", func(t *testing.T) { broken(t, open(t, Break)) })
	t.Run("an endless answer is cut", func(t *testing.T) { flooded(t, open(t, Flood)) })
	for _, behavior := range []Behavior{Accept, Refuse, Break} {
		t.Run("credentials are not kept", func(t *testing.T) { masked(t, open(t, behavior)) })
	}
}

// message returns a message with the given body and number.
func message(body []byte, number int) *destination.Message {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return &destination.Message{
		Delivery: hook.DeliveryID(number + 1), Attempt: 1, Time: now, Source: "/default/shop", Body: body,
		Event: &hook.Event{
			ID: hook.EventID(number + 1), Type: "orders/create", Key: "1001", ReceivedAt: now, Payload: body,
			Headers: hook.Headers{{Name: "Content-Type", Value: "application/json"}},
		},
	}
}

// finish closes the driver at the end of a test.
func finish(t *testing.T, subject Subject) {
	t.Helper()
	if err := subject.Driver.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func bodies(t *testing.T, subject Subject) {
	t.Helper()
	defer finish(t, subject)
	sent := [][]byte{
		[]byte(`{"id":1001,"total":"10.50"}`),
		[]byte("{ \"spaces\" :  \"kept\" }\r\n"),
		{0, 1, 2, 0xff, 0xfe, 'x'},
		[]byte("São Paulo — R$ 10,50"),
		bytes.Repeat([]byte("0123456789abcdef"), 1<<16),
		{},
	}
	for i, body := range sent {
		m := message(body, i)
		before := *m
		event := *m.Event
		answer, err := subject.Driver.Send(within(t, time.Minute), m)
		if err != nil {
			t.Fatalf("body %d: %v", i, err)
		}
		if answer == nil {
			t.Fatalf("body %d: neither an answer nor an error", i)
		}
		if answer.Status != 0 && destination.Classify(answer.Status) != hook.OutcomeSuccess {
			t.Errorf("body %d: status %d", i, answer.Status)
		}
		if m.Delivery != before.Delivery || m.Event != before.Event || m.Event.Type != event.Type ||
			!bytes.Equal(m.Body, body) || !slices.Equal(m.Event.Headers, event.Headers) {
			t.Errorf("body %d: the driver changed the message", i)
		}
	}
	compare(t, subject.Received(), sent)
}

// compare checks that the same bodies were received as sent, in any order.
func compare(t *testing.T, received, sent [][]byte) {
	t.Helper()
	if len(received) != len(sent) {
		t.Fatalf("%d bodies arrived of %d", len(received), len(sent))
	}
	slices.SortFunc(received, bytes.Compare)
	slices.SortFunc(sent, bytes.Compare)
	for i := range sent {
		if !bytes.Equal(received[i], sent[i]) {
			t.Errorf("a body of %d bytes arrived as one of %d bytes, or with other ones", len(sent[i]), len(received[i]))
		}
	}
}

func concurrent(t *testing.T, subject Subject) {
	t.Helper()
	defer finish(t, subject)
	const workers, each = 8, 25
	var wg sync.WaitGroup
	var sent [][]byte
	for i := range workers * each {
		sent = append(sent, []byte(`{"number":`+hook.DeliveryID(i+1).String()+`}`))
	}
	for worker := range workers {
		wg.Go(func() {
			for i := range each {
				number := worker*each + i
				if _, err := subject.Driver.Send(within(t, time.Minute), message(sent[number], number)); err != nil {
					t.Errorf("message %d: %v", number, err)
				}
			}
		})
	}
	wg.Wait()
	compare(t, subject.Received(), sent)
}

func refused(t *testing.T, subject Subject) {
	t.Helper()
	defer finish(t, subject)
	answer, err := subject.Driver.Send(within(t, time.Minute), message([]byte("{}"), 0))
	failure, ok := errors.AsType[*destination.Failure](err)
	switch {
	case err == nil && (answer == nil || answer.Status == 0 || destination.Classify(answer.Status) == hook.OutcomeSuccess):
		t.Errorf("a refusal looks like success: %+v", answer)
	case err != nil && !ok:
		t.Errorf("a refusal is told by %v; it has to be a status or a *destination.Failure", err)
	case ok && (failure.Message == "" || failure.Outcome == ""):
		t.Errorf("a failure without words or outcome: %+v", failure)
	}
}

func hangs(t *testing.T, subject Subject) {
	t.Helper()
	defer finish(t, subject)
	const limit = 200 * time.Millisecond
	start := time.Now()
	_, err := subject.Driver.Send(within(t, limit), message([]byte("{}"), 0))
	took := time.Since(start)
	if err == nil {
		t.Fatal("no error although no answer came")
	}
	if took < limit || took > limit+patience {
		t.Errorf("it took %v with a deadline of %v", took, limit)
	}
	if outcome, text := destination.Describe(err); outcome != hook.OutcomeTimeout || text == "" {
		t.Errorf("the outcome is %v (%q), want a time-out", outcome, text)
	}
}

func ended(t *testing.T, subject Subject) {
	t.Helper()
	defer finish(t, subject)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := subject.Driver.Send(ctx, message([]byte("{}"), 0)); err == nil {
		t.Error("no error although the context had ended")
	}
	if n := len(subject.Received()); n != 0 {
		t.Errorf("%d messages were sent although the context had ended", n)
	}
}

func broken(t *testing.T, subject Subject) {
	t.Helper()
	defer finish(t, subject)
	_, err := subject.Driver.Send(within(t, time.Minute), message([]byte("{}"), 0))
	if err == nil {
		t.Fatal("no error although the connection broke")
	}
	if outcome, text := destination.Describe(err); outcome != hook.OutcomeNetwork || text == "" {
		t.Errorf("the outcome is %v (%q), want one of the network", outcome, text)
	}
}

func flooded(t *testing.T, subject Subject) {
	t.Helper()
	defer finish(t, subject)
	answer, err := subject.Driver.Send(within(t, time.Minute), message([]byte("{}"), 0))
	if err != nil {
		t.Fatalf("the message was taken, and still: %v", err)
	}
	if len(answer.Body) > hook.MaxKeptResponse {
		t.Errorf("%d bytes of the answer are kept", len(answer.Body))
	}
}

func masked(t *testing.T, subject Subject) {
	t.Helper()
	sender := destination.NewSender(subject.Driver, destination.Options{Name: "erp", Logger: slog.New(slog.DiscardHandler)})
	defer func() {
		if err := sender.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	attempt, try := sender.Send(t.Context(), message([]byte("{}"), 0))
	text, err := json.Marshal(attempt)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), Secret) || strings.Contains(try.Detail, Secret) {
		t.Errorf("the credential shows in what is kept: %s; %s", text, try.Detail)
	}
	if attempt.Outcome != try.Outcome || try.Outcome == "" {
		t.Errorf("outcomes %q and %q", attempt.Outcome, try.Outcome)
	}
}
