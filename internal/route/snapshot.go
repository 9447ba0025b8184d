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
	quiet        map[hook.DestinationID]*hook.Hours // of those that have quiet hours
	system       map[hook.ProjectID]*Source
}

func emptySnapshot() *Snapshot {
	return &Snapshot{
		sources:      map[hook.SourceID]*Source{},
		byName:       map[string]*Source{},
		connections:  map[hook.ConnectionID]*Connection{},
		destinations: map[hook.DestinationID]*hook.Destination{},
		quiet:        map[hook.DestinationID]*hook.Hours{},
		system:       map[hook.ProjectID]*Source{},
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

// Projects yields the ids of all projects.
func (s *Snapshot) Projects() iter.Seq[hook.ProjectID] { return maps.Keys(s.system) }

// SystemSource returns the source that a project's notices come from.
func (s *Snapshot) SystemSource(project hook.ProjectID) (*Source, bool) {
	source, ok := s.system[project]
	return source, ok
}

// Connection returns a connection by its id, disabled ones included.
func (s *Snapshot) Connection(id hook.ConnectionID) (*Connection, bool) {
	connection, ok := s.connections[id]
	return connection, ok
}

// Way returns a connection as if it led to a destination, which need not be its own: a
// replay may lead elsewhere. There is none when either is gone.
func (s *Snapshot) Way(connection hook.ConnectionID, destination hook.DestinationID) (*Connection, bool) {
	way, ok := s.connections[connection]
	to, there := s.destinations[destination]
	if !ok || !there {
		return nil, false
	}
	if way.Destination == destination {
		return way, true
	}
	elsewhere := *way
	elsewhere.Destination, elsewhere.To, elsewhere.quietTo = destination, to, s.quiet[destination]
	return &elsewhere, true
}

// Connections yields all connections, disabled ones included.
func (s *Snapshot) Connections() iter.Seq[*Connection] { return maps.Values(s.connections) }

// Destinations yields all destinations. Nobody changes what they point to.
func (s *Snapshot) Destinations() iter.Seq[*hook.Destination] { return maps.Values(s.destinations) }

// Destination returns a destination by its id. Nobody changes what it points to.
func (s *Snapshot) Destination(id hook.DestinationID) (*hook.Destination, bool) {
	destination, ok := s.destinations[id]
	return destination, ok
}
