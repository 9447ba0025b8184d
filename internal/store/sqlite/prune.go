package sqlite

import (
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlstore"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

const (
	// pruneStep is how many events one step removes: a few milliseconds' work, and
	// whatever waits meanwhile shares the commit.
	pruneStep = 64
	// numbersAge is how long the roll-ups are kept.
	numbersAge = 400 * 24 * time.Hour
	// recordsAge is how long it is kept what was done by whom, and what ended replays
	// did: longer than a year, whatever the retention of what they were about.
	recordsAge = 400 * 24 * time.Hour
)

// Prune implements store.Upkeep.
func (s *Store) Prune(ctx context.Context, now time.Time) (store.Pruned, error) {
	var pruned store.Pruned
	keep := map[hook.ProjectID]hook.Retention{}
	projects, err := s.nouns.Projects.All(ctx, s.reader)
	if err != nil {
		return pruned, err
	}
	for i := range projects {
		keep[projects[i].ID] = projects[i].Retention
	}
	origins, err := sqlstore.Origins(ctx, s.reader, 0)
	if err != nil {
		return pruned, err
	}
	for _, o := range origins {
		retention, exists := keep[o.Project]
		if err := s.pruneSource(ctx, o, cutOff(now, retention.Events, exists), &pruned); err != nil {
			return pruned, err
		}
		if err := s.pruneRefusals(ctx, o, cutOff(now, retention.Refused, exists), &pruned); err != nil {
			return pruned, err
		}
	}
	if err := s.pruneDedupe(ctx, now, &pruned); err != nil {
		return pruned, err
	}
	if err := s.pruneNumbers(ctx, now, keep, &pruned); err != nil {
		return pruned, err
	}
	if err := s.pruneRecords(ctx, now, keep, &pruned); err != nil {
		return pruned, err
	}
	return pruned, s.forgetEmpty(ctx)
}

// cutOff returns the id below which things go; 0 when all stay. Of a project that is
// gone nothing stays.
func cutOff(now time.Time, keep hook.Duration, exists bool) int64 {
	switch {
	case !exists:
		return 1<<63 - 1
	case keep == 0:
		return 0
	default:
		return hook.MinID(now.Add(-time.Duration(keep)))
	}
}

// pruneSource removes a source's events below an id, but for those with a delivery
// that has not ended.
func (s *Store) pruneSource(ctx context.Context, o sqlstore.Origin, below int64, pruned *store.Pruned) error {
	if below == 0 {
		return nil
	}
	after := int64(0)
	_, err := s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
		var old []oldEvent
		err := b.w.sql.oldEvents.Each(ctx, func(row []driver.Value) error {
			ev := oldEvent{id: hook.EventID(commit.Int(row[0]))}
			var err error
			ev.targets, err = codec.DecodeTargets(ev.id, commit.Bytes(row[1]))
			old = append(old, ev)
			return err
		}, int64(o.Source), after, below, int64(pruneStep))
		if err != nil || len(old) == 0 {
			return 0, false, err
		}
		var removed store.Pruned
		for i := range old {
			if err := b.removeEvent(ctx, &old[i], &removed); err != nil {
				return 0, false, err
			}
		}
		b.onCommit = append(b.onCommit, func() {
			after = int64(old[len(old)-1].id)
			pruned.Events += removed.Events
			pruned.Deliveries += removed.Deliveries
			pruned.Attempts += removed.Attempts
		})
		return len(old), len(old) == pruneStep, nil
	})
	return err
}

type oldEvent struct {
	id      hook.EventID
	targets []hook.Target
}

// removeEvent removes an event with all that belongs to it, unless one of its
// deliveries still waits.
func (b *batch) removeEvent(ctx context.Context, ev *oldEvent, removed *store.Pruned) error {
	var rows []*deliveryRow
	ids, err := b.deliveriesOf(ctx, ev)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, open := b.w.inline.Get(id); open {
			return nil
		}
		row, err := b.delivery(ctx, id)
		if err != nil {
			return err
		}
		switch {
		case row == nil && !b.w.mark.Reclaimed, row != nil && !row.state.Final():
			return nil
		case row != nil:
			rows = append(rows, row)
		}
	}
	for _, row := range rows {
		b.tally.Move(row.project, row.destination, row.state, 0)
		more := int64(0)
		if row.attempts > 1 {
			var err error
			if more, err = b.w.sql.deleteAttempts.Exec(ctx, int64(row.id)); err != nil {
				return err
			}
		}
		if _, err := b.w.sql.deleteDelivery.Exec(ctx, int64(row.id)); err != nil {
			return err
		}
		removed.Deliveries++
		removed.Attempts += more + min(row.attempts, 1)
	}
	if _, err := b.w.sql.deleteRepeat.Exec(ctx, int64(ev.id)); err != nil {
		return err
	}
	removed.Events++
	_, err = b.w.sql.deleteEvent.Exec(ctx, int64(ev.id))
	return err
}

