package deliver_test

import (
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/check"
)

// end lets everything come to its end and looks at all of it.
func (m *model) end() {
	if m.waiting != nil {
		m.accept(m.waiting)
	}
	m.partner.mu.Lock()
	m.partner.calm = true
	m.partner.mu.Unlock()
	pass(10 * time.Minute)
	m.unpark()
	for _, d := range m.deliveries() {
		route, ok := m.catalogue.Route(d.Connection, d.Destination)
		switch {
		case d.State.Final():
		case d.State == hook.StatePending && d.OrderKey != "" && d.NextAttemptAt == nil && m.pausedAnywhere():
			// It waits for the head of its key, which is held.
		case d.State != hook.StateHeld:
			m.bad("delivery %v of %v with the key %q is still %v, next %v (%s)", d.ID, d.Connection, d.OrderKey, d.State, d.NextAttemptAt, d.Reason)
		case d.Reason == "":
			m.bad("delivery %v is held without a reason", d.ID)
		case !ok || !route.Connection.Paused && !route.Destination.Paused:
			m.bad("delivery %v is held (%s) while nothing is paused", d.ID, d.Reason)
		}
	}
	m.checkNumbers()
	for _, id := range m.routes {
		m.turnConnection(id, false, false)
		if route, ok := m.catalogue.Route(id, m.catalogue.connections[id].Destination); ok {
			m.turnDestination(route.Destination.ID, false, false)
		}
	}
	pass(10 * time.Minute)
	m.checkDeliveries()
	m.checkNumbers()
	m.finish()
	report, err := check.Folder(m.t.Context(), m.dir)
	m.must(err)
	for _, f := range report.Findings {
		if f.Severity == check.Problem {
			m.bad("the store: %s", f.What)
		}
	}
	m.wrong = append(m.wrong, m.partner.keys.wrong...)
	if m.partner.twice > 0 {
		m.bad("%d attempts began while another one of their delivery was under way", m.partner.twice)
	}
}

// pausedAnywhere reports whether anything is paused.
func (m *model) pausedAnywhere() bool {
	for route := range m.catalogue.routes() {
		if route.Connection.Paused || route.Destination.Paused {
			return true
		}
	}
	return false
}

// unpark does what a person does with keys that are parked.
func (m *model) unpark() {
	for range 100 {
		var parked []hook.DeliveryID
		for _, d := range m.deliveries() {
			if d.Cause == hook.CauseParked {
				parked = append(parked, d.ID)
				m.partner.keys.reenter(d.ID)
				m.engine.Wake(d.Destination)
			}
		}
		if len(parked) == 0 {
			return
		}
		_, err := m.store.Retry(m.t.Context(), m.project, parked, time.Now())
		m.must(err)
		for _, id := range m.routes {
			if route, ok := m.catalogue.Route(id, m.catalogue.connections[id].Destination); ok {
				m.engine.Wake(route.Destination.ID)
			}
		}
		pass(10 * time.Minute)
	}
	m.bad("keys are parked for ever")
}

// checkDeliveries looks for each delivery of each acknowledged event.
func (m *model) checkDeliveries() {
	found := map[hook.DeliveryID]hook.Delivery{}
	for _, d := range m.deliveries() {
		found[d.ID] = d
	}
	targets := 0
	for _, ev := range m.events {
		stored, err := m.store.Event(m.t.Context(), m.project, ev.ID)
		if err != nil || len(stored.Targets) != len(ev.Targets) {
			m.bad("event %v: %v, %d targets, want %d", ev.ID, err, len(stored.Targets), len(ev.Targets))
		}
		targets += len(ev.Targets)
		for _, t := range ev.Targets {
			d, ok := found[t.Delivery]
			if !ok {
				m.bad("delivery %v is lost", t.Delivery)
				continue
			}
			m.checkDelivery(&d)
		}
	}
	for id := range m.replayed {
		if d, ok := found[id]; ok {
			m.checkDelivery(&d)
		} else {
			m.bad("delivery %v of a replay is lost", id)
		}
	}
	if want := targets + len(m.replayed); len(found) != want {
		m.bad("there are %d deliveries, want %d", len(found), want)
	}
}

