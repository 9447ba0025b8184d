package storetest

import (
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/storetest/stage"
)

// fillEvents accepts many small events without deliveries.
func fillEvents(w *world, n int) {
	w.Helper()
	stage.Parallel(w.World, n, func(int) {
		if _, err := w.Store.Accept(w.Context(), w.Event(w.Home)); err != nil {
			w.Error(err)
		}
	})
}

func numbersTests() map[string]func(*world) {
	return map[string]func(*world){
		"what happens is counted, exactly":     numbersExact,
		"in the minute in which it happens":    numbersMinutes,
		"nothing is counted twice in parallel": numbersParallel,
		"the backlog is exact":                 backlogExact,
		"nothing counted is nothing":           numbersEmpty,
	}
}

func numbersExact(w *world) {
	second := w.AddDestination(w.Home, "second")
	dup := w.Event(w.Home)
	dup.Dedupe, dup.Window = hook.DedupeHash{1}, time.Hour
	w.Accept(dup)
	again := w.Event(w.Home)
	again.Dedupe, again.Window = dup.Dedupe, dup.Window
	_, err := w.Store.Accept(w.Context(), again)
	w.Must(err)
	w.Must(w.Store.Refuse(w.Context(), w.Refusal(w.Home)))
	missed := w.Event(w.Home, w.Target(w.Home), w.Target(second))
	missed.Event.Unmatched = []hook.Miss{{Connection: second.Connection, Error: "x"}}
	ev := w.Accept(missed)
	slow := w.Attempt(hook.OutcomeTimeout, 0)
	slow.Duration = hook.Duration(15 * time.Second)
	w.Settle(hook.Settlement{Job: stage.InlineJob(&ev, 0), State: hook.StatePending, Next: w.Now, Attempt: slow})
	w.EndFailed(stage.InlineJob(&ev, 1))
	w.Succeed(w.Claim(w.Home, 1)[0])
	canceled := w.Waiting(w.Home)
	_, err = w.Store.Cancel(w.Context(), w.Home.Project, []hook.DeliveryID{canceled}, "x")
	w.Must(err)
	w.Crash()

	source := hook.Numbers{Accepted: 3, Duplicates: 1, Refused: 1, Bytes: 24, Unmatched: 1}
	home := hook.Numbers{
		Deliveries: 2, Succeeded: 1, Canceled: 1, Attempts: 2,
		Outcomes: map[hook.Outcome]int64{hook.OutcomeTimeout: 1, hook.OutcomeSuccess: 1},
	}
	home.Latency.Add(15 * time.Second)
	home.Latency.Add(30 * time.Millisecond)
	other := hook.Numbers{Deliveries: 1, Failed: 1, Attempts: 1, Outcomes: map[hook.Outcome]int64{hook.OutcomeRefused: 1}}
	other.Latency.Add(30 * time.Millisecond)
	otherConnection := other
	otherConnection.FilterErrors = 1
	for scope, want := range map[store.NumbersScope]map[int64]hook.Numbers{
		store.BySource:      {int64(w.Home.Source): source},
		store.ByConnection:  {int64(w.Home.Connection): home, int64(second.Connection): otherConnection},
		store.ByDestination: {int64(w.Home.Destination): home, int64(second.Destination): other},
	} {
		got := w.Totals(w.Home, scope)
		for id, n := range got {
			n.Minute = time.Time{}
			got[id] = n
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("scope %d:\n%s", scope, diff)
		}
	}
	if got := w.Totals(w.Other, store.BySource); len(got) != 0 {
		w.Errorf("another project has counters: %v", got)
	}
}

