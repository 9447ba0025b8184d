package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlite/inline"
	"malote.dev/malote/internal/store/sqlite/tally"
	"malote.dev/malote/internal/store/sqlstore"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// Settle implements store.Queue.
func (s *Store) Settle(settlement hook.Settlement, done func(error)) {
	set := &settling{Settlement: settlement}
	if settlement.Attempt != nil {
		set.attempt = codec.EncodeAttempt(settlement.Attempt)
	}
	if done == nil {
		done = func(error) {}
	}
	if err := s.writer.Add(&operation{Apply: set.apply, Keep: true, Lazy: true, After: done}); err != nil {
		done(err)
	}
}

// settling is a settlement on its way through the writer.
type settling struct {
	hook.Settlement

	attempt []byte
}

func (s *settling) apply(ctx context.Context, b *batch) error {
	if s.State == hook.StateSending || !hook.StateSending.May(s.State) {
		return fmt.Errorf("delivery %v cannot be settled as %v", s.Job.Delivery.ID, s.State)
	}
	id := s.Job.Delivery.ID
	if open, ok := b.w.inline.Get(id); ok {
		b.closed = append(b.closed, id)
		if open.OrderKey != "" && b.inlineHead(open.Key()) == id {
			b.setHead(open.Key(), 0)
		}
		if !open.Row {
			return s.insert(ctx, b, &open, s.result(b, open.Connection))
		}
	}
	row, err := b.delivery(ctx, id)
	if err != nil {
		return err
	}
	if row == nil {
		return s.lost(ctx, b)
	}
	return s.update(ctx, b, row)
}

// lost deals with a delivery that has neither a row nor a place in memory. An inline
// one was accepted by an earlier life of the process; of another one the row was
// removed by retention in the meantime, and nothing is left to settle.
func (s *settling) lost(ctx context.Context, b *batch) error {
	if !s.Job.Inline {
		return nil
	}
	d := &s.Job.Delivery
	r := s.result(b, d.Connection)
	if d.OrderKey != "" {
		r.next = nil // Another one of its key may have gone on meanwhile.
	}
	return s.insert(ctx, b, &inline.Delivery{
		Project: d.Project, Event: d.Event, Connection: d.Connection, Destination: d.Destination,
		Created: sqlstore.Millis(d.CreatedAt), OrderKey: d.OrderKey,
	}, r)
}

// insert writes the delivery's row, once, as it is after its first attempt.
func (s *settling) insert(ctx context.Context, b *batch, d *inline.Delivery, r result) error {
	l := lane{d.Project, d.Connection, d.Destination}
	if err := b.connection(ctx, l); err != nil {
		return err
	}
	var first driver.Value
	attempts, probes := int64(0), int64(0)
	if s.Attempt != nil {
		first, attempts, probes = s.attempt, 1, s.free()
		b.attempted(&deliveryRow{lane: l, id: s.Job.Delivery.ID, attempts: attempts}, &s.Settlement, r.at)
	}
	b.ended(l, r.state, r.at)
	b.tally.Move(d.Project, d.Destination, 0, r.state)
	row := [15]driver.Value{
		int64(s.Job.Delivery.ID), int64(d.Project), int64(d.Event), int64(d.Connection), int64(d.Destination), int64(r.state), attempts,
		d.Created, sqlstore.Millis(r.at), commit.NullText(r.reason), r.next, first,
	}
	if d.OrderKey == "" && r.cause == hook.CauseNone && probes == 0 { // A shorter statement for what nearly all are.
		_, err := b.w.sql.insertSettled.Exec(ctx, row[:12]...)
		return err
	}
	row[12], row[13], row[14] = nullInt(r.cause), nullInt(probes), commit.NullText(d.OrderKey)
	if _, err := b.w.sql.insertSettledFull.Exec(ctx, row[:]...); err != nil || d.OrderKey == "" {
		return err
	}
	return b.advance(ctx, d.Key(), r.at)
}

// free returns by how much the attempt raises the count of those that used up nothing
// of the schedule.
func (s *settling) free() int64 {
	if s.Free {
		return 1
	}
	return 0
}

// update changes the row of a delivery that was claimed, or that took long.
func (s *settling) update(ctx context.Context, b *batch, row *deliveryRow) error {
	r := s.result(b, row.connection)
	if s.Attempt != nil {
		row.attempts++
		row.probes += s.free()
		b.attempted(row, &s.Settlement, r.at)
		if err := b.addAttempt(ctx, row, s.attempt); err != nil {
			return err
		}
	}
	if !applies(row.state, r.state) { // It was settled already, or taken back by a person: the attempt is only noted.
		_, err := b.w.sql.noteAttempts.Exec(ctx, row.attempts, nullInt(row.probes), sqlstore.Millis(r.at), int64(row.id))
		return err
	}
	var manual driver.Value
	if s.Attempt == nil && row.manual {
		manual = int64(1) // What was given back without an attempt is still to be sent by hand.
	}
	b.ended(row.lane, r.state, r.at)
	return b.setState(ctx, row, change{state: r.state, at: r.at, cause: r.cause, reason: r.reason, next: r.next, manual: manual})
}

// applies reports whether the result of an attempt decides over a delivery whose row
// is in the given state. A row can have left "sending" before its attempt ended, when
// the lease ran out: a result then still counts, unless the delivery has ended or is
// held, where only a success does.
func applies(state, next hook.State) bool {
	switch state {
	case hook.StateSending, hook.StatePending:
		return hook.StateSending.May(next)
	case hook.StateHeld:
		return next == hook.StateSucceeded
	default:
		return false
	}
}

// result is what a settlement makes of a delivery.
type result struct {
	state  hook.State
	at     time.Time
	cause  hook.Cause // of a held one
	reason string
	next   driver.Value // when a pending delivery is due; else NULL
}

func (s *settling) result(b *batch, connection hook.ConnectionID) result {
	r := result{state: s.State, reason: s.Reason, at: b.w.now()}
	if s.Attempt != nil && !s.Attempt.StartedAt.IsZero() {
		r.at = s.Attempt.StartedAt.Add(time.Duration(s.Attempt.Duration))
	}
	waits := s.State == hook.StatePending || s.State == hook.StateHeld
	if waits && b.deleted(connection) {
		r.state, r.reason = hook.StateCanceled, reasonDeleted
	}
	if r.state == hook.StateHeld {
		r.cause = heldBy(s.Cause)
	}
	if r.state == hook.StatePending {
		due := s.Next
		if due.IsZero() {
			due = r.at
		}
		r.next = sqlstore.Millis(due)
	}
	return r
}

// lane is where a delivery runs: what its counters are kept for.
type lane struct {
	project     hook.ProjectID
	connection  hook.ConnectionID
	destination hook.DestinationID
}

func (l lane) counted() tally.Lane {
	return tally.Lane{Project: l.project, Connection: l.connection, Destination: l.destination}
}

// attempted counts the newest attempt of a delivery.
func (b *batch) attempted(row *deliveryRow, s *hook.Settlement, at time.Time) {
	a := s.Attempt
	text := a.Error
	switch {
	case text != "":
	case s.Cause == hook.CauseCircuit: // its reason is of many attempts
		text = fmt.Sprintf("it answered %d", a.ResponseStatus)
	default:
		text = s.Reason
	}
	b.tally.Attempt(&tally.Attempted{
		Lane: row.counted(), Delivery: row.id, Number: row.attempts, Replay: row.replay,
		Outcome: a.Outcome, Status: a.ResponseStatus, Duration: time.Duration(a.Duration), Text: text,
	}, at)
}

// ended counts a delivery that reached a final state; other states count nothing.
func (b *batch) ended(l lane, state hook.State, at time.Time) { b.tally.End(l.counted(), state, at) }

// deliveryRow is what the writer needs to know of a delivery to change it.
type deliveryRow struct {
	lane

	id       hook.DeliveryID
	event    hook.EventID
	state    hook.State
	attempts int64
	manual   bool
	next     int64 // when it is due; 0: at no time
	cause    hook.Cause
	orderKey string
	probes   int64
	replay   hook.ReplayID
}

// delivery reads a delivery's row; nil when it has none.
func (b *batch) delivery(ctx context.Context, id hook.DeliveryID) (*deliveryRow, error) {
	var found *deliveryRow
	err := b.w.sql.readDelivery.Each(ctx, func(row []driver.Value) error {
		found = &deliveryRow{
			lane: lane{hook.ProjectID(commit.Int(row[0])), hook.ConnectionID(commit.Int(row[1])), hook.DestinationID(commit.Int(row[2]))},
			id:   id, state: hook.State(commit.Int(row[3])), attempts: commit.Int(row[4]), manual: commit.Int(row[5]) != 0,
			next: commit.Int(row[6]), event: hook.EventID(commit.Int(row[7])),
			replay: hook.ReplayID(commit.Int(row[8])), cause: hook.Cause(commit.Int(row[9])),
			orderKey: commit.Text(row[10]), probes: commit.Int(row[11]),
		}
		return nil
	}, int64(id))
	return found, err
}

// addAttempt stores the row's newest attempt: the first one in the row itself.
func (b *batch) addAttempt(ctx context.Context, row *deliveryRow, data []byte) error {
	var err error
	if row.attempts == 1 {
		_, err = b.w.sql.updateFirst.Exec(ctx, data, int64(row.id))
	} else {
		_, err = b.w.sql.insertAttempt.Exec(ctx, int64(row.id), row.attempts, data)
	}
	return err
}

// change is what setState does to a row.
type change struct {
	state  hook.State
	at     time.Time
	cause  hook.Cause // for held
	reason string
	next   driver.Value // for pending
	manual driver.Value // 1 or NULL
}

// setState brings a row to another state and ends its lease. One that is ordered gets
// its turn, or gives it to the next of its key.
func (b *batch) setState(ctx context.Context, row *deliveryRow, to change) error {
	b.tally.Move(row.project, row.destination, row.state, to.state)
	b.tally.Turn(row.replay, row.state, to.state)
	if row.enters() {
		to.next = nil
	}
	_, err := b.w.sql.updateDelivery.Exec(ctx, int64(to.state), row.attempts, sqlstore.Millis(to.at), commit.NullText(to.reason),
		to.next, to.manual, nullInt(to.cause), nullInt(row.probes), int64(row.id))
	if err != nil || row.orderKey == "" || row.behind() && to.state != hook.StatePending {
		return err
	}
	return b.advance(ctx, row.ref(), to.at)
}
