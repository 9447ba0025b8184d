package notice

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"malote.dev/malote/internal/hook"
)

// Options are what an Announcer needs.
type Options struct {
	// Publish makes an event durable that comes from a project's SystemSource, and has
	// it delivered to whoever wants it, except to a destination. The event's project,
	// source and time are its to fill. After an error of KindUnavailable the event is
	// published again later, and so it is after one of KindInternal, a few times.
	Publish func(ctx context.Context, project hook.ProjectID, event *hook.Event, except hook.DestinationID) error
	// Name returns the name of a destination, "" when it was deleted.
	Name    func(hook.DestinationID) string
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: none
}

// Timings and limits of an Announcer.
const (
	atOnce         = 64               // items that are taken out of the queue together …
	publishers     = 8                // … and how many of them wait for a commit at the same time
	publishTimeout = 10 * time.Second // of one event
	minBackoff     = time.Second      // after nothing could be stored …
	maxBackoff     = 30 * time.Second // … and at the most
	farewellTime   = 5 * time.Second  // for what waits when it is asked to stop
	maxTries       = 5                // of one event, where nobody knows what fails
)

// Announcer publishes notices as events. New makes one; Run is its work.
type Announcer struct {
	options Options
	metrics metrics
	wake    chan struct{} // something was added

	mu       sync.Mutex
	queue    *queue
	ended    bool // it was asked to stop, and takes nothing more
	dropping bool // it was logged that notices are dropped, and none fitted since
}

// New returns an Announcer and registers its metrics.
func New(options Options) *Announcer {
	a := &Announcer{options: options, metrics: newMetrics(options.Metrics), wake: make(chan struct{}, 1), queue: newQueue()}
	if options.Logger == nil {
		a.options.Logger = slog.New(slog.DiscardHandler)
	}
	return a
}

// Notify takes a notice, which becomes an event soon after. It never waits: the
// transitions of one circuit are told one by one, up to a dozen of them, and what else
// happens more than once in a minute to the same thing is told once, with its count.
// What finds no room is counted and lost. It is safe for concurrent use.
func (a *Announcer) Notify(notice hook.Notice) {
	now := time.Now()
	if notice.At.IsZero() {
		notice.At = now
	}
	a.mu.Lock()
	what := dropped
	if !a.ended {
		what = a.queue.add(notice, now)
	}
	first := what == dropped && !a.dropping
	a.dropping = what == dropped
	a.mu.Unlock()
	a.metrics.count(what)
	if first {
		a.options.Logger.Warn("notices of the system itself are dropped: more happens than can be told",
			"type", notice.Type, "key", notice.Key)
	}
	if what == queued {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// Run publishes until ctx ends, and then what still waits, for a short time. A notice
// that came before lies in the store afterwards, unless the store takes nothing.
func (a *Announcer) Run(ctx context.Context) error {
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		items, next := a.take()
		switch {
		case len(items) == 0:
			a.wait(ctx, next)
		case a.tell(ctx, items):
			backoff = 0
		default:
			backoff = min(max(2*backoff, minBackoff), maxBackoff)
			pause(ctx, backoff)
		}
	}
	a.farewell(ctx)
	return nil
}

func (a *Announcer) take() ([]*item, time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.queue.take(time.Now(), atOnce)
}

// wait returns when there may be something to tell.
func (a *Announcer) wait(ctx context.Context, next time.Time) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
	case <-a.wake:
	case <-due:
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// tell publishes items, each of another line, and reports whether all of them are done
// with. Those that could not be stored now are back in the queue.
func (a *Announcer) tell(ctx context.Context, items []*item) bool {
	again := make([]bool, len(items))
	var group errgroup.Group
	group.SetLimit(publishers)
	for i, it := range items {
		group.Go(func() error {
			again[i] = !a.publish(ctx, it)
			return nil
		})
	}
	_ = group.Wait() // what failed is in again
	a.mu.Lock()
	defer a.mu.Unlock()
	now, all := time.Now(), true
	for i, it := range items {
		if again[i] {
			all = false
			a.queue.putBack(it, now)
			continue
		}
		a.queue.told(it, now)
	}
	return all
}

// publish publishes one item and reports whether it is done with: published, or not to
// be published by any repetition.
func (a *Announcer) publish(ctx context.Context, it *item) bool {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	event, err := it.event(a.options.Name)
	if err == nil {
		err = a.options.Publish(ctx, it.notice.Project, event, it.notice.Destination)
		it.tries++
		if it.mayPass(ctx, err) {
			a.options.Logger.Warn("a notice could not be stored; trying again soon",
				"type", it.notice.Type, "key", it.notice.Key, "error", err)
			return false
		}
	}
	if err != nil {
		a.metrics.lost.Add(float64(it.count))
		a.options.Logger.Error("a notice cannot be told", "type", it.notice.Type, "key", it.notice.Key, "error", err)
		return true
	}
	a.metrics.events.WithLabelValues(it.notice.Type).Inc()
	return true
}

// mayPass reports whether what failed with err may go well later.
func (it *item) mayPass(ctx context.Context, err error) bool {
	switch {
	case err == nil:
		return false
	case ctx.Err() != nil || hook.KindOf(err) == hook.KindUnavailable:
		return true
	default:
		return hook.KindOf(err) == hook.KindInternal && it.tries < maxTries
	}
}

// farewell takes nothing more, and publishes what waits, whatever its pace.
func (a *Announcer) farewell(ctx context.Context) {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTime)
	defer cancel()
	for ctx.Err() == nil {
		a.mu.Lock()
		items := a.queue.takeAll(atOnce)
		a.mu.Unlock()
		if len(items) == 0 {
			return
		}
		if !a.tell(ctx, items) {
			pause(ctx, minBackoff)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if left := a.queue.notices(); left > 0 {
		a.metrics.lost.Add(float64(left))
		a.options.Logger.Error("the server stops before it could tell of all that happened", "notices", left)
	}
}