func numbersMinutes(w *world) {
	second := w.AddSource(w.Home, "second")
	for range 3 {
		w.Accept(w.Event(w.Home))
		w.Accept(w.Event(second))
		w.Tick(59 * time.Second) // 12:00:00, 12:00:59, 12:01:58
	}
	minute := func(n int) time.Time { return stage.Noon().Add(time.Duration(n) * time.Minute) }
	for name, test := range map[string]struct {
		query store.NumbersQuery
		want  []hook.Numbers
	}{
		"one source":       {store.NumbersQuery{ID: int64(second.Source)}, []hook.Numbers{{Minute: minute(0), Accepted: 2}, {Minute: minute(1), Accepted: 1}}},
		"all of them":      {store.NumbersQuery{}, []hook.Numbers{{Minute: minute(0), Accepted: 4}, {Minute: minute(1), Accepted: 2}}},
		"up to a minute":   {store.NumbersQuery{To: minute(1)}, []hook.Numbers{{Minute: minute(0), Accepted: 4}}},
		"into a minute":    {store.NumbersQuery{To: minute(1).Add(time.Millisecond)}, []hook.Numbers{{Minute: minute(0), Accepted: 4}, {Minute: minute(1), Accepted: 2}}},
		"from a minute":    {store.NumbersQuery{From: minute(1).Add(30 * time.Second)}, []hook.Numbers{{Minute: minute(1), Accepted: 2}}},
		"outside":          {store.NumbersQuery{From: minute(2)}, nil},
		"another's source": {store.NumbersQuery{ID: int64(w.Other.Source)}, nil},
	} {
		test.query.Project, test.query.Scope = w.Home.Project, store.BySource
		got, err := w.Store.Series(w.Context(), test.query)
		w.Must(err)
		for i := range got {
			got[i] = hook.Numbers{Minute: got[i].Minute, Accepted: got[i].Accepted}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			w.Errorf("%s:\n%s", name, diff)
		}
	}
}

func numbersParallel(w *world) {
	const events = 200
	jobs := make([]*hook.Job, events)
	stage.Parallel(w.World, events, func(i int) {
		a := w.Event(w.Home, w.Target(w.Home))
		if _, err := w.Store.Accept(w.Context(), a); err != nil {
			w.Error(err)
		}
		jobs[i] = stage.InlineJob(&a.Event, 0)
	})
	stage.Parallel(w.World, events, func(i int) { w.Succeed(jobs[i]) })
	source, destination := w.Totals(w.Home, store.BySource)[int64(w.Home.Source)], w.Totals(w.Home, store.ByDestination)[int64(w.Home.Destination)]
	if source.Accepted != events || destination.Deliveries != events || destination.Succeeded != events || destination.Attempts != events {
		w.Errorf("of %d events %d are counted as accepted, %d deliveries, %d succeeded, %d attempts",
			events, source.Accepted, destination.Deliveries, destination.Succeeded, destination.Attempts)
	}
}

func backlogExact(w *world) {
	w.Each(w.Home)
	w.WantBacklog(w.Home, "pending=1 sending=1 failed=1 held=1")
	w.Each(w.Home)
	w.WantBacklog(w.Home, "pending=2 sending=2 failed=2 held=2")
	w.WantBacklog(w.Other, "")
	w.Crash()
	w.Reclaim()
	w.WantBacklog(w.Home, "pending=4 failed=2 held=2")
	w.Tick(2 * time.Hour)
	for _, job := range w.Claim(w.Home, 10) {
		w.Succeed(job)
	}
	w.WantBacklog(w.Home, "failed=2 held=2")
}

func numbersEmpty(w *world) {
	series, err := w.Store.Series(w.Context(), store.NumbersQuery{Project: w.Home.Project, Scope: store.BySource})
	if err != nil || series != nil {
		w.Errorf("series of nothing: %v, %v", series, err)
	}
	backlog, err := w.Store.Backlog(w.Context(), w.Home.Project)
	if err != nil || len(backlog) != 0 {
		w.Errorf("backlog of nothing: %v, %v", backlog, err)
	}
}

func pruneTests() map[string]func(*world) {
	return map[string]func(*world){
		"what is old goes with all that belongs to it": pruneOld,
		"what waits stays, however old":                pruneKeepsWaiting,
		"without a retention all stays":                pruneForEver,
		"each project has a retention of its own":      pruneByProject,
		"many go, in steps":                            pruneMany,
		"a deleted project's log goes":                 pruneDeletedProject,
		"old refusals and numbers go":                  pruneRest,
	}
}

const day = 24 * time.Hour

