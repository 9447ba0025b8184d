package main

import (
	"context"
	"slices"
	"strings"
	"time"
)

// checkEnds looks whether deliveries failed only as their connection allows. Attempts
// that a crash cut off, and failed probes of a circuit, use up nothing.
func (a *audit) checkEnds() {
	for _, d := range a.deliveries {
		connection := a.connections[d.Connection]
		if d.State != "failed" || connection == "" || a.operator.asked[d.ID] > 0 {
			continue
		}
		if made, most := d.Attempts-d.Probes, counted(connection); made != most {
			a.faults.add("%s over %s failed after %d attempts (and %d probes), not after %d: %s", d.ID, connection, made, d.Probes, most, d.Reason)
		}
	}
}

// passage is the successful delivery of an event over a connection with an order.
type passage struct {
	delivery *delivery
	place    int       // in which it was first taken, of all
	received time.Time // when the event came
	stored   time.Time // by when it was stored
}

// clockStep is how exactly the time of an event's reception is told, with room to spare.
const clockStep = 2 * time.Millisecond

// checkOrder looks whether the events of each key arrived in their order. One comes
// before another when it was stored before the other was received: those that the
// provider sent at the same time have no order.
func (a *audit) checkOrder(got *result) {
	a.receiver.mu.Lock()
	defer a.receiver.mu.Unlock()
	keys := map[[2]string][]passage{}
	for _, d := range a.deliveries {
		p, ok := a.passage(d)
		if !ok {
			continue
		}
		name := [2]string{a.connections[d.Connection], d.OrderKey}
		keys[name] = append(keys[name], p)
	}
	got.keys = len(keys)
	for name, passages := range keys {
		got.ordered += len(passages)
		slices.SortFunc(passages, func(p, q passage) int { return p.place - q.place })
		latest := passages[0]
		for _, p := range passages[1:] {
			if p.stored.Add(clockStep).Before(latest.received) {
				got.disordered++
				a.faults.add("%s of %s: %s arrived after %s, whose event came %s later", name[1], name[0], p.delivery.ID,
					latest.delivery.ID, latest.received.Sub(p.stored))
			}
			if p.received.After(latest.received) {
				latest = p
			}
		}
	}
}

// passage returns what has an order of a delivery: it went over a connection with one,
// it was taken, and no person sent it once more.
func (a *audit) passage(d *delivery) (passage, bool) {
	ev := a.events[d.Event]
	place := a.receiver.first[d.ID]
	if ev == nil || a.ledger.all[ev.ProviderID] == nil {
		return passage{}, false
	}
	o := a.ledger.all[ev.ProviderID]
	wanted := ""
	if isOrderedConnection(a.connections[d.Connection]) {
		wanted = o.customer
	}
	if !hasKey(d, wanted) {
		a.faults.add("%s over %s has the key %q, not %q", d.ID, a.connections[d.Connection], d.OrderKey, wanted)
	}
	if wanted == "" || place == 0 || d.Replay != "" || a.operator.asked[d.ID] > 0 {
		return passage{}, false
	}
	p := passage{delivery: d, place: place, received: ev.ReceivedAt, stored: ev.ReceivedAt}
	for _, r := range o.requests {
		if !ev.ReceivedAt.Before(r.sent.Add(-clockStep)) && !ev.ReceivedAt.After(r.ended.Add(clockStep)) && r.ended.After(p.stored) {
			p.stored = r.ended
		}
	}
	return p, true
}

// hasKey reports whether a delivery has its order key. A replay that leads elsewhere
// gives it one of its own there.
func hasKey(d *delivery, wanted string) bool {
	return d.OrderKey == wanted || d.Replay != "" && wanted != "" && strings.HasPrefix(d.OrderKey, wanted+" → ")
}

// checkReplays looks whether every replay has ended, and what it counted. A delivery
// that one replay made and another one retried belongs to the latter.
func (a *audit) checkReplays(ctx context.Context, got *result) error {
	replays, err := list[replay](ctx, a.system, "/replay")
	if err != nil {
		return err
	}
	made, again := map[string]int64{}, map[string]bool{}
	for _, d := range a.deliveries {
		made[d.Replay]++
		again[d.Replay] = again[d.Replay] || a.operator.asked[d.ID] > 0
	}
	taken := int64(0)
	for i := range replays {
		if replays[i].Mode == "retry" {
			taken += made[replays[i].ID]
		}
	}
	for i := range replays {
		r := &replays[i]
		got.replays[r.State]++
		p := r.Progress
		if ended := p.Succeeded + p.Failed + p.Canceled; ended != p.Made && !again[r.ID] {
			a.faults.add("the replay %s is %s (%s) and made %d deliveries, of which %d have ended", r.ID, r.State, r.Reason, p.Made, ended)
		}
		if r.Mode != "retry" && (made[r.ID] > p.Made || made[r.ID] < p.Made-taken) {
			a.faults.add("the replay %s made %d deliveries by its progress, %d by the log", r.ID, p.Made, made[r.ID])
		}
	}
	return nil
}
