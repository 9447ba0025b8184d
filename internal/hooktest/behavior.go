package hooktest

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// Behavior decides how a Receiver reacts to a request. It is called for one request
// at a time.
type Behavior func(request *Request) Reaction

// Reaction is what a Receiver does with one request. The zero Reaction is an empty 200.
type Reaction struct {
	Status  int // 0 means 200
	Headers http.Header
	Body    []byte
	Huge    int64         // a body of so many bytes in place of Body
	Delay   time.Duration // before anything is answered
	Hang    bool          // never answers; ends with the request or the receiver
	Drop    bool          // closes the connection in place of an answer
}

func (a *Reaction) status() int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}

// wait lets the reaction's time pass. It reports false when the request or the
// receiver ended meanwhile.
func (a *Reaction) wait(ctx context.Context, closing <-chan struct{}) bool {
	var over <-chan time.Time // nil, and so never ready, for a reaction that hangs
	switch {
	case a.Hang:
	case a.Delay > 0:
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		over = timer.C
	default:
		return true
	}
	select {
	case <-over:
		return true
	case <-ctx.Done():
	case <-closing:
	}
	return false
}

// Always reacts the same way to everything.
func Always(reaction Reaction) Behavior {
	return func(*Request) Reaction { return reaction }
}

// Answer answers everything with a status.
func Answer(status int) Behavior { return Always(Reaction{Status: status}) }

// Redirect answers everything with a 302 to a URL.
func Redirect(to string) Behavior {
	return Always(Reaction{Status: http.StatusFound, Headers: http.Header{"Location": {to}}})
}

// Sequence reacts to the first request with the first reaction and so on; the last
// one stays.
func Sequence(reactions ...Reaction) Behavior {
	var next atomic.Int64
	return func(*Request) Reaction {
		return reactions[min(int(next.Add(1))-1, len(reactions)-1)]
	}
}

// Flapping answers 200 to good requests, then 503 to bad ones, and so on in turn.
func Flapping(good, bad int) Behavior {
	var seen atomic.Int64
	return func(*Request) Reaction {
		if n := int(seen.Add(1)) - 1; n%(good+bad) >= good {
			return Reaction{Status: http.StatusServiceUnavailable}
		}
		return Reaction{}
	}
}
