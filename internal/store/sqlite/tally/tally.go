// Package tally counts what a writer commits, in the commits that it counts: roll-ups
// by the minute, the backlog, the progress of replays, and examples of failures. What a
// batch adds is written at its end, each row once; the stored values in use stay in
// memory, so that a busy minute is not read again for each batch.
package tally

import (
	"context"
	"database/sql/driver"
	"maps"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// Statement is a statement of the writer's, prepared.
type Statement interface {
	Exec(ctx context.Context, values ...driver.Value) (changed int64, err error)
	Each(ctx context.Context, do func(row []driver.Value) error, values ...driver.Value) error
}

// Statements are those that a Tally reads and writes with.
type Statements struct {
	ReadNumbers Statement // of a project, scope, id and minute
	SaveNumbers Statement // as read, with their data
	AddBacklog  Statement // to a project, destination and state: a change
	AddProgress Statement // the nine counters of a progress, when, and to which replay
	SaveExample Statement // outcome, when, delivery, number, status, text; of a destination
}

const (
	// maxNumbers bounds how many minutes' counters are remembered.
	maxNumbers = 4096
	// exampleEvery is how long an example of a kind of failure is good enough: a
	// destination that is down fails thousands of times in it.
	exampleEvery = time.Minute
	// maxShown bounds the memory of examples; forgetting costs a write at the most.
	maxShown = 4096
	// maxExampleText is how many bytes of what happened are shown.
	maxExampleText = 500
)

// Tally is what one writer counts. It belongs to the writer's goroutine.
type Tally struct {
	sql     Statements
	numbers map[numbersKey]*hook.Numbers // stored values of the minutes in use
	shown   map[exampleKey]time.Time     // when examples were last stored
}

// New returns the tally of a database that the statements belong to.
func New(statements Statements) *Tally {
	return &Tally{sql: statements, numbers: map[numbersKey]*hook.Numbers{}, shown: map[exampleKey]time.Time{}}
}

// Begin returns what a new batch counts.
func (t *Tally) Begin() Batch { return Batch{tally: t, numbers: map[numbersKey]*hook.Numbers{}} }

// Batch is what one transaction adds.
type Batch struct {
	tally    *Tally
	numbers  map[numbersKey]*hook.Numbers
	backlog  map[backlogKey]int64
	replays  map[hook.ReplayID]*hook.ReplayProgress
	examples map[exampleKey]*example
}

type numbersKey struct {
	project hook.ProjectID
	scope   store.NumbersScope
	id      int64
	minute  int64 // since 1970
}

type backlogKey struct {
	project     hook.ProjectID
	destination hook.DestinationID
	state       hook.State
}

// exampleKey is a kind of failure at a destination.
type exampleKey struct {
	destination hook.DestinationID
	outcome     hook.Outcome
}

type example struct {
	at      time.Time
	attempt Attempted
}

// Count returns the counters of a noun's minute, for the batch to add to.
func (b *Batch) Count(project hook.ProjectID, scope store.NumbersScope, id int64, at time.Time) *hook.Numbers {
	key := numbersKey{project, scope, id, minute(at)}
	n := b.numbers[key]
	if n == nil {
		n = &hook.Numbers{}
		b.numbers[key] = n
	}
	return n
}

// minute returns how many minutes lie between 1970 and t, rounded down.
func minute(t time.Time) int64 {
	ms := t.UnixMilli()
	m := ms / time.Minute.Milliseconds()
	if ms%time.Minute.Milliseconds() < 0 {
		m--
	}
	return m
}

// Move counts a delivery that goes from one state to another in the backlog; a state of
// 0 means that it had, or has, no row.
func (b *Batch) Move(project hook.ProjectID, destination hook.DestinationID, from, to hook.State) {
	if from == to {
		return
	}
	if b.backlog == nil {
		b.backlog = map[backlogKey]int64{}
	}
	if waits(from) {
		b.backlog[backlogKey{project, destination, from}]--
	}
	if waits(to) {
		b.backlog[backlogKey{project, destination, to}]++
	}
}

// waits reports whether the backlog counts deliveries in the state.
func waits(state hook.State) bool {
	switch state {
	case hook.StatePending, hook.StateSending, hook.StateHeld, hook.StateFailed:
		return true
	default:
		return false
	}
}

// Lane is where a delivery runs: whose counters it counts for.
type Lane struct {
	Project     hook.ProjectID
	Connection  hook.ConnectionID
	Destination hook.DestinationID
}

func (b *Batch) each(l Lane, at time.Time, do func(*hook.Numbers)) {
	do(b.Count(l.Project, store.ByConnection, int64(l.Connection), at))
	do(b.Count(l.Project, store.ByDestination, int64(l.Destination), at))
}

// Attempted is an attempt of a delivery as it is counted.
type Attempted struct {
	Lane

	Delivery hook.DeliveryID
	Number   int64
	Replay   hook.ReplayID // what made the delivery; 0: no replay
	Outcome  hook.Outcome
	Status   int
	Duration time.Duration
	Text     string // what happened, in words
}

// Attempt counts an attempt that ended at a time.
func (b *Batch) Attempt(a *Attempted, at time.Time) {
	b.each(a.Lane, at, func(n *hook.Numbers) {
		n.Attempts++
		if n.Outcomes == nil {
			n.Outcomes = map[hook.Outcome]int64{}
		}
		n.Outcomes[a.Outcome]++
		n.Latency.Add(a.Duration)
	})
	b.Progress(a.Replay, func(p *hook.ReplayProgress) {
		p.Attempts++
		if a.Outcome != hook.OutcomeSuccess {
			p.Errors++
		}
	})
	if a.Outcome != hook.OutcomeSuccess {
		b.keep(a, at)
	}
}

// keep makes a failed attempt the example of its kind when the stored one is old.
func (b *Batch) keep(a *Attempted, at time.Time) {
	key := exampleKey{a.Destination, a.Outcome}
	if last, ok := b.tally.shown[key]; ok && at.Sub(last).Abs() < exampleEvery {
		return
	}
	if b.examples == nil {
		b.examples = map[exampleKey]*example{}
	}
	kept := &example{at: at, attempt: *a}
	kept.attempt.Text = hook.Cut(a.Text, maxExampleText)
	b.examples[key] = kept
}

// End counts a delivery that reached a final state; other states count nothing.
func (b *Batch) End(l Lane, state hook.State, at time.Time) {
	if !state.Final() {
		return
	}
	b.each(l, at, func(n *hook.Numbers) {
		switch state {
		case hook.StateSucceeded:
			n.Succeeded++
		case hook.StateFailed:
			n.Failed++
		default:
			n.Canceled++
		}
	})
}

// Progress calls do with what the batch adds to the progress of a replay; a delivery
// that no replay made counts for none.
func (b *Batch) Progress(id hook.ReplayID, do func(*hook.ReplayProgress)) {
	if id == 0 {
		return
	}
	p := b.replays[id]
	if p == nil {
		if b.replays == nil {
			b.replays = map[hook.ReplayID]*hook.ReplayProgress{}
		}
		p = &hook.ReplayProgress{}
		b.replays[id] = p
	}
	do(p)
}

// Turn counts a replay's delivery that goes from one state to another. One that is
// retried leaves its final state and is taken off again, so that what is open is always
// the rest.
func (b *Batch) Turn(id hook.ReplayID, from, to hook.State) {
	b.Progress(id, func(p *hook.ReplayProgress) {
		ends(p, from, -1)
		ends(p, to, 1)
	})
}

func ends(p *hook.ReplayProgress, state hook.State, by int64) {
	switch state {
	case hook.StateSucceeded:
		p.Succeeded += by
	case hook.StateFailed:
		p.Failed += by
	case hook.StateCanceled:
		p.Canceled += by
	case hook.StatePending, hook.StateSending, hook.StateHeld:
	}
}

// Flush writes what the batch counted.
func (b *Batch) Flush(ctx context.Context, now time.Time) error {
	sql := &b.tally.sql
	if err := b.writeNumbers(ctx); err != nil {
		return err
	}
	for key, change := range b.backlog {
		if change == 0 {
			continue
		}
		if _, err := sql.AddBacklog.Exec(ctx, int64(key.project), int64(key.destination), int64(key.state), change); err != nil {
			return err
		}
	}
	for id, p := range b.replays {
		_, err := sql.AddProgress.Exec(ctx, p.Looked, p.Selected, p.Skipped, p.Made, p.Succeeded, p.Failed, p.Canceled, p.Attempts,
			p.Errors, now.UnixMilli(), int64(id))
		if err != nil {
			return err
		}
	}
	for key, e := range b.examples {
		_, err := sql.SaveExample.Exec(ctx, string(key.outcome), e.at.UnixMilli(), int64(e.attempt.Delivery), e.attempt.Number,
			int64(e.attempt.Status), e.attempt.Text, int64(key.destination))
		if err != nil {
			return err
		}
	}
	return nil
}

// writeNumbers adds the batch's counters to the stored ones.
func (b *Batch) writeNumbers(ctx context.Context) error {
	for key, delta := range b.numbers {
		stored, err := b.tally.stored(ctx, key)
		if err != nil {
			return err
		}
		total := codec.CloneNumbers(stored)
		codec.MergeNumbers(&total, delta)
		_, err = b.tally.sql.SaveNumbers.Exec(ctx, int64(key.project), int64(key.scope), key.id, key.minute, codec.EncodeNumbers(&total))
		if err != nil {
			return err
		}
		*delta = total // From here on it is what the row holds.
	}
	return nil
}

// stored returns what the database holds of a minute.
func (t *Tally) stored(ctx context.Context, key numbersKey) (*hook.Numbers, error) {
	if n, ok := t.numbers[key]; ok {
		return n, nil
	}
	n := &hook.Numbers{}
	err := t.sql.ReadNumbers.Each(ctx, func(row []driver.Value) error {
		data, _ := row[0].([]byte)
		decoded, err := codec.DecodeNumbers(data)
		*n = decoded
		return err
	}, int64(key.project), int64(key.scope), key.id, key.minute)
	return n, err
}

// Committed notes that what Flush wrote is on the disk.
func (b *Batch) Committed() {
	t := b.tally
	if len(t.numbers)+len(b.numbers) > maxNumbers {
		clear(t.numbers)
	}
	maps.Copy(t.numbers, b.numbers)
	if len(t.shown)+len(b.examples) > maxShown {
		clear(t.shown)
	}
	for key, e := range b.examples {
		t.shown[key] = e.at
	}
}
