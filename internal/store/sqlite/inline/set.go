// Package inline remembers what a process has of its log in memory alone: the deliveries
// that were accepted to be attempted at once, and how far up everything older is safe.
package inline

import (
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
)

// Delivery is a delivery that Accept left to its caller to attempt and that has
// not been settled.
type Delivery struct {
	Project     hook.ProjectID
	Event       hook.EventID
	Connection  hook.ConnectionID
	Destination hook.DestinationID
	Created     int64     // Unix milliseconds
	Since       time.Time // when its commit was
	Row         bool      // it took long and has a row by now
	OrderKey    string    // it is the head of this key
}

// Key returns the order key that it is the head of; that of no text: none.
func (d *Delivery) Key() Key { return Key{d.Connection, d.OrderKey} }

// shown returns it as lists show it.
func (d *Delivery) shown(id hook.DeliveryID) hook.Delivery {
	received := time.UnixMilli(d.Created).UTC()
	return hook.Delivery{
		ID: id, Project: d.Project, Event: d.Event, Connection: d.Connection, Destination: d.Destination,
		State: hook.StateSending, OrderKey: d.OrderKey, CreatedAt: received, UpdatedAt: received,
	}
}

// Key is an order key of a connection.
type Key struct {
	Connection hook.ConnectionID
	Text       string // "": no order
}

// Set is the inline deliveries of this process. The writer changes it, after the
// commit that the change belongs to; lists read it. It is safe for concurrent use.
type Set struct {
	mu    sync.RWMutex
	open  map[hook.DeliveryID]Delivery
	bare  int                     // how many have no row
	heads map[Key]hook.DeliveryID // those that are ordered by a key
}

// NewSet returns an empty set.
func NewSet() *Set {
	return &Set{open: map[hook.DeliveryID]Delivery{}, heads: map[Key]hook.DeliveryID{}}
}

// Head returns the one that is ordered by a key; 0 when there is none.
func (s *Set) Head(ref Key) hook.DeliveryID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.heads[ref]
}

// Get returns one of them; false: it is not there.
func (s *Set) Get(id hook.DeliveryID) (Delivery, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, ok := s.open[id]
	return d, ok
}

// Unwritten reports whether some have no row.
func (s *Set) Unwritten() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.bare > 0
}

// Change adds, marks as having a row, and removes.
func (s *Set) Change(opened []Opened, written, closed []hook.DeliveryID) {
	if len(opened)+len(written)+len(closed) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range opened {
		d := &opened[i]
		s.open[d.ID] = d.Delivery
		s.bare++
		if d.OrderKey != "" {
			s.heads[d.Key()] = d.ID
		}
	}
	for _, id := range written {
		if d, ok := s.open[id]; ok && !d.Row {
			d.Row = true
			s.open[id] = d
			s.bare--
		}
	}
	for _, id := range closed {
		if d, ok := s.open[id]; ok {
			if !d.Row {
				s.bare--
			}
			delete(s.open, id)
			if d.OrderKey != "" && s.heads[d.Key()] == id {
				delete(s.heads, d.Key())
			}
		}
	}
}

// Opened is a Delivery with its id.
type Opened struct {
	Delivery

	ID hook.DeliveryID
}

// Old returns those without a row that were opened before the given time.
func (s *Set) Old(before time.Time) []Opened {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.bare == 0 {
		return nil
	}
	var list []Opened
	for id, d := range s.open {
		if !d.Row && d.Since.Before(before) {
			list = append(list, Opened{d, id})
		}
	}
	return list
}

// Oldest returns the smallest event id of those without a row.
func (s *Set) Oldest() (hook.EventID, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var oldest hook.EventID
	for _, d := range s.open {
		if !d.Row && (oldest == 0 || d.Event < oldest) {
			oldest = d.Event
		}
	}
	return oldest, oldest != 0
}

// Inline implements sqlstore.Memory.
func (s *Set) Inline(id hook.DeliveryID) (hook.Delivery, bool) {
	d, ok := s.Get(id)
	return d.shown(id), ok
}

// EachInline implements sqlstore.Memory. What it calls must not change the set.
func (s *Set) EachInline(project hook.ProjectID, do func(d *hook.Delivery, row bool)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id, d := range s.open {
		if d.Project == project {
			shown := d.shown(id)
			do(&shown, d.Row)
		}
	}
}
