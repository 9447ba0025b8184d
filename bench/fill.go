package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store/sqlite"
)

// fillers is how many goroutines fill a store: enough for large group commits.
const fillers = 256

// filling says what a store is filled with.
type filling struct {
	events  int
	run     int64 // that their ids name
	waiting bool  // their deliveries wait in the store; else they are done
}

// filler writes events and their deliveries into a store through its contract.
type filler struct {
	filling

	store      *sqlite.Store
	ids        *hook.IDs
	connection hook.Connection
	body       []byte
	next       atomic.Int64
	settled    sync.WaitGroup
	failure    atomic.Pointer[error]
	middle     atomic.Int64 // id of the event half way
}

// fill stores events as the program would have, each with its delivery. It returns the
// event half way.
func fill(ctx context.Context, dir string, filling filling) (hook.EventID, error) {
	keyring, err := seal.Open(filepath.Join(dir, seal.FileName))
	if err != nil {
		return 0, err
	}
	ids := hook.NewIDs(0)
	db, err := sqlite.Open(ctx, sqlite.Options{Dir: dir, Keyring: keyring, IDs: ids, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	// As the program does when it starts: only then does the store note how far it is sure
	// of everything, and a later start need not look through all that is filled in here.
	_, err = db.Reclaim(ctx, time.Now())
	if err != nil {
		return 0, errors.Join(err, db.Close())
	}
	catalogue, err := db.Catalogue(ctx)
	if err == nil && len(catalogue.Connections) != 1 {
		err = fmt.Errorf("the flow made %d connections, not 1", len(catalogue.Connections))
	}
	if err != nil {
		return 0, errors.Join(err, db.Close())
	}
	f := &filler{filling: filling, store: db, ids: ids, connection: catalogue.Connections[0], body: newBody()}
	began := time.Now()
	var group sync.WaitGroup
	for range fillers {
		group.Go(func() { f.work(ctx) })
	}
	group.Wait()
	f.settled.Wait()
	if failure := f.failure.Load(); failure != nil {
		err = *failure
	}
	fmt.Printf("stored %d events in %s\n", filling.events, time.Since(began).Round(time.Second))
	return hook.EventID(f.middle.Load()), errors.Join(err, ctx.Err(), db.Close())
}

// work stores events until there are enough.
func (f *filler) work(ctx context.Context) {
	events := int64(f.events)
	for ctx.Err() == nil && f.failure.Load() == nil {
		number := f.next.Add(1) - 1
		if number >= events {
			return
		}
		if number > 0 && number%1_000_000 == 0 {
			fmt.Printf("stored %d of %d events\n", number, events)
		}
		id, err := f.add(ctx, number)
		if number == events/2 {
			f.middle.Store(int64(id))
		}
		if err != nil {
			f.failure.Store(&err)
		}
	}
}

// add stores one event, and the success of its delivery unless that is to wait.
func (f *filler) add(ctx context.Context, number int64) (hook.EventID, error) {
	now := time.Now().UTC()
	body := slices.Clone(f.body)
	setID(body, f.run, number)
	target := hook.Target{
		Delivery: hook.DeliveryID(f.ids.Next(now)), Connection: f.connection.ID, Destination: f.connection.Destination,
		Deferred: f.waiting,
	}
	event := hook.Event{
		ID: hook.EventID(f.ids.Next(now)), Project: f.connection.Project, Source: f.connection.Source, Type: defaultType,
		ProviderID: fmt.Sprint(number), Method: http.MethodPost, Remote: "127.0.0.1",
		Headers: hook.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Github-Event", Value: defaultType}},
		Payload: body, PayloadSize: len(body), Verdict: hook.Verdict{Scheme: "hmac", Verified: true, Secret: 1},
		ReceivedAt: now, Targets: []hook.Target{target},
	}
	// A hash like those of real ids: what is remembered grows with the store.
	acceptance := &hook.Acceptance{Event: event, Window: 24 * time.Hour}
	sum := sha256.Sum256([]byte(event.ProviderID))
	copy(acceptance.Dedupe[:], sum[:])
	if _, err := f.store.Accept(ctx, acceptance); err != nil {
		return 0, err
	}
	if !f.waiting {
		f.settle(&event)
	}
	return event.ID, nil
}

// settle hands over the success of an event's only delivery.
func (f *filler) settle(event *hook.Event) {
	now, target := event.ReceivedAt, event.Targets[0]
	job := &hook.Job{Event: event, Inline: true, Delivery: hook.Delivery{
		ID: target.Delivery, Project: event.Project, Event: event.ID, Connection: target.Connection,
		Destination: target.Destination, State: hook.StateSending, CreatedAt: now, UpdatedAt: now,
	}}
	attempt := &hook.Attempt{
		ID: hook.AttemptID(f.ids.Next(now)), Delivery: target.Delivery, Number: 1, StartedAt: now,
		Duration: hook.Duration(time.Millisecond), Outcome: hook.OutcomeSuccess, Method: http.MethodPost,
		URL: "http://127.0.0.1/", ResponseStatus: http.StatusOK,
	}
	f.settled.Add(1)
	f.store.Settle(hook.Settlement{Job: job, Attempt: attempt, State: hook.StateSucceeded}, func(err error) {
		if err != nil {
			f.failure.Store(&err)
		}
		f.settled.Done()
	})
}
