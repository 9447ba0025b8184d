package hook

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of failure an Error is. Adapters translate their own errors
// to a Kind, and one place translates a Kind to an HTTP status or an exit code.
type Kind uint8

// The kinds of error.
const (
	KindInternal     Kind = iota // a defect or an unforeseen state; details stay inside
	KindInvalid                  // the input is wrong; Problems say where
	KindNotFound                 // no such thing, or not visible to the caller
	KindConflict                 // the thing exists already, or somebody else changed it first
	KindUnauthorized             // no valid credentials
	KindForbidden                // valid credentials without the right
	KindTooLarge                 // a body or list above its limit
	KindUnavailable              // cannot be done now; try again later
)

// String returns the kind's code as used by the API.
func (k Kind) String() string {
	switch k {
	case KindInvalid:
		return "invalid"
	case KindNotFound:
		return "not_found"
	case KindConflict:
		return "conflict"
	case KindUnauthorized:
		return "authentication_failed"
	case KindForbidden:
		return "insufficient_access"
	case KindTooLarge:
		return "payload_too_large"
	case KindUnavailable:
		return "unavailable"
	case KindInternal:
		return "server_error"
	default:
		return "server_error"
	}
}

// Error is a failure that a person will read: what went wrong, where, how to mend it.
type Error struct {
	Kind     Kind      // what sort of failure
	Message  string    // one sentence, safe to show to the caller
	Problems []Problem // for KindInvalid: each wrong field
	Err      error     // the cause, for logs only; may be nil
}

// Problem is one wrong field of an input.
type Problem struct {
	Path    string // dotted path of the field, such as "http.url" or "types.0"
	Message string // what is wrong and how to mend it
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for i, p := range e.Problems {
		if i == 0 && e.Message != "" {
			b.WriteString(": ")
		} else if i > 0 {
			b.WriteString("; ")
		}
		if p.Path != "" {
			b.WriteString(p.Path + ": ")
		}
		b.WriteString(p.Message)
	}
	if e.Err != nil {
		if cause := e.Err.Error(); cause != "" {
			b.WriteString(": " + cause)
		}
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error of the given kind. A %w verb sets the cause's identity
// for errors.Is, and its text becomes part of the message.
func Errorf(kind Kind, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: wrapped.Error(), Err: silent(errors.Unwrap(wrapped))}
}

// silentError keeps a cause reachable by errors.Is without printing it twice.
type silentError struct{ error }

func (silentError) Error() string   { return "" }
func (s silentError) Unwrap() error { return s.error }

func silent(err error) error {
	if err == nil {
		return nil
	}
	return silentError{err}
}

// KindOf returns the kind of the first Error in err's chain; KindInternal when
// there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}

// NotFound returns the error for a noun that does not exist in the project.
func NotFound(noun, ref string) *Error {
	return Errorf(KindNotFound, "no %s %q in this project", noun, ref)
}

// Invalid joins problems into one error; nil when there are none.
func Invalid(message string, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Error{Kind: KindInvalid, Message: message, Problems: problems}
}
