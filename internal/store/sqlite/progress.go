package sqlite

import (
	"context"
	"database/sql/driver"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store/sqlstore"
)

// progressed calls do with what the batch adds to the progress of a replay. A delivery
// that no replay made counts for none.
func (b *batch) progressed(id hook.ReplayID, do func(*hook.ReplayProgress)) {
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

// countEnd adds by to the counter of a final state. A delivery that is retried leaves
// its final state and is taken off again, so that what is open is always the rest.
func countEnd(p *hook.ReplayProgress, state hook.State, by int64) {
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

// writeReplays adds the batch's progress to the replays, a row each.
func (b *batch) writeReplays(ctx context.Context) error {
	for id, p := range b.replays {
		_, err := b.w.sql.addProgress.Exec(ctx, p.Looked, p.Selected, p.Skipped, p.Made, p.Succeeded, p.Failed, p.Canceled, p.Attempts, p.Errors,
			sqlstore.Millis(b.w.now()), int64(id))
		if err != nil {
			return err
		}
	}
	return nil
}

// nullID stores a zero id as NULL.
func nullID(id int64) driver.Value {
	if id == 0 {
		return nil
	}
	return id
}

// exampleKey is a kind of failure at a destination.
type exampleKey struct {
	destination hook.DestinationID
	outcome     hook.Outcome
}

// example is the newest failure of its kind in a batch.
type example struct {
	at       time.Time
	delivery hook.DeliveryID
	number   int64
	status   int
	text     string
}

const (
	// exampleEvery is how long an example of a kind of failure is good enough: a
	// destination that is down fails thousands of times in it.
	exampleEvery = time.Minute
	// maxShown bounds the memory of examples; forgetting costs a write at the most.
	maxShown = 4096
	// maxExampleText is how many bytes of what happened are shown.
	maxExampleText = 500
)

// failed keeps the newest attempt of a delivery as an example, when it failed and the
// stored one is old.
func (b *batch) failed(row *deliveryRow, s *hook.Settlement, at time.Time) {
	if s.Attempt.Outcome == hook.OutcomeSuccess {
		return
	}
	key := exampleKey{row.destination, s.Attempt.Outcome}
	if last, ok := b.w.shown[key]; ok && at.Sub(last).Abs() < exampleEvery {
		return
	}
	text := s.Attempt.Error
	if text == "" {
		text = s.Reason
	}
	if b.examples == nil {
		b.examples = map[exampleKey]*example{}
	}
	b.examples[key] = &example{
		at: at, delivery: row.id, number: row.attempts, status: s.Attempt.ResponseStatus, text: hook.Cut(text, maxExampleText),
	}
}

// writeExamples stores the batch's examples; of a destination that is gone none is kept.
func (b *batch) writeExamples(ctx context.Context) error {
	for key, e := range b.examples {
		_, err := b.w.sql.saveExample.Exec(ctx, string(key.outcome), sqlstore.Millis(e.at), int64(e.delivery), e.number, int64(e.status), e.text,
			int64(key.destination))
		if err != nil {
			return err
		}
	}
	return nil
}

// committedExamples remembers when the batch's examples were stored.
func (b *batch) committedExamples() {
	if len(b.w.shown)+len(b.examples) > maxShown {
		clear(b.w.shown)
	}
	for key, e := range b.examples {
		b.w.shown[key] = e.at
	}
}
