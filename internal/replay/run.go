package replay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
)

// Start makes a replay and begins with it. The errors are of KindInvalid where the spec
// is wrong, and of KindConflict when too many replays of the project run.
func (e *Engine) Start(ctx context.Context, project hook.ProjectID, by string, spec hook.ReplaySpec) (hook.Replay, error) {
	r, err := e.prepare(ctx, project, &spec)
	if err != nil {
		return hook.Replay{}, err
	}
	running, err := e.options.Replays.RunningReplays(ctx)
	if err != nil {
		return hook.Replay{}, err
	}
	n := 0
	for i := range running {
		if running[i].Project == project {
			n++
		}
	}
	if n >= MaxRunning {
		return hook.Replay{}, hook.Errorf(hook.KindConflict, "%d replays run, which is the most: wait until one of them ends, or cancel it", n)
	}
	replay := hook.Replay{Project: project, State: hook.ReplayRunning, CreatedBy: by, ReplaySpec: r.ReplaySpec}
	replay.Cursor, replay.Until = r.span(time.Now())
	if err := e.options.Replays.CreateReplay(ctx, &replay); err != nil {
		return hook.Replay{}, err
	}
	e.options.Logger.InfoContext(ctx, "a replay begins", slog.String("replay", replay.ID.String()), slog.String("mode", string(replay.Mode)),
		slog.String("by", by))
	select {
	case e.started <- struct{}{}:
	default:
	}
	return replay, nil
}

// Cancel ends a running replay; what it made and did not begin is canceled with it. One
// that has ended is a conflict.
func (e *Engine) Cancel(ctx context.Context, project hook.ProjectID, id hook.ReplayID, by string) (hook.Replay, error) {
	replay, err := e.options.Replays.Replay(ctx, project, id)
	if err != nil {
		return replay, err
	}
	if replay.State.Final() {
		return replay, hook.Errorf(hook.KindConflict, "the replay is %s already", replay.State)
	}
	replay, err = e.options.Replays.EndReplay(ctx, project, id, hook.ReplayCanceled, "canceled by "+by)
	if err == nil {
		e.metrics.ended[hook.ReplayCanceled].Inc()
	}
	return replay, err
}

// Run runs the replays that have not ended, those of before a restart from where they
// stood, until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	review := time.NewTicker(reviewEvery)
	defer review.Stop()
	for {
		running, err := e.options.Replays.RunningReplays(ctx)
		if err != nil && ctx.Err() == nil {
			e.options.Logger.ErrorContext(ctx, "the running replays could not be read", slog.Any("error", err))
		}
		for i := range running {
			if e.claim(running[i].ID) {
				group.Go(func() {
					defer e.release(running[i].ID)
					e.drive(ctx, running[i])
				})
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.started:
		case <-review.C:
		}
	}
}

// claim notes that a replay is driven; false when it is already.
func (e *Engine) claim(id hook.ReplayID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running[id] {
		return false
	}
	e.running[id] = true
	return true
}

func (e *Engine) release(id hook.ReplayID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, id)
}

// drive takes one replay to its end, or until ctx is done.
func (e *Engine) drive(ctx context.Context, replay hook.Replay) {
	r, problems := compile(replay.Project, &replay.ReplaySpec)
	d := &driver{engine: e, recipe: r, replay: replay, allowance: newAllowance(r.Rate, time.Now()), problem: invalid(problems)}
	backoff := firstBackoff
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait, err := d.advance(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && d.replay.State.Final():
			return
		case err == nil:
			backoff = firstBackoff
		default:
			e.options.Logger.ErrorContext(ctx, "a replay could not go on and will try again",
				slog.String("replay", replay.ID.String()), slog.Any("error", err))
			d.walk = nil // from the cursor in the store: what became of the step is not known
			wait, backoff = backoff, min(2*backoff, maxBackoff)
		}
		timer.Reset(wait)
	}
}

// end brings a replay to its end and tells about it.
func (e *Engine) end(ctx context.Context, replay *hook.Replay, state hook.ReplayState, reason string) error {
	ended, err := e.options.Replays.EndReplay(ctx, replay.Project, replay.ID, state, reason)
	if err != nil {
		return err
	}
	*replay = ended
	if ended.State != state {
		return nil // somebody was faster
	}
	e.metrics.ended[state].Inc()
	e.options.Logger.InfoContext(ctx, "a replay ended", slog.String("replay", ended.ID.String()), slog.String("state", string(state)),
		slog.String("reason", reason), slog.Int64("made", ended.Progress.Made), slog.Int64("failed", ended.Progress.Failed))
	kind := hook.NoticeReplayCompleted
	if state == hook.ReplayStopped {
		kind = hook.NoticeReplayStopped
	}
	e.options.Notify(hook.Notice{Project: ended.Project, Type: kind, Key: ended.ID.String(), At: time.Now().UTC(), Data: ended})
	return nil
}
