package hook

import (
	"encoding/json"
	"time"
)

// Destination is where deliveries go.
type Destination struct {
	ID        DestinationID `json:"id"`
	Project   ProjectID     `json:"project"`
	Name      string        `json:"name"` // unique in the project
	Version   int64         `json:"version"`
	CreatedAt time.Time     `json:"createdAt"`
	UpdatedAt time.Time     `json:"updatedAt"`
	DestinationSpec
}

// DestinationSpec is what a person sets on a destination. Exactly one kind is set.
type DestinationSpec struct {
	HTTP        *HTTPTarget    `json:"http,omitempty"`
	Rate        Rate           `json:"rate,omitzero"`         // at most so many deliveries; zero: no limit
	Burst       int            `json:"burst,omitempty"`       // of Rate that may be used at once; default: 10 ms' worth
	Concurrency int            `json:"concurrency,omitempty"` // requests in flight, at the most; default DefaultConcurrency
	InFlight    int            `json:"inFlight,omitempty"`    // deliveries in hand, waiting in memory included; default: a second's worth
	Adaptive    *bool          `json:"adaptive,omitempty"`    // slow down on 429, 503, time-outs and rising latency; default true
	Circuit     *CircuitPolicy `json:"circuit,omitempty"`     // when to stop and probe; default: as CircuitPolicy says
	Quiet       *Quiet         `json:"quiet,omitempty"`       // hours in which nothing is delivered to it
	Paused      bool           `json:"paused,omitempty"`      // deliveries are held until it is resumed
	PauseReason string         `json:"pauseReason,omitempty"` // why, in a sentence: by a person, or because it answered 410
}

// DefaultConcurrency is how many requests a destination takes at once unless it says otherwise.
const DefaultConcurrency = 16

// HTTPTarget is a destination that is reached by HTTP requests.
type HTTPTarget struct {
	URL      string        `json:"url"`
	Method   string        `json:"method,omitempty"` // default POST
	Headers  CustomHeaders `json:"headers,omitempty"`
	Forward  []string      `json:"forward,omitempty"` // names of headers of the received request to pass on; Content-Type always is
	Auth     *Auth         `json:"auth,omitempty"`
	Sign     *Sign         `json:"sign,omitempty"`     // default: Standard Webhooks with a generated secret
	Encoding string        `json:"encoding,omitempty"` // raw (default), cloudevents-binary, cloudevents-structured
	Timeout  Duration      `json:"timeout,omitempty"`  // for the whole attempt; default DefaultTimeout, at most MaxTimeout
	CA       string        `json:"ca,omitempty"`       // PEM authorities in place of the system's
}

// Limits of an attempt's duration.
const (
	DefaultTimeout = Duration(15 * time.Second)
	MaxTimeout     = Duration(120 * time.Second)
)

// CustomHeaders are headers that people add, by name. The values of those whose name
// says that they are credentials are secrets: see CredentialHeader.
type CustomHeaders map[string]string

// Auth is how a request to a destination proves who sends it: one of its kinds.
type Auth struct {
	Bearer Secret      `json:"bearer,omitempty"`
	Basic  *BasicAuth  `json:"basic,omitempty"`
	Header *HeaderAuth `json:"header,omitempty"`
	OAuth2 *OAuth2     `json:"oauth2,omitempty"`
	MTLS   *ClientCert `json:"mtls,omitempty"` // may stand beside another kind
}

// BasicAuth is HTTP Basic.
type BasicAuth struct {
	Username string `json:"username"`
	Password Secret `json:"password"`
}

// HeaderAuth is a key in a header of its own.
type HeaderAuth struct {
	Name  string `json:"name"`
	Value Secret `json:"value"`
}

// OAuth2 is the client credentials grant (RFC 6749, section 4.4).
type OAuth2 struct {
	TokenURL     string            `json:"tokenUrl"`
	ClientID     string            `json:"clientId"`
	ClientSecret Secret            `json:"clientSecret"`
	Scopes       []string          `json:"scopes,omitempty"`
	Params       map[string]string `json:"params,omitempty"` // more form parameters, such as audience
	InBody       bool              `json:"inBody,omitempty"` // credentials in the form rather than in HTTP Basic
}

// ClientCert is the certificate that we show to a destination.
type ClientCert struct {
	Cert string `json:"cert"` // PEM, leaf first
	Key  Secret `json:"key"`  // PEM
}

// Sign says how a delivery is signed. In JSON and YAML the text "none" switches
// signing off.
type Sign struct {
	None     bool              `json:"none,omitempty"`
	Scheme   string            `json:"scheme,omitempty"`   // standard (default), ed25519, stripe, github, shopify, svix, slack, custom
	Secret   Secret            `json:"secret,omitempty"`   // whsec_… or whsk_… for the standard schemes, text for the others
	Secrets  []Secret          `json:"secrets,omitempty"`  // further live secrets while rotating: they sign too where the header holds a list
	Hash     string            `json:"hash,omitempty"`     // custom: sha256 (default), sha1, sha512
	Key      string            `json:"key,omitempty"`      // custom: how the secret's text becomes the key: text (default), base64, hex, whsec
	Encoding string            `json:"encoding,omitempty"` // custom: hex (default), base64, base64url
	Content  string            `json:"content,omitempty"`  // custom: the signed text, a template of {id}, {timestamp}, {timestampMs}, {body}, {url}, {method}
	Headers  map[string]string `json:"headers,omitempty"`  // custom: header → template that also has {signature}, and {signatures:SEPARATOR} of all secrets
}

// UnmarshalJSON accepts the text "none".
func (s *Sign) UnmarshalJSON(text []byte) error {
	var word string
	if json.Unmarshal(text, &word) == nil {
		*s = Sign{None: word == "none"}
		if !s.None {
			*s = Sign{Scheme: word}
		}
		return nil
	}
	type plain Sign
	return strictUnmarshal(text, (*plain)(s))
}

// SchemeName returns the name of the scheme, that of the default where none is set;
// "none" where nothing is signed.
func (s *Sign) SchemeName() string {
	switch {
	case s.None:
		return "none"
	case s.Scheme == "":
		return "standard"
	default:
		return s.Scheme
	}
}

// AllSecrets returns the live secrets, the newest first.
func (s *Sign) AllSecrets() []Secret {
	all := make([]Secret, 0, 1+len(s.Secrets))
	if s.Secret != "" {
		all = append(all, s.Secret)
	}
	return append(all, s.Secrets...)
}
