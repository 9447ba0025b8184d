package replay

import (
	"bytes"
	"context"
	"slices"
	"time"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
)

// choice is what becomes of a candidate.
type choice struct {
	event    *hook.Event // with its payload; nil where nobody needed it
	selected bool
	failure  string // why the filter could not be evaluated; the event is not selected
	skip     skip   // why one that is selected makes nothing
	gone     int    // deliveries that are not made because their way is no more
	targets  []hook.Target
	edited   []byte // the payload after the edit
	retry    []hook.DeliveryID
}

// size is how many deliveries it makes.
func (c *choice) size() int { return len(c.targets) + len(c.retry) }

// skip is why a selected candidate makes no delivery. The set is closed.
type skip uint8

const (
	skipNot        skip = iota
	skipUnmatched       // no connection leads it anywhere by the rules
	skipGone            // its connections, or their destinations, were deleted
	skipUneditable      // the edit cannot be applied to its payload
	skipUnderWay        // it is being sent, or about to be
	skips               // how many there are
)

// chooser decides over candidates by a recipe and the catalogue at one moment.
type chooser struct {
	log      Log
	recipe   *recipe
	snapshot *route.Snapshot
}

func (e *Engine) chooser(r *recipe) *chooser {
	return &chooser{log: e.options.Log, recipe: r, snapshot: e.options.Catalogue()}
}

// choose decides over one candidate.
func (c *chooser) choose(ctx context.Context, of *candidate) (choice, error) {
	var ch choice
	if of.deliveries != nil && len(of.deliveries) == 0 {
		return ch, nil
	}
	if of.listed != nil && of.listed.Replay != 0 {
		return ch, nil // what an edit made is not what happened; its deliveries can be chosen
	}
	if c.reads(of) {
		event, err := c.log.Event(ctx, c.recipe.project, of.event)
		if hook.KindOf(err) == hook.KindNotFound {
			return ch, nil // it is no longer kept
		}
		if err != nil {
			return ch, err
		}
		ch.event = &event
		if !c.meets(of, &ch) {
			return ch, nil
		}
	}
	if c.recipe.Mode == hook.ReplayRetry {
		ch.selected = true
		c.retry(of, &ch)
		return ch, nil
	}
	if first, err := c.first(ctx, of); err != nil || !first {
		return ch, err
	}
	ch.selected = true
	c.deliver(of, &ch)
	return ch, nil
}

// reads reports whether the event has to be read, for what the list of candidates did
// not look at: new deliveries always need it, for the keys of their order.
func (c *chooser) reads(of *candidate) bool {
	s := &c.recipe.Select
	named := len(s.Events) > 0 || len(s.Deliveries) > 0
	return c.recipe.Mode == hook.ReplayDeliver || c.recipe.filter != nil || of.listed == nil &&
		(s.Source != 0 || s.Type != "" || s.Key != "" || s.Text != "" || named && (!s.After.IsZero() || !s.Before.IsZero()))
}

// meets reports whether the event has what is selected, as far as the list of
// candidates did not ask for it.
func (c *chooser) meets(of *candidate, ch *choice) bool {
	s, event := &c.recipe.Select, ch.event
	if of.listed == nil && !c.resembles(event) {
		return false
	}
	if (len(s.Events) > 0 || len(s.Deliveries) > 0) && !within(event.ReceivedAt, s.After, s.Before) {
		return false
	}
	if c.recipe.filter == nil {
		return true
	}
	in := filter.NewInput(event)
	defer in.Release()
	passes, err := c.recipe.filter.Match(in)
	if err != nil {
		ch.failure = err.Error()
	}
	return passes && err == nil
}

// resembles reports whether the event has the source, type, key and text.
func (c *chooser) resembles(event *hook.Event) bool {
	s := &c.recipe.Select
	return (s.Source == 0 || s.Source == event.Source) && (s.Type == "" || c.recipe.types.Match(event.Type)) &&
		(s.Key == "" || s.Key == event.Key) && bytes.Contains(event.Payload, c.recipe.text)
}

func within(at, after, before time.Time) bool {
	return (after.IsZero() || !at.Before(after)) && (before.IsZero() || at.Before(before))
}

