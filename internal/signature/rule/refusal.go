package rule

import (
	"fmt"

	"malote.dev/malote/internal/hook"
)

// The reasons for which a request is refused: a closed set, shown to people and
// counted by metrics.
const (
	MissingSignature  = "missing_signature"          // the signature's place is empty
	MalformedSig      = "malformed_signature"        // something is there, but not in the form that was agreed
	BadSignature      = "bad_signature"              // no secret or key gives this signature
	MissingTimestamp  = "missing_timestamp"          // the signed time is absent
	MalformedTime     = "malformed_timestamp"        // the signed time cannot be read
	OutOfTolerance    = "timestamp_out_of_tolerance" // the signed time is too far from our clock
	MissingToken      = "missing_token"              // no token where one should be
	BadToken          = "bad_token"                  // the token is not one of ours, or not signed by the issuer
	ExpiredToken      = "expired_token"              // a signed token outside of its time
	BadClaim          = "bad_claim"                  // a signed token or message for somebody else
	MissingCredential = "missing_credentials"        // no HTTP Basic credentials
	BadCredential     = "bad_credentials"            // wrong user or password
	NotAllowedAddress = "not_allowed_address"        // the sender's address is not on the list
	NoCertificate     = "no_certificate"             // no client certificate
	BadCertificate    = "bad_certificate"            // a certificate that does not chain, is not valid now, or names somebody else
	Replayed          = "replayed"                   // the one-time value was seen with another body
	BadHandshake      = "bad_handshake"              // the provider's question whether we are there, with a foreign token
	KeysUnavailable   = "keys_unavailable"           // the sender's keys could not be fetched; the sender should try again
)

// Reasons returns every reason, in a fixed order.
func Reasons() []string {
	return []string{
		MissingSignature, MalformedSig, BadSignature, MissingTimestamp, MalformedTime, OutOfTolerance,
		MissingToken, BadToken, ExpiredToken, BadClaim, MissingCredential, BadCredential,
		NotAllowedAddress, NoCertificate, BadCertificate, Replayed, BadHandshake, KeysUnavailable,
	}
}

// Refusal says why a request did not pass. Its message holds no secret and can be
// shown to the owner of the source. In its chain is a *hook.Error of
// KindUnauthorized, or of KindUnavailable for KeysUnavailable.
type Refusal struct {
	Reason  string // one of Reasons
	Message string // one sentence
	Err     error  // the cause, for logs; may be nil
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// Unwrap returns the kind of the refusal, with its cause behind it.
func (r *Refusal) Unwrap() error {
	kind := hook.KindUnauthorized
	if r.Reason == KeysUnavailable {
		kind = hook.KindUnavailable
	}
	return &hook.Error{Kind: kind, Message: r.Message, Err: r.Err}
}

func refusef(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// rank orders refusals by how far the request came: of several alternatives the one
// that came furthest is the one that was meant.
func (r *Refusal) rank() int {
	switch r.Reason {
	case MissingSignature, MissingToken, MissingCredential, NoCertificate:
		return 0
	case MalformedSig, MissingTimestamp, MalformedTime:
		return 1
	case BadSignature, BadToken, BadCredential, BadCertificate:
		return 2
	default:
		return 3
	}
}
