package sqlite

import (
	"context"
	"database/sql/driver"
	"slices"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlstore"
)

// CreateReplay implements store.Replays.
func (s *Store) CreateReplay(ctx context.Context, replay *hook.Replay) error {
	r := *replay
	if r.ID == 0 {
		r.ID = hook.ReplayID(s.ids.Next(s.now()))
	}
	r.State, r.Reason, r.EndedAt, r.Progress = hook.ReplayRunning, "", nil, hook.ReplayProgress{}
	r.CreatedAt, r.UpdatedAt = r.ID.Time(), r.ID.Time()
	spec, err := s.nouns.SealReplay(&r)
	if err != nil {
		return err
	}
	created := int64(0)
	err = s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) (err error) {
		created, err = b.w.sql.insertReplay.Exec(ctx, int64(r.ID), r.Cursor, sqlstore.Millis(r.UpdatedAt), spec, int64(r.Project))
		return err
	}})
	if err == nil && created == 0 {
		err = hook.NotFound("project", r.Project.String())
	}
	if err == nil {
		*replay = r
	}
	return err
}

// AdvanceReplay implements store.Replays.
func (s *Store) AdvanceReplay(ctx context.Context, step store.ReplayStep) (store.ReplayDone, error) {
	a := &advancing{ReplayStep: step, fresh: make([]hook.DeliveryID, len(step.Targets))}
	for i := range a.fresh {
		if a.fresh[i] = step.Targets[i].Delivery; a.fresh[i] == 0 {
			a.fresh[i] = hook.DeliveryID(s.ids.Next(step.Now))
		}
	}
	for _, acceptance := range step.Events {
		if acceptance.Event.Project != step.Project {
			return store.ReplayDone{}, hook.Errorf(hook.KindInvalid, "a replay of one project cannot make an event of another")
		}
		acceptance.Event.Replay, acceptance.Dedupe = step.Replay, hook.DedupeHash{}
		for i := range acceptance.Event.Targets {
			t := &acceptance.Event.Targets[i]
			t.Replay, t.Deferred = step.Replay, !t.Held
		}
		a.events = append(a.events, s.accepting(acceptance))
	}
	if err := s.writer.Do(ctx, &operation{Apply: a.apply}); err != nil {
		return store.ReplayDone{}, err
	}
	slices.Sort(a.done.Destinations)
	a.done.Destinations = slices.Compact(a.done.Destinations)
	return a.done, nil
}

// advancing is a step of a replay on its way through the writer.
type advancing struct {
	store.ReplayStep

	events []*accepting
	fresh  []hook.DeliveryID // ids of the targets
	done   store.ReplayDone
}

func (a *advancing) apply(ctx context.Context, b *batch) error {
	a.done = store.ReplayDone{} // A batch that failed is done again.
	if err := a.mayGoOn(ctx, b); err != nil {
		return err
	}
	for _, ev := range a.events {
		if err := ev.apply(ctx, b); err != nil {
			return err
		}
		for i := range ev.acceptance.Event.Targets {
			a.made(ev.acceptance.Event.Targets[i].Destination)
		}
	}
	for i := range a.Targets {
		if err := a.target(ctx, b, i); err != nil {
			return err
		}
	}
	for _, id := range a.Retry {
		if err := a.retry(ctx, b, id); err != nil {
			return err
		}
	}
	b.tally.Progress(a.Replay, func(p *hook.ReplayProgress) {
		p.Looked += int64(a.Looked)
		p.Selected += int64(a.Selected)
		p.Skipped += int64(a.Skipped)
		p.Made += int64(a.done.Made)
	})
	_, err := b.w.sql.moveReplay.Exec(ctx, a.Cursor, int64(a.Replay))
	return err
}

// mayGoOn reports why the replay makes nothing more, or not this.
func (a *advancing) mayGoOn(ctx context.Context, b *batch) error {
	state, cursor := hook.ReplayState(""), int64(0)
	err := b.w.sql.readReplay.Each(ctx, func(row []driver.Value) error {
		state, cursor = hook.ReplayState(commit.Text(row[0])), commit.Int(row[1])
		return nil
	}, int64(a.Replay), int64(a.Project))
	switch {
	case err != nil:
		return err
	case state == "":
		return hook.NotFound("replay", a.Replay.String())
	case state.Final():
		return hook.Errorf(hook.KindConflict, "the replay %v makes nothing more: it is %s", a.Replay, state)
	case a.Cursor < cursor:
		return hook.Errorf(hook.KindConflict, "the replay %v is further on already", a.Replay)
	default:
		return nil
	}
}

