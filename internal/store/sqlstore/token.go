package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

const tokenColumns = "id, project, name, role, hash, created_at, last_used_at, expires_at" //nolint:gosec // names of columns, no credentials

// CreateToken stores a token and fills its ID and CreatedAt.
func CreateToken(ctx context.Context, q Queryer, token *hook.Token, stamp Stamp) error {
	if token.Name == "" || !token.Role.Valid() {
		return hook.Invalid("the token cannot be stored", tokenProblems(token))
	}
	if err := projectExists(ctx, q, &record{Project: int64(token.Project)}); err != nil {
		return err
	}
	var taken int64
	err := q.QueryRowContext(ctx, "SELECT id FROM token WHERE project = $1 AND name = $2", int64(token.Project), token.Name).Scan(&taken)
	if err == nil {
		return hook.Errorf(hook.KindConflict, "there is a token named %q already", token.Name)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look for a token of the same name: %w", err)
	}
	if token.ID <= 0 {
		token.ID = hook.TokenID(stamp.IDs.Next(stamp.Now))
	}
	token.CreatedAt = Time(Millis(stamp.Now))
	_, err = q.ExecContext(ctx, "INSERT INTO token ("+tokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		int64(token.ID), int64(token.Project), token.Name, string(token.Role), token.Hash[:],
		Millis(token.CreatedAt), optionalMillis(token.LastUsedAt), optionalMillis(token.ExpiresAt))
	if err != nil {
		return fmt.Errorf("create token %q: %w", token.Name, err)
	}
	return nil
}

func tokenProblems(token *hook.Token) []hook.Problem {
	var problems []hook.Problem
	if token.Name == "" {
		problems = append(problems, hook.Problem{Path: "name", Message: "a token needs a name"})
	}
	if !token.Role.Valid() {
		problems = append(problems, hook.Problem{Path: "role", Message: fmt.Sprintf("%q is not a role: use viewer, operator or admin", token.Role)})
	}
	return problems
}

func optionalMillis(t *time.Time) sql.NullInt64 {
	if t == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: Millis(*t), Valid: true}
}

func optionalTime(ms sql.NullInt64) *time.Time {
	if !ms.Valid {
		return nil
	}
	t := Time(ms.Int64)
	return &t
}

func scanToken(row interface{ Scan(into ...any) error }) (hook.Token, error) {
	var t hook.Token
	var role string
	var hash []byte
	var created int64
	var used, expires sql.NullInt64
	if err := row.Scan((*int64)(&t.ID), (*int64)(&t.Project), &t.Name, &role, &hash, &created, &used, &expires); err != nil {
		return t, err
	}
	if copy(t.Hash[:], hash) != len(t.Hash) {
		return t, fmt.Errorf("%w: the hash of token %q", codec.ErrCodec, t.Name)
	}
	t.Role, t.CreatedAt = hook.Role(role), Time(created)
	t.LastUsedAt, t.ExpiresAt = optionalTime(used), optionalTime(expires)
	return t, nil
}

// TokenByHash returns the token with this hash.
func TokenByHash(ctx context.Context, q Queryer, hash [32]byte) (hook.Token, error) {
	t, err := scanToken(q.QueryRowContext(ctx, "SELECT "+tokenColumns+" FROM token WHERE hash = $1", hash[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return t, hook.Errorf(hook.KindNotFound, "no token with this text")
	}
	return t, err
}

// ListTokens returns a page of a project's tokens by id.
func ListTokens(ctx context.Context, q Queryer, project hook.ProjectID, req page.Request) (page.Page[hook.Token], error) {
	query := "SELECT " + tokenColumns + " FROM token WHERE project = $1 AND id > $2 ORDER BY id LIMIT $3"
	from := req.From
	if req.Back {
		query = "SELECT " + tokenColumns + " FROM token WHERE project = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
		if from == 0 {
			from = 1<<63 - 1
		}
	}
	rows, err := q.QueryContext(ctx, query, int64(project), from, req.Size()+1)
	if err != nil {
		return page.Page[hook.Token]{}, fmt.Errorf("list the tokens: %w", err)
	}
	var tokens []hook.Token
	for rows.Next() {
		t, err := scanToken(rows)
		if err != nil {
			return page.Page[hook.Token]{}, errors.Join(err, rows.Close())
		}
		tokens = append(tokens, t)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return page.Page[hook.Token]{}, fmt.Errorf("list the tokens: %w", err)
	}
	return Cut(tokens, req, func(t hook.Token) int64 { return int64(t.ID) }), nil
}

// DeleteToken removes the token with this id or name.
func DeleteToken(ctx context.Context, q Queryer, project hook.ProjectID, ref string) error {
	query, key := "DELETE FROM token WHERE project = $1 AND name = $2", any(ref)
	if id, ok := parseID[hook.TokenID](ref); ok {
		query, key = "DELETE FROM token WHERE project = $1 AND id = $2", id
	}
	result, err := q.ExecContext(ctx, query, int64(project), key)
	if err != nil {
		return fmt.Errorf("delete token %q: %w", ref, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(hook.NotFound("token", ref), err)
	}
	return nil
}

// Touches remembers the minute that each token's use was last noted for, so that a
// busy token costs one write a minute.
type Touches struct {
	mu      sync.Mutex
	minutes map[hook.TokenID]int64
}

// News reports whether the token's use in this minute is not noted yet.
func (t *Touches) News(id hook.TokenID, minute int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.minutes[id]; ok && last >= minute {
		return false
	}
	if t.minutes == nil || len(t.minutes) >= maxTouches {
		t.minutes = map[hook.TokenID]int64{}
	}
	t.minutes[id] = minute
	return true
}

// maxTouches bounds the memory of Touches; forgetting costs a write at the most.
const maxTouches = 10_000
