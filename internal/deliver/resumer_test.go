package deliver_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// What was matched while something was paused, and stored after that was resumed, does
// not stay held; what is held by a pause that lasts does.
func TestResumerReleasesWhatNothingHolds(t *testing.T) {
	bubbleDurable(t, nil, func(d *durable) {
		paused := hook.Connection{Project: d.project, Name: "paused", Source: d.source, Destination: d.to}
		paused.Paused = true
		d.must(d.store.Connections().Create(d.t.Context(), &paused))
		d.catalogue.connections[paused.ID] = paused
		now := time.Now()
		ev := hook.Event{
			ID: hook.EventID(d.ids.Next(now)), Project: d.project, Source: d.source, Method: http.MethodPost, Payload: []byte("{}"), ReceivedAt: now,
		}
		for _, connection := range []hook.ConnectionID{d.connection, paused.ID} {
			ev.Targets = append(ev.Targets, hook.Target{
				Delivery: hook.DeliveryID(d.ids.Next(now)), Connection: connection, Destination: d.to, Held: true,
			})
		}
		_, err := d.store.Accept(d.t.Context(), &hook.Acceptance{Event: ev})
		d.must(err)

		holder := &unwell{Releaser: d.store, fail: 1}
		resumer := deliver.NewResumer(deliver.ResumerOptions{Store: holder, Routes: d.catalogue.routes, Wake: d.engine.Wake, Resume: d.engine.Resume, Logger: quiet()})
		ctx, stop := context.WithCancel(d.t.Context())
		ended := make(chan error)
		go func() { ended <- resumer.Run(ctx) }()
		synctest.Wait()
		if states := d.states(); states[hook.StateHeld] != 2 {
			d.t.Errorf("states %v while the store fails, want both held", states)
		}
		pass(time.Minute)
		for i, want := range []hook.State{hook.StateSucceeded, hook.StateHeld} {
			if delivery, _ := d.delivery(ev.Targets[i].Delivery); delivery.State != want {
				d.t.Errorf("delivery %d is %v, want %v", i, delivery.State, want)
			}
		}
		stop()
		d.must(<-ended)
	})
}

// What a replay led to a destination is released with it, although no connection of its
// own leads there.
func TestResumerReleasesWhatWasLedElsewhere(t *testing.T) {
	bubbleDurable(t, nil, func(d *durable) {
		elsewhere := hook.Connection{Project: d.project, Name: "elsewhere", Source: d.source, Destination: d.to}
		d.must(d.store.Connections().Create(d.t.Context(), &elsewhere)) // The catalogue does not lead it anywhere.
		now := time.Now()
		ev := hook.Event{
			ID: hook.EventID(d.ids.Next(now)), Project: d.project, Source: d.source, Method: http.MethodPost, Payload: []byte("{}"), ReceivedAt: now,
			Targets: []hook.Target{{
				Delivery: hook.DeliveryID(d.ids.Next(now)), Connection: elsewhere.ID, Destination: d.to, Held: true,
			}},
		}
		_, err := d.store.Accept(d.t.Context(), &hook.Acceptance{Event: ev})
		d.must(err)

		resumer := deliver.NewResumer(deliver.ResumerOptions{
			Store: d.store, Routes: d.catalogue.routes, Wake: d.engine.Wake, Resume: d.engine.Resume, Logger: quiet(),
		})
		ctx, stop := context.WithCancel(d.t.Context())
		ended := make(chan error)
		go func() { ended <- resumer.Run(ctx) }()
		synctest.Wait()
		if delivery, _ := d.delivery(ev.Targets[0].Delivery); delivery.State == hook.StateHeld {
			d.t.Errorf("it is still held: %s", delivery.Reason)
		}
		stop()
		d.must(<-ended)
	})
}

// unwell is a store that fails a few times.
type unwell struct {
	deliver.Releaser

	fail int
}

func (u *unwell) Backlog(ctx context.Context, project hook.ProjectID) (map[hook.DestinationID]map[hook.State]int64, error) {
	u.fail--
	if u.fail >= 0 {
		return nil, errDisk
	}
	return u.Releaser.Backlog(ctx, project)
}

func (u *unwell) Release(ctx context.Context, where store.Scope, now time.Time) (int, error) {
	if where.Destination == 0 || where.Connection != 0 || where.Cause != hook.CausePaused {
		return 0, errors.New("not what a pause holds of one destination is released")
	}
	return u.Releaser.Release(ctx, where, now)
}
