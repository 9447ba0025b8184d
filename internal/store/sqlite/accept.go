package sqlite

import (
	"context"
	"database/sql/driver"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlite/inline"
	"malote.dev/malote/internal/store/sqlstore"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// Accept implements store.Accepter.
func (s *Store) Accept(ctx context.Context, acceptance *hook.Acceptance) (hook.Receipt, error) {
	acc := s.accepting(acceptance)
	if err := s.writer.Do(ctx, &operation{Apply: acc.apply}); err != nil {
		return hook.Receipt{}, err
	}
	for _, i := range acc.behind {
		acceptance.Event.Targets[i].Deferred = true
	}
	return acc.receipt, nil
}

// accepting prepares an acceptance for the writer.
func (s *Store) accepting(acceptance *hook.Acceptance) *accepting {
	ev := &acceptance.Event
	s.identify(ev)
	return &accepting{
		acceptance: acceptance,
		targets:    codec.EncodeTargets(ev.ID, ev.Targets),
		request:    codec.EncodeRequest(ev),
	}
}

// identify gives ids and a time to an event whose caller left them out.
func (s *Store) identify(ev *hook.Event) {
	if ev.ReceivedAt.IsZero() {
		ev.ReceivedAt = s.now()
	}
	if ev.ID == 0 {
		ev.ID = hook.EventID(s.ids.Next(ev.ReceivedAt))
	}
	for i := range ev.Targets {
		if ev.Targets[i].Delivery == 0 {
			ev.Targets[i].Delivery = hook.DeliveryID(s.ids.Next(ev.ReceivedAt))
		}
	}
	ev.PayloadSize = len(ev.Payload)
}

// accepting is an acceptance on its way through the writer, encoded beforehand so
// that the writer has less to do.
type accepting struct {
	acceptance *hook.Acceptance
	targets    []byte
	request    []byte
	receipt    hook.Receipt
	behind     []int // the places of targets that wait for the head of their key
}

func (a *accepting) apply(ctx context.Context, b *batch) error {
	a.behind = a.behind[:0] // A batch that failed is done again.
	ev := &a.acceptance.Event
	var first hook.EventID
	if a.acceptance.Dedupe != (hook.DedupeHash{}) && a.acceptance.Window > 0 {
		var err error
		if first, err = b.dedupe.Add(ctx, a.acceptance); err != nil {
			return err
		}
	}
	source := b.tally.Count(ev.Project, store.BySource, int64(ev.Source), ev.ReceivedAt)
	if first != 0 {
		a.receipt = hook.Receipt{Event: first, Duplicate: true}
		source.Duplicates++
		_, err := b.w.sql.repeatEvent.Exec(ctx, int64(first))
		return err
	}
	a.receipt = hook.Receipt{Event: ev.ID}
	if err := b.source(ctx, ev.Project, ev.Source); err != nil {
		return err
	}
	_, err := b.w.sql.insertEvent.Exec(ctx, int64(ev.ID), int64(ev.Project), int64(ev.Source), ev.Type, ev.Key,
		a.targets, a.request, notNull(ev.Payload))
	if err != nil {
		return err
	}
	b.highest = max(b.highest, ev.ID)
	source.Accepted++
	source.Bytes += int64(len(ev.Payload))
	if len(ev.Targets) == 0 {
		source.Unmatched++
	}
	for i := range ev.Unmatched {
		b.tally.Count(ev.Project, store.ByConnection, int64(ev.Unmatched[i].Connection), ev.ReceivedAt).FilterErrors++
	}
	for i := range ev.Targets {
		behind, err := b.target(ctx, ev, &ev.Targets[i])
		if err != nil {
			return err
		}
		if behind {
			a.behind = append(a.behind, i)
		}
	}
	return nil
}

// notNull stores no bytes as an empty value: the column is never NULL.
func notNull(b []byte) driver.Value {
	if b == nil {
		return []byte{}
	}
	return b
}

// target begins a delivery: with a row when it is to wait in the store, in memory when
// the caller attempts it. It reports whether it waits because it is not the head of its
// key.
func (b *batch) target(ctx context.Context, ev *hook.Event, t *hook.Target) (behind bool, err error) {
	if err := b.connection(ctx, lane{ev.Project, t.Connection, t.Destination}); err != nil {
		return false, err
	}
	b.tally.Count(ev.Project, store.ByConnection, int64(t.Connection), ev.ReceivedAt).Deliveries++
	b.tally.Count(ev.Project, store.ByDestination, int64(t.Destination), ev.ReceivedAt).Deliveries++
	if t.OrderKey != "" && !t.Held {
		if behind, err = b.mustWait(ctx, inline.Key{Connection: t.Connection, Text: t.OrderKey}); err != nil {
			return false, err
		}
	}
	if !t.Held && !t.Deferred && !behind {
		b.setHead(inline.Key{Connection: t.Connection, Text: t.OrderKey}, t.Delivery)
		b.opened = append(b.opened, inline.Opened{ID: t.Delivery, Delivery: inline.Delivery{
			Project: ev.Project, Event: ev.ID, Connection: t.Connection, Destination: t.Destination,
			Created: sqlstore.Millis(ev.ReceivedAt), Since: time.Now(), OrderKey: t.OrderKey,
		}})
		b.mark = min(b.mark, ev.ID)
		return false, nil
	}
	w := waiting{
		id: t.Delivery, project: ev.Project, event: ev.ID, connection: t.Connection, destination: t.Destination, orderKey: t.OrderKey,
		behind: behind, created: ev.ReceivedAt, due: t.Due, replay: t.Replay,
	}
	if w.due.IsZero() {
		w.due = ev.ReceivedAt
	}
	if t.Held {
		w.cause, w.reason = heldBy(t.Cause), t.Reason
	}
	return behind, b.insertWaiting(ctx, w)
}

// heldBy returns why a delivery is held: a pause, unless something else is named.
func heldBy(cause hook.Cause) hook.Cause {
	if cause == hook.CauseNone {
		return hook.CausePaused
	}
	return cause
}

// waiting is a delivery without attempts that gets its row.
type waiting struct {
	id           hook.DeliveryID
	project      hook.ProjectID
	event        hook.EventID
	connection   hook.ConnectionID
	destination  hook.DestinationID
	orderKey     string
	behind       bool       // it waits for the head of its key
	cause        hook.Cause // while it is held: why, …
	reason       string     // … in words
	created, due time.Time
	replay       hook.ReplayID
}

// reasonDeleted is the reason that the store gives by itself.
const reasonDeleted = "the connection was deleted"

func (b *batch) insertWaiting(ctx context.Context, d waiting) error {
	state, reason := hook.StatePending, ""
	var next driver.Value
	switch {
	case b.deleted(d.connection):
		state, reason, d.cause = hook.StateCanceled, reasonDeleted, hook.CauseNone
		b.ended(lane{d.project, d.connection, d.destination}, state, b.w.now())
	case d.cause != hook.CauseNone:
		state, reason = hook.StateHeld, d.reason
	case !d.behind:
		next = sqlstore.Millis(d.due)
	}
	created := sqlstore.Millis(d.created)
	b.tally.Move(d.project, d.destination, 0, state)
	b.tally.Turn(d.replay, 0, state)
	_, err := b.w.sql.insertWaiting.Exec(ctx, int64(d.id), int64(d.project), int64(d.event), int64(d.connection), int64(d.destination),
		int64(state), created, created, commit.NullText(reason), next, nil, nullInt(d.replay), nullInt(d.cause), commit.NullText(d.orderKey))
	return err
}
