package account

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
)

// memory is a store.Tokens that counts how often it is asked.
type memory struct {
	mu      sync.Mutex
	tokens  []hook.Token
	lookups int
	touched map[hook.TokenID]time.Time
	during  func() // called within TokenByHash, after the token was found
	fail    error
}

func (m *memory) CreateToken(_ context.Context, token *hook.Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	token.ID = hook.TokenID(len(m.tokens) + 1)
	m.tokens = append(m.tokens, *token)
	return nil
}

func (m *memory) TokenByHash(_ context.Context, hash [32]byte) (hook.Token, error) {
	m.mu.Lock()
	m.lookups++
	found, err := hook.Token{}, error(hook.NotFound("token", "hash"))
	for _, token := range m.tokens {
		if token.Hash == hash {
			found, err = token, nil
		}
	}
	if m.fail != nil {
		err = m.fail
	}
	during := m.during
	m.mu.Unlock()
	if during != nil {
		during()
	}
	return found, err
}

func (m *memory) ListTokens(_ context.Context, project hook.ProjectID, _ page.Request) (page.Page[hook.Token], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var items []hook.Token
	for _, token := range m.tokens {
		if token.Project == project {
			items = append(items, token)
		}
	}
	return page.Page[hook.Token]{Items: items, Done: true}, m.fail
}

func (m *memory) DeleteToken(_ context.Context, project hook.ProjectID, ref string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, token := range m.tokens {
		if token.Project == project && (token.Name == ref || token.ID.String() == ref) {
			m.tokens = append(m.tokens[:i], m.tokens[i+1:]...)
			return nil
		}
	}
	return hook.NotFound("token", ref)
}

func (m *memory) TouchToken(id hook.TokenID, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.touched == nil {
		m.touched = map[hook.TokenID]time.Time{}
	}
	m.touched[id] = now
}

// clock is a time that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newAccounts() (*Accounts, *memory, *clock) {
	tokens, hands := &memory{}, &clock{at: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	return New(tokens, hands.now), tokens, hands
}

