package destination

import (
	"context"
	"time"

	"malote.dev/malote/internal/hook"
)

// Driver speaks one protocol to one destination. It is made from a destination's
// settings, whose mistakes its constructor reports, and then only sends. It is safe
// for concurrent use.
type Driver interface {
	// Send makes one try within the context's deadline and returns soon after the
	// context ends. It neither retries nor judges: an answer of any status is no error.
	// The Answer says what was sent and may stand beside an error. An error that is a
	// *Failure decides the outcome; others are told apart by Describe.
	Send(ctx context.Context, message *Message) (*Answer, error)
	// Close frees what the driver holds open. No Send runs then or comes later.
	Close() error
}

// Message is what one attempt sends. Drivers do not change it or what it points to.
type Message struct {
	Delivery hook.DeliveryID // stays the same over all attempts: the receiver's idempotency key
	Attempt  int             // from 1, manual ones counted too
	Manual   bool            // asked for by a person
	Time     time.Time       // of this attempt
	Event    *hook.Event
	Source   string // where the event came in, as a path: "/in/shop"
	Body     []byte // what to send; without a transform the event's payload as it came
}

// Answer is what an attempt sent and what came back.
type Answer struct {
	Method  string       // of the request; "" where the protocol has none
	URL     string       // that was asked, without credentials
	Sent    hook.Headers // of the request; the driver has masked its credentials (see Mask)
	Status  int          // in the sense of HTTP; 0 where no answer came or the protocol has none
	Headers hook.Headers // of the answer
	Body    []byte       // the beginning of the answer, up to hook.MaxKeptResponse bytes
}

// Failure is an error whose outcome the driver knows.
type Failure struct {
	Outcome    hook.Outcome
	Message    string        // for the person who runs the destination: what happened, in words
	RetryAfter time.Duration // how long to wait, if the other side said so
	Err        error         // the cause; may be nil
}

// Error implements error.
func (f *Failure) Error() string { return f.Message }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }
