package app

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/notice"
	"malote.dev/malote/internal/route"
)

// buildNotices makes what tells of the system itself, before anything has to tell.
func (s *server) buildNotices() {
	s.announcer = notice.New(notice.Options{
		Publish: func(ctx context.Context, project hook.ProjectID, event *hook.Event, except hook.DestinationID) error {
			return s.ingest.Announce(ctx, project, event, except)
		},
		Name: func(id hook.DestinationID) string {
			destination, ok := s.router.Current().Destination(id)
			if !ok {
				return ""
			}
			return destination.Name
		},
		Logger: s.logger, Metrics: s.registry,
	})
	s.watcher = notice.NewWatcher(notice.WatcherOptions{
		Store: s.store, Catalogue: &watched{current: s.router.Current}, Notify: s.announcer.Notify, Logger: s.logger,
	})
}

// replayEnded tells of the end of a replay. One that stopped did so by itself, so that
// the audit has it from here.
func (s *server) replayEnded(told hook.Notice) {
	s.announcer.Notify(told)
	if replay, ok := told.Data.(hook.Replay); ok && told.Type == hook.NoticeReplayStopped {
		ctx, cancel := context.WithTimeout(context.Background(), auditTimeout)
		defer cancel()
		s.audit(ctx, &hook.AuditEntry{Project: told.Project, Action: "replay.stop", Subject: replay.ID.String()}, replay.Reason)
	}
}

// auditTimeout bounds the recording of what the server did by itself.
const auditTimeout = 5 * time.Second

// serverName is who did what the server does by itself.
const serverName = "malote"

// audit records what the server did by itself, and why.
func (s *server) audit(ctx context.Context, entry *hook.AuditEntry, reason string) {
	detail, err := json.Marshal(map[string]string{"reason": reason})
	if err == nil {
		entry.Actor, entry.Detail = serverName, detail
		err = s.store.Record(ctx, entry)
	}
	if err != nil {
		s.logger.ErrorContext(ctx, "what the server did could not be recorded in the audit",
			"action", entry.Action, "subject", entry.Subject, "error", err)
	}
}

// quietPatience is how long deliveries may wait because of quiet hours.
const quietPatience = 24 * time.Hour

// watched shows the router's snapshots to the watcher. It is for one caller at a time.
type watched struct {
	current  func() *route.Snapshot
	snapshot *route.Snapshot // that patience is of
	patience map[hook.DestinationID]time.Duration
}

// Projects implements notice.Catalogue.
func (w *watched) Projects() []hook.ProjectID { return slices.Sorted(w.current().Projects()) }

// Source implements notice.Catalogue.
func (w *watched) Source(id hook.SourceID) (string, bool) {
	source, ok := w.current().SourceByID(id)
	if !ok {
		return "", false
	}
	return source.Name, true
}

// Destination implements notice.Catalogue.
func (w *watched) Destination(id hook.DestinationID) (*hook.Destination, time.Duration, bool) {
	snapshot := w.current()
	if w.snapshot != snapshot {
		w.snapshot, w.patience = snapshot, patienceOf(snapshot.Connections())
	}
	destination, ok := snapshot.Destination(id)
	if !ok {
		return nil, 0, false
	}
	patience := w.patience[id]
	if destination.Quiet != nil {
		patience += quietPatience
	}
	return destination, patience, true
}

// patienceOf returns how long deliveries to each destination may wait as they should.
func patienceOf(connections iter.Seq[*route.Connection]) map[hook.DestinationID]time.Duration {
	patience := map[hook.DestinationID]time.Duration{}
	for connection := range connections {
		wait := time.Duration(connection.Delay)
		if connection.Quiet != nil {
			wait += quietPatience
		}
		if wait > 0 {
			patience[connection.Destination] = max(patience[connection.Destination], wait)
		}
	}
	return patience
}