func (a *advancing) made(destination hook.DestinationID) {
	a.done.Made++
	a.done.Destinations = append(a.done.Destinations, destination)
}

// target makes a delivery of a stored event, unless retention removed the event since
// it was chosen.
func (a *advancing) target(ctx context.Context, b *batch, i int) error {
	chosen := &a.Targets[i]
	events, err := b.ids(ctx, b.w.sql.findEvent, int64(chosen.Event), int64(a.Project))
	if err != nil || len(events) == 0 {
		return err
	}
	t := chosen.Target
	t.Delivery, t.Replay, t.Deferred = a.fresh[i], a.Replay, !t.Held
	a.made(t.Destination)
	_, err = b.target(ctx, &hook.Event{ID: chosen.Event, Project: a.Project, ReceivedAt: a.Now}, &t)
	return err
}

// retry makes a delivery due now and this replay's. One that is on its way for another
// replay stays with it, which would wait for its end in vain; what has ended counts
// there as it ended.
func (a *advancing) retry(ctx context.Context, b *batch, id hook.DeliveryID) error {
	row, err := b.delivery(ctx, id)
	if err != nil || row == nil || row.project != a.Project || row.replay == a.Replay || row.replay != 0 && !row.state.Final() {
		return err
	}
	row.replay = 0
	changed, err := b.retry(ctx, row, a.Now)
	if err != nil || !changed {
		return err
	}
	a.made(row.destination)
	_, err = b.w.sql.setReplay.Exec(ctx, int64(a.Replay), int64(id))
	return err
}

// EndReplay implements store.Replays.
func (s *Store) EndReplay(
	ctx context.Context, project hook.ProjectID, id hook.ReplayID, state hook.ReplayState, reason string,
) (hook.Replay, error) {
	switch state {
	case hook.ReplayCompleted, hook.ReplayStopped, hook.ReplayCanceled:
	default:
		return hook.Replay{}, hook.Errorf(hook.KindInvalid, "a replay does not end as %q: use completed, stopped or canceled", string(state))
	}
	ended := false
	err := s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) error {
		now := sqlstore.Millis(b.w.now())
		changed, err := b.w.sql.endReplay.Exec(ctx, string(state), commit.NullText(reason), now, now, int64(id), int64(project))
		ended = changed > 0
		return err
	}})
	if err == nil && ended {
		err = s.sweepReplay(ctx, id, reason)
	}
	if err != nil {
		return hook.Replay{}, err
	}
	return s.Replay(ctx, project, id)
}

// sweepReplay cancels, in steps, what an ended replay made and nobody began to attempt.
func (s *Store) sweepReplay(ctx context.Context, id hook.ReplayID, reason string) error {
	if reason == "" {
		reason = "its replay has ended"
	}
	for _, state := range [...]hook.State{hook.StatePending, hook.StateHeld} {
		after := hook.DeliveryID(0)
		_, err := s.steps(ctx, func(ctx context.Context, b *batch) (int, bool, error) {
			ids, err := b.ids(ctx, b.w.sql.findReplayed, int64(id), int64(state), int64(after), int64(stepSize))
			if err != nil || len(ids) == 0 {
				return 0, false, err
			}
			for _, delivery := range ids {
				if err := b.cancelFresh(ctx, delivery, reason); err != nil {
					return 0, false, err
				}
			}
			b.onCommit = append(b.onCommit, func() { after = ids[len(ids)-1] })
			return len(ids), len(ids) == stepSize, nil
		})
		if err != nil {
			return err
		}
	}
	return s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) error {
		_, err := b.w.sql.sweptReplay.Exec(ctx, int64(id))
		return err
	}})
}

// cancelFresh cancels a waiting delivery of which the attempt that its replay asked for
// was not begun. What was attempted goes on by its schedule.
func (b *batch) cancelFresh(ctx context.Context, id hook.DeliveryID, reason string) error {
	row, err := b.delivery(ctx, id)
	if err != nil || row == nil || row.attempts > 0 && !row.manual {
		return err
	}
	return b.cancel(ctx, id, reason, b.w.now())
}

// sweepReplays cancels what ended replays left: ending one does it at once; this is for
// a process that ended in between.
func (s *Store) sweepReplays(ctx context.Context) error {
	unswept, err := sqlstore.UnsweptReplays(ctx, s.reader)
	if err != nil {
		return err
	}
	for i := range unswept {
		if err := s.sweepReplay(ctx, unswept[i].ID, unswept[i].Reason); err != nil {
			return err
		}
	}
	return nil
}
