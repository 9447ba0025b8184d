package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"malote.dev/malote/internal/hook"
)

// exists reports whether a project has the noun.
func exists(ctx context.Context, q Queryer, table string, project, id int64) (bool, error) {
	var one int
	err := q.QueryRowContext(ctx, "SELECT 1 FROM "+table+" WHERE id = $1 AND project = $2", id, project).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the %s: %w", table, err)
	}
	return true, nil
}

// projectExists keeps nouns from being created in a project that is gone.
func projectExists(ctx context.Context, q Queryer, r *record) error {
	ok, err := exists(ctx, q, "project", 0, r.Project)
	if err == nil && !ok {
		err = hook.NotFound("project", hook.ProjectID(r.Project).String())
	}
	return err
}

// endsExist keeps a connection inside its project.
func endsExist(ctx context.Context, q Queryer, r *record) error {
	if err := projectExists(ctx, q, r); err != nil {
		return err
	}
	var problems []hook.Problem
	for _, end := range []struct {
		table, public string
		id            int64
	}{
		{"source", hook.SourceID(r.Source).String(), r.Source},
		{"destination", hook.DestinationID(r.Destination).String(), r.Destination},
	} {
		ok, err := exists(ctx, q, end.table, r.Project, end.id)
		if err != nil {
			return err
		}
		if !ok {
			problems = append(problems, hook.Problem{Path: end.table, Message: fmt.Sprintf("no %s %q in this project", end.table, end.public)})
		}
	}
	return hook.Invalid("the connection cannot be stored", problems)
}

// unused returns the guard of a noun that connections lead from or to.
func unused(end string) func(context.Context, Queryer, *record) error {
	return func(ctx context.Context, q Queryer, r *record) error {
		names, err := namesOf(ctx, q, "connection", end, r.ID)
		if err != nil || len(names) == 0 {
			return err
		}
		return hook.Errorf(hook.KindConflict, "the %s %q is used by %s: delete or change what uses it first", end, r.Name, listed("connection", names))
	}
}

// projectIsEmpty is the guard of a project: what it has from its beginning goes with it.
func (c *Catalogue) projectIsEmpty(ctx context.Context, q Queryer, r *record) error {
	sources, err := c.Sources.query(ctx, q, "SELECT "+c.Sources.kind.columns()+" FROM source WHERE project = $1 ORDER BY name", r.ID)
	if err != nil {
		return err
	}
	var inside, names []string
	for i := range sources {
		if !isSystem(&sources[i]) && len(names) <= maxListed {
			names = append(names, sources[i].Name)
		}
	}
	if len(names) > 0 {
		inside = append(inside, listed("source", names))
	}
	for _, table := range []string{"destination", "connection"} {
		names, err := namesOf(ctx, q, table, "project", r.ID)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			inside = append(inside, listed(table, names))
		}
	}
	if len(inside) == 0 {
		return nil
	}
	return hook.Errorf(hook.KindConflict, "the project %q still holds %s: delete those first", r.Name, strings.Join(inside, ", "))
}

// maxListed is how many names an error message spells out.
const maxListed = 5

// namesOf returns the names of the nouns whose column has the value, by name, and one
// more than maxListed at the most.
func namesOf(ctx context.Context, q Queryer, table, column string, value int64) ([]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT name FROM "+table+" WHERE "+column+" = $1 ORDER BY name LIMIT $2", value, maxListed+1)
	if err != nil {
		return nil, fmt.Errorf("look for what uses it: %w", err)
	}
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		names = append(names, name)
	}
	return names, errors.Join(rows.Err(), rows.Close())
}

// listed writes `the connections "a", "b"`.
func listed(noun string, names []string) string {
	more := ""
	if len(names) > maxListed {
		names, more = names[:maxListed], " and more"
	}
	if len(names) > 1 {
		noun += "s"
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return "the " + noun + " " + strings.Join(quoted, ", ") + more
}
