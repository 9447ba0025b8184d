package deliver_test

import (
	"context"
	"fmt"
	"sync"

	"malote.dev/malote/internal/hook"
)

// keys watches over the order of deliveries: of one connection and key, none is attempted
// while another one is under way, or before an earlier one has ended.
type keys struct {
	m *model

	mu     sync.Mutex
	turns  map[string]*turn // by delivery
	order  map[orderOf][]*turn
	stores int
	wrong  []string
}

type orderOf struct {
	connection hook.ConnectionID
	key        string
}

// turn is one delivery with an order key.
type turn struct {
	id        hook.DeliveryID
	of        orderOf
	stored    int  // when, counted; 0: not yet, or not known
	reentered bool // a person sent it again, perhaps after later ones
	flying    bool
}

func newKeys(m *model) *keys {
	return &keys{m: m, turns: map[string]*turn{}, order: map[orderOf][]*turn{}}
}

// add notes a delivery before it is stored.
func (k *keys) add(t *hook.Target) {
	if t.OrderKey == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	one := &turn{id: t.Delivery, of: orderOf{t.Connection, t.OrderKey}}
	k.turns[t.Delivery.String()] = one
	k.order[one.of] = append(k.order[one.of], one)
}

// stored notes that deliveries are on the disk.
func (k *keys) stored(targets []hook.Target) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stores++
	for i := range targets {
		if one := k.turns[targets[i].Delivery.String()]; one != nil {
			one.stored = k.stores
		}
	}
}

// reenter notes that a person sends a delivery again.
func (k *keys) reenter(id hook.DeliveryID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if one := k.turns[id.String()]; one != nil {
		one.reentered = true
	}
}

// begin notes that an attempt begins, and looks whether it may.
func (k *keys) begin(ctx context.Context, id string) {
	k.mu.Lock()
	one := k.turns[id]
	if one == nil {
		k.mu.Unlock()
		return
	}
	one.flying = true
	var earlier []*turn
	for _, other := range k.order[one.of] {
		if other != one && other.flying {
			k.wrong = append(k.wrong, fmt.Sprintf("deliveries %v and %v of the key %q are attempted at the same time", other.id, one.id, one.of.key))
		}
		if other.id < one.id && other.stored > 0 && (one.stored == 0 || other.stored < one.stored) && !other.reentered {
			earlier = append(earlier, other)
		}
	}
	k.mu.Unlock()
	for _, other := range earlier {
		d, err := k.m.store.Delivery(ctx, k.m.project, other.id)
		if err == nil && !d.State.Final() {
			k.mu.Lock()
			k.wrong = append(k.wrong, fmt.Sprintf("delivery %v of the key %q is attempted while %v is %v (%s)", one.id, one.of.key, other.id, d.State, d.Reason))
			k.mu.Unlock()
		}
	}
}

// end notes that an attempt ends.
func (k *keys) end(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if one := k.turns[id]; one != nil {
		one.flying = false
	}
}
