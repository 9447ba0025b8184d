package turns

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var queue ring[int]
		var model []int
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(*rapid.T) {
				next++
				queue.push(next)
				model = append(model, next)
			},
			"pop": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("it is empty")
				}
				if got := queue.pop(); got != model[0] {
					t.Fatalf("pop gave %d, want %d", got, model[0])
				}
				model = model[1:]
			},
			"popLast": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("it is empty")
				}
				if got := queue.popLast(); got != model[len(model)-1] {
					t.Fatalf("popLast gave %d, want %d", got, model[len(model)-1])
				}
				model = model[:len(model)-1]
			},
			"": func(t *rapid.T) {
				if queue.count != len(model) {
					t.Fatalf("%d items, want %d", queue.count, len(model))
				}
				if len(queue.slots) > max(minSlots, 16*max(1, queue.count)) {
					t.Fatalf("%d slots for %d items", len(queue.slots), queue.count)
				}
			},
		})
	})
}
