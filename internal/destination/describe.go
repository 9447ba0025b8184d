package destination

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
)

// Describe tells what an error of a driver means and says it in words that help
// whoever runs the destination. No credentials appear in the words.
func Describe(err error) (hook.Outcome, string) {
	if failure, ok := errors.AsType[*Failure](err); ok {
		return failure.Outcome, failure.Message
	}
	if blocked, ok := errors.AsType[*egress.BlockedError](err); ok {
		return hook.OutcomeBlocked, blocked.Error()
	}
	if setup, ok := errors.AsType[*hook.Error](err); ok {
		return hook.OutcomeConfig, setup.Error()
	}
	if text, ok := describeTLS(err); ok {
		return hook.OutcomeNetwork, text
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return hook.OutcomeNetwork, describeLookup(lookup)
	}
	operation, _ := errors.AsType[*net.OpError](err)
	if isTimeout(err) {
		if operation != nil && operation.Op == "dial" && operation.Addr != nil {
			return hook.OutcomeTimeout, fmt.Sprintf("no connection to %s came about in time", operation.Addr)
		}
		return hook.OutcomeTimeout, "no answer came in time"
	}
	return hook.OutcomeNetwork, describeBroken(err, operation)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

func describeLookup(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return fmt.Sprintf("the name %s does not exist", err.Name)
	case err.IsTimeout:
		return fmt.Sprintf("the name %s could not be looked up in time", err.Name)
	default:
		return fmt.Sprintf("the name %s could not be looked up: %s", err.Name, err.Err)
	}
}

func describeBroken(err error, operation *net.OpError) string {
	where := ""
	if operation != nil && operation.Addr != nil {
		where = operation.Addr.String()
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused by " + cmp.Or(where, "the destination")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to " + cmp.Or(where, "the destination")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the destination broke the connection before it answered"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the destination closed the connection before it answered"
	case errors.Is(err, context.Canceled):
		return "the attempt was broken off"
	case strings.Contains(err.Error(), "malformed HTTP"):
		return "what answered does not speak HTTP"
	case strings.Contains(err.Error(), "server response headers exceeded"):
		return fmt.Sprintf("the answer's header is larger than %d bytes", egress.MaxResponseHeader)
	}
	return "the connection failed: " + Gist([]byte(err.Error()))
}

// describeTLS reports whether an error is one of TLS.
func describeTLS(err error) (string, bool) {
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		names := append(append([]string{}, name.Certificate.DNSNames...), addresses(name.Certificate)...)
		if len(names) == 0 {
			names = []string{name.Certificate.Subject.CommonName}
		}
		return fmt.Sprintf("the certificate is for another name (%s), not for %s", strings.Join(names[:min(len(names), 5)], ", "), name.Host), true
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		issuer := "an authority"
		if unknown.Cert != nil {
			issuer = fmt.Sprintf("%q", unknown.Cert.Issuer.String())
		}
		return "the certificate is signed by " + issuer + ", which is not trusted here; give its certificate as http.ca", true
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired && invalid.Cert != nil {
			return fmt.Sprintf("the certificate is valid from %s to %s only",
				invalid.Cert.NotBefore.UTC().Format(time.DateOnly), invalid.Cert.NotAfter.UTC().Format(time.DateOnly)), true
		}
		return "the certificate is not valid: " + invalid.Error(), true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the destination does not speak TLS; is it http:// rather than https://?", true
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return describeAlert(alert), true
	}
	if refused, ok := errors.AsType[*net.OpError](err); ok && refused.Op == "remote error" {
		return describeAlert(refused.Err), true
	}
	return "", false
}

// describeAlert words what the other side said when it refused a TLS handshake.
func describeAlert(alert error) string {
	text := strings.TrimPrefix(alert.Error(), "tls: ")
	if strings.Contains(text, "certificate") {
		return "the destination refused the TLS handshake: " + text + "; it may ask for a client certificate (http.auth.mtls)"
	}
	return "the destination refused the TLS handshake: " + text
}

func addresses(cert *x509.Certificate) []string {
	texts := make([]string, len(cert.IPAddresses))
	for i, ip := range cert.IPAddresses {
		texts[i] = ip.String()
	}
	return texts
}
