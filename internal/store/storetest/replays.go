package storetest

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/storetest/stage"
)

func replayTests() map[string]func(*world) {
	return map[string]func(*world){
		"it comes back as it was stored":                 replayRoundTrip,
		"they are listed newest first":                   replayPages,
		"a step makes deliveries of stored events":       replayDelivers,
		"a step makes new events":                        replayEdits,
		"a step retries":                                 replayRetries,
		"a delivery is one replay's at a time":           replayTakesOver,
		"a step is made once":                            replayCursor,
		"it counts what becomes of its deliveries":       replayCounts,
		"a retried delivery is counted once":             replayCountsAgain,
		"it holds, orders and cancels as Accept does":    replayTargets,
		"ending one cancels what was not begun":          replayEnds,
		"ending one cancels many, in steps":              replayEndsMany,
		"what is retried after its end stays":            replayEndedStays,
		"its deliveries are listed":                      replayLists,
		"retention takes its deliveries with the events": replayPruned,
		"it is its project's":                            replayIsolated,
	}
}

// replay stores a running replay.
func (w *world) replay(p place) hook.Replay {
	w.Helper()
	r := hook.Replay{ID: hook.ReplayID(w.IDs.Next(w.Now)), Project: p.Project, CreatedBy: "ops"}
	w.Must(w.Store.CreateReplay(w.Context(), &r))
	return r
}

// once returns a target that delivers a stored event once more.
func (w *world) once(p place, event hook.EventID) store.ReplayTarget {
	return store.ReplayTarget{Event: event, Target: w.Target(p)}
}

func (w *world) advance(r *hook.Replay, step store.ReplayStep) store.ReplayDone {
	w.Helper()
	step.Replay, step.Project, step.Now = r.ID, r.Project, w.Now
	done, err := w.Store.AdvanceReplay(w.Context(), step)
	w.Must(err)
	return done
}

// wantProgress fails unless the replay has come so far.
func (w *world) wantProgress(r *hook.Replay, want hook.ReplayProgress) {
	w.Helper()
	got, err := w.Store.Replay(w.Context(), r.Project, r.ID)
	w.Must(err)
	if diff := cmp.Diff(want, got.Progress); diff != "" {
		w.Errorf("progress:\n%s", diff)
	}
}

func replayRoundTrip(w *world) {
	w.Tick(3 * time.Millisecond)
	want := hook.Replay{
		ID: hook.ReplayID(w.IDs.Next(w.Now)), Project: w.Home.Project, CreatedBy: "ops", Cursor: 5, Until: 99,
		ReplaySpec: hook.ReplaySpec{
			Mode:   hook.ReplayDeliver,
			Select: hook.ReplaySelection{Source: w.Home.Source, Type: "orders/*", After: stage.Noon(), Events: []hook.EventID{7, 8}},
			To:     w.Home.Destination, Edit: json.RawMessage(`{"token":"s3cret"}`),
			Rate: hook.Rate{Count: 5, Per: time.Second}, Stop: &hook.StopRule{ErrorPercent: 12.5, After: 40},
		},
	}
	given := want
	w.Must(w.Store.CreateReplay(w.Context(), &given))
	want.State, want.CreatedAt, want.UpdatedAt = hook.ReplayRunning, w.Now, w.Now
	if diff := cmp.Diff(want, given); diff != "" {
		w.Errorf("filled:\n%s", diff)
	}
	w.Crash()
	got, err := w.Store.Replay(w.Context(), w.Home.Project, want.ID)
	w.Must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("stored:\n%s", diff)
	}
	running, err := w.Store.RunningReplays(w.Context())
	w.Must(err)
	if diff := cmp.Diff([]hook.Replay{want}, running); diff != "" {
		w.Errorf("running:\n%s", diff)
	}
	w.Wants(hook.KindNotFound, w.Store.CreateReplay(w.Context(), &hook.Replay{Project: 999}))
}

func replayPages(w *world) {
	var want []hook.ReplayID
	for range 5 {
		want = append([]hook.ReplayID{w.replay(w.Home).ID}, want...)
		w.replay(w.Other)
	}
	var got []hook.ReplayID
	req := page.Request{Limit: 2}
	for {
		p, err := w.Store.ListReplays(w.Context(), w.Home.Project, req)
		w.Must(err)
		for i := range p.Items {
			got = append(got, p.Items[i].ID)
		}
		if p.Done {
			break
		}
		req.From = p.Last
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Error(diff)
	}
}

