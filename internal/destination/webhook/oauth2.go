package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
)

// Timings of access tokens.
const (
	tokenTimeout = 10 * time.Second
	tokenSkew    = 30 * time.Second // a token is renewed so long before it ends …
	tokenShare   = 10               // … or after all but a tenth of its life, if that is later
	tokenMaxAge  = time.Hour        // how long a token without an end is used
	tokenMinAge  = 5 * time.Second  // a token younger than this is not renewed on a 401
)

// tokenSource gets access tokens by the client credentials grant (RFC 6749, section
// 4.4) and keeps each until shortly before it ends.
type tokenSource struct {
	config clientcredentials.Config
	client *http.Client
	host   string
	flight singleflight.Group

	mu    sync.Mutex
	token token
}

// token is an access token in use.
type token struct {
	value   string // of the Authorization header; "" for none
	fetched time.Time
	renew   time.Time
}

// oauth2 compiles the client credentials grant. Its requests pass the same guard as
// the deliveries, and show the same client certificate (RFC 8705).
func (c *compiler) oauth2(d *driver, auth *hook.OAuth2) *tokenSource {
	parsed := c.url("http.auth.oauth2.tokenUrl", auth.TokenURL)
	if auth.ClientID == "" {
		c.wrong("http.auth.oauth2.clientId", "it is empty")
	}
	for _, name := range slices.Sorted(maps.Keys(auth.Params)) {
		switch strings.ToLower(name) {
		case "grant_type", "scope", "client_id", "client_secret":
			c.wrong("http.auth.oauth2.params."+name, "it is set by the grant itself")
		}
	}
	if parsed == nil {
		return nil
	}
	source := &tokenSource{
		config: clientcredentials.Config{
			ClientID: auth.ClientID, ClientSecret: auth.ClientSecret.Reveal(), TokenURL: parsed.String(),
			Scopes: auth.Scopes, AuthStyle: oauth2.AuthStyleInHeader,
		},
		client: introduced(d.client, d.userAgent), host: parsed.Host,
	}
	if auth.InBody {
		source.config.AuthStyle = oauth2.AuthStyleInParams
	}
	if len(auth.Params) > 0 {
		source.config.EndpointParams = url.Values{}
		for name, value := range auth.Params {
			source.config.EndpointParams.Set(name, value)
		}
	}
	return source
}

// introduced returns client with the User-Agent of the deliveries: some firewalls in
// front of token endpoints refuse the one that Go's client has.
func introduced(client *http.Client, userAgent string) *http.Client {
	named := *client
	named.Transport = introduction{named.Transport, userAgent}
	return &named
}

type introduction struct {
	http.RoundTripper

	userAgent string
}

// RoundTrip implements http.RoundTripper.
func (i introduction) RoundTrip(req *http.Request) (*http.Response, error) {
	named := req.Clone(req.Context())
	named.Header.Set(headerUserAgent, i.userAgent)
	return i.RoundTripper.RoundTrip(named)
}

// header implements authorizer.
func (s *tokenSource) header(ctx context.Context) (hook.Header, error) {
	s.mu.Lock()
	current := s.token
	s.mu.Unlock()
	if current.value != "" && time.Now().Before(current.renew) {
		return hook.Header{Name: authorizationHeader, Value: current.value}, nil
	}
	fresh := s.flight.DoChan("", func() (any, error) {
		// The others who wait for this token outlive the attempt that asked first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenTimeout)
		defer cancel()
		return s.fetch(ctx)
	})
	select {
	case <-ctx.Done():
		return hook.Header{}, context.Cause(ctx)
	case result := <-fresh:
		value, _ := result.Val.(string)
		return hook.Header{Name: authorizationHeader, Value: value}, result.Err
	}
}

// refuted implements authorizer. A token may be withdrawn before its time; one that
// has just been fetched is not the reason for a 401.
func (s *tokenSource) refuted(header hook.Header) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.value != header.Value {
		return s.token.value != "" // somebody else renewed it already
	}
	if time.Since(s.token.fetched) < tokenMinAge {
		return false
	}
	s.token = token{}
	return true
}

// fetch asks for a token and keeps it.
func (s *tokenSource) fetch(ctx context.Context) (string, error) {
	got, err := s.config.Token(context.WithValue(ctx, oauth2.HTTPClient, s.client))
	if err != nil {
		return "", s.failure(err)
	}
	now := time.Now()
	life := tokenMaxAge
	if !got.Expiry.IsZero() {
		life = got.Expiry.Sub(now)
	}
	fresh := token{
		value:   got.Type() + " " + got.AccessToken,
		fetched: now,
		renew:   now.Add(max(life-tokenSkew, life-life/tokenShare)),
	}
	if !hook.IsHeaderValue(fresh.value) {
		return "", &destination.Failure{Outcome: hook.OutcomeRejected, Message: s.host + " gave an access token with a line break in it"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = fresh
	return fresh.value, nil
}

// failure words why there is no token. Nothing here is final: credentials get mended.
func (s *tokenSource) failure(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		outcome, text := destination.Describe(err)
		return &destination.Failure{Outcome: outcome, Message: "no access token from " + s.host + ": " + text, Err: err}
	}
	why := refused.ErrorCode
	if refused.ErrorDescription != "" {
		why = strings.TrimPrefix(why+": "+refused.ErrorDescription, ": ")
	}
	if why == "" {
		why = string(refused.Body)
	}
	failure := &destination.Failure{
		Outcome: hook.OutcomeRejected,
		Message: fmt.Sprintf("%s gave no access token: %s", s.host, destination.Gist([]byte(why))),
		Err:     err,
	}
	if refused.Response != nil {
		failure.Message = fmt.Sprintf("%s gave no access token, it answered %s: %s", s.host, refused.Response.Status, destination.Gist([]byte(why)))
		failure.RetryAfter = destination.ParseRetryAfter(refused.Response.Header.Get("Retry-After"), time.Now())
	}
	return failure
}
