package notice_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/notice"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// place is a destination and a source as a store and a catalogue show them.
type place struct {
	states   map[hook.State]int64
	oldest   time.Time
	patience time.Duration
	paused   bool
	numbers  hook.Numbers // of every minute, of the source and the destination
	refusals []hook.Refusal
	asked    int // how often for the oldest
}

// fake is what a Watcher looks at: one place, in project 1.
type fake struct{ *place }

func (f fake) Projects() []hook.ProjectID { return []hook.ProjectID{1} }

func (f fake) Destination(id hook.DestinationID) (*hook.Destination, time.Duration, bool) {
	return &hook.Destination{ID: id, Project: 1, DestinationSpec: hook.DestinationSpec{Paused: f.paused}}, f.patience, id == 7
}

func (f fake) Source(id hook.SourceID) (string, bool) { return "shop", id == 5 }

func (f fake) Backlog(context.Context, hook.ProjectID) (map[hook.DestinationID]map[hook.State]int64, error) {
	found := map[hook.DestinationID]map[hook.State]int64{8: {hook.StatePending: 1 << 40}} // it was deleted
	if len(f.states) > 0 {
		found[7] = f.states
	}
	return found, nil
}

func (f fake) Oldest(context.Context, hook.ProjectID, hook.DestinationID) (time.Time, error) {
	f.asked++
	return f.oldest, nil
}

func (f fake) Totals(_ context.Context, query store.NumbersQuery) (map[int64]hook.Numbers, error) {
	if query.Scope != store.BySource || query.To.Sub(query.From) != time.Minute || query.To.Second() != 0 {
		return nil, hook.Errorf(hook.KindInvalid, "not a minute of sources: %+v", query)
	}
	return map[int64]hook.Numbers{5: f.numbers, 6: {Refused: 1000}}, nil // 6 was deleted
}

func (f fake) Series(_ context.Context, query store.NumbersQuery) ([]hook.Numbers, error) {
	return slices.Repeat([]hook.Numbers{f.numbers}, int(query.To.Sub(query.From)/time.Minute)), nil
}

func (f fake) ListRefusals(context.Context, store.RefusalQuery) (page.Page[hook.Refusal], error) {
	return page.Page[hook.Refusal]{Items: f.refusals, Done: true}, nil
}

// watch lets a Watcher look for so many minutes, calls each before each look, and
// returns the notices with the minute in which they were given.
func watch(t *testing.T, f fake, minutes int, each func(minute int)) map[int][]hook.Notice {
	t.Helper()
	given := map[int][]hook.Notice{}
	minute := 0
	w := notice.NewWatcher(notice.WatcherOptions{
		Store: f, Catalogue: f, Notify: func(n hook.Notice) { given[minute] = append(given[minute], n) },
	})
	for minute = 1; minute <= minutes; minute++ {
		each(minute)
		<-time.After(notice.WatchEvery)
		w.Look(t.Context(), time.Now())
	}
	return given
}

func TestAWatcherLooksOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{&place{numbers: hook.Numbers{Refused: 100}}}
		var at []time.Duration
		began := time.Now()
		w := notice.NewWatcher(notice.WatcherOptions{Store: f, Catalogue: f, Notify: func(hook.Notice) { at = append(at, time.Since(began)) }})
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
		defer cancel()
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		want := []time.Duration{time.Minute, time.Minute + notice.RefusedAgain, time.Minute + 2*notice.RefusedAgain}
		if !slices.Equal(at, want) {
			t.Errorf("told after %v, want %v", at, want)
		}
	})
}

// minutesOf returns when notices of a type were given.
func minutesOf(given map[int][]hook.Notice, kind string) (minutes []int) {
	for minute, list := range given {
		for i := range list {
			if list[i].Type == kind {
				minutes = append(minutes, minute)
			}
		}
	}
	slices.Sort(minutes)
	return minutes
}

func TestABacklogThatGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{&place{numbers: hook.Numbers{Deliveries: 600, Succeeded: 240, Failed: 30, Canceled: 30}}}
		sizes := []int64{900, 950, 1100, 1200, 1300, 1400, 1500, 1600, 5000, 400, 101, 100, 50, 0, 0}
		given := watch(t, f, len(sizes), func(minute int) {
			n := sizes[minute-1]
			f.oldest = time.Now().Add(-10 * time.Second)
			f.states = map[hook.State]int64{hook.StatePending: n / 2, hook.StateHeld: n - n/2, hook.StateFailed: 1 << 30}
		})
		if got := minutesOf(given, hook.NoticeBacklogGrowing); !slices.Equal(got, []int{6}) {
			t.Fatalf("told that it grows in the minutes %v, want in the 6th alone: it grew five times in a row", got)
		}
		if got := minutesOf(given, hook.NoticeBacklogDrained); !slices.Equal(got, []int{12}) {
			t.Fatalf("told that it is drained in the minutes %v, want in the 12th", got)
		}
		grew := given[6][0]
		data := grew.Data.(notice.Backlog)
		if grew.Destination != 7 || grew.Key != hook.DestinationID(7).String() || grew.Project != 1 ||
			data.Waiting != 1400 || data.Arriving != 10 || data.Leaving != 5 || data.Oldest.IsZero() {
			t.Errorf("told %+v", grew)
		}
		drained := given[12][0].Data.(notice.Backlog)
		if drained.Waiting != 100 || drained.Highest != 5000 || !drained.Growing.Equal(grew.At) {
			t.Errorf("told at the end %+v", drained)
		}
	})
}

func TestABacklogThatIsLargeAndShrinksIsNotToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{&place{}}
		given := watch(t, f, 30, func(minute int) {
			f.oldest = time.Now().Add(-time.Minute)
			f.states = map[hook.State]int64{hook.StatePending: int64(100_000 - minute*100 + minute%4*150)}
		})
		if len(given) != 0 {
			t.Errorf("told %v", given)
		}
	})
}

func TestADeliveryThatWaitsTooLong(t *testing.T) {
	for name, test := range map[string]struct {
		place place
		want  []int
	}{
		"at once after the start": {place{oldest: time.Now().Add(-365 * 24 * time.Hour)}, []int{1}},
		"later":                   {place{}, []int{14}}, // it was accepted a minute before the first look
		"with a delay":            {place{patience: 10 * time.Minute}, []int{24}},
		"on purpose":              {place{paused: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fake{&test.place}
				f.states = map[hook.State]int64{hook.StatePending: 1}
				if f.oldest.IsZero() {
					f.oldest = time.Now()
				} else {
					f.oldest = time.Now().Add(-365 * 24 * time.Hour)
				}
				given := watch(t, f, 60, func(minute int) {
					if minute == 50 {
						f.states = nil
					}
				})
				got := minutesOf(given, hook.NoticeBacklogGrowing)
				if len(got) != len(test.want) || len(got) > 0 && (got[0] < test.want[0] || got[0] > test.want[0]+1) {
					t.Errorf("told in the minutes %v, want %v", got, test.want)
				}
				if drained := minutesOf(given, hook.NoticeBacklogDrained); len(test.want) > 0 && !slices.Equal(drained, []int{50}) {
					t.Errorf("told that it is over in the minutes %v, want in the 50th", drained)
				}
			})
		})
	}
}

func TestTheStoreIsHardlyAskedForTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{&place{}}
		watch(t, f, 600, func(int) {
			f.oldest = time.Now().Add(-time.Second)
			f.states = map[hook.State]int64{hook.StateSending: 10}
		})
		if f.asked > 600/13 {
			t.Errorf("asked %d times in ten hours", f.asked)
		}
	})
}

func TestASourceThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{&place{}}
		given := watch(t, f, 60, func(minute int) {
			now := time.Now()
			f.refusals = []hook.Refusal{
				{ID: 4, Reason: "too_large", ReceivedAt: now},
				{ID: 3, Reason: "bad_signature", ReceivedAt: now},
				{ID: 2, Reason: "bad_signature", ReceivedAt: now},
				{ID: 1, Reason: "too_large", ReceivedAt: now.Add(-time.Hour)},
				{ID: 1, Reason: "too_large", ReceivedAt: now.Add(-time.Hour)},
			}
			switch {
			case minute < 5:
				f.numbers = hook.Numbers{Refused: 9}
			case minute < 10:
				f.numbers = hook.Numbers{Refused: 100, Accepted: 60, Duplicates: 40}
			case minute < 30:
				f.numbers = hook.Numbers{Refused: 100, Accepted: 60, Duplicates: 39}
			default:
				f.numbers = hook.Numbers{Accepted: 100}
			}
		})
		if got := minutesOf(given, hook.NoticeSourceRefusing); !slices.Equal(got, []int{10, 25}) {
			t.Fatalf("told in the minutes %v, want in the 10th and a quarter of an hour later", got)
		}
		told := given[10][0]
		data := told.Data.(notice.Refusing)
		if told.Key != hook.SourceID(5).String() || told.Destination != 0 || data.Source != (notice.Source{ID: 5, Name: "shop"}) ||
			data.Refused != 100 || data.Accepted != 99 || data.Reason != "bad_signature" || data.Example != 2 || data.Minute.Second() != 0 {
			t.Errorf("told %+v", told)
		}
	})
}
