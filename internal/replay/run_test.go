package replay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/replay"
	"malote.dev/malote/internal/store"
)

// orders stores n events whose delivery to the ERP came to a state.
func orders(w *world, n int, state hook.State) []hook.Event {
	events := make([]hook.Event, n)
	for i := range events {
		events[i] = w.event("order.new", fmt.Sprintf(`{"n": %d, "total": 1.10}`, i), way{&w.orders, state})
	}
	return events
}

func TestAReplayDeliversAtItsRateFromTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		events := orders(w, 300, hook.StateFailed)
		defer w.run()()
		stop := w.send(succeeds)
		started := w.start(hook.ReplaySpec{Select: hook.ReplaySelection{State: hook.StateFailed, Destination: w.erp.ID}, To: w.archive.ID})
		later := w.event("order.new", `{}`, way{&w.orders, hook.StateFailed}) // it came after the start
		ended := w.ended(started.ID)
		synctest.Wait() // it is told of after it is stored
		attempts := stop()

		want := hook.ReplayProgress{Looked: 300, Selected: 300, Made: 300, Succeeded: 300, Attempts: 300}
		if ended.State != hook.ReplayCompleted || ended.Progress != want || ended.CreatedBy != "ana" || ended.EndedAt == nil {
			t.Errorf("it ended as %+v", ended)
		}
		for i := range attempts {
			job := attempts[i].job
			if d := &job.Delivery; d.Event != events[i].ID || d.Destination != w.archive.ID || d.Connection != w.orders.ID || d.Replay != started.ID ||
				!bytes.Equal(job.Event.Payload, events[i].Payload) {
				t.Fatalf("attempt %d is of %+v", i, job.Delivery)
			}
			if job.Delivery.Event == later.ID {
				t.Error("an event was replayed that came after the start")
			}
			if i >= 60 && attempts[i].at.Sub(attempts[i-60].at) < time.Second {
				t.Fatalf("60 attempts in %s, at 50/s", attempts[i].at.Sub(attempts[i-60].at))
			}
		}
		if took := attempts[299].at.Sub(started.CreatedAt); took < 5800*time.Millisecond || took > 6500*time.Millisecond {
			t.Errorf("300 at 50/s took %s", took)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.notices) != 1 || w.notices[0].Type != hook.NoticeReplayCompleted || w.notices[0].Key != started.ID.String() || w.notices[0].Project != w.project {
			t.Errorf("notices %+v", w.notices)
		}
		if w.woken[w.archive.ID] == 0 || w.woken[w.erp.ID] != 0 {
			t.Errorf("woken: %v", w.woken)
		}
	})
}

func TestARestartRepeatsNothingAndLeavesNothingOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		orders(w, 40, hook.StateSucceeded)
		stop := w.send(succeeds)
		end := w.run()
		started := w.start(hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}, Rate: hook.Rate{Count: 10, Per: time.Second}})
		for range 6 {
			pass(550 * time.Millisecond)
			end()
			w.build()
			end = w.run()
		}
		ended := w.ended(started.ID)
		end()
		seen := map[hook.EventID]int{}
		for _, a := range stop() {
			seen[a.job.Delivery.Event]++
		}
		for event, n := range seen {
			if n != 1 {
				t.Errorf("%s was delivered %d times", event, n)
			}
		}
		if len(seen) != 40 || ended.Progress.Made != 40 || ended.Progress.Looked != 40 {
			t.Errorf("%d events, %+v", len(seen), ended.Progress)
		}
	})
}

func TestAnEditMakesNewEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		events := orders(w, 3, hook.StateFailed)
		w.event("order.new", "no json", way{&w.orders, hook.StateFailed})
		defer w.run()()
		stop := w.send(succeeds)
		started := w.start(hook.ReplaySpec{
			Select: hook.ReplaySelection{Type: "order.*", Filter: `!event.type.startsWith("x")`}, Rules: hook.ReplayNow,
			Edit: json.RawMessage(`{"total": null, "note": {"by": "ana"}}`),
		})
		ended := w.ended(started.ID)
		attempts := stop()
		// Each is one event, with a delivery over either connection.
		if want := (hook.ReplayProgress{Looked: 4, Selected: 4, Skipped: 1, Made: 6, Succeeded: 6, Attempts: 6}); ended.Progress != want {
			t.Errorf("%+v", ended.Progress)
		}
		made := map[hook.EventID]int{}
		for _, a := range attempts {
			e := a.job.Event
			n := len(made) // how many were made before
			made[e.ID]++
			if made[e.ID] == 2 {
				continue
			}
			if want := fmt.Sprintf(`{"n":%d,"note":{"by":"ana"}}`, n); string(e.Payload) != want || e.PayloadSize != len(want) {
				t.Errorf("payload %s, want %s", e.Payload, want)
			}
			stored, err := w.store.Event(t.Context(), w.project, e.ID)
			if err != nil {
				t.Fatal(err)
			}
			if stored.Parent != events[n].ID || stored.Replay != started.ID || stored.Type != "order.new" || stored.Source != w.shop.ID ||
				stored.Verdict != (hook.Verdict{Scheme: replay.SchemeReplay}) || len(stored.Targets) != 2 {
				t.Errorf("%+v", stored)
			}
		}
		if len(made) != 3 {
			t.Errorf("%d new events", len(made))
		}
		// They are no part of what happened, unless their deliveries are asked for.
		if got := counts(w.plan(hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}})); got != "7 looked, 4 selected, 0 skipped, 4 deliveries: erp 4" {
			t.Error(got)
		}
		succeeded := hook.ReplaySpec{Mode: hook.ReplayRetry, Select: hook.ReplaySelection{State: hook.StateSucceeded}}
		if got := counts(w.plan(succeeded)); got != "6 looked, 6 selected, 0 skipped, 6 deliveries: archive 3 erp 3" {
			t.Error(got)
		}
	})
}

func TestTheStopRuleStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		orders(w, 200, hook.StateSucceeded)
		defer w.run()()
		stop := w.send(func(job *hook.Job) hook.State {
			if strings.Contains(string(job.Event.Payload), "5,") {
				return hook.StateSucceeded // one in ten
			}
			return hook.StateFailed
		})
		started := w.start(hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}, Stop: &hook.StopRule{ErrorPercent: 50, After: 30}})
		ended := w.ended(started.ID)
		synctest.Wait() // it is told of after it is stored
		attempts := stop()
		if ended.State != hook.ReplayStopped || !strings.HasSuffix(ended.Reason, "attempts failed, more than 50 %") {
			t.Errorf("%s: %s", ended.State, ended.Reason)
		}
		if len(attempts) < 30 || len(attempts) > 40 || ended.Progress.Open() != 0 || ended.Progress.Made > 45 {
			t.Errorf("%d attempts, %+v", len(attempts), ended.Progress)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.notices) != 1 || w.notices[0].Type != hook.NoticeReplayStopped {
			t.Errorf("notices %+v", w.notices)
		}
	})
}

func TestAReplayWaitsWhileTooMuchIsOpenAndCanBeCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		orders(w, 700, hook.StateSucceeded)
		defer w.run()()
		spec := hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}, Rules: hook.ReplayNow, Rate: hook.Rate{Count: 10_000, Per: time.Second}}
		started := w.start(spec)
		pass(time.Minute)
		if p := w.replay(started.ID).Progress; p.Made != replay.MaxOpen || p.Open() != replay.MaxOpen {
			t.Errorf("%+v", p)
		}
		canceled, err := w.engine.Cancel(t.Context(), w.project, started.ID, "rui")
		if err != nil || canceled.State != hook.ReplayCanceled || canceled.Reason != "canceled by rui" {
			t.Errorf("%+v, %v", canceled, err)
		}
		pass(time.Minute)
		if p := w.replay(started.ID).Progress; p.Made != replay.MaxOpen || p.Canceled != replay.MaxOpen {
			t.Errorf("%+v", p)
		}
		if _, err := w.engine.Cancel(t.Context(), w.project, started.ID, "rui"); hook.KindOf(err) != hook.KindConflict {
			t.Errorf("canceled twice: %v", err)
		}
		if _, err := w.engine.Cancel(t.Context(), w.project+1, started.ID, "rui"); hook.KindOf(err) != hook.KindNotFound {
			t.Errorf("canceled from another project: %v", err)
		}
	})
}

func TestRetryOfWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		events := orders(w, 5, hook.StateFailed)
		orders(w, 2, hook.StateSucceeded)
		defer w.run()()
		stop := w.send(succeeds)
		ended := w.ended(w.start(hook.ReplaySpec{Mode: hook.ReplayRetry, Select: hook.ReplaySelection{Destination: w.erp.ID, Filter: "data.n > 0"}}).ID)
		attempts := stop()
		if want := (hook.ReplayProgress{Looked: 5, Selected: 4, Made: 4, Succeeded: 4, Attempts: 4}); ended.Progress != want || ended.State != hook.ReplayCompleted {
			t.Errorf("%+v", ended)
		}
		for i, a := range attempts {
			if d := &a.job.Delivery; d.ID != events[i+1].Targets[0].Delivery || !a.job.Manual {
				t.Errorf("attempt %d is of %+v", i, d)
			}
		}
		if left := w.deliveries(store.DeliveryQuery{State: hook.StateFailed}); len(left) != 1 || left[0].Event != events[0].ID {
			t.Errorf("left %+v", left)
		}
	})
}

func TestWhatAReplayMakesHasItsOrderAndItsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(w *world) {
			w.orders.Order = &hook.Order{Key: "data.customer"}
			w.archive.Paused, w.archive.PauseReason = true, "they move house"
		})
		defer w.close()
		for range 3 {
			w.event("order.new", `{"customer": "a"}`, way{&w.orders, hook.StateSucceeded})
		}
		defer w.run()()
		started := w.start(hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}, Rules: hook.ReplayNow})
		pass(time.Minute)
		heads, held := 0, 0
		for _, d := range w.deliveries(store.DeliveryQuery{Replay: started.ID}) {
			switch {
			case d.Destination == w.archive.ID:
				held++
				if d.State != hook.StateHeld || d.Cause != hook.CausePaused || d.Reason != "the destination is paused: they move house" || d.OrderKey != "" {
					t.Errorf("%+v", d)
				}
			case d.OrderKey != "a":
				t.Errorf("%+v", d)
			case d.NextAttemptAt != nil:
				heads++
			}
		}
		if heads != 1 || held != 3 {
			t.Errorf("%d heads, %d held", heads, held)
		}
	})
}

// TestAReplayElsewhereDoesNotWait replays what is ordered to another destination while
// the connection's own takes nothing.
func TestAReplayElsewhereDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(w *world) { w.orders.Order = &hook.Order{Key: "data.customer"} })
		defer w.close()
		for range 2 {
			w.event("order.new", `{"customer": "a"}`, way{&w.orders, hook.StateSucceeded})
		}
		defer w.run()()
		chosen := hook.ReplaySelection{Source: w.shop.ID, Connection: w.orders.ID}
		w.start(hook.ReplaySpec{Select: chosen}) // the key has a head from now on
		pass(time.Minute)
		elsewhere := w.start(hook.ReplaySpec{Select: chosen, To: w.archive.ID})
		pass(time.Minute)
		heads := 0
		for _, d := range w.deliveries(store.DeliveryQuery{Replay: elsewhere.ID}) {
			if d.OrderKey != hook.OrderKeyAt("a", w.archive.ID) {
				t.Errorf("%+v", d)
			}
			if d.NextAttemptAt != nil {
				heads++
			}
		}
		if heads != 1 {
			t.Errorf("%d are due, want the first of the key at the other destination", heads)
		}
	})
}

func TestAReplayStopsWhenItsDestinationIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		spare := hook.Destination{Project: w.project, Name: "spare", DestinationSpec: w.archive.DestinationSpec}
		w.must(w.store.Destinations().Create(t.Context(), &spare))
		w.reload()
		orders(w, 20, hook.StateFailed)
		defer w.run()()
		started := w.start(hook.ReplaySpec{Select: hook.ReplaySelection{State: hook.StateFailed}, To: spare.ID, Rate: hook.Rate{Count: 1, Per: time.Second}})
		pass(5 * time.Second)
		w.must(w.store.Destinations().Delete(t.Context(), w.project, spare.ID.String()))
		w.reload()
		if ended := w.ended(started.ID); ended.State != hook.ReplayStopped || ended.Reason != "the destination "+spare.ID.String()+" was deleted" {
			t.Errorf("%s: %s", ended.State, ended.Reason)
		}
	})
}

func TestTooManyReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		spec := hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}}
		for range replay.MaxRunning {
			w.start(spec)
		}
		if _, err := w.engine.Start(t.Context(), w.project, "ana", spec); hook.KindOf(err) != hook.KindConflict || !strings.Contains(err.Error(), "10 replays run") {
			t.Errorf("%v", err)
		}
		end := w.run() // there is nothing to deliver
		pass(time.Second)
		end()
		w.start(spec)
	})
}

func TestMuchIsLookedAtToFindLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		orders(w, 700, hook.StateSucceeded)
		defer w.run()()
		stop := w.send(succeeds)
		started := w.start(hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID, Filter: "data.n in [3, 698]"}, Rate: hook.Rate{Count: 1, Per: time.Minute}})
		pass(20 * time.Second)
		if p := w.replay(started.ID).Progress; p.Made != 1 || p.Looked != 698 {
			t.Errorf("one a minute: %+v", p)
		}
		ended := w.ended(started.ID)
		stop()
		if want := (hook.ReplayProgress{Looked: 700, Selected: 2, Made: 2, Succeeded: 2, Attempts: 2}); ended.Progress != want {
			t.Errorf("%+v", ended.Progress)
		}
		if took := ended.EndedAt.Sub(ended.CreatedAt); took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("two at one a minute took %s", took)
		}
	})
}

// flaky makes steps and says that it did not.
type flaky struct {
	store.Replays

	calls int
}

func (f *flaky) AdvanceReplay(ctx context.Context, step store.ReplayStep) (store.ReplayDone, error) {
	done, err := f.Replays.AdvanceReplay(ctx, step)
	f.calls++
	if f.calls%3 == 2 && err == nil {
		return store.ReplayDone{}, errors.New("the disk was slow")
	}
	return done, err
}

func TestAStepOfUnknownOutcomeIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		orders(w, 60, hook.StateSucceeded)
		w.replays = &flaky{Replays: w.store}
		w.build()
		defer w.run()()
		stop := w.send(succeeds)
		ended := w.ended(w.start(hook.ReplaySpec{Select: hook.ReplaySelection{Source: w.shop.ID}}).ID)
		if attempts := stop(); len(attempts) != 60 || ended.Progress.Made != 60 || ended.State != hook.ReplayCompleted {
			t.Errorf("%d attempts, %+v", len(attempts), ended)
		}
	})
}

func TestAReplayThatCannotBeReadStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		later := hook.Replay{Project: w.project, CreatedBy: "ana", ReplaySpec: hook.ReplaySpec{Mode: "rewind", Select: hook.ReplaySelection{Source: w.shop.ID}}}
		w.must(w.store.CreateReplay(t.Context(), &later))
		defer w.run()()
		if ended := w.ended(later.ID); ended.State != hook.ReplayStopped || !strings.HasPrefix(ended.Reason, `it cannot be run: the replay cannot be made: mode: "rewind" is no mode`) {
			t.Errorf("%s: %s", ended.State, ended.Reason)
		}
	})
}