func pruneOld(w *world) {
	w.Retain("default", hook.Retention{Events: hook.Duration(day)})
	id := w.Waiting(w.Home)
	for range 3 {
		w.Settle(hook.Settlement{Job: w.Claim(w.Home, 1)[0], State: hook.StatePending, Next: w.Now, Attempt: w.Attempt(hook.OutcomeTimeout, 0)})
	}
	w.EndFailed(w.Claim(w.Home, 1)[0])
	old := w.Delivery(w.Home, id).Event
	w.Tick(day)
	young := w.Accept(w.Event(w.Home, w.Target(w.Home)))
	if pruned := w.Prune(); pruned.Events != 0 {
		w.Errorf("exactly as old as the retention, and gone: %+v", pruned)
	}
	w.Tick(time.Millisecond)
	pruned := w.Prune()
	if pruned.Events != 1 || pruned.Deliveries != 1 || pruned.Attempts != 4 {
		w.Errorf("%+v, want 1 event, 1 delivery, 4 attempts", pruned)
	}
	_, err := w.Store.Event(w.Context(), w.Home.Project, old)
	w.Wants(hook.KindNotFound, err)
	_, err = w.Store.Delivery(w.Context(), w.Home.Project, id)
	w.Wants(hook.KindNotFound, err)
	_, err = w.Store.Event(w.Context(), w.Home.Project, young.ID)
	w.Must(err)
	w.WantBacklog(w.Home, "sending=1")
	if n := len(w.Events(store.EventQuery{Project: w.Home.Project})); n != 1 {
		w.Errorf("%d events are listed, want 1", n)
	}
}

func pruneKeepsWaiting(w *world) {
	w.Retain("default", hook.Retention{Events: hook.Duration(day)})
	ids := w.Each(w.Home)
	w.Tick(30 * day)
	pruned := w.Prune()
	if pruned.Events != 3 {
		w.Errorf("%d events went, want 3: succeeded, failed and canceled", pruned.Events)
	}
	for _, state := range []hook.State{hook.StatePending, hook.StateHeld, hook.StateSending} {
		d := w.InState(w.Home, ids[state], state)
		_, err := w.Store.Event(w.Context(), w.Home.Project, d.Event)
		w.Must(err)
	}
	if again := w.Prune(); again.Events != 0 {
		w.Errorf("%+v went in a second run", again)
	}
	w.Crash()
	if pruned := w.Prune(); pruned.Events != 0 {
		w.Errorf("%+v went before the reclaim", pruned)
	}
	w.Reclaim()
	w.InState(w.Home, ids[hook.StateSending], hook.StatePending)
}

func pruneForEver(w *world) {
	w.Succeed(w.Inline(w.Home))
	w.Must(w.Store.Refuse(w.Context(), w.Refusal(w.Home)))
	w.Tick(300 * day)
	if pruned := w.Prune(); pruned != (store.Pruned{}) {
		w.Errorf("%+v went", pruned)
	}
}

func pruneByProject(w *world) {
	w.Retain("default", hook.Retention{Events: hook.Duration(day)})
	w.Retain("other", hook.Retention{Events: hook.Duration(3 * day)})
	w.Succeed(w.Inline(w.Home))
	w.Succeed(w.Inline(w.Other))
	w.Tick(2 * day)
	if pruned := w.Prune(); pruned.Events != 1 {
		w.Errorf("%d events went, want 1", pruned.Events)
	}
	if n := len(w.Events(store.EventQuery{Project: w.Other.Project})); n != 1 {
		w.Errorf("%d events of the other project, want 1", n)
	}
	w.Tick(2 * day)
	if pruned := w.Prune(); pruned.Events != 1 {
		w.Errorf("%d events went, want 1", pruned.Events)
	}
}

func pruneMany(w *world) {
	const events = 700
	w.Retain("default", hook.Retention{Events: hook.Duration(day)})
	fillEvents(w, events)
	w.Tick(2 * day)
	if pruned := w.Prune(); pruned.Events != events {
		w.Errorf("%d events went, want %d", pruned.Events, events)
	}
}

