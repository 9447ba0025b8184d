// Package lookup finds the nouns of the catalogue by what callers of the API call them:
// an id, or a name.
package lookup

import (
	"context"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// Tables are those that nouns are looked for in.
type Tables interface {
	Sources() store.Table[hook.Source]
	Destinations() store.Table[hook.Destination]
	Connections() store.Table[hook.Connection]
}

// Each walks through all nouns of a project.
func Each[T any](ctx context.Context, table store.Table[T], project hook.ProjectID, visit func(*T)) error {
	req := page.Request{Limit: page.MaxLimit}
	for {
		found, err := table.List(ctx, project, req)
		if err != nil {
			return err
		}
		for i := range found.Items {
			visit(&found.Items[i])
		}
		if found.Done || len(found.Items) == 0 {
			return nil
		}
		req.From = found.Last
	}
}

// The functions below turn the id or name of a noun in a filter into its id; "" is the
// zero id, which selects everything. An id is taken as it is: what a deleted noun left
// in the log can still be listed.

// Source returns the id of a source.
func Source(ctx context.Context, tables Tables, project hook.ProjectID, ref string) (hook.SourceID, error) {
	if id, err := hook.ParseID[hook.SourceID](ref); err == nil || ref == "" {
		return id, nil
	}
	source, err := tables.Sources().Get(ctx, project, ref)
	return source.ID, err
}

// Connection returns the id of a connection.
func Connection(ctx context.Context, tables Tables, project hook.ProjectID, ref string) (hook.ConnectionID, error) {
	if id, err := hook.ParseID[hook.ConnectionID](ref); err == nil || ref == "" {
		return id, nil
	}
	connection, err := tables.Connections().Get(ctx, project, ref)
	return connection.ID, err
}

// Destination returns the id of a destination.
func Destination(ctx context.Context, tables Tables, project hook.ProjectID, ref string) (hook.DestinationID, error) {
	if id, err := hook.ParseID[hook.DestinationID](ref); err == nil || ref == "" {
		return id, nil
	}
	destination, err := tables.Destinations().Get(ctx, project, ref)
	return destination.ID, err
}