func (m *model) checkDelivery(d *hook.Delivery) {
	t := m.partner.tallies[d.ID.String()]
	if t == nil {
		t = &tally{}
	}
	switch {
	case !d.State.Final():
		m.bad("delivery %v ends as %v", d.ID, d.State)
	case d.State == hook.StateSucceeded && t.took == 0:
		m.bad("delivery %v succeeded, and nobody took it", d.ID)
	case d.State == hook.StateFailed && (d.Reason == "" || d.Attempts == 0):
		m.bad("delivery %v failed after %d attempts with the reason %q", d.ID, d.Attempts, d.Reason)
	case d.State == hook.StateCanceled && (d.Reason == "" || !m.canceled[d.ID] && !m.deleted[d.Connection]):
		m.bad("delivery %v is canceled by nobody, with the reason %q", d.ID, d.Reason)
	}
	attempts, err := m.store.Attempts(m.t.Context(), m.project, d.ID)
	m.must(err)
	if len(attempts) != d.Attempts || d.Attempts < t.ended || d.Attempts > t.ended+t.unclear {
		m.bad("delivery %v, %v: %d attempts are counted, %d kept, and %d were made (%d perhaps)",
			d.ID, d.State, d.Attempts, len(attempts), t.ended, t.unclear)
	}
	for i := range attempts {
		if attempts[i].Number != i+1 {
			m.bad("delivery %v: attempt %d has the number %d", d.ID, i+1, attempts[i].Number)
		}
	}
}

// checkNumbers compares the counters with the log. Nothing is under way.
func (m *model) checkNumbers() {
	sums := map[hook.DestinationID]*hook.Numbers{}
	backlog := map[hook.DestinationID]map[hook.State]int64{}
	var ended int64
	for _, d := range m.deliveries() {
		if sums[d.Destination] == nil {
			sums[d.Destination], backlog[d.Destination] = &hook.Numbers{}, map[hook.State]int64{}
		}
		sums[d.Destination].Deliveries++
		sums[d.Destination].Attempts += int64(d.Attempts)
		switch d.State {
		case hook.StateSucceeded, hook.StateCanceled:
		default:
			backlog[d.Destination][d.State]++
		}
		if d.State.Final() {
			ended++
		}
	}
	for _, scope := range []store.NumbersScope{store.ByDestination, store.ByConnection} {
		totals, err := m.store.Totals(m.t.Context(), store.NumbersQuery{Project: m.project, Scope: scope})
		m.must(err)
		var deliveries, attempts, outcomes, counted, wantDeliveries, wantAttempts int64
		for id, n := range totals {
			deliveries, attempts, counted = deliveries+n.Deliveries, attempts+n.Attempts, counted+n.Succeeded+n.Failed+n.Canceled
			for _, times := range n.Outcomes {
				outcomes += times
			}
			if want := sums[hook.DestinationID(id)]; scope == store.ByDestination && (want == nil || n.Deliveries != want.Deliveries || n.Attempts != want.Attempts) {
				m.bad("destination %d: %d deliveries and %d attempts are counted, want %+v", id, n.Deliveries, n.Attempts, want)
			}
		}
		for _, n := range sums {
			wantDeliveries, wantAttempts = wantDeliveries+n.Deliveries, wantAttempts+n.Attempts
		}
		if deliveries != wantDeliveries || attempts != wantAttempts || outcomes != wantAttempts || counted != ended+m.reopened {
			m.bad("scope %d counts %d deliveries, %d attempts, %d outcomes, %d ends; the log has %d, %d, and %d with %d begun again",
				scope, deliveries, attempts, outcomes, counted, wantDeliveries, wantAttempts, ended, m.reopened)
		}
	}
	sources, err := m.store.Totals(m.t.Context(), store.NumbersQuery{Project: m.project, Scope: store.BySource})
	m.must(err)
	if n := sources[int64(m.source)]; n.Accepted != int64(len(m.events)) || n.Duplicates != m.duplicates {
		m.bad("%d events and %d duplicates are counted, want %d and %d", n.Accepted, n.Duplicates, len(m.events), m.duplicates)
	}
	got, err := m.store.Backlog(m.t.Context(), m.project)
	m.must(err)
	for to, want := range backlog {
		for _, state := range []hook.State{hook.StatePending, hook.StateSending, hook.StateHeld, hook.StateFailed} {
			if got[to][state] != want[state] {
				m.bad("destination %v: the backlog counts %d %v, the log has %d", to, got[to][state], state, want[state])
			}
		}
	}
}
