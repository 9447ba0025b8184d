// Package turns is a queue in which groups take turns, each with its own items in
// order, so that the backlog of one does not delay the others.
package turns

import "slices"

// Queue is such a queue, of items T in groups K. The zero value is empty.
type Queue[K comparable, T any] struct {
	count  int
	groups []*group[K, T] // those with items; a single one stays when it has none
	at     int            // whose turn it is
	known  map[K]*group[K, T]
	last   *group[K, T] // that was pushed to
}

// group is what waits of one group.
type group[K comparable, T any] struct {
	ring[T]

	key K
}

// Len is how many items wait.
func (q *Queue[K, T]) Len() int { return q.count }

// Push puts an item behind the others of its group.
func (q *Queue[K, T]) Push(key K, it T) {
	q.group(key).push(it)
	q.count++
}

// group returns a group, a new one behind the others if there is none.
func (q *Queue[K, T]) group(key K) *group[K, T] {
	if q.last != nil && q.last.key == key {
		return q.last
	}
	g := q.known[key]
	switch {
	case g != nil:
	case q.count == 0 && len(q.groups) == 1:
		g = q.groups[0]
		delete(q.known, g.key)
		g.key = key
		q.known[key] = g
	default:
		g = &group[K, T]{key: key}
		if q.known == nil {
			q.known = make(map[K]*group[K, T])
		}
		q.known[key] = g
		q.groups = slices.Insert(q.groups, q.at, g) // behind the one that was before
		q.at = (q.at + 1) % len(q.groups)
	}
	q.last = g
	return g
}

// Pop takes the longest waiting item of the group whose turn it is; false when none
// waits.
func (q *Queue[K, T]) Pop() (it T, ok bool) {
	if q.count == 0 {
		return it, false
	}
	g := q.groups[q.at]
	it = g.pop()
	q.count--
	if g.count > 0 || len(q.groups) == 1 {
		q.at = (q.at + 1) % len(q.groups)
	} else {
		q.remove(q.at)
	}
	return it, true
}

// PopLast takes what came last in the group of which most waits; false when none waits.
func (q *Queue[K, T]) PopLast() (it T, ok bool) {
	if q.count == 0 {
		return it, false
	}
	longest := 0
	for i, g := range q.groups {
		if g.count > q.groups[longest].count {
			longest = i
		}
	}
	g := q.groups[longest]
	it = g.popLast()
	q.count--
	if g.count == 0 && len(q.groups) > 1 {
		q.remove(longest)
	}
	return it, true
}

// remove forgets a group without items. The turn goes to the one behind it where it was
// its own.
func (q *Queue[K, T]) remove(i int) {
	g := q.groups[i]
	q.groups = slices.Delete(q.groups, i, i+1)
	delete(q.known, g.key)
	if q.last == g {
		q.last = nil
	}
	if q.at > i {
		q.at--
	}
	if q.at == len(q.groups) {
		q.at = 0
	}
}
