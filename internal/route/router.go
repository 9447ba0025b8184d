package route

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

// Options is what a Router needs.
type Options struct {
	// Load returns the whole catalogue, consistent in itself.
	Load func(context.Context) (hook.Catalogue, error)
	// Compile builds what proves a source's requests: signature.Compile with what the
	// server has. Without it, sources are present with a Problem; deliveries work all
	// the same.
	Compile func(*hook.SourceSpec) (*signature.Verifier, error)
	// Logger gets a warning for each source and connection that cannot be used.
	Logger *slog.Logger
}

// Router holds the current snapshot. It is safe for concurrent use.
type Router struct {
	options Options
	current atomic.Pointer[Snapshot]
	turn    chan struct{} // held by the one who builds a snapshot
}

// New returns a Router with an empty snapshot; Reload fills it.
func New(options Options) *Router {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{options: options, turn: make(chan struct{}, 1)}
	r.current.Store(emptySnapshot())
	return r
}

// Current returns the snapshot in force. It never changes and is never nil; whoever
// handles an event takes it once.
func (r *Router) Current() *Snapshot { return r.current.Load() }

// Reload loads the catalogue and puts a new snapshot in force. When it returns without
// an error, every change that was committed before the call is in force. Sources and
// connections that cannot be used as they are set up do not fail it: they carry their
// Problem, so that the others go on. What did not change is not compiled again.
func (r *Router) Reload(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for another reload of the catalogue: %w", ctx.Err())
	}
	catalogue, err := r.options.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the catalogue: %w", err)
	}
	b := builder{options: &r.options, before: r.Current(), next: emptySnapshot()}
	r.current.Store(b.build(ctx, &catalogue))
	return nil
}
