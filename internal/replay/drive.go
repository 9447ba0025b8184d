package replay

import (
	"context"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// driver takes one replay forward.
type driver struct {
	engine    *Engine
	recipe    *recipe
	replay    hook.Replay
	allowance *allowance
	walk      *walk      // nil: from the cursor in the store
	problem   error      // why it cannot be run: what wrote it knew more than this program
	pending   *candidate // was handed out, and had no room in the last step
	found     choice     // what became of it …
	foundAt   time.Time  // … at this time
}

// advance makes one step, and says when the next one comes.
func (d *driver) advance(ctx context.Context) (time.Duration, error) {
	e := d.engine
	read, err := e.options.Replays.Replay(ctx, d.replay.Project, d.replay.ID)
	if hook.KindOf(err) == hook.KindNotFound {
		d.replay.State = hook.ReplayCanceled // its project was deleted, and it with that
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	d.replay = read
	if d.replay.State.Final() {
		return 0, nil
	}
	if d.problem != nil {
		return 0, e.end(ctx, &d.replay, hook.ReplayStopped, "it cannot be run: "+d.problem.Error())
	}
	progress := &d.replay.Progress
	if stop := d.replay.Stop; stop != nil {
		if reason, exceeded := stop.Exceeded(progress); exceeded {
			return 0, e.end(ctx, &d.replay, hook.ReplayStopped, reason)
		}
	}
	if d.pending != nil && time.Since(d.foundAt) > staleAfter {
		d.walk = nil // what was found of it is old
	}
	if d.walk == nil {
		d.walk, d.pending = e.walk(d.recipe, d.replay.Cursor, d.replay.Until), nil
	}
	if d.over() {
		if progress.Open() <= 0 {
			return 0, e.end(ctx, &d.replay, hook.ReplayCompleted, "")
		}
		return idleTick, nil
	}
	if to := d.recipe.To; to != 0 {
		if _, ok := e.options.Catalogue().Destination(to); !ok {
			return 0, e.end(ctx, &d.replay, hook.ReplayStopped, "the destination "+to.String()+" was deleted")
		}
	}
	room := MaxOpen - int(progress.Open())
	if room <= 0 {
		return idleTick, nil
	}
	return d.step(ctx, room)
}

// over reports whether everything was looked at.
func (d *driver) over() bool { return d.pending == nil && d.walk.over() }

// step looks at candidates until the rate, the room, a page or the time is used up, and
// makes what was chosen in one commit.
func (d *driver) step(ctx context.Context, room int) (time.Duration, error) {
	began := time.Now()
	budget := min(d.allowance.take(began), maxStep)
	if budget <= 0 && d.pending != nil {
		return d.allowance.wait(), nil
	}
	s := &step{
		ReplayStep: store.ReplayStep{Replay: d.replay.ID, Project: d.replay.Project, Cursor: d.replay.Cursor, Now: time.Now()},
		driver:     d, room: room, alone: room == MaxOpen,
	}
	if err := s.gather(ctx, budget); err != nil {
		return 0, err
	}
	d.allowance.used(s.size)
	if s.Cursor == d.replay.Cursor && s.Looked == 0 {
		return tick, nil
	}
	done, err := d.engine.options.Replays.AdvanceReplay(ctx, s.ReplayStep)
	if hook.KindOf(err) == hook.KindConflict {
		d.walk = nil
		return tick, nil // it was ended, or is further on: the next look says which
	}
	if err != nil {
		return 0, err
	}
	d.engine.metrics.looked.Add(float64(s.Looked))
	d.engine.metrics.made.Add(float64(done.Made))
	for _, destination := range done.Destinations {
		d.engine.options.Wake(destination)
	}
	switch {
	case d.pending == nil && s.size == 0, d.allowance.tokens >= 1:
		return 0, nil // there is nothing to wait for
	case s.size == 0:
		return d.allowance.wait(), nil
	}
	return max(0, tick-time.Since(began)), nil
}

// step is a part of a replay that is being put together.
type step struct {
	store.ReplayStep

	driver *driver
	size   int  // deliveries in it
	bytes  int  // of the payloads that it makes
	room   int  // for so many
	alone  bool // nothing of the replay is open, so that any event has room
}

// gather fills the step. When the rate gives nothing, it goes as far as to the next one
// that is chosen.
func (s *step) gather(ctx context.Context, budget int) error {
	d := s.driver
	chooser := d.engine.chooser(d.recipe)
	for began := time.Now(); s.bytes < maxStepBytes && time.Since(began) < maxStepTime; {
		if d.pending == nil {
			of, err := d.walk.next(ctx)
			if err != nil {
				return err
			}
			if of == nil {
				s.Cursor = d.walk.cursor
				if s.size > 0 || d.walk.over() {
					return nil
				}
				continue
			}
			if d.found, err = chooser.choose(ctx, of); err != nil {
				return err
			}
			d.pending, d.foundAt = of, time.Now()
		}
		size := d.found.size()
		if full := s.size+size > s.room && (!s.alone || s.size > 0); size > 0 && (full || s.size >= budget) {
			return nil // it comes first in a later step
		}
		s.add(d.pending, &d.found)
		d.pending = nil
	}
	return nil
}

// add puts a candidate into the step.
func (s *step) add(of *candidate, ch *choice) {
	s.Cursor = of.cursor
	s.Looked++
	if !ch.selected {
		return
	}
	s.Selected++
	if ch.skip != skipNot {
		s.Skipped++
	}
	s.size += ch.size()
	s.Retry = append(s.Retry, ch.retry...)
	for i := range ch.targets {
		ch.targets[i].Replay = s.Replay
	}
	if ch.edited == nil {
		for i := range ch.targets {
			s.Targets = append(s.Targets, store.ReplayTarget{Event: ch.event.ID, Target: ch.targets[i]})
		}
		return
	}
	if len(ch.targets) > 0 {
		s.bytes += len(ch.edited)
		s.Events = append(s.Events, edited(ch, s.Replay, s.Now))
	}
}

// edited returns the new event that an edit makes. Nothing was received, so that
// nothing vouches for it but the replay that it names.
func edited(ch *choice, replay hook.ReplayID, now time.Time) *hook.Acceptance {
	event := *ch.event
	event.Parent, event.Replay = event.ID, replay
	event.ID, event.ReceivedAt = 0, now.UTC().Truncate(time.Millisecond)
	event.Payload, event.PayloadSize = ch.edited, len(ch.edited)
	event.Targets, event.Unmatched, event.Duplicates = ch.targets, nil, 0
	event.Verdict = hook.Verdict{Scheme: SchemeReplay}
	return &hook.Acceptance{Event: event}
}

// SchemeReplay is the verdict's scheme of events that a replay made by an edit.
const SchemeReplay = "replay"

// allowance is how many deliveries a replay may make by its rate: what comes together
// in a tick, and half as much for one that came late, may be used at once.
type allowance struct {
	perSecond float64
	burst     float64
	tokens    float64 // less than 0: more was used than there was, because an event stays whole
	at        time.Time
}

func newAllowance(rate hook.Rate, now time.Time) *allowance {
	perSecond := rate.PerSecond()
	share := perSecond * tick.Seconds()
	return &allowance{perSecond: perSecond, burst: max(1, 1.5*share), tokens: max(1, share), at: now}
}

// take returns how many may be made now.
func (a *allowance) take(now time.Time) int {
	a.tokens = min(a.burst, a.tokens+a.perSecond*now.Sub(a.at).Seconds())
	a.at = now
	const slack = 1e-6 // of sums that should be whole
	return int(a.tokens + slack)
}

// used takes away what was made.
func (a *allowance) used(n int) { a.tokens -= float64(n) }

// wait returns how long it takes until something may be made, at most until the next
// look at the replay.
func (a *allowance) wait() time.Duration {
	missing := time.Duration((1 - a.tokens) / a.perSecond * float64(time.Second))
	return min(max(missing, time.Millisecond), idleTick)
}
