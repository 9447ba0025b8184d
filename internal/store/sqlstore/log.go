package sqlstore

import (
	"context"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlstore/prepared"
)

// Log answers what is asked of the log: it is those capabilities of a store, or parts
// of them, that change nothing.
type Log struct {
	reader *prepared.Reader
	memory Memory
	nouns  *Catalogue
}

// Memory is what a backend has in memory of the log.
type Memory interface {
	// Inline returns a delivery that Accept left to its caller and that is not settled.
	Inline(id hook.DeliveryID) (hook.Delivery, bool)
	// EachInline calls do with those of a project; row says whether it has one by now.
	EachInline(project hook.ProjectID, do func(d *hook.Delivery, row bool))
}

// NewLog returns the log that reader reads and memory completes. What of it is sealed
// opens with the keyring of nouns.
func NewLog(reader *prepared.Reader, memory Memory, nouns *Catalogue) *Log {
	return &Log{reader, memory, nouns}
}

// inline returns the inline deliveries of a project.
func (l *Log) inline(project hook.ProjectID) []hook.Delivery {
	var list []hook.Delivery
	l.memory.EachInline(project, func(d *hook.Delivery, _ bool) { list = append(list, *d) })
	return list
}

// Events implements store.Log.
func (l *Log) Events(ctx context.Context, query store.EventQuery) (page.Page[hook.Event], error) {
	return snapshotOf(ctx, l, func(q Queryer) (page.Page[hook.Event], error) { return Events(ctx, q, query) })
}

// Event implements store.Log.
func (l *Log) Event(ctx context.Context, project hook.ProjectID, id hook.EventID) (hook.Event, error) {
	return Event(ctx, l.reader, project, id)
}

// Deliveries implements store.Log.
func (l *Log) Deliveries(ctx context.Context, query store.DeliveryQuery) (page.Page[hook.Delivery], error) {
	// Memory is read first: what is settled between the two has its row by then.
	memory := l.inline(query.Project)
	return snapshotOf(ctx, l, func(q Queryer) (page.Page[hook.Delivery], error) { return Deliveries(ctx, q, query, memory) })
}

// Delivery implements store.Log.
func (l *Log) Delivery(ctx context.Context, project hook.ProjectID, id hook.DeliveryID) (hook.Delivery, error) {
	open, inMemory := l.memory.Inline(id)
	d, ok, err := Delivery(ctx, l.reader, project, id)
	switch {
	case err != nil || ok:
		return d, err
	case inMemory && open.Project == project:
		return open, nil
	default:
		return hook.Delivery{}, hook.NotFound("delivery", id.String())
	}
}

// Attempts implements store.Log.
func (l *Log) Attempts(ctx context.Context, project hook.ProjectID, delivery hook.DeliveryID) ([]hook.Attempt, error) {
	if _, err := l.Delivery(ctx, project, delivery); err != nil {
		return nil, err
	}
	return snapshotOf(ctx, l, func(q Queryer) ([]hook.Attempt, error) { return Attempts(ctx, q, delivery) })
}

// ListRefusals implements store.Refusals.
func (l *Log) ListRefusals(ctx context.Context, query store.RefusalQuery) (page.Page[hook.Refusal], error) {
	return snapshotOf(ctx, l, func(q Queryer) (page.Page[hook.Refusal], error) { return Refusals(ctx, q, query) })
}

// Refusal implements store.Refusals.
func (l *Log) Refusal(ctx context.Context, project hook.ProjectID, id hook.RefusalID) (hook.Refusal, error) {
	return Refusal(ctx, l.reader, project, id)
}

// Series implements store.Numbers.
func (l *Log) Series(ctx context.Context, query store.NumbersQuery) ([]hook.Numbers, error) {
	return snapshotOf(ctx, l, func(q Queryer) ([]hook.Numbers, error) { return Series(ctx, q, query) })
}

// Totals implements store.Numbers.
func (l *Log) Totals(ctx context.Context, query store.NumbersQuery) (map[int64]hook.Numbers, error) {
	return snapshotOf(ctx, l, func(q Queryer) (map[int64]hook.Numbers, error) { return Totals(ctx, q, query) })
}

// Backlog implements store.Numbers.
func (l *Log) Backlog(ctx context.Context, project hook.ProjectID) (map[hook.DestinationID]map[hook.State]int64, error) {
	backlog, err := Backlog(ctx, l.reader, project)
	if err != nil {
		return nil, err
	}
	l.memory.EachInline(project, func(d *hook.Delivery, row bool) {
		if row {
			return
		}
		if backlog[d.Destination] == nil {
			backlog[d.Destination] = map[hook.State]int64{}
		}
		backlog[d.Destination][hook.StateSending]++
	})
	return backlog, nil
}

// snapshotOf returns what read finds, all of it at one moment.
func snapshotOf[T any](ctx context.Context, l *Log, read func(q Queryer) (T, error)) (T, error) {
	var found T
	err := l.reader.Snapshot(ctx, func(q Queryer) error {
		var err error
		found, err = read(q)
		return err
	})
	return found, err
}

// Oldest implements store.Health.
func (l *Log) Oldest(ctx context.Context, project hook.ProjectID, destination hook.DestinationID) (time.Time, error) {
	// Memory is read first: what is settled between the two has its row by then.
	var oldest time.Time
	l.memory.EachInline(project, func(d *hook.Delivery, _ bool) {
		if d.Destination == destination && (oldest.IsZero() || d.CreatedAt.Before(oldest)) {
			oldest = d.CreatedAt
		}
	})
	stored, err := snapshotOf(ctx, l, func(q Queryer) (time.Time, error) { return Oldest(ctx, q, project, destination) })
	if oldest.IsZero() || !stored.IsZero() && stored.Before(oldest) {
		oldest = stored
	}
	return oldest, err
}

// Failures implements store.Health.
func (l *Log) Failures(ctx context.Context, project hook.ProjectID, destination hook.DestinationID, since time.Time) ([]hook.Failure, error) {
	return snapshotOf(ctx, l, func(q Queryer) ([]hook.Failure, error) { return Failures(ctx, q, project, destination, since) })
}

// Circuits implements store.Circuits.
func (l *Log) Circuits(ctx context.Context) ([]hook.Circuit, error) { return Circuits(ctx, l.reader) }

// ListAudit implements store.Audit.
func (l *Log) ListAudit(ctx context.Context, query store.AuditQuery) (page.Page[hook.AuditEntry], error) {
	return snapshotOf(ctx, l, func(q Queryer) (page.Page[hook.AuditEntry], error) { return Audit(ctx, q, query) })
}

// Replay implements store.Replays.
func (l *Log) Replay(ctx context.Context, project hook.ProjectID, id hook.ReplayID) (hook.Replay, error) {
	return l.nouns.Replay(ctx, l.reader, project, id)
}

// ListReplays implements store.Replays.
func (l *Log) ListReplays(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[hook.Replay], error) {
	return snapshotOf(ctx, l, func(q Queryer) (page.Page[hook.Replay], error) { return l.nouns.ListReplays(ctx, q, project, req) })
}

// RunningReplays implements store.Replays.
func (l *Log) RunningReplays(ctx context.Context) ([]hook.Replay, error) {
	return l.nouns.RunningReplays(ctx, l.reader)
}
