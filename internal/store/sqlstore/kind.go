package sqlstore

import (
	"encoding/json"
	"fmt"
	"time"

	"malote.dev/malote/internal/hook"
)

// record is a noun as its table holds it: what is searched by as columns, the rest,
// Spec, sealed as a whole so that no secret field can be forgotten.
type record struct {
	ID, Project         int64
	Name                string
	Version             int64
	CreatedAt           time.Time
	UpdatedAt           time.Time
	Source, Destination int64 // of connections
	Spec                []byte
}

// kind says how the nouns of type T become records.
type kind[T any] struct {
	table string // also the noun's word in messages
	ends  bool   // it has the columns source and destination
	pack  func(*T) (record, error)
	fill  func(record, *T) error
	parse func(ref string) (int64, bool) // reads a public id
}

// parseID returns a parser of one noun's public ids.
func parseID[I ~int64, P interface {
	*I
	UnmarshalText(text []byte) error
}](ref string) (int64, bool) {
	id, err := hook.ParseID[I, P](ref)
	return int64(id), err == nil
}

func marshal(spec any) ([]byte, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("write a spec: %w", err)
	}
	return text, nil
}

func projectKind() *kind[hook.Project] {
	return &kind[hook.Project]{
		table: "project",
		pack: func(p *hook.Project) (record, error) {
			spec, err := marshal(p.ProjectSpec)
			return record{ID: int64(p.ID), Name: p.Name, Version: p.Version, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, Spec: spec}, err
		},
		fill: func(r record, p *hook.Project) error {
			*p = hook.Project{ID: hook.ProjectID(r.ID), Name: r.Name, Version: r.Version, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt}
			return json.Unmarshal(r.Spec, &p.ProjectSpec)
		},
		parse: parseID[hook.ProjectID],
	}
}

func sourceKind() *kind[hook.Source] {
	return &kind[hook.Source]{
		table: "source",
		pack: func(s *hook.Source) (record, error) {
			spec, err := marshal(s.SourceSpec)
			return record{
				ID: int64(s.ID), Project: int64(s.Project), Name: s.Name, Version: s.Version,
				CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, Spec: spec,
			}, err
		},
		fill: func(r record, s *hook.Source) error {
			*s = hook.Source{
				ID: hook.SourceID(r.ID), Project: hook.ProjectID(r.Project), Name: r.Name, Version: r.Version,
				CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
			}
			return json.Unmarshal(r.Spec, &s.SourceSpec)
		},
		parse: parseID[hook.SourceID],
	}
}

func destinationKind() *kind[hook.Destination] {
	return &kind[hook.Destination]{
		table: "destination",
		pack: func(d *hook.Destination) (record, error) {
			spec, err := marshal(d.DestinationSpec)
			return record{
				ID: int64(d.ID), Project: int64(d.Project), Name: d.Name, Version: d.Version,
				CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, Spec: spec,
			}, err
		},
		fill: func(r record, d *hook.Destination) error {
			*d = hook.Destination{
				ID: hook.DestinationID(r.ID), Project: hook.ProjectID(r.Project), Name: r.Name, Version: r.Version,
				CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
			}
			return json.Unmarshal(r.Spec, &d.DestinationSpec)
		},
		parse: parseID[hook.DestinationID],
	}
}

func connectionKind() *kind[hook.Connection] {
	return &kind[hook.Connection]{
		table: "connection",
		ends:  true,
		pack: func(c *hook.Connection) (record, error) {
			spec, err := marshal(c.ConnectionSpec)
			return record{
				ID: int64(c.ID), Project: int64(c.Project), Name: c.Name, Version: c.Version, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
				Source: int64(c.Source), Destination: int64(c.Destination), Spec: spec,
			}, err
		},
		fill: func(r record, c *hook.Connection) error {
			*c = hook.Connection{
				ID: hook.ConnectionID(r.ID), Project: hook.ProjectID(r.Project), Name: r.Name, Version: r.Version,
				CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Source: hook.SourceID(r.Source), Destination: hook.DestinationID(r.Destination),
			}
			return json.Unmarshal(r.Spec, &c.ConnectionSpec)
		},
		parse: parseID[hook.ConnectionID],
	}
}

// columns returns the columns of the kind's table in the order of scan.
func (k *kind[T]) columns() string {
	const common = "id, project, name, version, created_at, updated_at, spec"
	if k.ends {
		return common + ", source, destination"
	}
	return common
}

// scan reads a row of columns into a record.
func (k *kind[T]) scan(row interface{ Scan(into ...any) error }) (record, error) {
	var r record
	var created, updated int64
	into := []any{&r.ID, &r.Project, &r.Name, &r.Version, &created, &updated, &r.Spec}
	if k.ends {
		into = append(into, &r.Source, &r.Destination)
	}
	if err := row.Scan(into...); err != nil {
		return r, err
	}
	r.CreatedAt, r.UpdatedAt = Time(created), Time(updated)
	return r, nil
}
