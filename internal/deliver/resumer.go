package deliver

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// resumeEvery is how often a Resumer looks.
const resumeEvery = 10 * time.Second

// Releaser is what a Resumer needs of a store. See store.Store for the promises.
type Releaser interface {
	Backlog(ctx context.Context, project hook.ProjectID) (map[hook.DestinationID]map[hook.State]int64, error)
	Release(ctx context.Context, where store.Scope, now time.Time) (int, error)
}

// ResumerOptions are what a Resumer needs.
type ResumerOptions struct {
	Store Releaser
	// Routes yields the ways of all connections, as they are set up now.
	Routes func() iter.Seq[Route]
	// Wake makes the engine look in the store, because deliveries are due.
	Wake func(hook.DestinationID)
	// Resume makes the engine release what a circuit does not hold any more.
	Resume func(hook.DestinationID)
	Logger *slog.Logger
}

// Resumer releases deliveries that are held although nothing is paused, and no circuit
// open, any more. Whoever resumes a destination or connection releases what is held, and
// that is nearly always all of it. It is not when an event was matched, or a delivery
// looked at, just before, and is stored as held just after; nor when the process ends
// between the two steps. What a person decides over stays held.
type Resumer struct {
	options ResumerOptions
}

// NewResumer returns a Resumer. It does nothing until Run.
func NewResumer(options ResumerOptions) *Resumer { return &Resumer{options: options} }

// Run looks from time to time until the context ends; the first time is at once.
func (r *Resumer) Run(ctx context.Context) error {
	ticker := time.NewTicker(resumeEvery)
	defer ticker.Stop()
	for {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.options.Logger.WarnContext(ctx, "deliveries that are held could not be looked through; trying again soon", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look releases what nothing holds. A pause that comes meanwhile does no harm: the
// engine holds again what it is not to attempt.
func (r *Resumer) look(ctx context.Context) error {
	paused := map[hook.ProjectID][]hook.ConnectionID{}
	resumed := map[hook.DestinationID]hook.ProjectID{}
	for route := range r.options.Routes() {
		project := route.Connection.Project
		if route.Connection.Paused {
			paused[project] = append(paused[project], route.Connection.ID)
		}
		if !route.Destination.Paused {
			resumed[route.Destination.ID] = project
		}
	}
	backlogs := map[hook.ProjectID]map[hook.DestinationID]map[hook.State]int64{}
	for to, project := range resumed {
		backlog, ok := backlogs[project]
		if !ok {
			var err error
			if backlog, err = r.options.Store.Backlog(ctx, project); err != nil {
				return err
			}
			backlogs[project] = backlog
		}
		if backlog[to][hook.StateHeld] == 0 {
			continue
		}
		r.options.Resume(to)
		// Not only over the connections that lead there: a replay may lead others there, and
		// a connection that leads elsewhere now may have led there.
		scope := store.Scope{Project: project, Destination: to, Except: paused[project], Cause: hook.CausePaused}
		count, err := r.options.Store.Release(ctx, scope, time.Now())
		if err != nil {
			return err
		}
		if count > 0 {
			r.options.Wake(to)
			r.options.Logger.InfoContext(ctx, "deliveries were held that nothing holds any more; they are due now",
				"destination", to.String(), "count", count)
		}
	}
	return nil
}
