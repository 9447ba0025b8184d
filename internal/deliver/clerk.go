package deliver

import (
	"context"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
)

// clerk writes circuits down after each transition. Of a circuit that changes faster
// than the store takes it, only the last state is written.
type clerk struct {
	kick chan struct{} // has room for one: something is to be written

	mu      sync.Mutex
	pending map[hook.DestinationID]hook.Circuit
}

// How many circuits are written at the same time, and how long that may take at the end.
const (
	maxWriters   = 16
	farewellTime = 5 * time.Second
)

func newClerk() *clerk {
	return &clerk{kick: make(chan struct{}, 1), pending: make(map[hook.DestinationID]hook.Circuit)}
}

// keep has a circuit written.
func (c *clerk) keep(circuit hook.Circuit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[circuit.Destination] = circuit
	c.wake()
}

// retry has a circuit written again unless there is a newer one.
func (c *clerk) retry(circuit hook.Circuit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, newer := c.pending[circuit.Destination]; !newer {
		c.pending[circuit.Destination] = circuit
	}
}

func (c *clerk) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// take returns what is to be written.
func (c *clerk) take() map[hook.DestinationID]hook.Circuit {
	c.mu.Lock()
	defer c.mu.Unlock()
	pending := c.pending
	c.pending = make(map[hook.DestinationID]hook.Circuit)
	return pending
}

// write writes circuits whenever there are any, until ctx ends, and those that are left
// after that.
func (e *Engine) write(ctx context.Context) {
	if e.options.Holder == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.clerk.kick:
		}
		if !e.writeAll(ctx) && pause(ctx, claimBackoff) {
			e.clerk.wake()
		}
	}
}

// writeAll writes what there is, and reports whether all of it is stored.
func (e *Engine) writeAll(ctx context.Context) bool {
	pending := e.clerk.take()
	var writers sync.WaitGroup
	places := make(chan struct{}, maxWriters)
	for _, circuit := range pending {
		places <- struct{}{}
		writers.Go(func() {
			defer func() { <-places }()
			if err := e.options.Holder.SaveCircuit(ctx, circuit); err != nil {
				e.clerk.retry(circuit)
				if ctx.Err() == nil {
					e.options.Logger.WarnContext(ctx, "the circuit of a destination could not be stored; trying again soon",
						"destination", circuit.Destination.String(), "error", err)
				}
			}
		})
	}
	writers.Wait()
	e.clerk.mu.Lock()
	defer e.clerk.mu.Unlock()
	return len(e.clerk.pending) == 0
}

// farewell writes what is left at the end.
func (e *Engine) farewell(ctx context.Context) {
	if e.options.Holder == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTime)
	defer cancel()
	if !e.writeAll(ctx) {
		e.options.Logger.ErrorContext(ctx, "the circuits of some destinations could not be stored; they are as they were before at the next start")
	}
}
