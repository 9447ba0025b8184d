package deliver_test

import (
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// durable is a bench over a real store in a folder, in virtual time.
type durable struct {
	*bench

	dir        string
	store      *sqlite.Store
	project    hook.ProjectID
	source     hook.SourceID
	connection hook.ConnectionID
	to         hook.DestinationID
}

// bubbleDurable runs a test with an engine over a real store.
func bubbleDurable(t *testing.T, change func(*hook.Destination, *hook.Connection), test func(d *durable)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &durable{bench: newBench(t, nil), dir: dir}
		d.open()
		project, err := d.store.Projects().Get(t.Context(), 0, "default")
		d.must(err)
		d.project = project.ID
		source := hook.Source{Project: d.project, Name: "shop"}
		d.must(d.store.Sources().Create(t.Context(), &source))
		d.source = source.ID
		dst := hook.Destination{Project: d.project, Name: "erp", DestinationSpec: hook.DestinationSpec{
			HTTP: &hook.HTTPTarget{URL: "https://erp.example.com/", Sign: &hook.Sign{None: true}},
		}}
		connection := hook.Connection{Project: d.project, Name: "orders", Source: d.source}
		if change != nil {
			change(&dst, &connection)
		}
		d.must(d.store.Destinations().Create(t.Context(), &dst))
		connection.Destination = dst.ID
		d.must(d.store.Connections().Create(t.Context(), &connection))
		d.to, d.connection = dst.ID, connection.ID
		d.catalogue.destinations[dst.ID] = &dst
		d.catalogue.connections[connection.ID] = connection
		d.start()
		defer func() {
			d.stop()
			if err := d.store.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(d)
	})
}

func (d *durable) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *durable) open() {
	d.store = sqlitetest.OpenWith(d.t, sqlite.Options{Dir: d.dir, IDs: d.ids, Logger: quiet()})
	d.options.Queue, d.options.Holder = d.store, d.store
}

// take does what ingest does with one event.
func (d *durable) take(body string) hook.DeliveryID {
	d.t.Helper()
	return d.takeOver(d.connection, "", body)
}

// takeOver does it with an event that goes over a connection, with an order key.
func (d *durable) takeOver(over hook.ConnectionID, key, body string) hook.DeliveryID {
	d.t.Helper()
	now := time.Now()
	connection := d.catalogue.connections[over]
	to := connection.Destination
	ev := hook.Event{
		ID: hook.EventID(d.ids.Next(now)), Project: d.project, Source: d.source, Type: "order.created", Method: http.MethodPost,
		Payload: []byte(body), PayloadSize: len(body), ReceivedAt: now,
		Targets: []hook.Target{{Delivery: hook.DeliveryID(d.ids.Next(now)), Connection: over, Destination: to, OrderKey: key}},
	}
	target := &ev.Targets[0]
	route, _ := d.catalogue.Route(over, to)
	admission := hook.Admission{}
	if target.Due = route.Timing.DueAt(now, now); target.Due.IsZero() {
		admission = d.engine.Reserve(to)
	}
	target.Cause, target.Reason = admission.Cause, admission.Reason
	target.Held = target.Cause != hook.CauseNone
	target.Deferred = !admission.Inline && !target.Held
	_, err := d.store.Accept(d.t.Context(), &hook.Acceptance{Event: ev})
	d.must(err)
	switch {
	case !target.Due.IsZero():
		d.engine.Expect(to, target.Due)
	case admission.Inline && target.Deferred: // it waits for its key
		d.engine.Release(to)
	case admission.Inline:
		d.engine.Dispatch(&hook.Job{Event: &ev, Inline: true, Delivery: hook.Delivery{
			ID: target.Delivery, Project: d.project, Event: ev.ID, Connection: over, Destination: to, OrderKey: key,
			State: hook.StateSending, CreatedAt: now,
		}})
	}
	return target.Delivery
}

func (d *durable) delivery(id hook.DeliveryID) (hook.Delivery, []hook.Attempt) {
	d.t.Helper()
	delivery, err := d.store.Delivery(d.t.Context(), d.project, id)
	d.must(err)
	attempts, err := d.store.Attempts(d.t.Context(), d.project, id)
	d.must(err)
	return delivery, attempts
}

// states counts all deliveries by state.
func (d *durable) states() map[hook.State]int {
	d.t.Helper()
	count := map[hook.State]int{}
	req := page.Request{Limit: page.MaxLimit}
	for {
		got, err := d.store.Deliveries(d.t.Context(), store.DeliveryQuery{Project: d.project, Page: req})
		d.must(err)
		for i := range got.Items {
			count[got.Items[i].State]++
		}
		if got.Done || len(got.Items) == 0 {
			return count
		}
		req.From = got.Last
	}
}

func TestDurableRetriesUntilExhausted(t *testing.T) {
	bubbleDurable(t, nil, func(d *durable) {
		d.receiver.answer(respond(500, 0))
		id := d.take(`{"id":1}`)
		pass(100 * time.Hour)
		delivery, attempts := d.delivery(id)
		if delivery.State != hook.StateFailed || delivery.Attempts != 10 || len(attempts) != 10 {
			d.t.Fatalf("state %v after %d attempts, %d are kept", delivery.State, delivery.Attempts, len(attempts))
		}
		if attempts[0].ID == 0 || attempts[0].ID >= attempts[1].ID {
			d.t.Errorf("the ids of attempts are %v and %v", attempts[0].ID, attempts[1].ID)
		}
		for i, wait := range hook.DefaultSchedule() {
			gap := attempts[i+1].StartedAt.Sub(attempts[i].StartedAt)
			if gap < time.Duration(float64(wait)*0.9)-time.Millisecond || gap > time.Duration(float64(wait)*1.1)+50*time.Millisecond {
				d.t.Errorf("attempt %d came %v after the one before, want %v", i+2, gap, wait)
			}
		}
		// A person sends it again, from the dead-letter.
		d.receiver.answer(nil)
		n, err := d.store.Retry(d.t.Context(), d.project, []hook.DeliveryID{id}, time.Now())
		d.must(err)
		d.engine.Wake(d.to)
		pass(time.Second)
		delivery, attempts = d.delivery(id)
		if n != 1 || delivery.State != hook.StateSucceeded || len(attempts) != 11 || !attempts[10].Manual {
			d.t.Errorf("after a retry by hand: %d changed, state %v, %d attempts", n, delivery.State, len(attempts))
		}
	})
}

