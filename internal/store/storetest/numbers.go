package storetest

import (
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// parallel does something n times, from a few goroutines, so that commits are shared.
func parallel(w *world, n int, do func(i int)) {
	w.Helper()
	var group sync.WaitGroup
	next := make(chan int)
	for range 32 {
		group.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}

// fillEvents accepts many small events without deliveries.
func fillEvents(w *world, n int) {
	w.Helper()
	parallel(w, n, func(int) {
		if _, err := w.store.Accept(w.Context(), w.event(w.home)); err != nil {
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

func (w *world) totals(p place, scope store.NumbersScope) map[int64]hook.Numbers {
	w.Helper()
	totals, err := w.store.Totals(w.Context(), store.NumbersQuery{Project: p.project, Scope: scope})
	w.must(err)
	return totals
}

func numbersExact(w *world) {
	second := w.addDestination(w.home, "second")
	dup := w.event(w.home)
	dup.Dedupe, dup.Window = hook.DedupeHash{1}, time.Hour
	w.accept(dup)
	again := w.event(w.home)
	again.Dedupe, again.Window = dup.Dedupe, dup.Window
	_, err := w.store.Accept(w.Context(), again)
	w.must(err)
	w.must(w.store.Refuse(w.Context(), w.refusal(w.home)))
	missed := w.event(w.home, w.target(w.home), w.target(second))
	missed.Event.Unmatched = []hook.Miss{{Connection: second.connection, Error: "x"}}
	ev := w.accept(missed)
	slow := w.attempt(hook.OutcomeTimeout, 0)
	slow.Duration = hook.Duration(15 * time.Second)
	w.settle(hook.Settlement{Job: inlineJob(&ev, 0), State: hook.StatePending, Next: w.now, Attempt: slow})
	w.fail(inlineJob(&ev, 1))
	w.succeed(w.claim(w.home, 1)[0])
	canceled := w.waiting(w.home)
	_, err = w.store.Cancel(w.Context(), w.home.project, []hook.DeliveryID{canceled}, "x")
	w.must(err)
	w.crash()

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
		store.BySource:      {int64(w.home.source): source},
		store.ByConnection:  {int64(w.home.connection): home, int64(second.connection): otherConnection},
		store.ByDestination: {int64(w.home.destination): home, int64(second.destination): other},
	} {
		got := w.totals(w.home, scope)
		for id, n := range got {
			n.Minute = time.Time{}
			got[id] = n
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("scope %d:\n%s", scope, diff)
		}
	}
	if got := w.totals(w.other, store.BySource); len(got) != 0 {
		w.Errorf("another project has counters: %v", got)
	}
}

func numbersMinutes(w *world) {
	second := w.addSource(w.home, "second")
	for range 3 {
		w.accept(w.event(w.home))
		w.accept(w.event(second))
		w.tick(59 * time.Second) // 12:00:00, 12:00:59, 12:01:58
	}
	minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for name, test := range map[string]struct {
		query store.NumbersQuery
		want  []hook.Numbers
	}{
		"one source":       {store.NumbersQuery{ID: int64(second.source)}, []hook.Numbers{{Minute: minute(0), Accepted: 2}, {Minute: minute(1), Accepted: 1}}},
		"all of them":      {store.NumbersQuery{}, []hook.Numbers{{Minute: minute(0), Accepted: 4}, {Minute: minute(1), Accepted: 2}}},
		"up to a minute":   {store.NumbersQuery{To: minute(1)}, []hook.Numbers{{Minute: minute(0), Accepted: 4}}},
		"into a minute":    {store.NumbersQuery{To: minute(1).Add(time.Millisecond)}, []hook.Numbers{{Minute: minute(0), Accepted: 4}, {Minute: minute(1), Accepted: 2}}},
		"from a minute":    {store.NumbersQuery{From: minute(1).Add(30 * time.Second)}, []hook.Numbers{{Minute: minute(1), Accepted: 2}}},
		"outside":          {store.NumbersQuery{From: minute(2)}, nil},
		"another's source": {store.NumbersQuery{ID: int64(w.other.source)}, nil},
	} {
		test.query.Project, test.query.Scope = w.home.project, store.BySource
		got, err := w.store.Series(w.Context(), test.query)
		w.must(err)
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
	parallel(w, events, func(i int) {
		a := w.event(w.home, w.target(w.home))
		if _, err := w.store.Accept(w.Context(), a); err != nil {
			w.Error(err)
		}
		jobs[i] = inlineJob(&a.Event, 0)
	})
	parallel(w, events, func(i int) { w.succeed(jobs[i]) })
	source, destination := w.totals(w.home, store.BySource)[int64(w.home.source)], w.totals(w.home, store.ByDestination)[int64(w.home.destination)]
	if source.Accepted != events || destination.Deliveries != events || destination.Succeeded != events || destination.Attempts != events {
		w.Errorf("of %d events %d are counted as accepted, %d deliveries, %d succeeded, %d attempts",
			events, source.Accepted, destination.Deliveries, destination.Succeeded, destination.Attempts)
	}
}

func backlogExact(w *world) {
	w.each(w.home)
	w.wantBacklog(w.home, "pending=1 sending=1 failed=1 held=1")
	w.each(w.home)
	w.wantBacklog(w.home, "pending=2 sending=2 failed=2 held=2")
	w.wantBacklog(w.other, "")
	w.crash()
	w.reclaim()
	w.wantBacklog(w.home, "pending=4 failed=2 held=2")
	w.tick(2 * time.Hour)
	for _, job := range w.claim(w.home, 10) {
		w.succeed(job)
	}
	w.wantBacklog(w.home, "failed=2 held=2")
}

func numbersEmpty(w *world) {
	series, err := w.store.Series(w.Context(), store.NumbersQuery{Project: w.home.project, Scope: store.BySource})
	if err != nil || series != nil {
		w.Errorf("series of nothing: %v, %v", series, err)
	}
	backlog, err := w.store.Backlog(w.Context(), w.home.project)
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

func (w *world) retain(name string, keep hook.Retention) {
	w.Helper()
	p, err := w.store.Projects().Get(w.Context(), 0, name)
	w.must(err)
	p.Retention = keep
	w.must(w.store.Projects().Update(w.Context(), &p))
}

func (w *world) prune() store.Pruned {
	w.Helper()
	pruned, err := w.store.Prune(w.Context(), w.now)
	w.must(err)
	return pruned
}

const day = 24 * time.Hour

func pruneOld(w *world) {
	w.retain("default", hook.Retention{Events: hook.Duration(day)})
	id := w.waiting(w.home)
	for range 3 {
		w.settle(hook.Settlement{Job: w.claim(w.home, 1)[0], State: hook.StatePending, Next: w.now, Attempt: w.attempt(hook.OutcomeTimeout, 0)})
	}
	w.fail(w.claim(w.home, 1)[0])
	old := w.delivery(w.home, id).Event
	w.tick(day)
	young := w.accept(w.event(w.home, w.target(w.home)))
	if pruned := w.prune(); pruned.Events != 0 {
		w.Errorf("exactly as old as the retention, and gone: %+v", pruned)
	}
	w.tick(time.Millisecond)
	pruned := w.prune()
	if pruned.Events != 1 || pruned.Deliveries != 1 || pruned.Attempts != 4 {
		w.Errorf("%+v, want 1 event, 1 delivery, 4 attempts", pruned)
	}
	_, err := w.store.Event(w.Context(), w.home.project, old)
	w.wants(hook.KindNotFound, err)
	_, err = w.store.Delivery(w.Context(), w.home.project, id)
	w.wants(hook.KindNotFound, err)
	_, err = w.store.Event(w.Context(), w.home.project, young.ID)
	w.must(err)
	w.wantBacklog(w.home, "sending=1")
	if n := len(w.events(store.EventQuery{Project: w.home.project})); n != 1 {
		w.Errorf("%d events are listed, want 1", n)
	}
}

func pruneKeepsWaiting(w *world) {
	w.retain("default", hook.Retention{Events: hook.Duration(day)})
	ids := w.each(w.home)
	w.tick(30 * day)
	pruned := w.prune()
	if pruned.Events != 3 {
		w.Errorf("%d events went, want 3: succeeded, failed and canceled", pruned.Events)
	}
	for _, state := range []hook.State{hook.StatePending, hook.StateHeld, hook.StateSending} {
		d := w.inState(w.home, ids[state], state)
		_, err := w.store.Event(w.Context(), w.home.project, d.Event)
		w.must(err)
	}
	if again := w.prune(); again.Events != 0 {
		w.Errorf("%+v went in a second run", again)
	}
	w.crash()
	if pruned := w.prune(); pruned.Events != 0 {
		w.Errorf("%+v went before the reclaim", pruned)
	}
	w.reclaim()
	w.inState(w.home, ids[hook.StateSending], hook.StatePending)
}

func pruneForEver(w *world) {
	w.succeed(w.inline(w.home))
	w.must(w.store.Refuse(w.Context(), w.refusal(w.home)))
	w.tick(300 * day)
	if pruned := w.prune(); pruned != (store.Pruned{}) {
		w.Errorf("%+v went", pruned)
	}
}

func pruneByProject(w *world) {
	w.retain("default", hook.Retention{Events: hook.Duration(day)})
	w.retain("other", hook.Retention{Events: hook.Duration(3 * day)})
	w.succeed(w.inline(w.home))
	w.succeed(w.inline(w.other))
	w.tick(2 * day)
	if pruned := w.prune(); pruned.Events != 1 {
		w.Errorf("%d events went, want 1", pruned.Events)
	}
	if n := len(w.events(store.EventQuery{Project: w.other.project})); n != 1 {
		w.Errorf("%d events of the other project, want 1", n)
	}
	w.tick(2 * day)
	if pruned := w.prune(); pruned.Events != 1 {
		w.Errorf("%d events went, want 1", pruned.Events)
	}
}

func pruneMany(w *world) {
	const events = 700
	w.retain("default", hook.Retention{Events: hook.Duration(day)})
	fillEvents(w, events)
	w.tick(2 * day)
	if pruned := w.prune(); pruned.Events != events {
		w.Errorf("%d events went, want %d", pruned.Events, events)
	}
}

func pruneDeletedProject(w *world) {
	w.succeed(w.inline(w.other))
	w.must(w.store.Refuse(w.Context(), w.refusal(w.other)))
	w.succeed(w.inline(w.home))
	w.must(w.store.Connections().Delete(w.Context(), w.other.project, "orders"))
	w.must(w.store.Sources().Delete(w.Context(), w.other.project, "shop"))
	w.must(w.store.Destinations().Delete(w.Context(), w.other.project, "erp"))
	w.must(w.store.Projects().Delete(w.Context(), 0, "other"))
	pruned := w.prune()
	if pruned.Events != 1 || pruned.Deliveries != 1 || pruned.Refusals != 1 || pruned.Numbers != 3 {
		w.Errorf("%+v went, want all of the deleted project", pruned)
	}
	if n := len(w.events(store.EventQuery{Project: w.home.project})); n != 1 {
		w.Errorf("%d events of the project that is left, want 1", n)
	}
}

func pruneRest(w *world) {
	w.retain("default", hook.Retention{Refused: hook.Duration(day)})
	w.must(w.store.Refuse(w.Context(), w.refusal(w.home)))
	w.tick(2 * day)
	w.must(w.store.Refuse(w.Context(), w.refusal(w.home)))
	if pruned := w.prune(); pruned.Refusals != 1 || pruned.Numbers != 0 {
		w.Errorf("%+v went, want 1 refusal", pruned)
	}
	w.tick(500 * day)
	if pruned := w.prune(); pruned.Refusals != 1 || pruned.Numbers != 2 {
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

func storeReady(w *world) { w.must(w.store.Ready(w.Context())) }

func storeStats(w *world) {
	before, err := w.store.Stats(w.Context())
	w.must(err)
	for range 3 {
		w.accept(w.event(w.home))
	}
	after, err := w.store.Stats(w.Context())
	w.must(err)
	if after.SizeBytes <= 0 || after.Operations != before.Operations+3 || after.Commits <= before.Commits || after.Commits > before.Commits+3 ||
		after.CommitTime <= before.CommitTime || after.LastCommitAt.IsZero() {
		w.Errorf("before %+v, after %+v", before, after)
	}
}

func storeClosed(w *world) {
	job := w.inline(w.home)
	w.must(w.store.Close())
	_, err := w.store.Accept(w.Context(), w.event(w.home))
	w.wants(hook.KindUnavailable, err)
	w.wants(hook.KindUnavailable, w.store.Ready(w.Context()))
	w.wants(hook.KindUnavailable, w.store.Sources().Create(w.Context(), &hook.Source{Project: w.home.project, Name: "x"}))
	done := make(chan error, 1)
	w.store.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded}, func(err error) { done <- err })
	w.wants(hook.KindUnavailable, <-done)
	w.must(w.store.Close())
}

func closeWaits(w *world) {
	const jobs = 50
	var list []*hook.Job
	for range jobs {
		list = append(list, w.inline(w.home))
	}
	var group sync.WaitGroup
	group.Add(jobs)
	for _, job := range list {
		w.store.Settle(hook.Settlement{Job: job, State: hook.StateSucceeded, Attempt: w.attempt(hook.OutcomeSuccess, 200)}, func(err error) {
			if err != nil {
				w.Error(err)
			}
			group.Done()
		})
	}
	w.restart()
	group.Wait()
	if n := w.reclaim(); n != 0 {
		w.Errorf("%d settlements were lost by closing", n)
	}
}

func newStore(w *world) {
	s := w.harness.Open(w.T)
	catalogue, err := s.Catalogue(w.Context())
	w.must(err)
	if len(catalogue.Projects) != 1 || catalogue.Projects[0].Name != "default" || len(catalogue.Sources) != 1 || !catalogue.Sources[0].System {
		w.Errorf("a new store has %+v", catalogue)
	}
}
