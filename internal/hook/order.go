package hook

import (
	"fmt"
	"strconv"
	"strings"
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
	SkipAfter int  // the head fails after so many attempts, and the next one goes; 0: it does not
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
