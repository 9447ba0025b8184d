package route

import (
	"time"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

// Source is a source of the catalogue, compiled. It is immutable.
type Source struct {
	hook.Source

	// Path is where its requests go, below the server's address.
	Path string
	// Effective is what is set on the source, completed by its provider's profile.
	Effective hook.SourceSpec
	// Verifier proves the source's requests; nil when there is a Problem.
	Verifier *signature.Verifier
	// Reply is what an accepted request is answered.
	Reply Reply
	// Confidential names where requests carry a secret that must not be kept.
	Confidential Confidential
	// Problem says why the source cannot be used as it is set up; nil when it can.
	Problem error

	fields fields
	index  index
}

// PathPrefix is where sources are reached: it is followed by a source's id or name.
const PathPrefix = "/in/"

// PathOf returns where a source's requests go, below the server's address; home is the
// project DefaultProject, whose sources are reached by name.
func PathOf(source *hook.Source, home hook.ProjectID) string {
	if source.Project == home {
		return PathPrefix + source.Name
	}
	return PathPrefix + source.ID.String()
}

// fields is where a source's events carry what identifies them.
type fields struct{ eventType, key, dedupe *filter.Field }

// EventType reads the type of an event of this source; signature.DefaultType when the
// event has none where the source says.
func (s *Source) EventType(in *filter.Input) string {
	if text, ok := s.fields.eventType.Text(in); ok {
		return text
	}
	return signature.DefaultType
}

// EventKey reads the business key of an event of this source, "" when it has none.
func (s *Source) EventKey(in *filter.Input) string {
	text, _ := s.fields.key.Text(in)
	return text
}

// ProviderID reads what duplicates of an event are known by, "" when it has nothing.
func (s *Source) ProviderID(in *filter.Input) string {
	text, _ := s.fields.dedupe.Text(in)
	return text
}

// DedupeWindow returns how long the provider's ids of this source are remembered.
func (s *Source) DedupeWindow() time.Duration {
	if dedupe := s.Effective.Dedupe; dedupe != nil && dedupe.Window > 0 {
		return time.Duration(dedupe.Window)
	}
	return time.Duration(hook.DefaultDedupeWindow)
}

// BodyLimit returns the largest body that the source takes, in bytes.
func (s *Source) BodyLimit() int64 {
	if s.Effective.MaxBody > 0 {
		return s.Effective.MaxBody
	}
	return hook.DefaultMaxBody
}

// Match returns the enabled connections that an event of this source goes over, in the
// order of their ids, and those that it does not go over because their filter failed
// with an error.
func (s *Source) Match(in *filter.Input, eventType string) (connections []*Connection, misses []hook.Miss) {
	exact, others := s.index.exact[eventType], s.index.others
	for len(exact) > 0 || len(others) > 0 {
		var next *Connection
		if len(others) == 0 || len(exact) > 0 && exact[0].ID < others[0].ID {
			next, exact = exact[0], exact[1:]
		} else {
			next, others = others[0], others[1:]
			if !next.compiled.types.Match(eventType) {
				continue
			}
		}
		ok, err := next.passes(in)
		switch {
		case err != nil:
			misses = append(misses, hook.Miss{Connection: next.ID, Error: err.Error()})
		case ok:
			connections = append(connections, next)
		}
	}
	return connections, misses
}

// index finds the connections of a source that an event type may match. Those that
// list their types are found by them, so that thousands of them cost nothing.
type index struct {
	exact  map[string][]*Connection // by event type, in the order of ids
	others []*Connection            // with a pattern, or for every type, in the order of ids
}

// add adds a connection; they come in the order of their ids.
func (x *index) add(c *Connection) {
	names, ok := c.compiled.types.Exact()
	if !ok {
		x.others = append(x.others, c)
		return
	}
	if x.exact == nil {
		x.exact = map[string][]*Connection{}
	}
	for _, name := range names {
		x.exact[name] = append(x.exact[name], c)
	}
}

// Connection is a connection of the catalogue, compiled. It is immutable.
type Connection struct {
	hook.Connection

	// To is the destination that it leads to; nil when there is none, which is a Problem.
	To *hook.Destination
	// Problem says why the connection cannot be used as it is set up; nil when it can.
	Problem error

	compiled compiled
}

// compiled is what stays the same as long as the connection's version does.
type compiled struct {
	types   filter.Types
	filter  *filter.Program // nil: every event
	problem error           // of the filter
}

// Held reports whether deliveries over this connection are kept rather than made,
// and why: because its destination is paused, or it is.
func (c *Connection) Held() (reason string, held bool) {
	switch {
	case c.To != nil && c.To.Paused && c.To.PauseReason != "":
		return "the destination is paused: " + c.To.PauseReason, true
	case c.To != nil && c.To.Paused:
		return "the destination is paused", true
	case c.Paused:
		return "the connection is paused", true
	default:
		return "", false
	}
}

func (c *Connection) passes(in *filter.Input) (bool, error) {
	if c.Problem != nil {
		return false, c.Problem
	}
	if c.compiled.filter == nil {
		return true, nil
	}
	return c.compiled.filter.Match(in)
}
