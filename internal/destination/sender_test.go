package destination

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
)

// scripted is a driver that does what a test says.
type scripted func(ctx context.Context) (*Answer, error)

func (s scripted) Send(ctx context.Context, _ *Message) (*Answer, error) { return s(ctx) }
func (s scripted) Close() error                                          { return nil }

func send(t *testing.T, options Options, driver scripted) (*hook.Attempt, hook.Try) {
	t.Helper()
	options.Name = "erp"
	options.Logger = slog.New(slog.DiscardHandler)
	message := &Message{Delivery: 7, Attempt: 3, Manual: true, Time: time.Now(), Event: &hook.Event{}}
	return NewSender(driver, options).Send(t.Context(), message)
}

func TestClassify(t *testing.T) {
	groups := map[hook.Outcome][]int{
		hook.OutcomeSuccess:   {200, 201, 202, 204, 206, 299},
		hook.OutcomeRedirect:  {300, 301, 302, 303, 304, 307, 308, 399},
		hook.OutcomeThrottled: {429, 503},
		hook.OutcomeGone:      {410},
		hook.OutcomeRefused:   {413, 414, 415, 431, 501, 505},
		hook.OutcomeRejected: {
			100, 101, 199, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 411, 412, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 451,
			500, 502, 504, 506, 507, 508, 511, 599, 600, 999,
		},
	}
	for want, statuses := range groups {
		for _, status := range statuses {
			if got := Classify(status); got != want {
				t.Errorf("%d is %v, want %v", status, got, want)
			}
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		value string
		want  time.Duration
	}{
		{"", 0},
		{"120", 2 * time.Minute},
		{" 120 ", 2 * time.Minute},
		{"0", 0},
		{"-5", 0},
		{"1.5", 0},
		{"soon", 0},
		{"99999999999", 365 * 24 * time.Hour},
		{"9999999999999999999999", 0},
		{"Mon, 23 Nov 2026 12:01:30 GMT", 90 * time.Second},
		{"Monday, 23-Nov-26 12:01:30 GMT", 90 * time.Second},
		{"Mon Nov 23 12:01:30 2026", 90 * time.Second},
		{"Mon, 23 Nov 2026 11:00:00 GMT", 0},
	}
	for _, test := range tests {
		if got := ParseRetryAfter(test.value, now); got != test.want {
			t.Errorf("%q is %v, want %v", test.value, got, test.want)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"120", "-1", "99999999999", "Mon, 23 Nov 2026 12:01:30 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", " 1 "} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if wait := ParseRetryAfter(value, now); wait < 0 || wait > 365*24*time.Hour {
			t.Fatalf("%q asks to wait %v", value, wait)
		}
	})
}

func TestDetail(t *testing.T) {
	tests := []struct {
		name   string
		answer Answer
		want   string
	}{
		{"with a reason", Answer{Status: 422, Body: []byte("{\"error\":\n  \"unknown product 7\"}")}, `erp answered 422 Unprocessable Entity: {"error": "unknown product 7"}`},
		{"without", Answer{Status: 500}, "erp answered 500 Internal Server Error"},
		{"unknown status", Answer{Status: 599}, "erp answered 599"},
		{"throttled", Answer{Status: 429, Headers: hook.Headers{{Name: "retry-after", Value: "90"}}}, "erp answered 429 Too Many Requests and asked to wait 1m30s"},
		{"gone", Answer{Status: 410}, "erp answered 410 Gone: it wants no more deliveries"},
		{"permanent", Answer{Status: 413}, "erp answered 413 Request Entity Too Large, which a repetition does not change"},
		{
			"redirect",
			Answer{Status: 301, Headers: hook.Headers{{Name: "Location", Value: "https://new.example.com/path?token=secret"}}},
			"erp answered 301 Moved Permanently and points to https://new.example.com; redirects are not followed, so set the URL to where it leads",
		},
		{
			"redirect within",
			Answer{Status: 302, Headers: hook.Headers{{Name: "Location", Value: "/login?next=secret"}}},
			"erp answered 302 Found and points to another path of the same host; redirects are not followed, so set the URL to where it leads",
		},
		{
			"web page",
			Answer{Status: 502, Body: []byte("<!DOCTYPE html>\n<html><head><TITLE>Bad\n gateway</TITLE></head><body>x</body></html>")},
			"erp answered 502 Bad Gateway: Bad gateway",
		},
		{"web page without a title", Answer{Status: 502, Body: []byte("<html><body>oops</body></html>")}, "erp answered 502 Bad Gateway"},
		{"binary", Answer{Status: 500, Body: []byte{0x1f, 0x8b, 8, 0}}, "erp answered 500 Internal Server Error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, try := send(t, Options{}, func(context.Context) (*Answer, error) { return &test.answer, nil })
			if try.Detail != test.want {
				t.Errorf("got  %q\nwant %q", try.Detail, test.want)
			}
		})
	}
}

