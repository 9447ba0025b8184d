package turns

// ring is a queue that grows and shrinks with need. The zero value is empty.
type ring[T any] struct {
	slots []T
	head  int
	count int
}

const minSlots = 16

func (r *ring[T]) push(it T) {
	if r.count == len(r.slots) {
		r.resize(max(minSlots, 2*len(r.slots)))
	}
	r.slots[(r.head+r.count)%len(r.slots)] = it
	r.count++
}

// pop takes the item that waits longest. There is one.
func (r *ring[T]) pop() T {
	it := r.empty(r.head)
	r.head = (r.head + 1) % len(r.slots)
	r.shrink()
	return it
}

// popLast takes the item that came last. There is one.
func (r *ring[T]) popLast() T {
	it := r.empty((r.head + r.count - 1) % len(r.slots))
	r.shrink()
	return it
}

// empty takes what is in a slot.
func (r *ring[T]) empty(at int) T {
	var none T
	it := r.slots[at]
	r.slots[at] = none
	r.count--
	return it
}

func (r *ring[T]) shrink() {
	if len(r.slots) > minSlots && r.count <= len(r.slots)/8 {
		r.resize(len(r.slots) / 2)
	}
}

func (r *ring[T]) resize(size int) {
	slots := make([]T, size)
	for i := range r.count {
		slots[i] = r.slots[(r.head+i)%len(r.slots)]
	}
	r.slots, r.head = slots, 0
}
