package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
)

// ErrorOut is the body of every error but 422.
type ErrorOut struct {
	Code   string `json:"code" doc:"What sort of failure, for programs" example:"not_found"`
	Detail string `json:"detail" doc:"What went wrong and how to mend it, for people"`
}

// ValidationErrorOut is the body of a 422: every wrong field of the request.
type ValidationErrorOut struct {
	Detail []FieldError `json:"detail"`
}

// FieldError is one wrong field.
type FieldError struct {
	Loc  []string `json:"loc" doc:"Where: body, query, path or header, then the field's path" example:"[\"body\",\"http\",\"url\"]"`
	Msg  string   `json:"msg" doc:"What is wrong and how to mend it"`
	Type string   `json:"type" enum:"value_error"`
}

// valueError is the only type of a FieldError.
const valueError = "value_error"

// problem is a failure on its way to the caller: ErrorOut or ValidationErrorOut.
type problem struct {
	status int
	code   string
	detail string
	fields []FieldError // for 422
}

// Error implements error.
func (p *problem) Error() string {
	if len(p.fields) > 0 {
		return p.fields[0].Msg
	}
	return p.detail
}

// GetStatus lets the adapter answer with the problem's status.
func (p *problem) GetStatus() int { return p.status }

// Schema documents a problem as ErrorOut; those of status 422 are documented by describe.
func (p *problem) Schema(registry huma.Registry) *huma.Schema {
	return registry.Schema(reflect.TypeFor[ErrorOut](), true, "")
}

// MarshalJSON writes the body.
func (p *problem) MarshalJSON() ([]byte, error) {
	if p.status == http.StatusUnprocessableEntity {
		return json.Marshal(ValidationErrorOut{Detail: p.fields})
	}
	return json.Marshal(ErrorOut{Code: p.code, Detail: p.detail})
}

// statusOf translates the domain's kinds of failure to HTTP. It is the only place that does.
func statusOf(kind hook.Kind) int {
	switch kind {
	case hook.KindInvalid:
		return http.StatusBadRequest
	case hook.KindNotFound:
		return http.StatusNotFound
	case hook.KindConflict:
		return http.StatusConflict
	case hook.KindUnauthorized:
		return http.StatusUnauthorized
	case hook.KindForbidden:
		return http.StatusForbidden
	case hook.KindTooLarge:
		return http.StatusRequestEntityTooLarge
	case hook.KindUnavailable:
		return http.StatusServiceUnavailable
	case hook.KindInternal:
		return http.StatusInternalServerError
	default:
		return http.StatusInternalServerError
	}
}

// problemOf translates any error of a handler. What is not meant for people becomes
// a 500 without details.
func problemOf(err error) *problem {
	var known *problem
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &problem{status: http.StatusServiceUnavailable, code: hook.KindUnavailable.String(), detail: "it took too long: try again"}
	}
	if errors.Is(err, page.ErrBad) {
		return badQuery("iterator", err.Error())
	}
	var e *hook.Error
	if !errors.As(err, &e) || e.Kind == hook.KindInternal {
		return &problem{
			status: http.StatusInternalServerError, code: hook.KindInternal.String(),
			detail: "something went wrong here: the server's log has more under this request's x-request-id",
		}
	}
	if e.Kind == hook.KindInvalid && len(e.Problems) > 0 {
		fields := make([]FieldError, len(e.Problems))
		for i, p := range e.Problems {
			fields[i] = FieldError{Loc: location("body", p.Path), Msg: p.Message, Type: valueError}
		}
		return &problem{status: http.StatusUnprocessableEntity, fields: fields}
	}
	return &problem{status: statusOf(e.Kind), code: e.Kind.String(), detail: e.Message}
}

// InvalidQuery is the answer to a wrong parameter of the query.
func InvalidQuery(name, message string) error { return badQuery(name, message) }

// UnknownRef turns the "not found" of the noun that a filter names into a problem of
// the query's parameter. Other errors stay what they are.
func UnknownRef(parameter string, err error) error {
	if hook.KindOf(err) == hook.KindNotFound {
		return badQuery(parameter, err.Error())
	}
	return err
}

func badQuery(name, message string) *problem {
	return &problem{
		status: http.StatusUnprocessableEntity,
		fields: []FieldError{{Loc: []string{"query", name}, Msg: message, Type: valueError}},
	}
}

// location splits a dotted path below the part of the request that it lies in.
func location(in, path string) []string {
	if path == "" {
		return []string{in}
	}
	return append([]string{in}, strings.Split(path, ".")...)
}

// adapterProblem gives the adapter's own failures (parameters, bodies) the form of all others.
func adapterProblem(status int, message string, causes ...error) huma.StatusError {
	p := &problem{status: status, code: codeOf(status), detail: message}
	if status != http.StatusUnprocessableEntity {
		return p
	}
	for _, cause := range causes {
		field := FieldError{Loc: []string{"body"}, Msg: cause.Error(), Type: valueError}
		if detailer, ok := cause.(huma.ErrorDetailer); ok {
			detail := detailer.ErrorDetail()
			field.Loc, field.Msg = strings.Split(detail.Location, "."), inWords(detail.Message)
		}
		p.fields = append(p.fields, field)
	}
	if len(p.fields) == 0 {
		p.fields = []FieldError{{Loc: []string{"body"}, Msg: message, Type: valueError}}
	}
	return p
}

// inWords replaces what the adapter says in terms of Go.
func inWords(message string) string {
	if strings.HasPrefix(message, "invalid date/time") {
		return "is not a time: write it as RFC 3339 does, such as 2026-01-02T15:04:05Z"
	}
	return message
}

func codeOf(status int) string {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return hook.KindTooLarge.String()
	case http.StatusRequestTimeout, http.StatusServiceUnavailable:
		return hook.KindUnavailable.String()
	case http.StatusInternalServerError:
		return hook.KindInternal.String()
	default:
		return hook.KindInvalid.String()
	}
}

// The adapter knows no other way to replace its error model, nor its habit of
// documenting every list as nullable, than these variables of its package. They are
// set before any API is made and never change again.
//
//nolint:gochecknoinits // see above
func init() {
	huma.NewError = adapterProblem
	huma.DefaultArrayNullable = false
}

// writeProblem answers with an error outside of the adapter.
func writeProblem(w http.ResponseWriter, p *problem) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	for name, value := range p.headers() {
		header.Set(name, value)
	}
	w.WriteHeader(p.status)
	text, err := json.Marshal(p)
	if err == nil {
		_, _ = w.Write(text) // when it fails, the caller has gone
	}
}

// headers are what an answer of the problem's status carries besides its body.
func (p *problem) headers() map[string]string {
	switch p.status {
	case http.StatusUnauthorized:
		return map[string]string{"Www-Authenticate": `Bearer realm="malote"`}
	case http.StatusServiceUnavailable:
		return map[string]string{"Retry-After": "5"}
	default:
		return nil
	}
}

// GetHeaders lets the adapter send the problem's headers.
func (p *problem) GetHeaders() http.Header {
	headers := http.Header{}
	for name, value := range p.headers() {
		headers.Set(name, value)
	}
	return headers
}
