package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// Nouns reads and changes one kind of noun. Its methods take the Queryer, so that
// several changes can share a transaction; those that write need one of their own.
type Nouns[T any] struct {
	kind    *kind[T]
	keyring *seal.Keyring
	check   func(ctx context.Context, q Queryer, r *record) error // before it is written
	guard   func(ctx context.Context, q Queryer, r *record) error // before it is deleted
	gone    func(ctx context.Context, q Queryer, r *record) error // after it was deleted
	added   func(ctx context.Context, q Queryer, id int64, stamp Stamp) error
	// system reports whether a noun is the store's own: nobody makes, changes or
	// deletes it by name.
	system func(*T) bool
}

// Catalogue is the four kinds of noun that people set up.
type Catalogue struct {
	Projects     *Nouns[hook.Project]
	Sources      *Nouns[hook.Source]
	Destinations *Nouns[hook.Destination]
	Connections  *Nouns[hook.Connection]
	ids          *hook.IDs
	keyring      *seal.Keyring
}

// NewCatalogue returns the catalogue whose specs keyring seals and whose new nouns
// take their ids from ids.
func NewCatalogue(keyring *seal.Keyring, ids *hook.IDs) *Catalogue {
	c := &Catalogue{
		ids:     ids,
		keyring: keyring,
		Sources: &Nouns[hook.Source]{kind: sourceKind(), keyring: keyring, check: projectExists, guard: unused("source"), system: isSystem},
		Destinations: &Nouns[hook.Destination]{
			kind: destinationKind(), keyring: keyring, check: projectExists, guard: unused("destination"), gone: destinationGone,
		},
		Connections: &Nouns[hook.Connection]{kind: connectionKind(), keyring: keyring, check: endsExist},
	}
	c.Projects = &Nouns[hook.Project]{kind: projectKind(), keyring: keyring, guard: c.projectIsEmpty, gone: projectGone, added: c.projectAdded}
	return c
}

func (n *Nouns[T]) sealed(r *record) []byte {
	return n.keyring.Seal(r.Spec, IDKey(n.kind.table, r.ID))
}

// read turns a row into a noun.
func (n *Nouns[T]) read(row interface{ Scan(into ...any) error }) (T, record, error) {
	var item T
	r, err := n.kind.scan(row)
	if err != nil {
		return item, r, err
	}
	if r.Spec, err = n.keyring.Unseal(r.Spec, IDKey(n.kind.table, r.ID)); err != nil {
		return item, r, fmt.Errorf("%s %q: %w", n.kind.table, r.Name, err)
	}
	if err := n.kind.fill(r, &item); err != nil {
		return item, r, fmt.Errorf("%s %q: %w: %w", n.kind.table, r.Name, codec.ErrCodec, err)
	}
	return item, r, nil
}

// Get returns the noun with this id or name.
func (n *Nouns[T]) Get(ctx context.Context, q Queryer, project hook.ProjectID, ref string) (T, error) {
	item, _, err := n.find(ctx, q, project, ref)
	return item, err
}

func (n *Nouns[T]) find(ctx context.Context, q Queryer, project hook.ProjectID, ref string) (T, record, error) {
	query, key := "SELECT "+n.kind.columns()+" FROM "+n.kind.table+" WHERE project = $1 AND name = $2", any(ref)
	if id, ok := n.kind.parse(ref); ok {
		query, key = "SELECT "+n.kind.columns()+" FROM "+n.kind.table+" WHERE project = $1 AND id = $2", id
	}
	item, r, err := n.read(q.QueryRowContext(ctx, query, n.scope(project), key))
	if errors.Is(err, sql.ErrNoRows) {
		return item, r, hook.NotFound(n.kind.table, ref)
	}
	return item, r, err
}

// scope is the value of the column "project": projects themselves lie in none.
func (n *Nouns[T]) scope(project hook.ProjectID) int64 {
	if n.kind.table == "project" {
		return 0
	}
	return int64(project)
}

