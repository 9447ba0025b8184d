package hook

import "time"

// Project isolates everything below it: every key, query and token is scoped by it.
type Project struct {
	ID        ProjectID `json:"id"`
	Name      string    `json:"name"`
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	ProjectSpec
}

// ProjectSpec is what a person sets on a project.
type ProjectSpec struct {
	Retention Retention `json:"retention"`
}

// Retention says how long the log of a project is kept. A zero keeps for ever.
type Retention struct {
	Events  Duration `json:"events,omitempty"`  // events with their deliveries and attempts
	Refused Duration `json:"refused,omitempty"` // refused requests
}

// Role is what a token may do, each role including the one before.
type Role string

// The roles.
const (
	RoleViewer   Role = "viewer"   // reads everything but secrets
	RoleOperator Role = "operator" // also retries, cancels, pauses, sends
	RoleAdmin    Role = "admin"    // also changes the catalogue, tokens and projects
)

var roleRank = map[Role]int{RoleViewer: 1, RoleOperator: 2, RoleAdmin: 3} //nolint:gochecknoglobals // a constant table

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return roleRank[r] > 0 }

// Includes reports whether r may do all that other may.
func (r Role) Includes(other Role) bool { return other.Valid() && roleRank[r] >= roleRank[other] }

// Token lets a program or a person use the API. Only the hash of its text is kept.
type Token struct {
	ID         TokenID    `json:"id"`
	Project    ProjectID  `json:"project"` // the only project that it reaches
	Name       string     `json:"name"`
	Role       Role       `json:"role"`
	Hash       [32]byte   `json:"-"` // SHA-256 of the text; the text has 256 random bits, so a fast hash is enough
	CreatedAt  time.Time  `json:"createdAt"`
	LastUsedAt *time.Time `json:"lastUsedAt,omitempty"` // to the minute
	ExpiresAt  *time.Time `json:"expiresAt,omitempty"`
}
