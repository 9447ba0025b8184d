package notice

import (
	"context"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// Backlog is the Data of hook.NoticeBacklogGrowing and hook.NoticeBacklogDrained.
type Backlog struct {
	Waiting  int64     `json:"waiting"`           // deliveries that are pending, held or being sent
	Arriving float64   `json:"arriving"`          // a second, over the last minutes
	Leaving  float64   `json:"leaving"`           // a second, over the last minutes
	Oldest   time.Time `json:"oldest,omitzero"`   // when the oldest of them was accepted
	Paused   bool      `json:"paused,omitempty"`  // the destination is paused
	Growing  time.Time `json:"growing,omitzero"`  // drained: when it was told that it grows
	Highest  int64     `json:"highest,omitempty"` // drained: the most that waited meanwhile, as seen once a minute
}

// ratesOver is the time over which what arrives and leaves is measured.
const ratesOver = GrowingFor * time.Minute

// backlog is what a Watcher remembers of a destination where something waits.
type backlog struct {
	waiting int64
	grew    int       // looks in a row at which more waited than before
	since   time.Time // since when something waits without a break; the zero time: it is not known
	told    time.Time // when it was told that it grows; the zero time: it was not
	highest int64     // since then
}

// see takes what waits now, and returns whether the backlog grows.
func (b *backlog) see(waiting int64) bool {
	if waiting > b.waiting {
		b.grew++
	} else {
		b.grew = 0
	}
	b.waiting = waiting
	b.highest = max(b.highest, waiting)
	return waiting > GrowingAbove && b.grew >= GrowingFor
}

// lookAtBacklogs gives notice of the destinations of a project where more and more
// waits, or waits too long, and of those where that is over.
func (w *Watcher) lookAtBacklogs(ctx context.Context, project hook.ProjectID, now time.Time) error {
	found, err := w.options.Store.Backlog(ctx, project)
	if err != nil {
		return err
	}
	for id, states := range found {
		destination, patience, ok := w.options.Catalogue.Destination(id)
		if !ok || destination.Project != project {
			continue
		}
		waiting := states[hook.StatePending] + states[hook.StateSending] + states[hook.StateHeld]
		if err := w.judge(ctx, destination, seen{now: now, waiting: waiting, patience: patience}); err != nil {
			return err
		}
	}
	for id := range w.backlogs { // those where nothing is left at all
		destination, _, ok := w.options.Catalogue.Destination(id)
		if _, counted := found[id]; counted || !ok || destination.Project != project {
			continue
		}
		if err := w.judge(ctx, destination, seen{now: now}); err != nil {
			return err
		}
	}
	return nil
}

// seen is one look at a destination.
type seen struct {
	now      time.Time
	waiting  int64
	patience time.Duration
}

// judge gives notice of one destination.
func (w *Watcher) judge(ctx context.Context, destination *hook.Destination, look seen) error {
	b, known := w.backlogs[destination.ID]
	if !known {
		if look.waiting == 0 {
			return nil
		}
		b = &backlog{waiting: look.waiting} // a first look shows no growth
		if w.looked {
			b.since = look.now
		}
		w.backlogs[destination.ID] = b
	}
	growing := b.see(look.waiting)
	late, oldest, err := w.late(ctx, destination, b, look)
	switch told := !b.told.IsZero(); {
	case err != nil:
		return err
	case !told && (growing || late):
		if err := w.tell(ctx, destination, hook.NoticeBacklogGrowing, Backlog{Waiting: look.waiting, Oldest: oldest}, look.now); err != nil {
			return err
		}
		b.told, b.highest = look.now, look.waiting
	case told && look.waiting <= DrainedBelow && !late:
		data := Backlog{Waiting: look.waiting, Oldest: oldest, Growing: stamp(b.told), Highest: b.highest}
		if err := w.tell(ctx, destination, hook.NoticeBacklogDrained, data, look.now); err != nil {
			return err
		}
		b.told = time.Time{}
	}
	if look.waiting == 0 {
		delete(w.backlogs, destination.ID)
	}
	return nil
}

// late reports whether the oldest delivery has waited too long, and since when it waits.
// The store is not asked where the answer is known, or makes no difference: one that
// waits so long was seen waiting all the time, and what a person paused waits on purpose.
func (w *Watcher) late(ctx context.Context, destination *hook.Destination, b *backlog, look seen) (late bool, oldest time.Time, err error) {
	limit := OldestAbove + look.patience
	told := !b.told.IsZero()
	switch {
	case look.waiting == 0, destination.Paused && !told, told && look.waiting > DrainedBelow,
		!b.since.IsZero() && look.now.Sub(b.since) < limit:
		return false, time.Time{}, nil
	case w.asked >= maxAsked:
		return told, time.Time{}, nil // as before, until somebody looks
	}
	w.asked++
	oldest, err = w.options.Store.Oldest(ctx, destination.Project, destination.ID)
	if err != nil || oldest.IsZero() {
		return false, time.Time{}, err
	}
	if b.since.IsZero() || oldest.After(b.since) {
		b.since = oldest // what came before has gone
	}
	return look.now.Sub(oldest) >= limit, oldest, nil
}

// tell gives notice of a backlog.
func (w *Watcher) tell(ctx context.Context, destination *hook.Destination, kind string, data Backlog, now time.Time) error {
	end := now.UTC().Truncate(time.Minute)
	series, err := w.options.Store.Series(ctx, store.NumbersQuery{
		Project: destination.Project, Scope: store.ByDestination, ID: int64(destination.ID), From: end.Add(-ratesOver), To: end,
	})
	if err != nil {
		return err
	}
	var arrived, left int64
	for i := range series {
		arrived += series[i].Deliveries
		left += series[i].Succeeded + series[i].Failed + series[i].Canceled
	}
	if data.Oldest.IsZero() && data.Waiting > 0 {
		if data.Oldest, err = w.options.Store.Oldest(ctx, destination.Project, destination.ID); err != nil {
			return err
		}
	}
	data.Arriving, data.Leaving = float64(arrived)/ratesOver.Seconds(), float64(left)/ratesOver.Seconds()
	data.Paused = destination.Paused
	w.options.Notify(hook.Notice{
		Project: destination.Project, Type: kind, Key: destination.ID.String(), At: now, Destination: destination.ID, Data: data,
	})
	return nil
}
