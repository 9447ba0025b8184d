package replay

import (
	"context"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// candidate is an event, or deliveries of one, that a replay looks at.
type candidate struct {
	cursor     int64 // where the replay stands after it
	event      hook.EventID
	listed     *hook.Event     // without its payload; nil: not read yet
	deliveries []hook.Delivery // the ones of it that are looked at; nil where events are
}

// walk goes through what a replay may choose, from the oldest to the newest. It reads a
// page at a time.
type walk struct {
	log    Log
	recipe *recipe
	until  int64 // the last one that belongs to it

	cursor int64 // of the last one that was handed out, or of the end of its page
	page   []candidate
	end    int64 // the cursor after the page
	readAt time.Time
	done   bool // there is nothing after the page
}

// walk begins behind the cursor.
func (e *Engine) walk(r *recipe, cursor, until int64) *walk {
	return &walk{log: e.options.Log, recipe: r, cursor: cursor, end: cursor, until: until}
}

// byDeliveries reports whether deliveries are walked, and the cursor is one of theirs.
func (r *recipe) byDeliveries() bool {
	return len(r.Select.Deliveries) > 0 || len(r.Select.Events) == 0 && r.Select.State != 0
}

// ofStates reports whether deliveries are chosen, by the state that they are in.
func (r *recipe) ofStates() bool { return r.Mode == hook.ReplayRetry || r.Select.State != 0 }

// next returns the next candidate. Nil says that a page has ended: the walk is over when
// it is done, and may go on otherwise.
func (w *walk) next(ctx context.Context) (*candidate, error) {
	if len(w.page) > 0 && time.Since(w.readAt) > staleAfter {
		w.page, w.end, w.done = nil, w.cursor, false // what it says of states is old
	}
	if len(w.page) == 0 && !w.done {
		if err := w.read(ctx); err != nil {
			return nil, err
		}
	}
	if len(w.page) == 0 {
		w.cursor = w.end
		return nil, nil //nolint:nilnil // the end of a page is no error
	}
	c := &w.page[0]
	w.page = w.page[1:]
	w.cursor = c.cursor
	return c, nil
}

// over reports whether everything was handed out.
func (w *walk) over() bool { return w.done && len(w.page) == 0 }

// read reads the next page.
func (w *walk) read(ctx context.Context) error {
	w.readAt = time.Now()
	switch s := &w.recipe.Select; {
	case len(s.Events) > 0:
		return w.readEventIDs(ctx, s.Events)
	case len(s.Deliveries) > 0:
		return w.readDeliveryIDs(ctx, s.Deliveries)
	case w.recipe.ofStates():
		return w.readDeliveries(ctx)
	default:
		return w.readEvents(ctx)
	}
}

// request asks for the page after the cursor, walking towards the newest.
func (w *walk) request() page.Request {
	return page.Request{Limit: page.MaxLimit, From: max(w.end, 1), Back: true}
}

func (w *walk) readEvents(ctx context.Context) error {
	s := &w.recipe.Select
	found, err := w.log.Events(ctx, store.EventQuery{
		Project: w.recipe.project, Source: s.Source, Type: s.Type, Key: s.Key, Text: s.Text, After: s.After, Before: s.Before,
		Page: w.request(),
	})
	if err != nil {
		return err
	}
	for i := range slices.Backward(found.Items) {
		event := &found.Items[i]
		w.page = append(w.page, candidate{cursor: int64(event.ID), event: event.ID, listed: event})
	}
	w.turned(found.First, found.Done)
	return nil
}

func (w *walk) readDeliveries(ctx context.Context) error {
	s := &w.recipe.Select
	found, err := w.log.Deliveries(ctx, store.DeliveryQuery{
		Project: w.recipe.project, Connection: s.Connection, Destination: s.Destination, State: s.State, After: s.After, Before: s.Before,
		Page: w.request(),
	})
	if err != nil {
		return err
	}
	for i := range slices.Backward(found.Items) {
		delivery := found.Items[i]
		w.page = append(w.page, candidate{cursor: int64(delivery.ID), event: delivery.Event, deliveries: []hook.Delivery{delivery}})
	}
	w.turned(found.First, found.Done)
	return nil
}

// turned notes where a page ended. What lies behind the last one that belongs to the
// replay is cut off, because the replay itself makes more and more of it.
func (w *walk) turned(end int64, done bool) {
	w.done = done || end <= w.end
	w.end = max(w.end, end)
	if w.end >= w.until {
		w.page = slices.DeleteFunc(w.page, func(c candidate) bool { return c.cursor > w.until })
		w.end, w.done = w.until, true
	}
}

// idsAtOnce is how many events or deliveries that were named are read at once.
const idsAtOnce = 50

func (w *walk) readEventIDs(ctx context.Context, ids []hook.EventID) error {
	from, _ := slices.BinarySearch(ids, hook.EventID(w.end+1))
	ids = ids[from:]
	w.done = len(ids) <= idsAtOnce
	for _, id := range ids[:min(len(ids), idsAtOnce)] {
		c := candidate{cursor: int64(id), event: id}
		if w.recipe.ofStates() {
			var err error
			if c.deliveries, err = deliveriesOf(ctx, w.log, w.recipe, id); err != nil {
				return err
			}
		}
		w.page = append(w.page, c)
		w.end = int64(id)
	}
	return nil
}

func (w *walk) readDeliveryIDs(ctx context.Context, ids []hook.DeliveryID) error {
	from, _ := slices.BinarySearch(ids, hook.DeliveryID(w.end+1))
	ids = ids[from:]
	w.done = len(ids) <= idsAtOnce
	for _, id := range ids[:min(len(ids), idsAtOnce)] {
		delivery, err := w.log.Delivery(ctx, w.recipe.project, id)
		switch {
		case err == nil:
			c := candidate{cursor: int64(id), event: delivery.Event, deliveries: []hook.Delivery{}}
			if w.recipe.takes(&delivery) {
				c.deliveries = append(c.deliveries, delivery)
			}
			w.page = append(w.page, c)
		case hook.KindOf(err) != hook.KindNotFound: // else it is no longer kept
			return err
		}
		w.end = int64(id)
	}
	return nil
}

// takes reports whether a delivery that was named is among the chosen ones.
func (r *recipe) takes(d *hook.Delivery) bool {
	s := &r.Select
	return (s.Connection == 0 || s.Connection == d.Connection) && (s.Destination == 0 || s.Destination == d.Destination) &&
		(s.State == 0 || s.State == d.State)
}

// deliveriesOf returns the deliveries that an event caused and that a recipe chooses,
// the oldest first; never nil without an error.
func deliveriesOf(ctx context.Context, log Log, r *recipe, event hook.EventID) ([]hook.Delivery, error) {
	deliveries := []hook.Delivery{}
	query := store.DeliveryQuery{
		Project: r.project, Event: event, Connection: r.Select.Connection, Destination: r.Select.Destination, State: r.Select.State,
		Page: page.Request{Limit: page.MaxLimit, From: 1, Back: true},
	}
	for {
		found, err := log.Deliveries(ctx, query)
		if err != nil {
			return nil, err
		}
		for i := range slices.Backward(found.Items) {
			deliveries = append(deliveries, found.Items[i])
		}
		if found.Done || found.First <= query.Page.From {
			return deliveries, nil
		}
		query.Page.From = found.First
	}
}
