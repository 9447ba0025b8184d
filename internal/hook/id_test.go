package hook_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestIDTextRoundTripKeepsOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := hook.EventID(rapid.Int64Range(1, 1<<63-1).Draw(t, "a"))
		b := hook.EventID(rapid.Int64Range(1, 1<<63-1).Draw(t, "b"))
		back, err := hook.ParseID[hook.EventID](a.String())
		if err != nil || back != a {
			t.Fatalf("%d printed as %s reads as %d, %v", a, a, back, err)
		}
		if (a < b) != (a.String() < b.String()) {
			t.Fatalf("%d and %d sort unlike %s and %s", a, b, a, b)
		}
	})
}

func TestIDRefusesWhatIsNotOne(t *testing.T) {
	t.Parallel()
	good := hook.EventID(12345).String()
	for _, text := range []string{
		"", "evt_", good[:len(good)-1], good + "0", "src_" + good[4:], strings.ToUpper(good), "evt_u000000000000", "evt_zzzzzzzzzzzzz", "evt_0000000000000",
	} {
		if id, err := hook.ParseID[hook.EventID](text); err == nil {
			t.Errorf("%q was read as %v", text, id)
		}
	}
}

func TestZeroIDIsEmptyText(t *testing.T) {
	t.Parallel()
	id := hook.EventID(7)
	if err := id.UnmarshalText(nil); err != nil || id != 0 || id.String() != "" {
		t.Errorf("the empty text reads as %d (%v) and prints as %q", id, err, id.String())
	}
}

func TestIDsGrowWhateverTheClockDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := hook.NewIDs(rapid.IntRange(0, hook.MaxNode).Draw(t, "node"))
		last := int64(0)
		for _, offset := range rapid.SliceOfN(rapid.Int64Range(-5000, 5000), 1, 200).Draw(t, "clock") {
			next := ids.Next(noon.Add(time.Duration(offset) * time.Millisecond))
			if next <= last {
				t.Fatalf("%d came after %d", next, last)
			}
			last = next
		}
	})
}

func TestIDsAreUniqueInParallel(t *testing.T) {
	t.Parallel()
	const workers, each = 8, 5000
	ids := hook.NewIDs(3)
	made := make([][]int64, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for range each {
				made[w] = append(made[w], ids.Next(noon))
			}
		})
	}
	group.Wait()
	all := slices.Concat(made...)
	slices.Sort(all)
	if unique := len(slices.Compact(all)); unique != workers*each {
		t.Errorf("%d ids, %d of them distinct", workers*each, unique)
	}
}

func TestIDKnowsItsTime(t *testing.T) {
	t.Parallel()
	id := hook.EventID(hook.NewIDs(hook.MaxNode).Next(noon))
	if !id.Time().Equal(noon) {
		t.Errorf("an id of %s says %s", noon, id.Time())
	}
	if int64(id) < hook.MinID(noon) || int64(id) >= hook.MinID(noon.Add(time.Millisecond)) {
		t.Errorf("%d is outside of the range of its millisecond, from %d", id, hook.MinID(noon))
	}
}

func TestIDsGrowBeyondWhatAStoreHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		node := rapid.IntRange(0, hook.MaxNode)
		held := int64(0)
		other := hook.NewIDs(node.Draw(t, "node of before"))
		for range rapid.IntRange(1, 5000).Draw(t, "how many") {
			held = other.Next(noon)
		}
		ids := hook.NewIDs(node.Draw(t, "node"))
		ids.Passed(held)
		ids.Passed(0) // It never goes back.
		yesterday := noon.Add(-24 * time.Hour)
		if next := ids.Next(yesterday); next <= held {
			t.Fatalf("%d came after %d", next, held)
		}
	})
}
