package account

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
)

// adminName is the name of the token that the first start creates.
const adminName = "admin"

// EnsureAdmin creates an admin token in the project when the project has no token at
// all, and writes its text to the file path, readable by its owner only. It returns
// the text, to be printed once, or "" when there are tokens already.
//
// The file is written before the token is stored: a crash between the two leaves a
// file that the next start replaces, never a token that nobody knows.
func (a *Accounts) EnsureAdmin(ctx context.Context, project hook.ProjectID, path string) (string, error) {
	existing, err := a.tokens.ListTokens(ctx, project, page.Request{Limit: 1})
	if err != nil {
		return "", fmt.Errorf("looking for API tokens: %w", err)
	}
	if len(existing.Items) > 0 {
		return "", nil
	}
	text := newText()
	if err := writePrivate(path, text+"\n"); err != nil {
		return "", fmt.Errorf("writing the admin token: %w", err)
	}
	token := hook.Token{Project: project, Name: adminName, Role: hook.RoleAdmin, Hash: sha256.Sum256([]byte(text))}
	if err := a.tokens.CreateToken(ctx, &token); err != nil {
		return "", fmt.Errorf("creating the admin token: %w", err)
	}
	return text, nil
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