func TestDurableOverflowKeepsOrder(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, _ *hook.Connection) { dst.Concurrency = 1 }, func(d *durable) {
		d.receiver.answer(respond(200, 200*time.Millisecond))
		const total = 150
		for i := range total {
			d.take(strconv.Itoa(i))
		}
		pass(5 * time.Minute)
		if states := d.states(); states[hook.StateSucceeded] != total {
			d.t.Fatalf("states %v, want %d succeeded", states, total)
		}
		var order []string
		for _, r := range d.receiver.got() {
			order = append(order, r.body)
		}
		want := make([]string, total)
		for i := range want {
			want[i] = strconv.Itoa(i)
		}
		if !slices.Equal(order, want) {
			d.t.Errorf("order %v", order)
		}
	})
}

// Deliveries that a process had in hand when it ended without a word are made again.
func TestDurableTakesUpAfterACrash(t *testing.T) {
	bubbleDurable(t, nil, func(d *durable) {
		d.receiver.answer(respond(503, 0))
		retried := d.take("retried")
		pass(time.Second)
		d.receiver.answer(nil)
		d.stop() // nothing takes what is accepted from here on
		lost := d.lose("lost")
		d.must(d.store.Close())

		d.open()
		d.start()
		pass(time.Minute)
		for _, id := range []hook.DeliveryID{retried, lost} {
			if delivery, _ := d.delivery(id); delivery.State != hook.StateSucceeded {
				d.t.Errorf("delivery %v is %v", id, delivery.State)
			}
		}
	})
}

// lose accepts an event whose inline delivery nobody attempts.
func (d *durable) lose(body string) hook.DeliveryID {
	d.t.Helper()
	now := time.Now()
	ev := hook.Event{
		ID: hook.EventID(d.ids.Next(now)), Project: d.project, Source: d.source, Type: "x", Payload: []byte(body), ReceivedAt: now,
		Targets: []hook.Target{{Delivery: hook.DeliveryID(d.ids.Next(now)), Connection: d.connection, Destination: d.to}},
	}
	_, err := d.store.Accept(d.t.Context(), &hook.Acceptance{Event: ev})
	d.must(err)
	return ev.Targets[0].Delivery
}

func TestDurableStop(t *testing.T) {
	bubbleDurable(t, func(dst *hook.Destination, _ *hook.Connection) { dst.Concurrency = 1 }, func(d *durable) {
		d.receiver.answer(respond(200, 14*time.Second))
		var ids []hook.DeliveryID
		for i := range 5 {
			ids = append(ids, d.take(strconv.Itoa(i)))
		}
		pass(time.Second)
		d.stop()
		d.must(d.store.Close())
		d.receiver.answer(nil)
		d.open()
		for _, id := range ids {
			if delivery, attempts := d.delivery(id); delivery.State != hook.StatePending || len(attempts) != 0 || delivery.Attempts != 0 {
				d.t.Errorf("after the stop delivery %v is %v with %d attempts", id, delivery.State, delivery.Attempts)
			}
		}
		d.start()
		pass(time.Minute)
		if states := d.states(); states[hook.StateSucceeded] != 5 {
			d.t.Errorf("states %v, want 5 succeeded", states)
		}
	})
}

func TestDurablePauseAndCancel(t *testing.T) {
	bubbleDurable(t, nil, func(d *durable) {
		d.receiver.answer(respond(500, 0))
		var ids []hook.DeliveryID
		for i := range 4 {
			ids = append(ids, d.take(strconv.Itoa(i)))
		}
		pass(time.Second)
		d.catalogue.change(d.to, func(dst *hook.Destination) { dst.Paused = true })
		held, err := d.store.Hold(d.t.Context(), store.Scope{Project: d.project, Destination: d.to}, "the destination is paused")
		d.must(err)
		late := d.take("late")
		pass(time.Hour)
		canceled, err := d.store.Cancel(d.t.Context(), d.project, ids[:1], "no longer wanted")
		d.must(err)
		if states := d.states(); held != 4 || canceled != 1 || states[hook.StateHeld] != 4 || states[hook.StateCanceled] != 1 {
			d.t.Fatalf("%d held, %d canceled, states %v", held, canceled, states)
		}
		if delivery, attempts := d.delivery(late); delivery.State != hook.StateHeld || len(attempts) != 0 {
			d.t.Errorf("what came during the pause is %v with %d attempts", delivery.State, len(attempts))
		}
		d.receiver.answer(nil)
		d.catalogue.change(d.to, func(dst *hook.Destination) { dst.Paused = false })
		released, err := d.store.Release(d.t.Context(), store.Scope{Project: d.project, Destination: d.to}, time.Now())
		d.must(err)
		d.engine.Wake(d.to)
		pass(time.Second)
		if states := d.states(); released != 4 || states[hook.StateSucceeded] != 4 {
			d.t.Errorf("%d released, states %v, want 4 succeeded", released, states)
		}
	})
}
