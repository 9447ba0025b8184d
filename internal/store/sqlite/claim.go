package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlstore"
)

// maxTurns is how many connections one step of a claim looks at.
const maxTurns = 64

// Claim implements store.Queue.
func (s *Store) Claim(ctx context.Context, claim store.Claim) ([]*hook.Job, error) {
	claim.Limit = min(claim.Limit, stepSize)
	if claim.Limit <= 0 {
		return nil, nil
	}
	c := &claiming{Claim: claim}
	_, err := s.steps(ctx, c.step)
	return s.finish(ctx, c, err)
}

// finish completes what was claimed, or gives it back when that cannot be.
func (s *Store) finish(ctx context.Context, c *claiming, err error) ([]*hook.Job, error) {
	if err == nil {
		// The claim is made, so its events are read even when ctx ends now: the caller
		// settles what it does not attempt.
		err = s.loadEvents(context.WithoutCancel(ctx), c.jobs)
	}
	if err == nil {
		return c.jobs, nil
	}
	for _, job := range c.jobs {
		s.Settle(hook.Settlement{Job: job, State: hook.StatePending, Next: c.Now}, nil)
	}
	return nil, err
}

// claiming is a claim on its way round the connections of its destination.
type claiming struct {
	store.Claim

	probe bool // what it claims is to probe with
	jobs  []*hook.Job
	round round
}

// round is a walk over the connections with pending deliveries of a destination, in
// the order of their ids, from the one after the given one to that one.
type round struct {
	begun, wrapped, done bool
	from, at             hook.ConnectionID
}

// step claims from the next few connections: of each its share, then of each what the
// others left.
func (c *claiming) step(ctx context.Context, b *batch) (did int, more bool, err error) {
	r := c.round
	if !r.begun {
		last := b.w.turns[c.Destination]
		r = round{begun: true, from: last, at: last}
	}
	connections, err := r.next(ctx, b, c.Destination)
	if err != nil {
		return 0, false, err
	}
	left := c.Limit - len(c.jobs)
	jobs, last, err := c.takeTurns(ctx, b, connections, left)
	if err != nil {
		return 0, false, err
	}
	if last == 0 && len(connections) > 0 { // All had their turn: another one begins next time.
		last = connections[0]
		if !r.done {
			last = r.at
		}
	}
	b.onCommit = append(b.onCommit, func() {
		c.round, c.jobs = r, append(c.jobs, jobs...)
		if last != 0 {
			b.w.turns[c.Destination] = last
		}
	})
	return len(jobs), !r.done && len(jobs) < left, nil
}

// next returns the next connections of the round, at most maxTurns.
func (r *round) next(ctx context.Context, b *batch, destination hook.DestinationID) ([]hook.ConnectionID, error) {
	var list []hook.ConnectionID
	for !r.done && len(list) < maxTurns {
		end := int64(1<<63 - 1)
		if r.wrapped {
			end = int64(r.from)
		}
		if int64(r.at) == end {
			r.done = true
			break
		}
		found := hook.ConnectionID(0)
		err := b.w.sql.nextTurn.Each(ctx, func(row []driver.Value) error {
			found = hook.ConnectionID(commit.Int(row[0]))
			return nil
		}, int64(destination), int64(r.at), end)
		switch {
		case err != nil:
			return nil, err
		case found != 0:
			r.at = found
			list = append(list, found)
		case r.wrapped || r.from == 0:
			r.done = true
		default:
			r.wrapped, r.at = true, 0
		}
	}
	return list, nil
}

// takeTurns claims up to limit due deliveries of the connections. When that is too few
// for all to have their share it returns the last one that had it, else 0.
func (c *claiming) takeTurns(
	ctx context.Context, b *batch, connections []hook.ConnectionID, limit int,
) (jobs []*hook.Job, last hook.ConnectionID, err error) {
	if len(connections) == 0 {
		return nil, 0, nil
	}
	share := max(limit/len(connections), 1)
	var richer []hook.ConnectionID // that had their share and may have more
	for _, connection := range connections {
		taken, err := c.take(ctx, b, connection, min(share, limit-len(jobs)))
		if err != nil {
			return nil, 0, err
		}
		jobs = append(jobs, taken...)
		if len(taken) == share {
			richer = append(richer, connection)
		}
		if len(jobs) == limit {
			return jobs, connection, nil
		}
	}
	for _, connection := range richer {
		taken, err := c.take(ctx, b, connection, limit-len(jobs))
		if err != nil {
			return nil, 0, err
		}
		if jobs = append(jobs, taken...); len(jobs) == limit {
			break
		}
	}
	return jobs, 0, nil
}

// take claims the longest due deliveries of one connection.
func (c *claiming) take(ctx context.Context, b *batch, connection hook.ConnectionID, limit int) ([]*hook.Job, error) {
	jobs, err := c.read(ctx, b.w.sql.findDue, int64(c.Destination), int64(connection), sqlstore.Millis(c.Now), int64(limit))
	if err != nil {
		return nil, err
	}
	for _, job := range jobs {
		if b.deleted(connection) {
			err = b.cancel(ctx, job.Delivery.ID, reasonDeleted, c.Now)
		} else {
			err = c.lease(ctx, b, &job.Delivery, hook.StatePending)
		}
		if err != nil {
			return nil, err
		}
	}
	if b.deleted(connection) {
		return nil, nil
	}
	return jobs, nil
}

// lease takes a delivery for its owner out of the state that it is in.
func (c *claiming) lease(ctx context.Context, b *batch, d *hook.Delivery, from hook.State) error {
	b.tally.Move(d.Project, d.Destination, from, hook.StateSending)
	_, err := b.w.sql.lease.Exec(ctx, c.Owner, sqlstore.Millis(c.Until), sqlstore.Millis(c.Now), int64(d.ID))
	return err
}

// read returns the deliveries that a query of jobColumns finds, as they are when they
// have been claimed.
func (c *claiming) read(ctx context.Context, query *commit.Statement, args ...driver.Value) ([]*hook.Job, error) {
	var jobs []*hook.Job
	err := query.Each(ctx, func(row []driver.Value) error {
		jobs = append(jobs, &hook.Job{
			Delivery: hook.Delivery{
				ID: hook.DeliveryID(commit.Int(row[0])), Project: hook.ProjectID(commit.Int(row[1])), Event: hook.EventID(commit.Int(row[2])),
				Connection: hook.ConnectionID(commit.Int(row[3])), Destination: c.Destination, State: hook.StateSending,
				Attempts: int(commit.Int(row[4])), CreatedAt: sqlstore.Time(commit.Int(row[5])), UpdatedAt: sqlstore.Time(sqlstore.Millis(c.Now)),
				Reason: commit.Text(row[7]), OrderKey: commit.Text(row[8]), Probes: int(commit.Int(row[9])), Replay: hook.ReplayID(commit.Int(row[10])),
			},
			Manual: commit.Int(row[6]) != 0, Probe: c.probe,
		})
		return nil
	}, args...)
	return jobs, err
}

// loadEvents gives each job its event, those of one event the same one.
func (s *Store) loadEvents(ctx context.Context, jobs []*hook.Job) error {
	events := make(map[hook.EventID]*hook.Event, len(jobs))
	for _, job := range jobs {
		id := job.Delivery.Event
		if events[id] == nil {
			ev, err := sqlstore.Event(ctx, s.reader, job.Delivery.Project, id)
			if err != nil {
				return fmt.Errorf("read the event of a claimed delivery: %w", err)
			}
			events[id] = &ev
		}
		job.Event = events[id]
	}
	return nil
}
