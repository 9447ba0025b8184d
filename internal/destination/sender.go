package destination

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
)

// Options say how a Sender attempts deliveries.
type Options struct {
	Name    string        // of the destination, for the words of errors
	Timeout time.Duration // for a whole attempt; 0: hook.DefaultTimeout; at most hook.MaxTimeout
	Logger  *slog.Logger  // nil: slog.Default
}

// Sender attempts deliveries to one destination. It is safe for concurrent use.
type Sender struct {
	driver  Driver
	name    string
	timeout time.Duration
	logger  *slog.Logger
}

// Limits of the headers of an answer that are kept.
const (
	maxKeptHeaders     = 64
	maxKeptHeaderValue = 1 << 10
)

// Mask returns what is kept of a header's value that is a credential: the scheme of an
// Authorization value, which helps and is no secret, and nothing else.
func Mask(value string) string {
	for _, scheme := range []string{"Bearer", "Basic"} {
		if len(value) > len(scheme) && value[len(scheme)] == ' ' && strings.EqualFold(value[:len(scheme)], scheme) {
			return scheme + " " + hook.Masked
		}
	}
	return hook.Masked
}

// errTimeout is the cause of a context that ended because the attempt took too long.
var errTimeout = errors.New("no answer in time")

// NewSender returns a sender over a driver, which it owns from then on.
func NewSender(driver Driver, options Options) *Sender {
	sender := &Sender{driver: driver, name: options.Name, timeout: options.Timeout, logger: options.Logger}
	if sender.name == "" {
		sender.name = "the destination"
	}
	if sender.timeout <= 0 {
		sender.timeout = time.Duration(hook.DefaultTimeout)
	}
	sender.timeout = min(sender.timeout, time.Duration(hook.MaxTimeout))
	if sender.logger == nil {
		sender.logger = slog.Default()
	}
	return sender
}

// Timeout returns how long an attempt takes at the most. A lease on a delivery must
// last longer.
func (s *Sender) Timeout() time.Duration { return s.timeout }

// Close frees what the driver holds. No Send runs then or comes later.
func (s *Sender) Close() error { return s.driver.Close() }

// Send makes one attempt. It always returns both: the record of the attempt, and what
// the retry rules need to know of it. When ctx ended before an answer came, the
// attempt says nothing of the destination, and the caller drops it.
func (s *Sender) Send(ctx context.Context, message *Message) (*hook.Attempt, hook.Try) {
	started := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	answer, err := s.drive(limited, message)
	timedOut := errors.Is(context.Cause(limited), errTimeout)
	cancel()
	ended := time.Now()

	if answer == nil {
		answer = &Answer{}
	}
	attempt := &hook.Attempt{
		Delivery: message.Delivery, Number: message.Attempt, Manual: message.Manual,
		StartedAt: started, Duration: hook.Duration(ended.Sub(started)),
		Method: answer.Method, URL: answer.URL, RequestHeaders: maskAll(answer.Sent),
		ResponseStatus: answer.Status, ResponseHeaders: keptHeaders(answer.Headers),
		ResponseBody: answer.Body[:min(len(answer.Body), hook.MaxKeptResponse)],
	}
	try := hook.Try{Number: message.Attempt, Manual: message.Manual, Status: answer.Status}
	if err != nil {
		s.fail(&try, err, timedOut)
		attempt.Error = try.Detail
	} else {
		s.judge(&try, answer, ended)
		if try.Outcome == hook.OutcomeRedirect {
			attempt.Error = try.Detail
		}
	}
	attempt.Outcome = try.Outcome
	return attempt, try
}

// judge fills a try from an answer.
func (s *Sender) judge(try *hook.Try, answer *Answer, now time.Time) {
	if answer.Status == 0 {
		try.Outcome = hook.OutcomeSuccess
		return
	}
	try.Outcome = Classify(answer.Status)
	if try.Outcome != hook.OutcomeSuccess {
		try.RetryAfter = ParseRetryAfter(answer.Headers.Get("Retry-After"), now)
		try.Detail = s.detail(try.Outcome, answer, try.RetryAfter)
	}
}

// fail fills a try from a driver's error.
func (s *Sender) fail(try *hook.Try, err error, timedOut bool) {
	try.Outcome, try.Detail = Describe(err)
	if failure, ok := errors.AsType[*Failure](err); ok {
		try.RetryAfter = failure.RetryAfter
		return
	}
	if timedOut && (try.Outcome == hook.OutcomeTimeout || try.Outcome == hook.OutcomeNetwork) {
		try.Outcome = hook.OutcomeTimeout
		try.Detail = fmt.Sprintf("no answer from %s within %s", s.name, hook.Duration(s.timeout))
	}
}

// drive calls the driver and turns a panic of it into an error, so that a defect in
// one driver costs no other destination anything.
func (s *Sender) drive(ctx context.Context, message *Message) (answer *Answer, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.logger.ErrorContext(ctx, "a destination driver panicked", "destination", s.name,
				"delivery", message.Delivery.String(), "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
			answer = nil
			err = &Failure{Outcome: hook.OutcomeConfig, Message: "the driver of this destination failed; the log has the details"}
		}
	}()
	return s.driver.Send(ctx, message)
}

// maskAll replaces what looks like a credential among the request's headers: a person
// may have set one by hand. It works in place: the list is the driver's gift.
func maskAll(headers hook.Headers) hook.Headers {
	for i := range headers {
		if isCredential(headers[i].Name) {
			headers[i].Value = Mask(headers[i].Value)
		}
	}
	return headers
}

// isCredential reports whether a header's name says that its value is a credential.
func isCredential(name string) bool {
	switch name { // What nearly every request and answer has needs no longer look.
	case "User-Agent", "Content-Type", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature",
		"Malote-Event-Id", "Malote-Event-Type", "Malote-Attempt",
		"Content-Length", "Date", "Server", "Connection", "Cache-Control", "Vary", "Etag", "Strict-Transport-Security":
		return false
	}
	return hook.CredentialHeader(name)
}

// keptHeaders bounds and cleans the headers of an answer: they are somebody else's
// bytes, and the log shows them as text.
func keptHeaders(headers hook.Headers) hook.Headers {
	headers = headers[:min(len(headers), maxKeptHeaders)]
	for i := range headers {
		header := &headers[i]
		if isCredential(header.Name) {
			header.Value = hook.Masked
			continue
		}
		header.Value = cleanText(header.Value)
	}
	return headers
}

// cleanText makes a header's value valid UTF-8 of bounded length.
func cleanText(value string) string {
	if len(value) > maxKeptHeaderValue {
		value = value[:maxKeptHeaderValue] + "…"
	}
	return strings.ToValidUTF8(value, "\uFFFD")
}
