package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/hook"
)

// maxFailure is how much of a failed answer is read.
const maxFailure = 1 << 20

// ErrUnreachable means that no server answered.
var ErrUnreachable = errors.New("no malote server answers")

// unreachable explains why no answer came.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
		return hook.Errorf(hook.KindUnavailable,
			"the certificate of %s is not trusted here (%w): name a file with its authority in SSL_CERT_FILE, or use the host name that it is for",
			c.options.Server, untrusted.Err)
	}
	cause := err
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		cause = wrapped.Err
	}
	if wrapped := (*net.OpError)(nil); errors.As(cause, &wrapped) {
		cause = wrapped.Err
	}
	if wrapped := (*os.SyscallError)(nil); errors.As(cause, &wrapped) {
		cause = wrapped.Err
	}
	return hook.Errorf(hook.KindUnavailable, "%w at %s (%s): start one with \"malote serve\", or name another one with --server or MALOTE_SERVER",
		ErrUnreachable, c.options.Server, cause)
}

// failure turns an answer that is no success into an error. Its problems have the
// paths of the request's body.
func (c *Client) failure(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxFailure))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.options.Server, err)
	}
	kind := kindOf(resp.StatusCode)
	switch kind {
	case hook.KindUnauthorized:
		return c.unauthorized()
	case hook.KindInvalid:
		var invalid api.ValidationErrorOut
		if json.Unmarshal(text, &invalid) == nil && len(invalid.Detail) > 0 {
			return &hook.Error{Kind: kind, Message: "the server refuses it", Problems: problems(invalid.Detail)}
		}
	default:
	}
	var failed api.ErrorOut
	if json.Unmarshal(text, &failed) != nil || failed.Detail == "" {
		failed.Detail = fmt.Sprintf("%s answered %s", resp.Request.URL.Redacted(), resp.Status)
		if kind == hook.KindNotFound {
			failed.Detail += ": is --server the address of a malote server?"
		}
	}
	if kind == hook.KindForbidden {
		failed.Detail += ": use a token with a higher role (malote token create --role)"
	}
	if id := resp.Header.Get("X-Request-Id"); kind == hook.KindInternal && id != "" {
		failed.Detail += " (request " + id + ")"
	}
	return &hook.Error{Kind: kind, Message: failed.Detail}
}

func (c *Client) unauthorized() error {
	said := "the server does not accept the API token"
	if c.options.Token == "" {
		said = "the server asks for an API token"
	}
	mend := "pass one as MALOTE_TOKEN or --token"
	if c.options.TokenHint != "" {
		mend += "; " + c.options.TokenHint
	}
	return hook.Errorf(hook.KindUnauthorized, "%s: %s", said, mend)
}

func problems(fields []api.FieldError) []hook.Problem {
	list := make([]hook.Problem, 0, len(fields))
	for _, field := range fields {
		path := field.Loc
		if len(path) > 0 && (path[0] == "body" || path[0] == "query") {
			path = path[1:] // what is left of the body as a whole is no place that people know
		}
		if len(path) > 1 && path[0] == "state" {
			path = path[1:]
		}
		list = append(list, hook.Problem{Path: strings.Join(path, "."), Message: field.Msg})
	}
	return list
}

// kindOf is the opposite of the API's translation.
func kindOf(status int) hook.Kind {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return hook.KindInvalid
	case http.StatusUnauthorized:
		return hook.KindUnauthorized
	case http.StatusForbidden:
		return hook.KindForbidden
	case http.StatusNotFound:
		return hook.KindNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return hook.KindConflict
	case http.StatusRequestEntityTooLarge:
		return hook.KindTooLarge
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return hook.KindUnavailable
	default:
		return hook.KindInternal
	}
}
