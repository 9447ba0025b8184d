package route

import (
	"iter"
	"maps"

	"malote.dev/malote/internal/hook"
)

// DefaultProject is the name of the project whose sources are reached by their names.
const DefaultProject = "default"

// Snapshot is the catalogue at one revision, compiled. It is immutable.
type Snapshot struct {
	revision     int64
	sources      map[hook.SourceID]*Source
	byName       map[string]*Source // of the project DefaultProject
	connections  map[hook.ConnectionID]*Connection
	destinations map[hook.DestinationID]*hook.Destination
}

func emptySnapshot() *Snapshot {
	return &Snapshot{
		sources:      map[hook.SourceID]*Source{},
		byName:       map[string]*Source{},
		connections:  map[hook.ConnectionID]*Connection{},
		destinations: map[hook.DestinationID]*hook.Destination{},
	}
}

// Revision returns the revision of the catalogue that the snapshot was built from; 0
// before the first Reload.
func (s *Snapshot) Revision() int64 { return s.revision }

// Source returns a source by its id, or by its name when it is in the project
// DefaultProject. Names in other projects do not count: two projects may use the same
// one, and none may take over another's URL. Disabled sources are returned too.
func (s *Snapshot) Source(ref string) (*Source, bool) {
	if source, ok := s.byName[ref]; ok {
		return source, true
	}
	id, err := hook.ParseID[hook.SourceID](ref)
	if err != nil {
		return nil, false
	}
	return s.SourceByID(id)
}

// SourceByID returns a source by its id.
func (s *Snapshot) SourceByID(id hook.SourceID) (*Source, bool) {
	source, ok := s.sources[id]
	return source, ok
}

// Connection returns a connection by its id, disabled ones included.
func (s *Snapshot) Connection(id hook.ConnectionID) (*Connection, bool) {
	connection, ok := s.connections[id]
	return connection, ok
}

// Connections yields all connections, disabled ones included.
func (s *Snapshot) Connections() iter.Seq[*Connection] { return maps.Values(s.connections) }

// Destination returns a destination by its id. Nobody changes what it points to.
func (s *Snapshot) Destination(id hook.DestinationID) (*hook.Destination, bool) {
	destination, ok := s.destinations[id]
	return destination, ok
}