func pruneDeletedProject(w *world) {
	w.Succeed(w.Inline(w.Other))
	w.Must(w.Store.Refuse(w.Context(), w.Refusal(w.Other)))
	w.Succeed(w.Inline(w.Home))
	w.Must(w.Store.Connections().Delete(w.Context(), w.Other.Project, "orders"))
	w.Must(w.Store.Sources().Delete(w.Context(), w.Other.Project, "shop"))
	w.Must(w.Store.Destinations().Delete(w.Context(), w.Other.Project, "erp"))
	w.Must(w.Store.Projects().Delete(w.Context(), 0, "other"))
	pruned := w.Prune()
	if pruned.Events != 1 || pruned.Deliveries != 1 || pruned.Refusals != 1 || pruned.Numbers != 3 {
		w.Errorf("%+v went, want all of the deleted project", pruned)
	}
	if n := len(w.Events(store.EventQuery{Project: w.Home.Project})); n != 1 {
		w.Errorf("%d events of the project that is left, want 1", n)
	}
}

func pruneRest(w *world) {
	w.Retain("default", hook.Retention{Refused: hook.Duration(day)})
	w.Must(w.Store.Refuse(w.Context(), w.Refusal(w.Home)))
	w.Tick(2 * day)
	w.Must(w.Store.Refuse(w.Context(), w.Refusal(w.Home)))
	if pruned := w.Prune(); pruned.Refusals != 1 || pruned.Numbers != 0 {
		w.Errorf("%+v went, want 1 refusal", pruned)
	}
	w.Tick(500 * day)
	if pruned := w.Prune(); pruned.Refusals != 1 || pruned.Numbers != 2 {
		w.Errorf("%+v went, want the other refusal and the minutes of both", pruned)
	}
}

func upkeepTests() map[string]func(*world) {
	return map[string]func(*world){
		"a store is ready":                    storeReady,
		"stats tell what was done":            storeStats,
		"a closed store says so":              storeClosed,
		"closing waits for what is in line":   closeWaits,
		"a new store has the default project": newStore,
	}
}

func storeReady(w *world) { w.Must(w.Store.Ready(w.Context())) }

func storeStats(w *world) {
	before, err := w.Store.Stats(w.Context())
	w.Must(err)
	for range 3 {
		w.Accept(w.Event(w.Home))
	}
	after, err := w.Store.Stats(w.Context())
	w.Must(err)
	if after.SizeBytes <= 0 || after.Operations != before.Operations+3 || after.Commits <= before.Commits || after.Commits > before.Commits+3 ||
		after.CommitTime <= before.CommitTime || after.LastCommitAt.IsZero() {
		w.Errorf("before %+v, after %+v", before, after)
	}
}

func storeClosed(w *world) {
	job := w.Inline(w.Home)
	w.Must(w.Store.Close())
	_, err := w.Store.Accept(w.Context(), w.Event(w.Home))
	w.Wants(hook.KindUnavailable, err)
	w.Wants(hook.KindUnavailable, w.Store.Ready(w.Context()))
	w.Wants(hook.KindUnavailable, w.Store.Sources().Create(w.Context(), &hook.Source{Project: w.Home.Project, Name: "x"}))
	done := make(chan error, 1)
	w.Store.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded}, func(err error) { done <- err })
	w.Wants(hook.KindUnavailable, <-done)
	w.Must(w.Store.Close())
}

func closeWaits(w *world) {
	const jobs = 50
	var list []*hook.Job
	for range jobs {
		list = append(list, w.Inline(w.Home))
	}
	var group sync.WaitGroup
	group.Add(jobs)
	for _, job := range list {
		w.Store.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded, Attempt: w.Attempt(hook.OutcomeSuccess, 200)}, func(err error) {
			if err != nil {
				w.Error(err)
			}
			group.Done()
		})
	}
	w.Restart()
	group.Wait()
	if n := w.Reclaim(); n != 0 {
		w.Errorf("%d settlements were lost by closing", n)
	}
}

func newStore(w *world) {
	s := w.Harness.Open(w.T)
	catalogue, err := s.Catalogue(w.Context())
	w.Must(err)
	if len(catalogue.Projects) != 1 || catalogue.Projects[0].Name != "default" || len(catalogue.Sources) != 1 || !catalogue.Sources[0].System {
		w.Errorf("a new store has %+v", catalogue)
	}
}
