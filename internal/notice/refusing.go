package notice

import (
	"context"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// Refusing is the Data of hook.NoticeSourceRefusing.
type Refusing struct {
	Source   Source         `json:"source"`
	Minute   time.Time      `json:"minute"`            // the one that is told of
	Refused  int64          `json:"refused"`           // requests; of a flood only so many are counted
	Accepted int64          `json:"accepted"`          // duplicates included
	Reason   string         `json:"reason,omitempty"`  // the most frequent one
	Example  hook.RefusalID `json:"example,omitempty"` // a request that was refused for it
}

// Source names the source that an event is about.
type Source struct {
	ID   hook.SourceID `json:"id"`
	Name string        `json:"name"`
}

// lookAtSources gives notice of the sources of a project that refused most of what came
// in the last minute that is over.
func (w *Watcher) lookAtSources(ctx context.Context, project hook.ProjectID, now time.Time) error {
	end := now.UTC().Truncate(time.Minute)
	totals, err := w.options.Store.Totals(ctx, store.NumbersQuery{
		Project: project, Scope: store.BySource, From: end.Add(-time.Minute), To: end,
	})
	if err != nil {
		return err
	}
	for number, total := range totals {
		id := hook.SourceID(number)
		taken := total.Accepted + total.Duplicates
		if total.Refused < RefusedAtLeast || total.Refused <= taken {
			continue
		}
		name, ok := w.options.Catalogue.Source(id)
		if told, seen := w.refusing[id]; !ok || seen && now.Sub(told) < RefusedAgain {
			continue
		}
		data := Refusing{
			Source: Source{ID: id, Name: name}, Minute: end.Add(-time.Minute), Refused: total.Refused, Accepted: taken,
		}
		if err := w.explain(ctx, project, &data); err != nil {
			return err
		}
		w.refusing[id] = now
		w.options.Notify(hook.Notice{
			Project: project, Type: hook.NoticeSourceRefusing, Key: id.String(), At: data.Minute.Add(time.Minute), Data: data,
		})
	}
	return nil
}

// explain finds the most frequent reason among the newest requests that were refused.
func (w *Watcher) explain(ctx context.Context, project hook.ProjectID, data *Refusing) error {
	found, err := w.options.Store.ListRefusals(ctx, store.RefusalQuery{
		Project: project, Source: data.Source.ID, Page: page.Request{Limit: page.MaxLimit},
	})
	if err != nil {
		return err
	}
	count := map[string]int{}
	for i := range found.Items {
		refusal := &found.Items[i]
		if refusal.ReceivedAt.Before(data.Minute) {
			continue
		}
		count[refusal.Reason]++
		if data.Reason == "" || count[refusal.Reason] > count[data.Reason] {
			data.Reason = refusal.Reason
		}
		if refusal.Reason == data.Reason {
			data.Example = refusal.ID
		}
	}
	return nil
}