// deliveriesOf returns the deliveries that an event caused, and those that replays made
// of it.
func (b *batch) deliveriesOf(ctx context.Context, ev *oldEvent) ([]hook.DeliveryID, error) {
	ids, err := b.ids(ctx, b.w.sql.replayedOf, int64(ev.id))
	for i := range ev.targets {
		ids = append(ids, ev.targets[i].Delivery)
	}
	slices.Sort(ids)
	return slices.Compact(ids), err
}

// repeat runs a statement that removes at most stepSize rows until it finds fewer, and
// adds up what it removed.
func (s *Store) repeat(ctx context.Context, query *commit.Statement, total *int64, args ...driver.Value) error {
	_, err := s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
		n, err := query.Exec(ctx, append(args[:len(args):len(args)], int64(stepSize))...)
		b.onCommit = append(b.onCommit, func() { *total += n })
		return int(n), n == stepSize, err
	})
	return err
}

func (s *Store) pruneRefusals(ctx context.Context, o sqlstore.Origin, below int64, pruned *store.Pruned) error {
	if below == 0 {
		return nil
	}
	return s.repeat(ctx, s.writer.sql.oldRefusals, &pruned.Refusals, int64(o.Source), below)
}

func (s *Store) pruneDedupe(ctx context.Context, now time.Time, pruned *store.Pruned) error {
	_, err := s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
		n, err := b.dedupe.Prune(ctx, now)
		b.onCommit = append(b.onCommit, func() { pruned.Dedupe += n })
		return int(n), n > 0, err
	})
	return err
}

// pruneNumbers removes roll-ups that are too old, and those of projects that are gone.
func (s *Store) pruneNumbers(ctx context.Context, now time.Time, keep map[hook.ProjectID]hook.Retention, pruned *store.Pruned) error {
	series, err := sqlstore.CountedSeries(ctx, s.reader)
	if err != nil {
		return err
	}
	for _, n := range series {
		below := sqlstore.Minute(now.Add(-numbersAge))
		if _, exists := keep[n.Project]; !exists {
			below = 1<<63 - 1
		}
		err := s.repeat(ctx, s.writer.sql.oldNumbers, &pruned.Numbers, int64(n.Project), int64(n.Scope), n.ID, below)
		if err != nil {
			return err
		}
	}
	return nil
}

// pruneRecords removes old entries of the audit and old replays, and the entries of
// projects that are gone; replays go with their project.
func (s *Store) pruneRecords(ctx context.Context, now time.Time, keep map[hook.ProjectID]hook.Retention, pruned *store.Pruned) error {
	audited, err := sqlstore.Audited(ctx, s.reader)
	if err != nil {
		return err
	}
	for _, project := range audited {
		_, exists := keep[project]
		below := cutOff(now, hook.Duration(recordsAge), exists)
		if err := s.repeat(ctx, s.writer.sql.oldAudit, &pruned.Audit, int64(project), below); err != nil {
			return err
		}
	}
	return s.repeat(ctx, s.writer.sql.oldReplays, &pruned.Replays, hook.MinID(now.Add(-recordsAge)))
}

// forgetEmpty forgets the sources and connections that are gone and of which the log
// has nothing left.
func (s *Store) forgetEmpty(ctx context.Context) error {
	origins, err := sqlstore.DeletedOrigins(ctx, s.reader)
	if err != nil {
		return err
	}
	lanes, err := sqlstore.DeletedLanes(ctx, s.reader)
	if err != nil || len(origins)+len(lanes) == 0 {
		return err
	}
	return s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) error {
		for _, o := range origins {
			if err := b.forgetSource(ctx, [2]int64{int64(o.Project), int64(o.Source)}); err != nil {
				return err
			}
		}
		for _, l := range lanes {
			if err := b.forgetConnection(ctx, [3]int64{int64(l.Project), int64(l.Connection), int64(l.Destination)}); err != nil {
				return err
			}
		}
		return nil
	}})
}

func (b *batch) forgetSource(ctx context.Context, key [2]int64) error {
	changed, err := b.w.sql.forgetSource.Exec(ctx, key[0], key[1])
	if changed > 0 {
		delete(b.sources, key)
		b.onCommit = append(b.onCommit, func() { delete(b.w.known.sources, key) })
	}
	return err
}

// forgetConnection leaves the connection among the deleted ones: a delivery that is
// still in memory notes its lane again when it is settled.
func (b *batch) forgetConnection(ctx context.Context, key [3]int64) error {
	changed, err := b.w.sql.forgetConnection.Exec(ctx, key[0], key[1], key[2])
	if changed > 0 {
		delete(b.connections, key)
		b.onCommit = append(b.onCommit, func() { delete(b.w.known.connections, key) })
	}
	return err
}
