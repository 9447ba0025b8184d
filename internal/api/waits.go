package api

import (
	"context"
	"fmt"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// DeliveryOut is a delivery, and what it waits for.
type DeliveryOut struct {
	hook.Delivery

	Waits string `json:"waits,omitempty" doc:"Why it does not move, in a sentence; absent when it has ended or an attempt is under way"`
}

// way is what a delivery has before it.
type way struct {
	now         time.Time
	connection  *hook.Connection  // nil: it is gone
	destination *hook.Destination // nil: it is gone
	circuit     hook.Circuit
	closedUntil time.Time                       // of the destination's lane
	head        func() (hook.DeliveryID, error) // of the delivery's key
}

// waits says why a delivery does not move; "" when it has ended, or moves.
func (w *way) waits(d *hook.Delivery) (string, error) {
	switch {
	case d.State.Final() || d.State == hook.StateSending:
		return "", nil
	case w.connection == nil || w.destination == nil:
		return "its connection or its destination is gone", nil
	case d.State == hook.StateHeld:
		return w.held(d), nil
	case d.OrderKey != "" && d.NextAttemptAt == nil:
		head, err := w.head()
		if err != nil || head == 0 || head == d.ID {
			return fmt.Sprintf("it is about to become the head of its key %q", d.OrderKey), err
		}
		return fmt.Sprintf("it is behind %s, the head of its key %q", head, d.OrderKey), nil
	default:
		return w.pending(d), nil
	}
}

// held says what a held delivery waits for.
func (w *way) held(d *hook.Delivery) string {
	switch {
	case d.Cause == hook.CauseParked:
		return fmt.Sprintf("it is the parked head of its key %q: release, skip or drop the key", d.OrderKey)
	case d.Cause == hook.CauseCircuit:
		if why := w.broken(); why != "" {
			return why
		}
	case w.destination.Paused:
		return fmt.Sprintf("the destination %q is paused", w.destination.Name)
	case w.connection.Paused:
		return fmt.Sprintf("the connection %q is paused", w.connection.Name)
	}
	return "what held it is over: it is about to be released"
}

// broken says what a delivery waits for because of the destination's circuit.
func (w *way) broken() string {
	name := w.destination.Name
	switch w.circuit.State {
	case hook.CircuitOpen:
		return fmt.Sprintf("the circuit of the destination %q is open: the next probe is made at %s", name, clock(w.circuit.ProbeAt))
	case hook.CircuitHalfOpen:
		return fmt.Sprintf("the circuit of the destination %q is half-open: a probe shows whether it works again", name)
	case hook.CircuitRamp:
		return fmt.Sprintf("the destination %q works again and gets what was held step by step", name)
	case hook.CircuitClosed:
	}
	return ""
}

// pending says what a delivery waits for that nothing holds.
func (w *way) pending(d *hook.Delivery) string {
	for _, quiet := range []*hook.Quiet{w.destination.Quiet, w.connection.Quiet} {
		if quiet == nil {
			continue
		}
		if until, now := quiet.Until(w.now); now && (d.NextAttemptAt == nil || !d.NextAttemptAt.After(until)) {
			return "the quiet hours last until " + clock(until)
		}
	}
	broken := w.broken()
	switch {
	case d.NextAttemptAt != nil && d.NextAttemptAt.After(w.now):
		return "it is due at " + clock(*d.NextAttemptAt)
	case w.destination.Paused:
		return fmt.Sprintf("the destination %q is paused", w.destination.Name)
	case broken != "":
		return broken
	case w.closedUntil.After(w.now):
		return fmt.Sprintf("the destination %q asked to be left alone until %s", w.destination.Name, clock(w.closedUntil))
	case w.destination.Rate != (hook.Rate{}):
		return fmt.Sprintf("it is due, and waits for its turn: the destination %q takes %s", w.destination.Name, w.destination.Rate)
	default:
		return "it is due, and waits for its turn"
	}
}

// clock writes a time for people.
func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// showDeliveries returns what shows deliveries with what they wait for. Those of one
// destination share the look at its lane, and those of one key that at its head.
func (s *server) showDeliveries(ctx context.Context) func(*hook.Delivery) (DeliveryOut, error) {
	now, heads, ways := s.Now(), map[store.Key]hook.DeliveryID{}, map[hook.DestinationID]way{}
	snapshot := s.Router.Current()
	return func(d *hook.Delivery) (DeliveryOut, error) {
		if d.State.Final() || d.State == hook.StateSending {
			return DeliveryOut{Delivery: *d}, nil
		}
		w, known := ways[d.Destination]
		if !known {
			w = way{now: now, circuit: s.Deliver.Circuit(d.Destination), closedUntil: s.Deliver.Lane(d.Destination).ClosedUntil}
			w.destination, _ = snapshot.Destination(d.Destination)
			ways[d.Destination] = w
		}
		if c, ok := snapshot.Connection(d.Connection); ok {
			w.connection = &c.Connection
		}
		w.head = func() (hook.DeliveryID, error) {
			key := store.Key{Project: d.Project, Connection: d.Connection, Key: d.OrderKey}
			if head, known := heads[key]; known {
				return head, nil
			}
			found, err := s.Store.ListKeys(ctx, store.KeyQuery{Project: d.Project, Connection: d.Connection, Key: d.OrderKey, Limit: 1})
			if err == nil && len(found) > 0 {
				heads[key] = found[0].Head
			}
			return heads[key], err
		}
		waits, err := w.waits(d)
		return DeliveryOut{Delivery: *d, Waits: waits}, err
	}
}