func TestTokenIsKnownByItsTextOnly(t *testing.T) {
	accounts, tokens, hands := newAccounts()
	text, created, err := accounts.Create(t.Context(), hook.Token{Project: 7, Name: "ci", Role: hook.RoleOperator})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^mlt_[A-Za-z0-9_-]{43}$`).MatchString(text) {
		t.Errorf("the text %q is not mlt_ and 43 characters of base64url", text)
	}
	token, err := accounts.Authenticate(t.Context(), text)
	if err != nil || token.ID != created.ID || token.Role != hook.RoleOperator || token.Project != 7 {
		t.Errorf("Authenticate = %+v, %v", token, err)
	}
	if tokens.touched[created.ID] != hands.at {
		t.Error("the use of the token was not noted")
	}
	flipped := []byte(text)
	flipped[10] ^= 1
	for name, wrong := range map[string]string{
		"empty": "", "prefix": strings.TrimPrefix(text, Prefix), "short": text[:20], "long": text + "A",
		"alphabet": text[:10] + "!" + text[11:], "another": string(flipped), "case": strings.ToUpper(text),
	} {
		if _, err := accounts.Authenticate(t.Context(), wrong); hook.KindOf(err) != hook.KindUnauthorized {
			t.Errorf("%s: error %v, want unauthorized", name, err)
		}
	}
}

func TestTwoTokensDiffer(t *testing.T) {
	if first, second := newText(), newText(); first == second {
		t.Error("two tokens have the same text")
	}
}

func TestAuthenticationIsRememberedForAWhile(t *testing.T) {
	accounts, tokens, hands := newAccounts()
	text, _, err := accounts.Create(t.Context(), hook.Token{Name: "ci", Role: hook.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	authenticate := func(want int) {
		t.Helper()
		if _, err := accounts.Authenticate(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		if tokens.lookups != want {
			t.Errorf("the store was asked %d times, want %d", tokens.lookups, want)
		}
	}
	authenticate(1)
	authenticate(1)
	hands.at = hands.at.Add(cacheTTL)
	authenticate(2)
}

func TestRevokedTokenIsDeadAtOnce(t *testing.T) {
	accounts, _, _ := newAccounts()
	text, _, err := accounts.Create(t.Context(), hook.Token{Project: 1, Name: "ci", Role: hook.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if err := accounts.Revoke(t.Context(), 2, "ci"); hook.KindOf(err) != hook.KindNotFound {
		t.Errorf("revoking from another project: %v, want not found", err)
	}
	if err := accounts.Revoke(t.Context(), 1, "ci"); err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.Authenticate(t.Context(), text); hook.KindOf(err) != hook.KindUnauthorized {
		t.Errorf("a revoked token gave %v, want unauthorized", err)
	}
}

func TestLookupUnderWayDoesNotReviveARevokedToken(t *testing.T) {
	accounts, tokens, _ := newAccounts()
	text, _, err := accounts.Create(t.Context(), hook.Token{Project: 1, Name: "ci", Role: hook.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	tokens.during = sync.OnceFunc(func() {
		if err := accounts.Revoke(t.Context(), 1, "ci"); err != nil {
			t.Error(err)
		}
	})
	if _, err := accounts.Authenticate(t.Context(), text); err != nil {
		t.Fatalf("the lookup began before the revocation: %v", err)
	}
	if _, err := accounts.Authenticate(t.Context(), text); hook.KindOf(err) != hook.KindUnauthorized {
		t.Errorf("the revoked token was remembered: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	accounts, _, hands := newAccounts()
	expires := hands.at.Add(time.Second)
	text, _, err := accounts.Create(t.Context(), hook.Token{Name: "short", Role: hook.RoleViewer, ExpiresAt: &expires})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	hands.at = expires
	if _, err := accounts.Authenticate(t.Context(), text); hook.KindOf(err) != hook.KindUnauthorized || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired token gave %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	accounts, tokens, hands := newAccounts()
	past := hands.at
	for path, token := range map[string]hook.Token{
		"name":      {Role: hook.RoleViewer},
		"role":      {Name: "x", Role: "root"},
		"expiresAt": {Name: "x", Role: hook.RoleViewer, ExpiresAt: &past},
	} {
		_, _, err := accounts.Create(t.Context(), token)
		var e *hook.Error
		if !errors.As(err, &e) || e.Kind != hook.KindInvalid || len(e.Problems) != 1 || e.Problems[0].Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
	if len(tokens.tokens) > 0 {
		t.Error("a refused token was stored")
	}
}

func TestStoreFailureIsNotUnauthorized(t *testing.T) {
	accounts, tokens, _ := newAccounts()
	text, _, err := accounts.Create(t.Context(), hook.Token{Name: "ci", Role: hook.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	tokens.fail = hook.Errorf(hook.KindUnavailable, "disk")
	if _, err := accounts.Authenticate(t.Context(), text); hook.KindOf(err) != hook.KindUnavailable {
		t.Errorf("error %v, want unavailable", err)
	}
}

func TestEnsureAdmin(t *testing.T) {
	accounts, tokens, _ := newAccounts()
	path := filepath.Join(t.TempDir(), "admin-token")
	text, err := accounts.EnsureAdmin(t.Context(), 1, path)
	if err != nil || text == "" {
		t.Fatalf("EnsureAdmin = %q, %v", text, err)
	}
	written, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(written)) != text {
		t.Errorf("the file holds %q, %v", written, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	token, err := accounts.Authenticate(t.Context(), text)
	if err != nil || token.Role != hook.RoleAdmin || token.Project != 1 {
		t.Errorf("Authenticate = %+v, %v", token, err)
	}
	if again, err := accounts.EnsureAdmin(t.Context(), 1, path); err != nil || again != "" {
		t.Errorf("the second start made %q, %v", again, err)
	}
	if len(tokens.tokens) != 1 {
		t.Errorf("%d tokens, want 1", len(tokens.tokens))
	}
}

// Without an admin token that works, the next start makes one: nobody locks themselves out.
func TestEnsureAdminAfterTheLastWasLost(t *testing.T) {
	accounts, tokens, hands := newAccounts()
	path := filepath.Join(t.TempDir(), "admin-token")
	if _, _, err := accounts.Create(t.Context(), hook.Token{Project: 1, Name: "shop", Role: hook.RoleOperator}); err != nil {
		t.Fatal(err)
	}
	end := hands.at.Add(time.Hour)
	if _, _, err := accounts.Create(t.Context(), hook.Token{Project: 1, Name: "admin", Role: hook.RoleAdmin, ExpiresAt: &end}); err != nil {
		t.Fatal(err)
	}
	if text, err := accounts.EnsureAdmin(t.Context(), 1, path); err != nil || text != "" {
		t.Errorf("beside an admin: %q, %v", text, err)
	}
	hands.at = end
	text, err := accounts.EnsureAdmin(t.Context(), 1, path)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := accounts.Authenticate(t.Context(), text); err != nil || token.Name != "admin-2" || token.Role != hook.RoleAdmin {
		t.Errorf("after the only one ended: %+v, %v", token, err)
	}
	if len(tokens.tokens) != 3 {
		t.Errorf("%d tokens, want 3", len(tokens.tokens))
	}
	if err := accounts.Revoke(t.Context(), 1, "admin-2"); err != nil {
		t.Fatal(err)
	}
	if again, err := accounts.EnsureAdmin(t.Context(), 1, path); err != nil || again == "" || again == text {
		t.Errorf("after the last one was revoked: %q, %v", again, err)
	}
}

func TestEnsureAdminStoresNothingWithoutTheFile(t *testing.T) {
	accounts, tokens, _ := newAccounts()
	if _, err := accounts.EnsureAdmin(t.Context(), 1, filepath.Join(t.TempDir(), "missing", "admin-token")); err == nil {
		t.Error("no error for a folder that does not exist")
	}
	if len(tokens.tokens) != 0 {
		t.Error("a token was stored that nobody knows")
	}
}