// first reports whether a candidate stands for its event. Where each event is delivered
// once for all of its chosen deliveries, the oldest of these does.
func (c *chooser) first(ctx context.Context, of *candidate) (bool, error) {
	once := c.recipe.To != 0 || c.recipe.Rules == hook.ReplayNow
	if !once || !c.recipe.byDeliveries() {
		return true, nil
	}
	all, err := deliveriesOf(ctx, c.log, c.recipe, of.event)
	if err != nil {
		return false, err
	}
	if named := c.recipe.Select.Deliveries; len(named) > 0 {
		all = slices.DeleteFunc(all, func(d hook.Delivery) bool {
			_, is := slices.BinarySearch(named, d.ID)
			return !is
		})
	}
	return len(all) == 0 || all[0].ID >= of.deliveries[0].ID, nil
}

// retry chooses the deliveries that are sent again.
func (c *chooser) retry(of *candidate, ch *choice) {
	for i := range of.deliveries {
		d := &of.deliveries[i]
		switch connection, ok := c.snapshot.Connection(d.Connection); {
		case !ok || connection.To == nil:
			ch.gone++
			ch.skip = skipGone
		case d.State == hook.StatePending || d.State == hook.StateSending:
			ch.skip = skipUnderWay
		default:
			ch.retry = append(ch.retry, d.ID)
		}
	}
	if len(ch.retry) > 0 {
		ch.skip = skipNot
	}
}

// deliver chooses the deliveries that are made anew.
func (c *chooser) deliver(of *candidate, ch *choice) {
	event := *ch.event
	if c.recipe.Edit != nil {
		var err error
		if event.Payload, err = edit(event.Payload, c.recipe.Edit); err != nil {
			ch.skip, ch.failure = skipUneditable, err.Error()
			return
		}
		ch.edited = event.Payload
	}
	in := filter.NewInput(&event)
	defer in.Release()
	ways := c.ways(of, &event, in)
	for _, way := range ways {
		if c.recipe.To != 0 {
			way.Destination = c.recipe.To
		}
		connection, ok := c.snapshot.Way(way.Connection, way.Destination)
		if !ok || connection.Project != c.recipe.project || connection.To.Project != c.recipe.project {
			ch.gone++
			continue
		}
		made := target(connection, in)
		if own, ok := c.snapshot.Connection(way.Connection); ok && own.Destination != way.Destination {
			made.OrderKey = hook.OrderKeyAt(made.OrderKey, way.Destination)
		}
		ch.targets = append(ch.targets, made)
		if c.recipe.To != 0 {
			break
		}
	}
	switch {
	case len(ch.targets) > 0:
	case len(ways) > 0:
		ch.skip = skipGone
	default:
		ch.skip = skipUnmatched
	}
}

// target is a new delivery over a connection, as things are now.
func target(connection *route.Connection, in *filter.Input) hook.Target {
	t := hook.Target{Connection: connection.ID, Destination: connection.Destination, OrderKey: connection.OrderKey(in), Deferred: true}
	if cause, reason := connection.Held(); cause != hook.CauseNone {
		t.Held, t.Cause, t.Reason, t.Deferred = true, cause, reason, false
	}
	return t
}

// ways returns the connections and destinations that an event is delivered over by the
// rules, those that are not selected left out.
func (c *chooser) ways(of *candidate, event *hook.Event, in *filter.Input) []hook.Target {
	var ways []hook.Target
	add := func(connection hook.ConnectionID, destination hook.DestinationID) {
		s := &c.recipe.Select
		if (s.Connection == 0 || s.Connection == connection) && (s.Destination == 0 || s.Destination == destination) {
			ways = append(ways, hook.Target{Connection: connection, Destination: destination})
		}
	}
	switch {
	case c.recipe.Rules == hook.ReplayNow:
		source, ok := c.snapshot.SourceByID(event.Source)
		if !ok {
			return nil
		}
		connections, _ := source.Match(in, event.Type) // a filter that fails is no match
		for _, connection := range connections {
			add(connection.ID, connection.Destination)
		}
	case of.deliveries != nil:
		for i := range of.deliveries {
			add(of.deliveries[i].Connection, of.deliveries[i].Destination)
		}
	default:
		for i := range event.Targets {
			add(event.Targets[i].Connection, event.Targets[i].Destination)
		}
	}
	return ways
}