func FuzzGist(f *testing.F) {
	for _, seed := range []string{"", "plain", "<html><title>x", "<!doctype html><TITLE>\xff</title>", strings.Repeat("é", 500), "a\x00b", "{\r\n\t\"a\": 1}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		gist := Gist(body)
		if !utf8.ValidString(gist) || strings.ContainsAny(gist, "\r\n\x00\x1b") || utf8.RuneCountInString(gist) > maxGist+2 {
			t.Fatalf("the gist %q is not one clean line", gist)
		}
	})
}

// others are errors as the standard library makes them.
func dialError(err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.3:443")), Err: err}
}

func TestDescribe(t *testing.T) {
	cert := &x509.Certificate{DNSNames: []string{"shop.example.com"}, NotAfter: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
	blocked := &egress.BlockedError{Address: netip.MustParseAddrPort("10.0.0.3:443"), Rule: "a private address"}
	tests := []struct {
		name    string
		err     error
		outcome hook.Outcome
		want    string
	}{
		{"blocked", dialError(blocked), hook.OutcomeBlocked, "--allow-private 10.0.0.3/32:443"},
		{"set-up", hook.Invalid("this destination cannot be used", []hook.Problem{{Path: "http.url", Message: "it is empty"}}), hook.OutcomeConfig, "http.url"},
		{"refused", dialError(syscall.ECONNREFUSED), hook.OutcomeNetwork, "connection refused by 10.0.0.3:443"},
		{"no route", dialError(syscall.EHOSTUNREACH), hook.OutcomeNetwork, "there is no route to 10.0.0.3:443"},
		{"dial timeout", dialError(context.DeadlineExceeded), hook.OutcomeTimeout, "no connection to 10.0.0.3:443"},
		{"reset", fmt.Errorf("read: %w", syscall.ECONNRESET), hook.OutcomeNetwork, "broke the connection"},
		{"closed", io.EOF, hook.OutcomeNetwork, "closed the connection"},
		{"deadline", context.DeadlineExceeded, hook.OutcomeTimeout, "no answer"},
		{"cancelled", context.Canceled, hook.OutcomeNetwork, "broken off"},
		{"no such name", dialError(&net.DNSError{Name: "erp.example.com", IsNotFound: true}), hook.OutcomeNetwork, "the name erp.example.com does not exist"},
		{"no name server", dialError(&net.DNSError{Name: "erp.example.com", Err: "server misbehaving"}), hook.OutcomeNetwork, "could not be looked up"},
		{"other name", &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: cert, Host: "erp.example.com"}}, hook.OutcomeNetwork, "another name (shop.example.com), not for erp.example.com"},
		{"unknown authority", x509.UnknownAuthorityError{Cert: cert}, hook.OutcomeNetwork, "http.ca"},
		{"expired", x509.CertificateInvalidError{Cert: cert, Reason: x509.Expired}, hook.OutcomeNetwork, "2026-01-02"},
		{"no TLS", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, hook.OutcomeNetwork, "does not speak TLS"},
		{"wants a certificate", &net.OpError{Op: "remote error", Err: tls.AlertError(116)}, hook.OutcomeNetwork, "http.auth.mtls"},
		{"no HTTP", errors.New(`net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0"`), hook.OutcomeNetwork, "does not speak HTTP"},
		{"large header", errors.New("net/http: server response headers exceeded 65536 bytes; aborted"), hook.OutcomeNetwork, "larger than 65536"},
		{"known to the driver", fmt.Errorf("x: %w", &Failure{Outcome: hook.OutcomeRejected, Message: "no token"}), hook.OutcomeRejected, "no token"},
		{"anything else", errors.New("odd\nthing"), hook.OutcomeNetwork, "the connection failed: odd thing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			outcome, text := Describe(test.err)
			if outcome != test.outcome || !strings.Contains(text, test.want) {
				t.Errorf("got %v, %q; want %v and words about %q", outcome, text, test.outcome, test.want)
			}
		})
	}
}

func TestAttemptIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		attempt, try := send(t, Options{}, func(context.Context) (*Answer, error) {
			<-time.After(3 * time.Second)
			return &Answer{
				Method: http.MethodPost, URL: "https://erp.example.com/", Status: 201,
				Sent: hook.Headers{
					{Name: "Authorization", Value: "Bearer s3cret"},
					{Name: "Content-Type", Value: "application/json"},
					{Name: "X-Api-Key", Value: "s3cret"},
				},
				Headers: hook.Headers{
					{Name: "Server", Value: "na\xefve"},
					{Name: "Set-Cookie", Value: "session=s3cret"},
					{Name: "X-Long", Value: strings.Repeat("x", 5000)},
				},
				Body: bytes.Repeat([]byte("x"), hook.MaxKeptResponse+1),
			}, nil
		})
		if attempt.Delivery != 7 || attempt.Number != 3 || !attempt.Manual || attempt.ResponseStatus != 201 ||
			attempt.Outcome != hook.OutcomeSuccess || attempt.Method != http.MethodPost || attempt.URL != "https://erp.example.com/" || attempt.Error != "" {
			t.Errorf("attempt %+v", attempt)
		}
		if !attempt.StartedAt.Equal(began) || attempt.Duration != hook.Duration(3*time.Second) {
			t.Errorf("began %v, took %v", attempt.StartedAt, attempt.Duration)
		}
		if try.Number != 3 || !try.Manual || try.Outcome != hook.OutcomeSuccess || try.Status != 201 {
			t.Errorf("try %+v", try)
		}
		if text := fmt.Sprint(attempt.RequestHeaders, attempt.ResponseHeaders); strings.Contains(text, "s3cret") {
			t.Errorf("a credential is kept: %s", text)
		}
		if got := attempt.RequestHeaders.Get("Authorization"); got != "Bearer [secret]" {
			t.Errorf("Authorization is kept as %q", got)
		}
		if got := attempt.ResponseHeaders.Get("Server"); got != "na\uFFFDve" {
			t.Errorf("a header that is not UTF-8 is kept as %q", got)
		}
		if got := attempt.ResponseHeaders.Get("X-Long"); len(got) > maxKeptHeaderValue+len("…") {
			t.Errorf("a header of %d bytes is kept", len(got))
		}
		if len(attempt.ResponseBody) != hook.MaxKeptResponse {
			t.Errorf("%d bytes of the body are kept", len(attempt.ResponseBody))
		}
	})
}

func TestTimeout(t *testing.T) {
	tests := []struct {
		set, want time.Duration
	}{
		{0, 15 * time.Second},
		{3 * time.Second, 3 * time.Second},
		{time.Hour, 2 * time.Minute},
	}
	for _, test := range tests {
		t.Run(test.set.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempt, try := send(t, Options{Timeout: test.set}, func(ctx context.Context) (*Answer, error) {
					<-ctx.Done()
					return nil, context.Cause(ctx)
				})
				if try.Outcome != hook.OutcomeTimeout || time.Duration(attempt.Duration) != test.want {
					t.Errorf("%v after %v, want a time-out after %v", try.Outcome, attempt.Duration, test.want)
				}
				if want := "no answer from erp within " + hook.Duration(test.want).String(); try.Detail != want || attempt.Error != want {
					t.Errorf("detail %q, want %q", try.Detail, want)
				}
			})
		})
	}
}

func TestPanic(t *testing.T) {
	attempt, try := send(t, Options{}, func(context.Context) (*Answer, error) { panic("s3cret") })
	if try.Outcome != hook.OutcomeConfig || attempt.Outcome != hook.OutcomeConfig || strings.Contains(attempt.Error, "s3cret") {
		t.Errorf("attempt %+v, try %+v", attempt, try)
	}
}
