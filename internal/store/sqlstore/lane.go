package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// Lane is a connection and a destination that the log has, or had, deliveries of. A
// connection has one, and one more for each other destination that it once led to.
type Lane struct {
	Project     hook.ProjectID
	Connection  hook.ConnectionID
	Destination hook.DestinationID
}

// Lanes returns the lanes that a scope selects; with neither connection nor
// destination those of the whole project.
func Lanes(ctx context.Context, q Queryer, where store.Scope) ([]Lane, error) {
	return lanes(ctx, q, "SELECT project, connection, destination FROM log_connection WHERE project = $1"+
		" AND ($2 = 0 OR connection = $2) AND ($3 = 0 OR destination = $3) ORDER BY connection, destination",
		int64(where.Project), int64(where.Connection), int64(where.Destination))
}

// DeletedLanes returns the lanes of connections that are gone, in all projects.
func DeletedLanes(ctx context.Context, q Queryer) ([]Lane, error) {
	return lanes(ctx, q, "SELECT project, connection, destination FROM log_connection"+
		" WHERE connection NOT IN (SELECT id FROM connection) ORDER BY connection, destination")
}

// AllLanes returns the lanes of all projects.
func AllLanes(ctx context.Context, q Queryer) ([]Lane, error) {
	return lanes(ctx, q, "SELECT project, connection, destination FROM log_connection ORDER BY project, connection, destination")
}

func lanes(ctx context.Context, q Queryer, query string, args ...any) ([]Lane, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read the log's connections: %w", err)
	}
	var list []Lane
	for rows.Next() {
		var l Lane
		if err := rows.Scan((*int64)(&l.Project), (*int64)(&l.Connection), (*int64)(&l.Destination)); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		list = append(list, l)
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// Origin is a source that the log has, or had, events of.
type Origin struct {
	Project hook.ProjectID
	Source  hook.SourceID
}

// Origins returns the sources of a project's log; of all projects with project 0.
func Origins(ctx context.Context, q Queryer, project hook.ProjectID) ([]Origin, error) {
	return origins(ctx, q, "SELECT project, source FROM log_source WHERE ($1 = 0 OR project = $1) ORDER BY project, source", int64(project))
}

// DeletedOrigins returns the sources that are gone, of all projects.
func DeletedOrigins(ctx context.Context, q Queryer) ([]Origin, error) {
	return origins(ctx, q, "SELECT project, source FROM log_source WHERE source NOT IN (SELECT id FROM source) ORDER BY project, source")
}

func origins(ctx context.Context, q Queryer, query string, args ...any) ([]Origin, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read the log's sources: %w", err)
	}
	var list []Origin
	for rows.Next() {
		var o Origin
		if err := rows.Scan((*int64)(&o.Project), (*int64)(&o.Source)); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		list = append(list, o)
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// Due returns, for each destination with pending deliveries, when the first is due.
// The backlog knows which destinations those are; one seek for each of their lanes
// finds the time. What waits for the head of its key is due at no time; the seek
// begins behind it.
func Due(ctx context.Context, q Queryer) ([]store.Due, error) {
	rows, err := q.QueryContext(ctx, "SELECT l.destination,"+
		" (SELECT d.next_at FROM delivery d WHERE d.destination = l.destination AND d.connection = l.connection"+
		" AND d.state = 1 AND d.next_at >= 0 ORDER BY d.next_at LIMIT 1)"+
		" FROM log_connection l WHERE EXISTS (SELECT 1 FROM backlog b"+
		" WHERE b.project = l.project AND b.destination = l.destination AND b.state = 1 AND b.deliveries > 0)")
	if err != nil {
		return nil, fmt.Errorf("look for due deliveries: %w", err)
	}
	var due []store.Due
	places := map[hook.DestinationID]int{}
	for rows.Next() {
		var destination hook.DestinationID
		var at *int64
		if err := rows.Scan((*int64)(&destination), &at); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if at == nil {
			continue
		}
		place, ok := places[destination]
		switch first := Time(*at); {
		case !ok:
			places[destination] = len(due)
			due = append(due, store.Due{Destination: destination, At: first})
		case first.Before(due[place].At):
			due[place].At = first
		}
	}
	return due, errors.Join(rows.Err(), rows.Close())
}
