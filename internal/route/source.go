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
	quietTo  *hook.Hours // of the destination; nil: none
}

// compiled is what stays the same as long as the connection's version does.
type compiled struct {
	types   filter.Types
	filter  *filter.Program     // nil: every event
	order   *filter.TextProgram // nil: deliveries have no order
	quiet   *hook.Hours         // nil: none
	problem error               // of the filter, the order's key or the hours
}

// Held says why deliveries over this connection are kept rather than made, because its
// destination is paused, or it is: a word and a sentence; hook.CauseNone: they are made.
func (c *Connection) Held() (cause hook.Cause, reason string) {
	switch {
	case c.To != nil && c.To.Paused && c.To.PauseReason != "":
		return hook.CausePaused, "the destination is paused: " + c.To.PauseReason
	case c.To != nil && c.To.Paused:
		return hook.CausePaused, "the destination is paused"
	case c.Paused:
		return hook.CausePaused, "the connection is paused"
	default:
		return hook.CauseNone, ""
	}
}

// OrderKey reads what deliveries of an event over this connection are ordered by; "" is
// no order. An event without a key has none, and neither has one for which the
// expression fails.
func (c *Connection) OrderKey(in *filter.Input) string {
	if c.compiled.order == nil {
		return ""
	}
	key, err := c.compiled.order.Text(in)
	if err != nil {
		return ""
	}
	return hook.CutOrderKey(key)
}

// maxQuietSpans is how often the hours of a connection and of its destination may take
// turns before a delivery is due at the end of the last ones, whatever comes then.
const maxQuietSpans = 16

// DueAt returns when a delivery over this connection is to be made whose event was
// received then: after the connection's delay, and in nobody's quiet hours. The zero
// time is now.
func (c *Connection) DueAt(received, now time.Time) time.Time {
	if c.Delay <= 0 && c.compiled.quiet == nil && c.quietTo == nil {
		return time.Time{}
	}
	due := now
	if after := received.Add(time.Duration(c.Delay)); after.After(now) {
		due = after
	}
	for range maxQuietSpans {
		end, quiet := c.compiled.quiet.Until(due)
		if !quiet {
			end, quiet = c.quietTo.Until(due)
		}
		if !quiet {
			break
		}
		due = end
	}
	if !due.After(now) {
		return time.Time{}
	}
	return due
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
