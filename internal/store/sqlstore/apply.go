package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"malote.dev/malote/internal/hook"
)

// Everything returns the whole catalogue. A transaction as q makes it consistent in
// itself.
func (c *Catalogue) Everything(ctx context.Context, q Queryer) (hook.Catalogue, error) {
	var all hook.Catalogue
	var err error
	if all.Revision, err = c.Revision(ctx, q); err != nil {
		return all, err
	}
	var errs [4]error
	all.Projects, errs[0] = c.Projects.All(ctx, q)
	all.Sources, errs[1] = c.Sources.All(ctx, q)
	all.Destinations, errs[2] = c.Destinations.All(ctx, q)
	all.Connections, errs[3] = c.Connections.All(ctx, q)
	return all, errors.Join(errs[:]...)
}

// Revision returns the number of the catalogue's last change.
func (c *Catalogue) Revision(ctx context.Context, q Queryer) (int64, error) {
	var revision int64
	if err := q.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'revision'").Scan(&revision); err != nil {
		return 0, fmt.Errorf("read the catalogue's revision: %w", err)
	}
	return revision, nil
}

// Changed counts a change of the catalogue. Whoever changes it calls this in the same
// transaction.
func (c *Catalogue) Changed(ctx context.Context, q Queryer) error {
	if _, err := q.ExecContext(ctx, "UPDATE meta SET value = value + 1 WHERE key = 'revision'"); err != nil {
		return fmt.Errorf("count the catalogue's change: %w", err)
	}
	return nil
}

// Apply makes the changes in their order. They are the caller's to keep only when the
// transaction commits: on an error some of the nouns may have been filled already.
func (c *Catalogue) Apply(ctx context.Context, q Queryer, project hook.ProjectID, changes []hook.Change, stamp Stamp) error {
	for i := range changes {
		if err := c.apply(ctx, q, project, &changes[i], stamp); err != nil {
			return err
		}
	}
	return nil
}

func (c *Catalogue) apply(ctx context.Context, q Queryer, project hook.ProjectID, change *hook.Change, stamp Stamp) error {
	switch {
	case change.Source != nil:
		change.Source.Project = project
		return applyTo(ctx, q, c.Sources, change.Source, step{change.Op, project, change.Source.ID.String(), stamp})
	case change.Destination != nil:
		change.Destination.Project = project
		return applyTo(ctx, q, c.Destinations, change.Destination, step{change.Op, project, change.Destination.ID.String(), stamp})
	case change.Connection != nil:
		change.Connection.Project = project
		if err := c.resolveEnds(ctx, q, change); err != nil {
			return err
		}
		return applyTo(ctx, q, c.Connections, change.Connection, step{change.Op, project, change.Connection.ID.String(), stamp})
	default:
		return hook.Errorf(hook.KindInvalid, "a change names no noun")
	}
}

// resolveEnds finds the ends that a change gives by name.
func (c *Catalogue) resolveEnds(ctx context.Context, q Queryer, change *hook.Change) error {
	con := change.Connection
	if con.Source == 0 && change.From != "" {
		source, err := c.Sources.Get(ctx, q, con.Project, change.From)
		if err != nil {
			return err
		}
		con.Source = source.ID
	}
	if con.Destination == 0 && change.To != "" {
		destination, err := c.Destinations.Get(ctx, q, con.Project, change.To)
		if err != nil {
			return err
		}
		con.Destination = destination.ID
	}
	return nil
}

// step is one change of one noun.
type step struct {
	op      hook.ChangeOp
	project hook.ProjectID
	id      string
	stamp   Stamp
}

func applyTo[T any](ctx context.Context, q Queryer, nouns *Nouns[T], item *T, do step) error {
	switch do.op {
	case hook.OpCreate:
		return nouns.Create(ctx, q, item, do.stamp)
	case hook.OpUpdate:
		return nouns.Update(ctx, q, item, do.stamp)
	case hook.OpDelete:
		_, err := nouns.Delete(ctx, q, do.project, do.id)
		return err
	default:
		return hook.Errorf(hook.KindInvalid, "%q is not an operation of a change", do.op)
	}
}

// CopyChanges copies the nouns, so that those of the caller stay as they are when
// nothing comes of the changes.
func CopyChanges(changes []hook.Change) []hook.Change {
	copies := make([]hook.Change, len(changes))
	for i, change := range changes {
		copies[i] = hook.Change{Op: change.Op, From: change.From, To: change.To}
		if change.Source != nil {
			source := *change.Source
			copies[i].Source = &source
		}
		if change.Destination != nil {
			destination := *change.Destination
			copies[i].Destination = &destination
		}
		if change.Connection != nil {
			connection := *change.Connection
			copies[i].Connection = &connection
		}
	}
	return copies
}

// FillChanges gives the nouns of changes what Apply gave to their copies.
func FillChanges(changes, copies []hook.Change) {
	for i := range changes {
		fillChange(&changes[i], &copies[i])
	}
}

func fillChange(change, from *hook.Change) {
	if change.Source != nil {
		*change.Source = *from.Source
	}
	if change.Destination != nil {
		*change.Destination = *from.Destination
	}
	if change.Connection != nil {
		*change.Connection = *from.Connection
	}
}
