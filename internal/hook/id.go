package hook

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// ID identifies one noun. It is an 8-byte integer whose order is the order of
// creation; its text form is the noun's prefix and a 13-character body, so that
// sorting texts sorts by time as well. The zero ID means "none" and prints as "".
//
// The type parameter keeps an event's id from being used as a source's.
type ID[N noun] int64

// noun is implemented by the phantom types that tell ids apart.
type noun interface{ prefix() string }

type (
	projectNoun     struct{}
	sourceNoun      struct{}
	eventNoun       struct{}
	connectionNoun  struct{}
	destinationNoun struct{}
	deliveryNoun    struct{}
	attemptNoun     struct{}
	refusalNoun     struct{}
	tokenNoun       struct{}
	replayNoun      struct{}
	auditNoun       struct{}
)

func (projectNoun) prefix() string     { return "prj_" }
func (sourceNoun) prefix() string      { return "src_" }
func (eventNoun) prefix() string       { return "evt_" }
func (connectionNoun) prefix() string  { return "con_" }
func (destinationNoun) prefix() string { return "dst_" }
func (deliveryNoun) prefix() string    { return "dlv_" }
func (attemptNoun) prefix() string     { return "att_" }
func (refusalNoun) prefix() string     { return "rfd_" }
func (tokenNoun) prefix() string       { return "tok_" }
func (replayNoun) prefix() string      { return "rpl_" }
func (auditNoun) prefix() string       { return "aud_" }

// The ids of the nouns.
type (
	// ProjectID identifies a Project.
	ProjectID = ID[projectNoun]
	// SourceID identifies a Source.
	SourceID = ID[sourceNoun]
	// EventID identifies an Event.
	EventID = ID[eventNoun]
	// ConnectionID identifies a Connection.
	ConnectionID = ID[connectionNoun]
	// DestinationID identifies a Destination.
	DestinationID = ID[destinationNoun]
	// DeliveryID identifies a Delivery.
	DeliveryID = ID[deliveryNoun]
	// AttemptID identifies an Attempt.
	AttemptID = ID[attemptNoun]
	// RefusalID identifies a Refusal.
	RefusalID = ID[refusalNoun]
	// TokenID identifies a Token.
	TokenID = ID[tokenNoun]
	// ReplayID identifies a Replay.
	ReplayID = ID[replayNoun]
	// AuditID identifies an AuditEntry.
	AuditID = ID[auditNoun]
)

// An id's integer is, from its highest bit: a zero sign bit, 41 bits of
// milliseconds since idEpoch (until 2095), 10 bits of node, 12 bits of sequence.
const (
	idSequenceBits = 12
	idNodeBits     = 10
	idTimeShift    = idSequenceBits + idNodeBits
	idBodyLength   = 13
	idAlphabet     = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford's base 32, lower case
)

// idEpoch is 2026-01-01T00:00:00Z in Unix milliseconds.
const idEpoch = 1767225600000

// MaxNode is the highest node number that an id has room for.
const MaxNode = 1<<idNodeBits - 1

// String returns the public form, such as "evt_01h2xcejqtf2n"; "" for the zero ID.
func (id ID[N]) String() string {
	if id == 0 {
		return ""
	}
	var n N
	var buf [4 + idBodyLength]byte
	copy(buf[:4], n.prefix())
	v := uint64(id)
	for i := len(buf) - 1; i >= 4; i-- {
		buf[i] = idAlphabet[v&31]
		v >>= 5
	}
	return string(buf[:])
}

// Time returns when the id was made, to the millisecond.
func (id ID[N]) Time() time.Time {
	return time.UnixMilli(int64(id)>>idTimeShift + idEpoch).UTC()
}

// MarshalText implements encoding.TextMarshaler.
func (id ID[N]) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; "" is the zero ID.
func (id *ID[N]) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = 0
		return nil
	}
	parsed, err := parseID[N](string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

var errBadID = errors.New("malformed id")

func parseID[N noun](text string) (ID[N], error) {
	var n N
	body, ok := strings.CutPrefix(text, n.prefix())
	if !ok || len(body) != idBodyLength {
		return 0, fmt.Errorf("%w: %q is not of the form %s followed by %d characters", errBadID, text, n.prefix(), idBodyLength)
	}
	var v uint64
	for i := range len(body) {
		digit := strings.IndexByte(idAlphabet, body[i])
		if digit < 0 {
			return 0, fmt.Errorf("%w: %q has the character %q", errBadID, text, body[i])
		}
		v = v<<5 | uint64(digit)
	}
	if body[0] > '7' || v == 0 || v > 1<<63-1 {
		return 0, fmt.Errorf("%w: %q is out of range", errBadID, text)
	}
	return ID[N](v), nil
}

// ParseID reads the public form of an id of noun N, as in ParseID[EventID]… through
// the helpers below; it is an error when the prefix is another noun's.
func ParseID[I ~int64, P interface {
	*I
	UnmarshalText([]byte) error
}](text string) (I, error) {
	var id I
	if text == "" {
		return 0, fmt.Errorf("%w: it is empty", errBadID)
	}
	if err := P(&id).UnmarshalText([]byte(text)); err != nil {
		return 0, err
	}
	return id, nil
}

// MinID returns the smallest id value of the given time: every id made at or after
// t is at least MinID(t). Lists use it to turn a time range into an id range.
func MinID(t time.Time) int64 {
	return max(0, t.UnixMilli()-idEpoch) << idTimeShift
}

// IDs makes id values that only grow, also when the clock steps back, for one node.
// It is safe for concurrent use; the zero value is node 0.
type IDs struct {
	node int64
	last atomic.Int64
}

// NewIDs returns a maker of ids for one node, from 0 to MaxNode.
func NewIDs(node int) *IDs { return &IDs{node: int64(node) & MaxNode} }

// Next returns a new id value for the time now. When more than 4,096 are asked for
// in one millisecond, or the clock went back, it borrows from the next millisecond.
func (g *IDs) Next(now time.Time) int64 {
	for {
		// last holds milliseconds and sequence, without the node bits.
		last := g.last.Load()
		next := max(last+1, max(0, now.UnixMilli()-idEpoch)<<idSequenceBits)
		if g.last.CompareAndSwap(last, next) {
			ms, sequence := next>>idSequenceBits, next&(1<<idSequenceBits-1)
			return max(1, ms<<idTimeShift|g.node<<idSequenceBits|sequence)
		}
	}
}

// Passed makes every later id greater than the given one, whatever node it is of and
// whatever the clock says: a store calls it with the greatest id that it holds.
func (g *IDs) Passed(id int64) {
	passed := id>>idTimeShift<<idSequenceBits | id&(1<<idSequenceBits-1)
	if id>>idSequenceBits&MaxNode > g.node {
		passed = (id>>idTimeShift + 1) << idSequenceBits
	}
	for {
		last := g.last.Load()
		if last >= passed || g.last.CompareAndSwap(last, passed) {
			return
		}
	}
}
