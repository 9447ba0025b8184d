// Package account says who may use the API: it makes tokens, knows them again by
// their hash, and forgets them when they are revoked. The text of a token exists
// only in the answer to the request that made it.
package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
)

// Prefix begins the text of every token, so that scanners for leaked secrets can
// recognise one.
const Prefix = "mlt_"

const (
	tokenBytes  = 32               // of randomness in a token
	cacheTTL    = 10 * time.Second // how long an authentication is believed without asking the store
	cacheLimit  = 1024             // authentications kept
	maxNameSize = 64               // characters of a token's name
)

// Tokens is where tokens are kept; see store.Tokens for what its methods promise.
type Tokens interface {
	CreateToken(ctx context.Context, token *hook.Token) error
	TokenByHash(ctx context.Context, hash [sha256.Size]byte) (hook.Token, error)
	ListTokens(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[hook.Token], error)
	DeleteToken(ctx context.Context, project hook.ProjectID, ref string) error
	TouchToken(id hook.TokenID, now time.Time)
}

// Accounts authenticates tokens and manages them. It is safe for concurrent use.
type Accounts struct {
	tokens Tokens
	now    func() time.Time

	mu         sync.Mutex
	known      map[[sha256.Size]byte]authentication
	generation uint64 // grows with every revocation, so that a lookup under way does not bring a dead token back
}

// authentication is a token that was found in the store at a moment.
type authentication struct {
	token hook.Token
	at    time.Time
}

// New returns the accounts over the given tokens; now is the clock, time.Now outside
// of tests.
func New(tokens Tokens, now func() time.Time) *Accounts {
	return &Accounts{tokens: tokens, now: now, known: map[[sha256.Size]byte]authentication{}}
}

// Authenticate returns the token whose text is given. It fails with
// hook.KindUnauthorized when there is none or when it has expired. A revocation on
// this node counts at once, one by another process after ten seconds at the latest.
func (a *Accounts) Authenticate(ctx context.Context, text string) (hook.Token, error) {
	if !wellFormed(text) {
		return hook.Token{}, hook.Errorf(hook.KindUnauthorized, "the API token is malformed: it begins with %s and has %d characters",
			Prefix, len(Prefix)+base64.RawURLEncoding.EncodedLen(tokenBytes))
	}
	hash := sha256.Sum256([]byte(text))
	now := a.now()
	token, generation, ok := a.remembered(hash, now)
	if !ok {
		var err error
		if token, err = a.lookUp(ctx, hash); err != nil {
			return hook.Token{}, err
		}
		a.remember(hash, authentication{token: token, at: now}, generation)
	}
	if token.ExpiresAt != nil && !now.Before(*token.ExpiresAt) {
		return hook.Token{}, hook.Errorf(hook.KindUnauthorized, "the API token %s has expired: create a new one", token.ID)
	}
	a.tokens.TouchToken(token.ID, now)
	return token, nil
}

func wellFormed(text string) bool {
	body, ok := strings.CutPrefix(text, Prefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return false
	}
	_, err := base64.RawURLEncoding.DecodeString(body)
	return err == nil
}

func (a *Accounts) lookUp(ctx context.Context, hash [sha256.Size]byte) (hook.Token, error) {
	token, err := a.tokens.TokenByHash(ctx, hash)
	if hook.KindOf(err) == hook.KindNotFound {
		return hook.Token{}, hook.Errorf(hook.KindUnauthorized, "the API token is not known: it was revoked or never existed")
	}
	if err != nil {
		return hook.Token{}, fmt.Errorf("looking up an API token: %w", err)
	}
	if subtle.ConstantTimeCompare(token.Hash[:], hash[:]) != 1 {
		return hook.Token{}, hook.Errorf(hook.KindUnauthorized, "the API token is not known: it was revoked or never existed")
	}
	return token, nil
}

func (a *Accounts) remembered(hash [sha256.Size]byte, now time.Time) (token hook.Token, generation uint64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entry, ok := a.known[hash]
	if !ok || now.Sub(entry.at) >= cacheTTL {
		return hook.Token{}, a.generation, false
	}
	return entry.token, a.generation, true
}

func (a *Accounts) remember(hash [sha256.Size]byte, entry authentication, generation uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if generation != a.generation {
		return
	}
	if len(a.known) >= cacheLimit {
		clear(a.known)
	}
	a.known[hash] = entry
}

// Create makes a token with the name, role, project and expiry given, stores its
// hash, and returns its text, which cannot be had again.
func (a *Accounts) Create(ctx context.Context, token hook.Token) (string, hook.Token, error) {
	if err := a.validate(&token); err != nil {
		return "", hook.Token{}, err
	}
	text := newText()
	token.Hash = sha256.Sum256([]byte(text))
	if err := a.tokens.CreateToken(ctx, &token); err != nil {
		return "", hook.Token{}, fmt.Errorf("creating the API token %q: %w", token.Name, err)
	}
	return text, token, nil
}

func (a *Accounts) validate(token *hook.Token) error {
	var problems []hook.Problem
	if name := strings.TrimSpace(token.Name); name == "" || len([]rune(name)) > maxNameSize || name != token.Name {
		problems = append(problems, hook.Problem{
			Path:    "name",
			Message: fmt.Sprintf("give it a name of 1 to %d characters that says who uses it, without spaces around it", maxNameSize),
		})
	}
	if !token.Role.Valid() {
		problems = append(problems, hook.Problem{
			Path:    "role",
			Message: fmt.Sprintf("%q is not a role: use viewer, operator or admin", token.Role),
		})
	}
	if token.ExpiresAt != nil && !token.ExpiresAt.After(a.now()) {
		problems = append(problems, hook.Problem{Path: "expiresAt", Message: "lies in the past"})
	}
	return hook.Invalid("the token cannot be created", problems)
}

// newText returns the text of a new token. crypto/rand never fails.
func newText() string {
	var random [tokenBytes]byte
	rand.Read(random[:])
	return Prefix + base64.RawURLEncoding.EncodeToString(random[:])
}

// List returns a page of the project's tokens.
func (a *Accounts) List(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[hook.Token], error) {
	return a.tokens.ListTokens(ctx, project, req)
}

// Revoke deletes a token by id or name. It is not accepted any more when Revoke
// returns.
func (a *Accounts) Revoke(ctx context.Context, project hook.ProjectID, ref string) error {
	err := a.tokens.DeleteToken(ctx, project, ref)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.generation++
	clear(a.known)
	return err
}