func replayDelivers(w *world) {
	second := w.AddDestination(w.Home, "second")
	job := w.Inline(w.Home)
	w.Succeed(job)
	w.Tick(time.Hour)
	r := w.replay(w.Home)
	first, moved := w.once(w.Home, job.Event.ID), w.once(second, job.Event.ID)
	gone := w.once(w.Home, 12345)
	done := w.advance(&r, store.ReplayStep{Cursor: int64(job.Event.ID), Looked: 9, Selected: 2, Targets: []store.ReplayTarget{first, moved, gone}})
	slices.Sort(done.Destinations)
	places := []hook.DestinationID{w.Home.Destination, second.Destination}
	slices.Sort(places)
	if done.Made != 2 || !slices.Equal(done.Destinations, places) {
		w.Errorf("%+v, want 2 made for both destinations, and none of an event that is gone", done)
	}
	d := w.InState(w.Home, first.Delivery, hook.StatePending)
	if d.Replay != r.ID || d.Event != job.Event.ID || d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(w.Now) || !d.CreatedAt.Equal(w.Now) {
		w.Errorf("made %+v", d)
	}
	w.InState(w.Home, job.Delivery.ID, hook.StateSucceeded)
	jobs := w.Claim(second, 10)
	if len(jobs) != 1 || jobs[0].Delivery.ID != moved.Delivery || string(jobs[0].Event.Payload) != `{"id":1}` || jobs[0].Manual || jobs[0].Delivery.Replay != r.ID {
		w.Errorf("claimed %+v", jobs)
	}
	stored, err := w.Store.Replay(w.Context(), r.Project, r.ID)
	w.Must(err)
	if stored.Cursor != int64(job.Event.ID) {
		w.Errorf("the replay is %+v", stored)
	}
	w.wantProgress(&r, hook.ReplayProgress{Looked: 9, Selected: 2, Made: 2})
	w.WantBacklog(w.Home, "pending=1")
	w.WantBacklog(second, "sending=1")
	if n := w.Totals(w.Home, store.ByDestination)[int64(w.Home.Destination)].Deliveries; n != 2 {
		w.Errorf("%d deliveries are counted, want the first and its repetition", n)
	}
	w.Crash()
	w.Reclaim()
	w.wantProgress(&r, hook.ReplayProgress{Looked: 9, Selected: 2, Made: 2})
	w.InState(w.Home, first.Delivery, hook.StatePending)
}

func replayEdits(w *world) {
	parent := w.Accept(w.Event(w.Home))
	r := w.replay(w.Home)
	edited := w.Event(w.Home, w.Target(w.Home), w.Target(w.Home))
	edited.Event.Payload, edited.Event.Parent = []byte(`{"id":2}`), parent.ID
	done := w.advance(&r, store.ReplayStep{Cursor: 1, Events: []*hook.Acceptance{edited}})
	if done.Made != 2 || len(done.Destinations) != 1 {
		w.Errorf("%+v, want 2 made for one destination", done)
	}
	ev, err := w.Store.Event(w.Context(), w.Home.Project, edited.Event.ID)
	w.Must(err)
	if ev.Parent != parent.ID || ev.Replay != r.ID || string(ev.Payload) != `{"id":2}` || len(ev.Targets) != 2 {
		w.Errorf("the event is %+v", ev)
	}
	for i := range ev.Targets {
		if d := w.InState(w.Home, ev.Targets[i].Delivery, hook.StatePending); d.Replay != r.ID {
			w.Errorf("made %+v", d)
		}
	}
	for _, listed := range w.Events(store.EventQuery{Project: w.Home.Project}) {
		if listed.ID == ev.ID && (listed.Parent != parent.ID || listed.Replay != r.ID) {
			w.Errorf("listed as %+v", listed)
		}
	}
	stranger := w.Event(w.Other)
	_, err = w.Store.AdvanceReplay(w.Context(), store.ReplayStep{
		Replay: r.ID, Project: r.Project, Cursor: 2, Events: []*hook.Acceptance{stranger}, Now: w.Now,
	})
	w.Wants(hook.KindInvalid, err)
}