// All returns every noun of every project, by id.
func (n *Nouns[T]) All(ctx context.Context, q Queryer) ([]T, error) {
	return n.query(ctx, q, "SELECT "+n.kind.columns()+" FROM "+n.kind.table+" ORDER BY id")
}

// List returns a page of a project's nouns by id.
func (n *Nouns[T]) List(ctx context.Context, q Queryer, project hook.ProjectID, req page.Request) (page.Page[T], error) {
	compare, order := ">", "ASC"
	from := req.From
	if req.Back {
		compare, order = "<", "DESC"
		if from == 0 {
			from = 1<<63 - 1
		}
	}
	query := "SELECT " + n.kind.columns() + " FROM " + n.kind.table +
		" WHERE project = $1 AND id " + compare + " $2 ORDER BY id " + order + " LIMIT $3"
	items, err := n.query(ctx, q, query, n.scope(project), from, req.Size()+1)
	if err != nil {
		return page.Page[T]{}, err
	}
	return Cut(items, req, n.id), nil
}

func (n *Nouns[T]) id(item T) int64 {
	r, err := n.kind.pack(&item)
	if err != nil {
		return 0
	}
	return r.ID
}

func (n *Nouns[T]) query(ctx context.Context, q Queryer, query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read the %ss: %w", n.kind.table, err)
	}
	var items []T
	for rows.Next() {
		item, _, err := n.read(rows)
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		items = append(items, item)
	}
	return items, errors.Join(rows.Err(), rows.Close())
}

// Create stores a new noun under a new id, or under the one that it has already.
func (n *Nouns[T]) Create(ctx context.Context, q Queryer, item *T, stamp Stamp) error {
	if err := n.notSystem(item); err != nil {
		return err
	}
	return n.create(ctx, q, item, stamp)
}

// notSystem refuses to touch what is the store's own.
func (n *Nouns[T]) notSystem(item *T) error {
	if n.system == nil || !n.system(item) {
		return nil
	}
	r, err := n.kind.pack(item)
	if err != nil {
		return err
	}
	return hook.Errorf(hook.KindConflict, "the %s %q is the system's own: nobody makes, changes or deletes it", n.kind.table, r.Name)
}

func (n *Nouns[T]) create(ctx context.Context, q Queryer, item *T, stamp Stamp) error {
	r, err := n.kind.pack(item)
	if err != nil {
		return err
	}
	if r.ID <= 0 {
		r.ID = stamp.IDs.Next(stamp.Now)
	}
	r.Version, r.CreatedAt, r.UpdatedAt = 1, stamp.Now, stamp.Now
	if err := n.allowed(ctx, q, &r); err != nil {
		return err
	}
	query := "INSERT INTO " + n.kind.table + " (" + n.kind.columns() + ") VALUES ($1, $2, $3, $4, $5, $6, $7)"
	args := []any{r.ID, r.Project, r.Name, r.Version, Millis(r.CreatedAt), Millis(r.UpdatedAt), n.sealed(&r)}
	if n.kind.ends {
		query = "INSERT INTO " + n.kind.table + " (" + n.kind.columns() + ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
		args = append(args, r.Source, r.Destination)
	}
	if _, err := q.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("create %s %q: %w", n.kind.table, r.Name, err)
	}
	if n.added != nil {
		if err := n.added(ctx, q, r.ID, stamp); err != nil {
			return err
		}
	}
	return n.refill(r, item)
}

// refill writes what was stored back into item: its id, version and times as a later
// Get returns them.
func (n *Nouns[T]) refill(r record, item *T) error {
	r.CreatedAt, r.UpdatedAt = Time(Millis(r.CreatedAt)), Time(Millis(r.UpdatedAt))
	return n.kind.fill(r, item)
}

// Stamp is what a change is marked with.
type Stamp struct {
	Now time.Time
	IDs *hook.IDs
}

