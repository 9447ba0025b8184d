package notice

import (
	"context"
	"log/slog"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// When a Watcher gives notice.
const (
	// WatchEvery is how often it looks.
	WatchEvery = time.Minute

	// RefusedAtLeast is how many requests a source refused in a minute, and more than
	// half of all, when hook.NoticeSourceRefusing is given.
	RefusedAtLeast = 10
	// RefusedAgain is how long it takes until that is said again while it lasts.
	RefusedAgain = 15 * time.Minute

	// GrowingAbove is how many deliveries wait at a destination, more of them than a
	// minute before for GrowingFor minutes in a row, when hook.NoticeBacklogGrowing is
	// given.
	GrowingAbove = 1000
	GrowingFor   = 5
	// OldestAbove is how long the oldest one has waited when that is given all the same.
	OldestAbove = 15 * time.Minute
	// DrainedBelow is how many wait at the most, none of them for long, when
	// hook.NoticeBacklogDrained is given after it.
	DrainedBelow = 100
)

// maxAsked is how often the store is asked for the oldest delivery of a destination in
// one look. Where that is not enough the others have their turn in the next looks.
const maxAsked = 200

// Store is what a Watcher needs of a store. See store.Store for the promises.
type Store interface {
	Backlog(ctx context.Context, project hook.ProjectID) (map[hook.DestinationID]map[hook.State]int64, error)
	Oldest(ctx context.Context, project hook.ProjectID, destination hook.DestinationID) (time.Time, error)
	Totals(ctx context.Context, query store.NumbersQuery) (map[int64]hook.Numbers, error)
	Series(ctx context.Context, query store.NumbersQuery) ([]hook.Numbers, error)
	ListRefusals(ctx context.Context, query store.RefusalQuery) (page.Page[hook.Refusal], error)
}

// Catalogue answers from what people set up, as it is now.
type Catalogue interface {
	// Projects returns all projects.
	Projects() []hook.ProjectID
	// Destination returns a destination, and for how long deliveries wait there as they
	// should, because of a delay or of quiet hours; false when it was deleted.
	Destination(id hook.DestinationID) (destination *hook.Destination, patience time.Duration, ok bool)
	// Source returns the name of a source; false when it was deleted.
	Source(id hook.SourceID) (string, bool)
}

// WatcherOptions are what a Watcher needs.
type WatcherOptions struct {
	Store     Store
	Catalogue Catalogue
	Notify    func(hook.Notice)
	Logger    *slog.Logger
}

// Watcher gives notice of what shows only over time. It reads roll-ups and the
// backlog, no logs, so that ten thousand destinations cost it little. What it knows of
// the minutes before ends with the process.
type Watcher struct {
	options  WatcherOptions
	refusing map[hook.SourceID]time.Time // when it was told
	backlogs map[hook.DestinationID]*backlog
	looked   bool // at least once
	asked    int  // in this look
}

// NewWatcher returns a Watcher. It does nothing until Run.
func NewWatcher(options WatcherOptions) *Watcher {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Watcher{options: options, refusing: map[hook.SourceID]time.Time{}, backlogs: map[hook.DestinationID]*backlog{}}
}

// Run looks once a minute until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	ticker := time.NewTicker(WatchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		w.look(ctx, time.Now())
	}
}

// look looks at everything once. A project that cannot be read is left out.
func (w *Watcher) look(ctx context.Context, now time.Time) {
	w.asked = 0
	for _, project := range w.options.Catalogue.Projects() {
		for _, part := range []func(context.Context, hook.ProjectID, time.Time) error{w.lookAtSources, w.lookAtBacklogs} {
			if err := part(ctx, project, now); err != nil && ctx.Err() == nil {
				w.options.Logger.WarnContext(ctx, "a project could not be watched; trying again in a minute",
					"project", project.String(), "error", err)
			}
		}
	}
	w.looked = true
	w.forget(now)
}

// forget drops what it remembers of what is gone.
func (w *Watcher) forget(now time.Time) {
	for id, told := range w.refusing {
		if now.Sub(told) >= RefusedAgain {
			delete(w.refusing, id)
		}
	}
	for id := range w.backlogs {
		if _, _, ok := w.options.Catalogue.Destination(id); !ok {
			delete(w.backlogs, id)
		}
	}
}
