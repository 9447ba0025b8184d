package account

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
)

// adminName is the name of the token that the first start creates; later ones get a number.
const adminName = "admin"

// EnsureAdmin creates an admin token in the project when the project has none that
// works, and writes its text to the file path, readable by its owner only. It returns
// the text, to be printed once, or "" when there is an admin already. So whoever has the
// data folder gets in again after the last admin token was revoked or ended.
//
// The file is written before the token is stored: a crash between the two leaves a
// file that the next start replaces, never a token that nobody knows.
func (a *Accounts) EnsureAdmin(ctx context.Context, project hook.ProjectID, path string) (string, error) {
	name, err := a.freeAdminName(ctx, project)
	if err != nil || name == "" {
		return "", err
	}
	text := newText()
	if err := writePrivate(path, text+"\n"); err != nil {
		return "", fmt.Errorf("writing the admin token: %w", err)
	}
	token := hook.Token{Project: project, Name: name, Role: hook.RoleAdmin, Hash: sha256.Sum256([]byte(text))}
	if err := a.tokens.CreateToken(ctx, &token); err != nil {
		return "", fmt.Errorf("creating the admin token: %w", err)
	}
	return text, nil
}

// freeAdminName returns a name for a new admin token, or "" when the project has an
// admin token that works.
func (a *Accounts) freeAdminName(ctx context.Context, project hook.ProjectID) (string, error) {
	taken := map[string]bool{}
	for req := (page.Request{Limit: page.MaxLimit}); ; {
		tokens, err := a.tokens.ListTokens(ctx, project, req)
		if err != nil {
			return "", fmt.Errorf("looking for API tokens: %w", err)
		}
		for i := range tokens.Items {
			token := &tokens.Items[i]
			if token.Role == hook.RoleAdmin && (token.ExpiresAt == nil || token.ExpiresAt.After(a.now())) {
				return "", nil
			}
			taken[token.Name] = true
		}
		if tokens.Done {
			break
		}
		req.From = tokens.Last
	}
	name := adminName
	for number := 2; taken[name]; number++ {
		name = adminName + "-" + strconv.Itoa(number)
	}
	return name, nil
}

// writePrivate replaces the file with the content in one step.
func writePrivate(path, content string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".admin-token-*") // created with mode 0600
	if err != nil {
		return err
	}
	_, err = file.WriteString(content)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the first error is the one to report
	}
	return err
}
