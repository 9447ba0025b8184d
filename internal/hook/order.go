package hook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Order asks for deliveries one at a time per key. Of the deliveries of a connection
// with the same key that have not ended, only the oldest, the head, is attempted. One
// that is held keeps those behind it waiting. An event without a key has no order.
type Order struct {
	Key   string `json:"key"`             // CEL, as in a filter, to the key's text
	Stuck string `json:"stuck,omitempty"` // when the head fails: block (default), "skip after N", park: see Stuck
}

// MaxOrderKey is how long a key may be, in bytes; longer ones are cut and end in a hash.
const MaxOrderKey = 128

// Stuck says what becomes of a key whose head fails. The zero value blocks: nothing
// overtakes a head that has neither been delivered nor canceled by a person, and its
// last wait is repeated for as long as that takes.
type Stuck struct {
	SkipAfter int  // the head fails with this attempt, whatever its schedule says, and the next one goes; 0: it does not
	Park      bool // the head is held when it would fail, until a person releases or drops the key
}

// Rule reads the order's rule for a stuck head; a text that is none blocks.
func (o *Order) Rule() Stuck {
	rule, _ := ParseStuck(o.Stuck) // what is stored was checked
	return rule
}

// ParseStuck reads "block", "skip after N", "park", or nothing, which is block.
func ParseStuck(text string) (Stuck, error) {
	switch text {
	case "", "block":
		return Stuck{}, nil
	case "park":
		return Stuck{Park: true}, nil
	}
	if number, ok := strings.CutPrefix(text, "skip after "); ok {
		if n, err := strconv.Atoi(number); err == nil && n >= 1 {
			return Stuck{SkipAfter: n}, nil
		}
	}
	return Stuck{}, fmt.Errorf("%q is not a rule for a stuck head: write block, park, or skip after N", text)
}

// How long a stuck head waits for its next attempt where its schedule does not say, and
// at the least: a schedule may end with no wait at all, and is repeated for ever here.
const (
	unscheduledWait = Duration(5 * time.Minute)
	minStuckWait    = Duration(time.Second)
)

// Decide is RetryPolicy.Decide for a delivery with an order key: what would have failed
// for good becomes what the rule says of a stuck head. Under a rule to skip, a schedule
// that is too short goes on with its last wait, but what no repetition changes, and
// what was sent by hand, keeps its key no longer.
func (s Stuck) Decide(policy *RetryPolicy, try Try, now time.Time, random float64) Decision {
	decision := policy.Decide(try, now, random)
	final := try.Manual || try.Outcome == OutcomeGone || try.Outcome == OutcomeRefused
	switch {
	case decision.State == StateSucceeded:
		return decision
	case s.SkipAfter > 0 && try.Number >= s.SkipAfter:
		return Decision{State: StateFailed, Reason: fmt.Sprintf("%s; after attempt %d its key goes on without it", try.Detail, try.Number)}
	case decision.State != StateFailed, s.SkipAfter > 0 && final:
		return decision
	case s.Park:
		return Decision{State: StateHeld, Cause: CauseParked, Reason: decision.Reason + "; its key is parked until a person decides"}
	}
	wait := unscheduledWait
	if waits := policy.waits(); len(waits) > 0 {
		wait = max(waits[len(waits)-1], minStuckWait)
	}
	return Decision{State: StatePending, Reason: try.Detail + "; its key waits for it", Next: policy.next(&try, wait, now, random)}
}

// Room that a cut key has for what tells it from others that begin like it.
const (
	keyHashBytes = 8
	keyEllipsis  = "…"
)

// CutOrderKey makes a text fit to be an order key: at most MaxOrderKey bytes of valid
// UTF-8. What it has to change ends in a hash of the whole, so that different texts
// stay different keys.
func CutOrderKey(text string) string {
	if len(text) <= MaxOrderKey && utf8.ValidString(text) {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	const room = MaxOrderKey - len(keyEllipsis) - 2*keyHashBytes
	return Cut(strings.ToValidUTF8(text, "\uFFFD"), room) + keyEllipsis + hex.EncodeToString(sum[:keyHashBytes])
}

// OrderKeyAt is the key of a delivery that a replay leads to another destination than
// its connection does. There it has an order of its own: it does not wait for what the
// connection's destination does not take.
func OrderKeyAt(key string, to DestinationID) string {
	if key == "" {
		return ""
	}
	return CutOrderKey(key + " → " + to.String())
}

// OrderedKey is a key of a connection of which deliveries wait or are under way.
type OrderedKey struct {
	Connection ConnectionID `json:"connection"`
	Key        string       `json:"key"`
	Parked     bool         `json:"parked"`           // its head is held until a person decides
	Reason     string       `json:"reason,omitempty"` // the head's
	Head       DeliveryID   `json:"head"`
	HeadState  State        `json:"headState"`
	Waiting    int          `json:"waiting"` // how many, the head included, up to MaxCounted
}

// MaxCounted bounds counts that are made by looking.
const MaxCounted = 1000
