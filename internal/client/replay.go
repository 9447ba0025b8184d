package client

import (
	"context"
	"iter"

	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/hook"
)

// Replays lists replays, the newest first, at most limit of them.
func (c *Client) Replays(ctx context.Context, limit int) iter.Seq2[hook.Replay, error] {
	return list[hook.Replay](ctx, c, "/replay", nil, limit)
}

// Replay returns one replay with its progress.
func (c *Client) Replay(ctx context.Context, id string) (replay hook.Replay, err error) {
	err = c.get(ctx, "/replay/"+segment(id), nil, &replay)
	return replay, err
}

// PlanReplay returns what a replay would do.
func (c *Client) PlanReplay(ctx context.Context, request control.ReplayIn) (plan control.ReplayPlan, err error) {
	request.DryRun = true
	err = c.post(ctx, "/replay", request, &plan)
	return plan, err
}

// StartReplay begins a replay.
func (c *Client) StartReplay(ctx context.Context, request control.ReplayIn) (replay hook.Replay, err error) {
	request.DryRun = false
	err = c.post(ctx, "/replay", request, &replay)
	return replay, err
}

// CancelReplay ends a replay that runs.
func (c *Client) CancelReplay(ctx context.Context, id string) (replay hook.Replay, err error) {
	err = c.post(ctx, "/replay/"+segment(id)+"/cancel", nil, &replay)
	return replay, err
}