// allowed reports why a noun cannot be stored as it is.
func (n *Nouns[T]) allowed(ctx context.Context, q Queryer, r *record) error {
	if err := hook.CheckName(r.Name); err != nil {
		return &hook.Error{
			Kind: hook.KindInvalid, Message: "the " + n.kind.table + " cannot be stored",
			Problems: []hook.Problem{{Path: "name", Message: err.Error()}},
		}
	}
	if n.check != nil {
		if err := n.check(ctx, q, r); err != nil {
			return err
		}
	}
	var taken int64
	query := "SELECT id FROM " + n.kind.table + " WHERE project = $1 AND name = $2 AND id <> $3"
	switch err := q.QueryRowContext(ctx, query, r.Project, r.Name, r.ID).Scan(&taken); {
	case err == nil:
		return hook.Errorf(hook.KindConflict, "there is a %s named %q already", n.kind.table, r.Name)
	case errors.Is(err, sql.ErrNoRows):
		return nil
	default:
		return fmt.Errorf("look for a %s of the same name: %w", n.kind.table, err)
	}
}

// Update replaces a noun whose version is still the stored one.
func (n *Nouns[T]) Update(ctx context.Context, q Queryer, item *T, stamp Stamp) error {
	r, err := n.kind.pack(item)
	if err != nil {
		return err
	}
	query := "SELECT " + n.kind.columns() + " FROM " + n.kind.table + " WHERE id = $1 AND project = $2"
	was, before, err := n.read(q.QueryRowContext(ctx, query, r.ID, r.Project))
	if errors.Is(err, sql.ErrNoRows) {
		return hook.NotFound(n.kind.table, r.Name)
	}
	if err := errors.Join(err, n.notSystem(&was), n.notSystem(item)); err != nil {
		return err
	}
	if before.Version != r.Version {
		return hook.Errorf(hook.KindConflict,
			"the %s %q was changed by somebody else in the meantime (version %d, yours is %d): read it again and repeat the change",
			n.kind.table, r.Name, before.Version, r.Version)
	}
	if err := n.allowed(ctx, q, &r); err != nil {
		return err
	}
	r.Version, r.CreatedAt, r.UpdatedAt = r.Version+1, before.CreatedAt, stamp.Now
	query = "UPDATE " + n.kind.table + " SET name = $1, version = $2, updated_at = $3, spec = $4"
	args := []any{r.Name, r.Version, Millis(r.UpdatedAt), n.sealed(&r), r.ID}
	if n.kind.ends {
		query += ", source = $6, destination = $7"
		args = append(args, r.Source, r.Destination)
	}
	if _, err := q.ExecContext(ctx, query+" WHERE id = $5", args...); err != nil {
		return fmt.Errorf("update %s %q: %w", n.kind.table, r.Name, err)
	}
	return n.refill(r, item)
}

// Delete removes a noun and returns its id.
func (n *Nouns[T]) Delete(ctx context.Context, q Queryer, project hook.ProjectID, ref string) (int64, error) {
	item, r, err := n.find(ctx, q, project, ref)
	if err != nil {
		return 0, err
	}
	if err := n.notSystem(&item); err != nil {
		return 0, err
	}
	if n.guard != nil {
		if err := n.guard(ctx, q, &r); err != nil {
			return 0, err
		}
	}
	if _, err := q.ExecContext(ctx, "DELETE FROM "+n.kind.table+" WHERE id = $1", r.ID); err != nil {
		return 0, fmt.Errorf("delete %s %q: %w", n.kind.table, r.Name, err)
	}
	if n.gone != nil {
		err = n.gone(ctx, q, &r)
	}
	return r.ID, err
}

// Cut makes a page of items that were read in the direction of the request, one more
// than asked for when there is one.
func Cut[T any](items []T, req page.Request, id func(T) int64) page.Page[T] {
	p := page.Page[T]{Done: len(items) <= req.Size()}
	if !p.Done {
		items = items[:req.Size()]
	}
	if req.Back {
		slices.Reverse(items)
	}
	if len(items) > 0 {
		p.Items, p.First, p.Last = items, id(items[0]), id(items[len(items)-1])
	}
	return p
}
