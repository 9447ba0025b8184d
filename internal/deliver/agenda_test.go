package deliver

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever is added, no moment passes without a look: the next one is never later than
// the first that was added and not taken.
func TestDueTimesMissNothing(t *testing.T) {
	base := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var due dueTimes
		now := base
		var waiting []time.Time
		count := rapid.IntRange(0, 3*maxDueTimes).Draw(t, "count")
		spread := rapid.Int64Range(1, int64(48*time.Hour)).Draw(t, "spread")
		seed := rapid.Uint64().Draw(t, "seed")
		for range count {
			seed = seed*6364136223846793005 + 1442695040888963407
			at := now.Add(time.Duration(int64(seed>>2) % spread))
			due.add(at)
			waiting = append(waiting, at)
		}
		slices.SortFunc(waiting, time.Time.Compare)
		for len(waiting) > 0 {
			next, ok := due.next()
			if !ok {
				if !due.partial {
					t.Fatalf("%d moments are forgotten without a note", len(waiting))
				}
				return
			}
			if late := next.Sub(waiting[0]); late > dueResolution {
				t.Fatalf("the next look is %v after the first moment", late)
			}
			if next.Before(waiting[0]) && !due.partial {
				t.Fatalf("the next look is %v before the first moment", waiting[0].Sub(next))
			}
			now = next
			if !due.take(now) {
				t.Fatal("nothing to take at the moment that was announced")
			}
			for len(waiting) > 0 && !waiting[0].After(now) {
				waiting = waiting[1:]
			}
			if due.partial && due.dropped == 0 {
				return // the first that had no room was reached: the store is asked
			}
		}
		if len(due.times) > maxDueTimes {
			t.Fatalf("%d moments are kept", len(due.times))
		}
	})
}
