package api

import (
	"context"
	"fmt"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
)

// What programs that call the API read besides the nouns.
type (
	// List is one page of a list.
	List[T any] = rest.List[T]
	// ErrorOut is the body of every error but 422.
	ErrorOut = rest.ErrorOut
	// ValidationErrorOut is the body of a 422.
	ValidationErrorOut = rest.ValidationErrorOut
	// FieldError is one wrong field in it.
	FieldError = rest.FieldError
)

// changed puts a change of the catalogue in force before it is answered, so that
// whoever made it finds it at work, and writes it to the log.
func (s *server) changed(ctx context.Context, what string, noun fmt.Stringer) error {
	s.audit(ctx, what, noun)
	if err := s.Router.Reload(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("%s, but it is not in force yet: %w", what, err)
	}
	return nil
}

// reference is how a caller named a noun.
type reference string

// String implements fmt.Stringer.
func (r reference) String() string { return string(r) }

// audit notes who did what to which noun.
func (s *server) audit(ctx context.Context, what string, noun fmt.Stringer) {
	rest.Acted(ctx, s.Logger, what, noun)
}

// checkName returns the problem of a noun's name.
func checkName(name string) []hook.Problem {
	if err := hook.CheckName(name); err != nil {
		return []hook.Problem{{Path: "name", Message: err.Error()}}
	}
	return nil
}
