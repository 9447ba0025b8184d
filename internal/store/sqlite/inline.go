package sqlite

import (
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store/sqlstore"
)

// inlineDelivery is a delivery that Accept left to its caller to attempt and that has
// not been settled.
type inlineDelivery struct {
	project     hook.ProjectID
	event       hook.EventID
	connection  hook.ConnectionID
	destination hook.DestinationID
	created     int64     // Unix milliseconds
	since       time.Time // when its commit was
	row         bool      // it took long and has a row by now
	orderKey    string    // it is the head of this key
}

func (d *inlineDelivery) ref() keyRef { return keyRef{d.connection, d.orderKey} }

// delivery returns it as lists show it.
func (d *inlineDelivery) delivery(id hook.DeliveryID) hook.Delivery {
	return hook.Delivery{
		ID: id, Project: d.project, Event: d.event, Connection: d.connection, Destination: d.destination,
		State: hook.StateSending, OrderKey: d.orderKey, CreatedAt: sqlstore.Time(d.created), UpdatedAt: sqlstore.Time(d.created),
	}
}

// inlineSet is the inline deliveries of this process. The writer changes it, after the
// commit that the change belongs to; lists read it.
type inlineSet struct {
	mu    sync.RWMutex
	open  map[hook.DeliveryID]inlineDelivery
	bare  int                        // how many have no row
	heads map[keyRef]hook.DeliveryID // those that are ordered by a key
}

func newInlineSet() *inlineSet {
	return &inlineSet{open: map[hook.DeliveryID]inlineDelivery{}, heads: map[keyRef]hook.DeliveryID{}}
}

// head returns the one that is ordered by a key; 0 when there is none.
func (s *inlineSet) head(ref keyRef) hook.DeliveryID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.heads[ref]
}

func (s *inlineSet) get(id hook.DeliveryID) (inlineDelivery, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, ok := s.open[id]
	return d, ok
}

// unwritten reports whether some have no row.
func (s *inlineSet) unwritten() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.bare > 0
}

// change adds, marks as having a row, and removes.
func (s *inlineSet) change(opened []newInline, written, closed []hook.DeliveryID) {
	if len(opened)+len(written)+len(closed) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range opened {
		d := &opened[i]
		s.open[d.id] = d.inlineDelivery
		s.bare++
		if d.orderKey != "" {
			s.heads[d.ref()] = d.id
		}
	}
	for _, id := range written {
		if d, ok := s.open[id]; ok && !d.row {
			d.row = true
			s.open[id] = d
			s.bare--
		}
	}
	for _, id := range closed {
		if d, ok := s.open[id]; ok {
			if !d.row {
				s.bare--
			}
			delete(s.open, id)
			if d.orderKey != "" && s.heads[d.ref()] == id {
				delete(s.heads, d.ref())
			}
		}
	}
}

// newInline is an inlineDelivery with its id.
type newInline struct {
	inlineDelivery

	id hook.DeliveryID
}

// old returns those without a row that were opened before the given time.
func (s *inlineSet) old(before time.Time) []newInline {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.bare == 0 {
		return nil
	}
	var list []newInline
	for id, d := range s.open {
		if !d.row && d.since.Before(before) {
			list = append(list, newInline{d, id})
		}
	}
	return list
}

// oldest returns the smallest event id of those without a row.
func (s *inlineSet) oldest() (hook.EventID, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var oldest hook.EventID
	for _, d := range s.open {
		if !d.row && (oldest == 0 || d.event < oldest) {
			oldest = d.event
		}
	}
	return oldest, oldest != 0
}

// list returns those that where accepts.
func (s *inlineSet) list(where func(hook.DeliveryID, *inlineDelivery) bool) []hook.Delivery {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []hook.Delivery
	for id, d := range s.open {
		if where(id, &d) {
			list = append(list, d.delivery(id))
		}
	}
	return list
}

// mark is the writer's copy of the low-water mark: an event with an inline target that
// has neither a row nor a place in memory is never below it. See doc.go.
type mark struct {
	stored    hook.EventID
	highest   hook.EventID    // the greatest id of an event so far
	recent    [4]hook.EventID // highest at the last passes, the newest first
	reclaimed bool            // what an earlier process left was dealt with
}

// behind reports whether the stored mark could be raised by a later pass.
func (m *mark) behind() bool { return m.reclaimed && m.stored <= m.highest && m.highest != 0 }

// pass notes that a pass took place and returns what the mark may be raised to: beyond
// everything that was there some passes ago, but not beyond what is open. Events
// accepted a little out of order stay above it without a write of their own.
func (m *mark) pass(oldest hook.EventID, open bool) hook.EventID {
	target := m.recent[len(m.recent)-1] + 1
	copy(m.recent[1:], m.recent[:])
	m.recent[0] = m.highest
	if open {
		target = min(target, oldest)
	}
	if !m.reclaimed {
		return m.stored
	}
	return max(m.stored, target)
}