func replayRetries(w *world) {
	ids := w.Each(w.Home)
	w.Tick(time.Minute)
	r := w.replay(w.Home)
	all := []hook.DeliveryID{12345, w.Inline(w.Other).Delivery.ID}
	for _, id := range ids {
		all = append(all, id)
	}
	if done := w.advance(&r, store.ReplayStep{Cursor: 1, Retry: all}); done.Made != 5 || len(done.Destinations) != 1 {
		w.Errorf("%+v, want 5: all but what is being sent", done)
	}
	for state, id := range ids {
		if state == hook.StateSending {
			continue
		}
		d := w.InState(w.Home, id, hook.StatePending)
		if d.Replay != r.ID || d.NextAttemptAt == nil || !d.NextAttemptAt.Equal(w.Now) {
			w.Errorf("a %v delivery became %+v", state, d)
		}
	}
	if done := w.advance(&r, store.ReplayStep{Cursor: 2, Retry: all}); done.Made != 0 {
		w.Errorf("%+v by the same deliveries once more", done)
	}
	w.wantProgress(&r, hook.ReplayProgress{Made: 5})
}

func replayTakesOver(w *world) {
	job := w.Inline(w.Home)
	w.EndFailed(job)
	retry := store.ReplayStep{Cursor: 1, Retry: []hook.DeliveryID{job.Delivery.ID}}
	first, second := w.replay(w.Home), w.replay(w.Home)
	w.advance(&first, retry)
	if done := w.advance(&second, retry); done.Made != 0 {
		w.Errorf("%+v of what is on its way for another replay", done)
	}
	w.EndFailed(w.Claim(w.Home, 1)[0])
	w.wantProgress(&first, hook.ReplayProgress{Made: 1, Failed: 1, Attempts: 1, Errors: 1})
	retry.Cursor = 2
	if done := w.advance(&second, retry); done.Made != 1 {
		w.Errorf("%+v, want the one that has ended", done)
	}
	w.Succeed(w.Claim(w.Home, 1)[0])
	w.wantProgress(&first, hook.ReplayProgress{Made: 1, Failed: 1, Attempts: 1, Errors: 1})
	w.wantProgress(&second, hook.ReplayProgress{Made: 1, Succeeded: 1, Attempts: 1})
}

func replayCursor(w *world) {
	ev := w.Accept(w.Event(w.Home))
	r := w.replay(w.Home)
	step := store.ReplayStep{Replay: r.ID, Project: r.Project, Now: w.Now, Cursor: 10, Targets: []store.ReplayTarget{w.once(w.Home, ev.ID)}}
	_, err := w.Store.AdvanceReplay(w.Context(), step)
	w.Must(err)
	step.Cursor, step.Targets = 9, []store.ReplayTarget{w.once(w.Home, ev.ID)}
	_, err = w.Store.AdvanceReplay(w.Context(), step)
	w.Wants(hook.KindConflict, err)
	_, err = w.Store.EndReplay(w.Context(), r.Project, r.ID, hook.ReplayCanceled, "enough")
	w.Must(err)
	step.Cursor = 11
	_, err = w.Store.AdvanceReplay(w.Context(), step)
	w.Wants(hook.KindConflict, err)
	step.Replay = 12345
	_, err = w.Store.AdvanceReplay(w.Context(), step)
	w.Wants(hook.KindNotFound, err)
	w.wantProgress(&r, hook.ReplayProgress{Made: 1, Canceled: 1})
}

