package sqlite

import (
	"context"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/inline"
)

const (
	// probeStep is how many held deliveries are read at once in search for one to probe
	// with, and probeSteps how often: those that wait for the head of their key are none.
	probeStep  = 16
	probeSteps = 16
)

// Probe implements store.Circuits.
func (s *Store) Probe(ctx context.Context, claim store.Claim, after hook.DeliveryID) (*hook.Job, error) {
	claim.Limit = 1
	c := &claiming{Claim: claim, probe: true}
	err := s.probeHeld(ctx, c, after)
	if err == nil && len(c.jobs) == 0 {
		_, err = s.steps(ctx, c.step)
	}
	if err == nil && len(c.jobs) == 0 {
		err = s.probeHeld(ctx, c, 0)
	}
	if len(c.jobs) == 0 {
		return nil, err
	}
	jobs, err := s.finish(ctx, c, err)
	if err != nil {
		return nil, err
	}
	return jobs[0], nil
}

// probeHeld claims the oldest delivery after the given one that the circuit holds and
// that is not behind another one of its key.
func (s *Store) probeHeld(ctx context.Context, c *claiming, after hook.DeliveryID) error {
	return s.writer.Do(ctx, &operation{Lazy: true, Apply: func(ctx context.Context, b *batch) error {
		last := after
		for range probeSteps {
			held, err := c.read(ctx, b.w.sql.findProbe, int64(c.Destination), int64(last), int64(probeStep))
			if err != nil || len(held) == 0 {
				return err
			}
			for _, job := range held {
				d := &job.Delivery
				last = d.ID
				first, err := b.isFirst(ctx, d)
				if err != nil {
					return err
				}
				if !first || b.deleted(d.Connection) {
					continue
				}
				b.onCommit = append(b.onCommit, func() { c.jobs = append(c.jobs, job) })
				return c.lease(ctx, b, d, hook.StateHeld)
			}
		}
		return nil
	}})
}

// isFirst reports whether a held delivery could have its key's turn.
func (b *batch) isFirst(ctx context.Context, d *hook.Delivery) (bool, error) {
	ref := inline.Key{Connection: d.Connection, Text: d.OrderKey}
	if ref.Text == "" {
		return true, nil
	}
	if b.inlineHead(ref) != 0 {
		return false, nil
	}
	active, err := b.ids(ctx, b.w.sql.keyActive, int64(ref.Connection), ref.Text)
	if err != nil || len(active) > 0 {
		return false, err
	}
	first, err := b.ids(ctx, b.w.sql.keyFirst, int64(ref.Connection), ref.Text)
	return len(first) == 1 && first[0] == d.ID, err
}
