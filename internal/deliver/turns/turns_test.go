package turns_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"malote.dev/malote/internal/deliver/turns"
)

type entry struct {
	key    int
	number int
}

func TestGroupsTakeTurns(t *testing.T) {
	var q turns.Queue[int, entry]
	for i := range 1000 {
		q.Push(1, entry{1, i})
	}
	for i := range 3 {
		q.Push(2, entry{2, i})
	}
	var got []entry
	for range 8 {
		it, _ := q.Pop()
		got = append(got, it)
	}
	want := []entry{{1, 0}, {2, 0}, {1, 1}, {2, 1}, {1, 2}, {2, 2}, {1, 3}, {1, 4}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	q.Push(3, entry{3, 0})
	if it, _ := q.Pop(); it.key == 3 {
		t.Error("a new group came before one that waited")
	}
	if it, _ := q.Pop(); it.key != 3 {
		t.Errorf("then came %v, want the new group", it)
	}
	if it, _ := q.PopLast(); it != (entry{1, 999}) {
		t.Errorf("the last of the longest group is %v", it)
	}
}

// Whatever is done, nothing gets lost or reordered within its group, and no group waits
// for more than one turn of each other one.
func TestQueueIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q turns.Queue[int, entry]
		waiting := map[int][]entry{}
		passed := map[int]map[int]int{} // by group that waits: turns of the others since it could have come
		count, next := 0, 0
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			switch do := rapid.IntRange(0, 9).Draw(t, "do"); {
			case do < 5:
				key := rapid.IntRange(0, 5).Draw(t, "key")
				if len(waiting[key]) == 0 {
					passed[key] = map[int]int{}
				}
				q.Push(key, entry{key, next})
				waiting[key] = append(waiting[key], entry{key, next})
				next++
				count++
			case do < 9:
				it, ok := q.Pop()
				if ok != (count > 0) {
					t.Fatalf("popped %v of %d", ok, count)
				}
				if !ok {
					continue
				}
				if waiting[it.key][0] != it {
					t.Fatalf("popped %v, want %v", it, waiting[it.key][0])
				}
				waiting[it.key] = waiting[it.key][1:]
				count--
				passed[it.key] = map[int]int{}
				for key, others := range passed {
					if len(waiting[key]) == 0 || key == it.key {
						continue
					}
					others[it.key]++
					if others[it.key] > 1 {
						t.Fatalf("group %d came twice while %d waited", it.key, key)
					}
				}
			default:
				it, ok := q.PopLast()
				if !ok {
					continue
				}
				of := waiting[it.key]
				if of[len(of)-1] != it {
					t.Fatalf("took %v from the end, want %v", it, of[len(of)-1])
				}
				for key, others := range waiting {
					if len(others) > len(of) {
						t.Fatalf("took from group %d although %d has more", it.key, key)
					}
				}
				waiting[it.key] = of[:len(of)-1]
				count--
			}
			if q.Len() != count {
				t.Fatalf("%d wait, want %d", q.Len(), count)
			}
		}
	})
}