func replayCounts(w *world) {
	ev := w.Accept(w.Event(w.Home))
	r := w.replay(w.Home)
	step := store.ReplayStep{Cursor: 1}
	for range 5 {
		step.Targets = append(step.Targets, w.once(w.Home, ev.ID))
	}
	w.advance(&r, step)
	jobs := w.Claim(w.Home, 5)
	w.Succeed(jobs[0])
	w.EndFailed(jobs[1])
	w.Settle(hook.Settlement{Job: jobs[2], State: hook.StatePending, Next: w.Now, Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	w.Settle(hook.Settlement{Job: jobs[3], State: hook.StateHeld, Reason: "paused"})
	w.Settle(hook.Settlement{Job: jobs[4], State: hook.StateCanceled, Reason: "it expired"})
	w.wantProgress(&r, hook.ReplayProgress{Made: 5, Succeeded: 1, Failed: 1, Canceled: 1, Attempts: 3, Errors: 2})
	w.Succeed(w.Claim(w.Home, 5)[0])
	_, err := w.Store.Cancel(w.Context(), r.Project, []hook.DeliveryID{jobs[3].Delivery.ID}, "no")
	w.Must(err)
	w.wantProgress(&r, hook.ReplayProgress{Made: 5, Succeeded: 2, Failed: 1, Canceled: 2, Attempts: 4, Errors: 2})
}

func replayCountsAgain(w *world) {
	ev := w.Accept(w.Event(w.Home))
	r := w.replay(w.Home)
	w.advance(&r, store.ReplayStep{Cursor: 1, Targets: []store.ReplayTarget{w.once(w.Home, ev.ID)}})
	w.EndFailed(w.Claim(w.Home, 1)[0])
	stored, err := w.Store.Replay(w.Context(), r.Project, r.ID)
	w.Must(err)
	if stored.Progress.Open() != 0 {
		w.Errorf("%d are open after the only one failed", stored.Progress.Open())
	}
	d := w.Deliveries(store.DeliveryQuery{Project: r.Project, Event: ev.ID})
	_, err = w.Store.Retry(w.Context(), r.Project, []hook.DeliveryID{d[0].ID}, w.Now)
	w.Must(err)
	w.wantProgress(&r, hook.ReplayProgress{Made: 1, Attempts: 1, Errors: 1})
	w.Succeed(w.Claim(w.Home, 1)[0])
	w.wantProgress(&r, hook.ReplayProgress{Made: 1, Succeeded: 1, Attempts: 2, Errors: 1})
}

func replayTargets(w *world) {
	gone := w.AddDestination(w.Home, "gone")
	ev := w.Accept(w.Event(w.Home))
	w.Must(w.Store.Connections().Delete(w.Context(), w.Home.Project, gone.Connection.String()))
	r := w.replay(w.Home)
	held, head, next, deleted := w.once(w.Home, ev.ID), w.once(w.Home, ev.ID), w.once(w.Home, ev.ID), w.once(gone, ev.ID)
	held.Held, held.Cause, held.Reason = true, hook.CauseCircuit, "it is down"
	head.OrderKey, next.OrderKey = "customer-1", "customer-1"
	w.advance(&r, store.ReplayStep{Cursor: 1, Targets: []store.ReplayTarget{held, head, next, deleted}})
	if d := w.InState(w.Home, held.Delivery, hook.StateHeld); d.Cause != hook.CauseCircuit || d.Reason != "it is down" {
		w.Errorf("held as %+v", d)
	}
	w.InState(w.Home, deleted.Delivery, hook.StateCanceled)
	w.wantProgress(&r, hook.ReplayProgress{Made: 4, Canceled: 1})
	jobs := w.Claim(w.Home, 10)
	if len(jobs) != 1 || jobs[0].Delivery.ID != head.Delivery {
		w.Fatalf("%d deliveries of a key were claimed, want its head", len(jobs))
	}
	w.Succeed(jobs[0])
	w.Tick(time.Second)
	if jobs := w.Claim(w.Home, 10); len(jobs) != 1 || jobs[0].Delivery.ID != next.Delivery {
		w.Errorf("%d deliveries after the head, want the next one", len(jobs))
	}
}

func replayEnds(w *world) {
	ev := w.Accept(w.Event(w.Home))
	failed := w.Inline(w.Home)
	w.EndFailed(failed)
	r := w.replay(w.Home)
	step := store.ReplayStep{Cursor: 1}
	for range 3 {
		step.Targets = append(step.Targets, w.once(w.Home, ev.ID))
	}
	w.advance(&r, step)
	jobs := w.Claim(w.Home, 2)
	w.Settle(hook.Settlement{Job: jobs[1], State: hook.StatePending, Next: w.Now.Add(time.Hour), Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	held := w.once(w.Home, ev.ID)
	held.Held = true
	w.advance(&r, store.ReplayStep{Cursor: 2, Targets: []store.ReplayTarget{held}, Retry: []hook.DeliveryID{failed.Delivery.ID}})
	other := w.Waiting(w.Home)
	ended, err := w.Store.EndReplay(w.Context(), r.Project, r.ID, hook.ReplayStopped, "too many failed")
	w.Must(err)
	want := hook.ReplayProgress{Made: 5, Canceled: 3, Attempts: 1, Errors: 1}
	if ended.State != hook.ReplayStopped || ended.Reason != "too many failed" || ended.EndedAt == nil || ended.Progress != want {
		w.Errorf("ended as %+v", ended)
	}
	for id, state := range map[hook.DeliveryID]hook.State{
		jobs[0].Delivery.ID: hook.StateSending, jobs[1].Delivery.ID: hook.StatePending, step.Targets[2].Delivery: hook.StateCanceled,
		held.Delivery: hook.StateCanceled, failed.Delivery.ID: hook.StateCanceled, other: hook.StatePending,
	} {
		if d := w.InState(w.Home, id, state); state == hook.StateCanceled && d.Reason != "too many failed" {
			w.Errorf("canceled as %+v", d)
		}
	}
	w.Succeed(jobs[0])
	again, err := w.Store.EndReplay(w.Context(), r.Project, r.ID, hook.ReplayCompleted, "all is well")
	w.Must(err)
	if again.State != hook.ReplayStopped || again.Reason != "too many failed" || again.Progress.Succeeded != 1 {
		w.Errorf("ended once more it is %+v", again)
	}
	if running, err := w.Store.RunningReplays(w.Context()); err != nil || running != nil {
		w.Errorf("running: %v, %v", running, err)
	}
	_, err = w.Store.EndReplay(w.Context(), r.Project, r.ID, hook.ReplayRunning, "")
	w.Wants(hook.KindInvalid, err)
}

// many makes more deliveries of one event than one step of the store deals with.
func (w *world) many(r *hook.Replay) int {
	w.Helper()
	const steps, size = 3, 200
	ev := w.Accept(w.Event(w.Home))
	for n := range steps {
		step := store.ReplayStep{Cursor: int64(n + 1)}
		for range size {
			step.Targets = append(step.Targets, w.once(w.Home, ev.ID))
		}
		w.advance(r, step)
	}
	return steps * size
}

func replayEndsMany(w *world) {
	r := w.replay(w.Home)
	n := int64(w.many(&r))
	ended, err := w.Store.EndReplay(w.Context(), r.Project, r.ID, hook.ReplayCanceled, "enough")
	w.Must(err)
	if ended.Progress.Made != n || ended.Progress.Canceled != n {
		w.Errorf("ended as %+v, want all %d canceled", ended.Progress, n)
	}
	w.WantBacklog(w.Home, "")
}

func replayEndedStays(w *world) {
	ev := w.Accept(w.Event(w.Home))
	r := w.replay(w.Home)
	target := w.once(w.Home, ev.ID)
	w.advance(&r, store.ReplayStep{Cursor: 1, Targets: []store.ReplayTarget{target}})
	_, err := w.Store.EndReplay(w.Context(), r.Project, r.ID, hook.ReplayCanceled, "enough")
	w.Must(err)
	// A process that comes later must not take that for a leftover.
	_, err = w.Store.Retry(w.Context(), r.Project, []hook.DeliveryID{target.Delivery}, w.Now)
	w.Must(err)
	w.Crash()
	w.Reclaim()
	w.InState(w.Home, target.Delivery, hook.StatePending)
}

func replayLists(w *world) {
	second := w.AddDestination(w.Home, "second")
	job := w.Inline(w.Home)
	w.Succeed(job)
	r := w.replay(w.Home)
	one, two, three := w.once(w.Home, job.Event.ID), w.once(second, job.Event.ID), w.once(w.Home, job.Event.ID)
	w.advance(&r, store.ReplayStep{Cursor: 1, Targets: []store.ReplayTarget{one, two, three}})
	w.Waiting(w.Home)
	w.Succeed(w.Claim(second, 1)[0])
	for name, test := range map[string]struct {
		query store.DeliveryQuery
		want  []hook.DeliveryID
	}{
		"of the event":      {store.DeliveryQuery{Event: job.Event.ID}, []hook.DeliveryID{three.Delivery, two.Delivery, one.Delivery, job.Delivery.ID}},
		"of both":           {store.DeliveryQuery{Event: job.Event.ID, Replay: r.ID}, []hook.DeliveryID{three.Delivery, one.Delivery}},
		"that ended":        {store.DeliveryQuery{Replay: r.ID, State: hook.StateSucceeded}, []hook.DeliveryID{two.Delivery}},
		"that have not":     {store.DeliveryQuery{Replay: r.ID}, []hook.DeliveryID{three.Delivery, one.Delivery}},
		"at a destination":  {store.DeliveryQuery{Replay: r.ID, Destination: second.Destination, State: hook.StateSucceeded}, []hook.DeliveryID{two.Delivery}},
		"elsewhere":         {store.DeliveryQuery{Replay: r.ID, Destination: second.Destination}, nil},
		"of the connection": {store.DeliveryQuery{Replay: r.ID, Connection: w.Home.Connection}, []hook.DeliveryID{three.Delivery, one.Delivery}},
		"of another":        {store.DeliveryQuery{Replay: 12345}, nil},
	} {
		test.query.Project = w.Home.Project
		var got []hook.DeliveryID
		for _, d := range w.Deliveries(test.query) {
			got = append(got, d.ID)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			w.Errorf("%s:\n%s", name, diff)
		}
		test.query.Project = w.Other.Project
		if list := w.Deliveries(test.query); list != nil {
			w.Errorf("%s: another project sees %d", name, len(list))
		}
	}
}

func replayPruned(w *world) {
	w.Retain("default", hook.Retention{Events: hook.Duration(day)})
	job := w.Inline(w.Home)
	w.Succeed(job)
	r := w.replay(w.Home)
	ended, open := w.once(w.Home, job.Event.ID), w.once(w.Home, job.Event.ID)
	w.advance(&r, store.ReplayStep{Cursor: 1, Targets: []store.ReplayTarget{ended, open}})
	w.EndFailed(w.Claim(w.Home, 1)[0])
	w.Tick(2 * day)
	if pruned := w.Prune(); pruned.Events != 0 {
		w.Errorf("%+v went, although a replay's delivery waits", pruned)
	}
	w.Succeed(w.Claim(w.Home, 1)[0])
	if pruned := w.Prune(); pruned.Events != 1 || pruned.Deliveries != 3 || pruned.Attempts != 3 || pruned.Replays != 0 {
		w.Errorf("%+v went, want the event with all its deliveries", pruned)
	}
	want := hook.ReplayProgress{Made: 2, Succeeded: 1, Failed: 1, Attempts: 2, Errors: 1}
	w.wantProgress(&r, want)
	w.WantBacklog(w.Home, "")
	done, err := w.Store.EndReplay(w.Context(), r.Project, r.ID, hook.ReplayCompleted, "")
	w.Must(err)
	if done.Progress != want {
		w.Errorf("completed as %+v", done)
	}
	running := w.replay(w.Home)
	w.Tick(401 * day)
	if pruned := w.Prune(); pruned.Replays != 1 {
		w.Errorf("%+v went, want the replay that has ended", pruned)
	}
	_, err = w.Store.Replay(w.Context(), r.Project, r.ID)
	w.Wants(hook.KindNotFound, err)
	_, err = w.Store.Replay(w.Context(), running.Project, running.ID)
	w.Must(err)
}

func replayIsolated(w *world) {
	ctx := w.Context()
	r := w.replay(w.Other)
	_, err := w.Store.Replay(ctx, w.Home.Project, r.ID)
	w.Wants(hook.KindNotFound, err)
	_, err = w.Store.EndReplay(ctx, w.Home.Project, r.ID, hook.ReplayCanceled, "x")
	w.Wants(hook.KindNotFound, err)
	ev := w.Accept(w.Event(w.Home))
	step := store.ReplayStep{Replay: r.ID, Project: w.Home.Project, Cursor: 1, Now: w.Now, Targets: []store.ReplayTarget{w.once(w.Home, ev.ID)}}
	_, err = w.Store.AdvanceReplay(ctx, step)
	w.Wants(hook.KindNotFound, err)
	if done := w.advance(&r, store.ReplayStep{Cursor: 1, Targets: step.Targets}); done.Made != 0 {
		w.Errorf("%+v of another project's event", done)
	}
	list, err := w.Store.ListReplays(ctx, w.Home.Project, page.Request{})
	if err != nil || list.Items != nil || !list.Done {
		w.Errorf("another project's replays are listed: %+v, %v", list, err)
	}
}
