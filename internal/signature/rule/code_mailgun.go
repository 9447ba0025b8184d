package rule

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// mailgunCheck verifies Mailgun's signature over a time and a one-time token
// ("Securing webhooks"). The body is not signed, so that a token that was overheard
// could carry another body: each token is tied to the first body that it came with.
type mailgunCheck struct {
	places []checker
	window time.Duration

	mu       sync.Mutex
	young    map[[sha256.Size]byte][sha256.Size]byte // token → body, both hashed
	old      map[[sha256.Size]byte][sha256.Size]byte
	rotation time.Time
}

// mailgunWindow spans Mailgun's repetitions, which go on for eight hours.
const mailgunWindow = 12 * time.Hour

// maxTokens is how many tokens each of the two generations remembers.
const maxTokens = 20_000

func (c *compiler) mailgun(p *problems) node {
	check := &mailgunCheck{window: mailgunWindow, young: map[[sha256.Size]byte][sha256.Size]byte{}}
	for _, prefix := range []string{"signature.", ""} {
		one := c.hmac(&hook.HMACRule{SignatureRule: hook.SignatureRule{
			Path: prefix + "signature", Content: "{field:" + prefix + "timestamp}{field:" + prefix + "token}",
			Timestamp: &hook.TimestampRule{Path: prefix + "timestamp", Unit: "s", Tolerance: hook.Duration(check.window)},
		}}, p)
		check.places = append(check.places, one.check)
		if len(*p.list) > 0 {
			break
		}
	}
	return node{check: check}
}

func (m *mailgunCheck) verify(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	token, nested := req.Field("signature.token")
	place := m.places[0]
	if !nested {
		token, _ = req.Field("token") // absent: the signature is missing too
		place = m.places[1]
	}
	verdict, err := place.verify(ctx, req)
	if err != nil {
		return hook.Verdict{}, err
	}
	if !m.remember(token, req) {
		return hook.Verdict{}, refusef(Replayed, "The token was used before, with another body.")
	}
	verdict.Scheme = "mailgun"
	return verdict, nil
}

// remember ties the token to the body; false when it is tied to another one.
func (m *mailgunCheck) remember(token string, req *message.Request) bool {
	key, body := sha256.Sum256([]byte(token)), sha256.Sum256(req.Body)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, generation := range []map[[sha256.Size]byte][sha256.Size]byte{m.young, m.old} {
		if known, ok := generation[key]; ok {
			return known == body
		}
	}
	if len(m.young) >= maxTokens || req.Now.Sub(m.rotation) > m.window {
		m.old, m.young, m.rotation = m.young, map[[sha256.Size]byte][sha256.Size]byte{}, req.Now
	}
	m.young[key] = body
	return true
}
