// Package run starts the long-lived parts of a program together and stops them one
// after the other, in an order that is written down, each within its time.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// Service is a part of the program that works until its context ends. It returns nil
// when its work is done or it was asked to stop, an error when it cannot go on.
type Service interface {
	Run(ctx context.Context) error
}

// Func is a function as a Service.
type Func func(ctx context.Context) error

// Run calls f.
func (f Func) Run(ctx context.Context) error { return f(ctx) }

// ErrStuck is wrapped by the error that names a service that did not stop in time.
var ErrStuck = errors.New("did not stop in time")

// ErrUsed says that a Group was run a second time.
var ErrUsed = errors.New("the group has been run already")

// Group is a set of services. New makes one; Add fills it; Run runs it once.
type Group struct {
	logger  *slog.Logger
	members []*member
	used    atomic.Bool
}

type member struct {
	name    string
	service Service
	grace   time.Duration
	cancel  context.CancelFunc
	done    chan struct{} // closed after err is set
	err     error
}

// New returns an empty group that tells logger what it starts and stops.
func New(logger *slog.Logger) *Group { return &Group{logger: logger} }

// Add appends a service. Services start in the order of their addition and stop in
// the opposite one: what others build on is added first. When a service has not
// returned grace after it was asked to stop, the group goes on without it.
func (g *Group) Add(name string, grace time.Duration, service Service) {
	g.members = append(g.members, &member{name: name, service: service, grace: grace, done: make(chan struct{})})
}

// Run starts all services and returns when all have ended: because ctx did, because
// one of them failed, or because none has work left. Each service has a context of
// its own, so that the end of ctx reaches them one by one and in order. The error
// joins the failures of all, each with its service's name.
func (g *Group) Run(ctx context.Context) error {
	if g.used.Swap(true) {
		return ErrUsed
	}
	ending, end := context.WithCancel(ctx)
	defer end()
	var left atomic.Int64
	left.Store(int64(len(g.members)))
	if len(g.members) == 0 {
		return nil
	}
	for _, m := range g.members {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		m.cancel = cancel
		go func() {
			m.err = m.service.Run(own)
			if m.err != nil || left.Add(-1) == 0 {
				end()
			}
			close(m.done)
		}()
		g.logger.Debug("started", "service", m.name)
	}
	<-ending.Done()
	var failures []error
	for _, m := range slices.Backward(g.members) {
		failures = append(failures, g.stop(m))
	}
	return errors.Join(failures...)
}

// stop ends one service and returns what it failed with.
func (g *Group) stop(m *member) error {
	asked := time.Now()
	failed := m.ended() // before it was asked to: its error is the reason, whatever it is
	m.cancel()
	timer := time.NewTimer(m.grace)
	defer timer.Stop()
	select {
	case <-m.done:
	case <-timer.C:
		g.logger.Error("a service does not stop", "service", m.name, "waited", m.grace.String())
		return fmt.Errorf("%s: %w: waited for %s", m.name, ErrStuck, m.grace)
	}
	g.logger.Debug("stopped", "service", m.name, "took", time.Since(asked).String())
	if m.err == nil || !failed && errors.Is(m.err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("%s: %w", m.name, m.err)
}

// ended reports whether the service has returned.
func (m *member) ended() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}
