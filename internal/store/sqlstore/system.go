package sqlstore

import (
	"context"
	"fmt"

	"malote.dev/malote/internal/hook"
)

// isSystem reports whether a source is the one that its project has from the beginning.
func isSystem(source *hook.Source) bool { return source.System }

// WithoutSystemSource returns the projects that have no source for their notices: those
// of a database of before there was one.
func (c *Catalogue) WithoutSystemSource(ctx context.Context, q Queryer) ([]hook.ProjectID, error) {
	projects, err := c.Projects.All(ctx, q)
	if err != nil {
		return nil, err
	}
	sources, err := c.Sources.All(ctx, q)
	if err != nil {
		return nil, err
	}
	has := map[hook.ProjectID]bool{}
	for i := range sources {
		if isSystem(&sources[i]) {
			has[sources[i].Project] = true
		}
	}
	var missing []hook.ProjectID
	for i := range projects {
		if id := projects[i].ID; !has[id] {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// AddSystemSource gives a project the source of its notices. Where a person has a source
// of that name, theirs keeps it and the new one gets another.
func (c *Catalogue) AddSystemSource(ctx context.Context, q Queryer, project hook.ProjectID, stamp Stamp) (hook.Source, error) {
	source := hook.Source{Project: project, Name: hook.SystemSource, SourceSpec: hook.SourceSpec{System: true}}
	for n := 1; ; n++ {
		err := c.Sources.create(ctx, q, &source, stamp)
		if hook.KindOf(err) != hook.KindConflict { // The name is all that can be in the way.
			return source, err
		}
		source.Name = hook.SystemSource + "-system"
		if n > 1 {
			source.Name = fmt.Sprintf("%s-%d", source.Name, n)
		}
	}
}

// projectAdded gives a new project what it has from its beginning.
func (c *Catalogue) projectAdded(ctx context.Context, q Queryer, id int64, stamp Stamp) error {
	_, err := c.AddSystemSource(ctx, q, hook.ProjectID(id), stamp)
	return err
}

// projectGone removes what a deleted project leaves that no retention looks after.
func projectGone(ctx context.Context, q Queryer, r *record) error {
	for _, table := range []string{"source", "replay"} {
		if _, err := q.ExecContext(ctx, "DELETE FROM "+table+" WHERE project = $1", r.ID); err != nil {
			return fmt.Errorf("delete what project %q leaves: %w", r.Name, err)
		}
	}
	return nil
}

// destinationGone removes what was known of a deleted destination.
func destinationGone(ctx context.Context, q Queryer, r *record) error {
	for _, table := range []string{"circuit", "example"} {
		if _, err := q.ExecContext(ctx, "DELETE FROM "+table+" WHERE destination = $1", r.ID); err != nil {
			return fmt.Errorf("delete what destination %q leaves: %w", r.Name, err)
		}
	}
	return nil
}
