package replay

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
)

// Plan says what a replay would do.
type Plan struct {
	Looked       int64             `json:"looked"`     // events or deliveries that were looked at
	Selected     int64             `json:"selected"`   // of these, chosen
	Skipped      int64             `json:"skipped"`    // of the chosen ones, those that nothing can be made of: see Warnings
	Deliveries   int64             `json:"deliveries"` // that it would make or retry
	Exact        bool              `json:"exact"`      // false: there is too much to look at, and the numbers are estimates
	Destinations []PlanDestination `json:"destinations"`
	Connections  []PlanConnection  `json:"connections"`
	Sample       []PlanSample      `json:"sample"`   // the oldest of the chosen ones, up to MaxSample
	Duration     hook.Duration     `json:"duration"` // at its rate, and at those of the destinations
	Rate         hook.Rate         `json:"rate"`
	Warnings     []string          `json:"warnings"`
}

// PlanDestination is how many deliveries go to a destination.
type PlanDestination struct {
	ID         hook.DestinationID `json:"id"`
	Name       string             `json:"name"`
	Deliveries int64              `json:"deliveries"`
}

// PlanConnection is how many deliveries go over a connection.
type PlanConnection struct {
	ID         hook.ConnectionID `json:"id"`
	Name       string            `json:"name"`
	Deliveries int64             `json:"deliveries"`
}

// PlanSample is one of what a plan chose.
type PlanSample struct {
	Event      hook.EventID      `json:"event"`
	Deliveries []hook.DeliveryID `json:"deliveries,omitempty"` // with mode retry: those that are sent again
	Type       string            `json:"type"`
	Key        string            `json:"key,omitempty"`
	Makes      int               `json:"makes"` // how many deliveries
	Before     string            `json:"before"`
	After      string            `json:"after,omitempty"` // the payload, where it is edited
	Cut        bool              `json:"cut,omitempty"`   // the payloads are longer than MaxSampleBytes
	Skipped    string            `json:"skipped,omitempty"`
}

// MaxSampleBytes is how much of a payload a sample shows.
const MaxSampleBytes = 4 << 10

// Plan says what the replay would do, without doing anything. The error is of
// KindInvalid where the spec is wrong.
func (e *Engine) Plan(ctx context.Context, project hook.ProjectID, spec hook.ReplaySpec) (*Plan, error) {
	r, err := e.prepare(ctx, project, &spec)
	if err != nil {
		return nil, err
	}
	p := &planning{
		engine: e, chooser: e.chooser(r), plan: &Plan{Exact: true, Rate: r.Rate, Sample: []PlanSample{}, Warnings: []string{}},
		destinations: map[hook.DestinationID]int64{}, connections: map[hook.ConnectionID]int64{}, failures: map[string]int64{},
	}
	if err := p.count(ctx); err != nil {
		return nil, err
	}
	p.finish()
	return p.plan, nil
}

// planning is a plan on its way.
type planning struct {
	engine       *Engine
	chooser      *chooser
	plan         *Plan
	destinations map[hook.DestinationID]int64
	connections  map[hook.ConnectionID]int64
	skipped      [skips]int64
	gone         int64
	failed       int64            // events that the filter failed for
	failures     map[string]int64 // the filter's errors, a few of them
	scale        float64          // of the numbers, to what was not looked at
}

// count looks at what there is, up to the limits.
func (p *planning) count(ctx context.Context) error {
	r := p.chooser.recipe
	from, until := r.span(time.Now())
	w := p.engine.walk(r, from, until)
	began := time.Now()
	first := int64(0)
	for {
		of, err := w.next(ctx)
		if err != nil {
			return err
		}
		if of == nil && w.over() {
			return nil
		}
		if of != nil {
			if first == 0 {
				first = of.cursor
			}
			if err := p.look(ctx, of); err != nil {
				return err
			}
		}
		if !w.over() && (p.plan.Looked >= int64(p.engine.planLimit) || time.Since(began) > p.engine.planTime) {
			p.estimate(max(first, from), w.cursor, until)
			return nil
		}
	}
}

// look counts one candidate.
func (p *planning) look(ctx context.Context, of *candidate) error {
	ch, err := p.chooser.choose(ctx, of)
	if err != nil {
		return err
	}
	p.plan.Looked++
	p.gone += int64(ch.gone)
	if !ch.selected {
		const kinds = 3
		if ch.failure != "" {
			p.failed++
			if _, known := p.failures[ch.failure]; known || len(p.failures) < kinds {
				p.failures[ch.failure]++
			}
		}
		return nil
	}
	p.plan.Selected++
	p.skipped[ch.skip]++
	if ch.skip != skipNot {
		p.plan.Skipped++
	}
	p.plan.Deliveries += int64(ch.size())
	for i := range ch.targets {
		p.destinations[ch.targets[i].Destination]++
		p.connections[ch.targets[i].Connection]++
	}
	for i := range of.deliveries {
		if d := &of.deliveries[i]; slices.Contains(ch.retry, d.ID) {
			p.destinations[d.Destination]++
			p.connections[d.Connection]++
		}
	}
	if len(p.plan.Sample) < MaxSample {
		return p.sample(ctx, of, &ch)
	}
	return nil
}

// sample shows one that is selected.
func (p *planning) sample(ctx context.Context, of *candidate, ch *choice) error {
	event := ch.event
	if event == nil {
		read, err := p.engine.options.Log.Event(ctx, p.chooser.recipe.project, of.event)
		if hook.KindOf(err) == hook.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		event = &read
	}
	s := PlanSample{
		Event: event.ID, Deliveries: ch.retry, Type: event.Type, Key: event.Key, Makes: ch.size(),
		Skipped: skipText(ch.skip, p.chooser.recipe),
	}
	if ch.skip == skipUneditable {
		s.Skipped = ch.failure
	}
	var cutBefore, cutAfter bool
	s.Before, cutBefore = excerpt(event.Payload)
	s.After, cutAfter = excerpt(ch.edited)
	s.Cut = cutBefore || cutAfter
	p.plan.Sample = append(p.plan.Sample, s)
	return nil
}

// excerpt returns the beginning of a payload as a text.
func excerpt(payload []byte) (text string, cut bool) {
	if len(payload) > MaxSampleBytes {
		end := MaxSampleBytes
		for end > MaxSampleBytes-utf8.UTFMax && !utf8.RuneStart(payload[end]) {
			end--
		}
		payload, cut = payload[:end], true
	}
	return strings.ToValidUTF8(string(payload), "\uFFFD"), cut
}

// span returns the cursor that a walk begins behind and the last one that belongs to it.
func (r *recipe) span(now time.Time) (from, until int64) {
	s := &r.Select
	switch {
	case len(s.Events) > 0:
		return 0, int64(s.Events[len(s.Events)-1])
	case len(s.Deliveries) > 0:
		return 0, int64(s.Deliveries[len(s.Deliveries)-1])
	}
	until = hook.MinID(now.Add(time.Millisecond)) - 1
	if !s.Before.IsZero() && s.Before.Before(now) {
		until = hook.MinID(s.Before.Add(time.Millisecond-1)) - 1
	}
	if !s.After.IsZero() {
		from = max(0, hook.MinID(s.After)-1)
	}
	return from, until
}

// estimate extends the numbers to what was not looked at. Ids grow with time, so that
// the share of their range is the share of the time.
func (p *planning) estimate(first, cursor, until int64) {
	p.plan.Exact = false
	p.scale = 1
	if cursor > first && until > cursor {
		p.scale = float64(until-first) / float64(cursor-first)
	}
	scaled := func(n int64) int64 { return int64(math.Round(float64(n) * p.scale)) }
	looked := p.plan.Looked
	p.plan.Looked, p.plan.Selected, p.plan.Skipped = scaled(looked), scaled(p.plan.Selected), scaled(p.plan.Skipped)
	p.plan.Deliveries = scaled(p.plan.Deliveries)
	for id, n := range p.destinations {
		p.destinations[id] = scaled(n)
	}
	for id, n := range p.connections {
		p.connections[id] = scaled(n)
	}
	p.warnf("%d were looked at; the numbers are an estimate for all of them", looked)
}

func (p *planning) warnf(format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(format, args...))
}

// finish puts names to ids, reckons the time, and warns.
func (p *planning) finish() {
	snapshot := p.chooser.snapshot
	p.plan.Destinations, p.plan.Connections = []PlanDestination{}, []PlanConnection{}
	seconds := float64(p.plan.Deliveries) / p.plan.Rate.PerSecond()
	for id, n := range p.destinations {
		count := PlanDestination{ID: id, Deliveries: n}
		if destination, ok := snapshot.Destination(id); ok {
			count.Name = destination.Name
			if rate := destination.Rate.PerSecond(); rate > 0 {
				seconds = max(seconds, float64(n)/rate)
			}
		}
		p.plan.Destinations = append(p.plan.Destinations, count)
	}
	for id, n := range p.connections {
		count := PlanConnection{ID: id, Deliveries: n}
		if connection, ok := snapshot.Connection(id); ok {
			count.Name = connection.Name
		}
		p.plan.Connections = append(p.plan.Connections, count)
	}
	slices.SortFunc(p.plan.Destinations, func(a, b PlanDestination) int {
		return cmp.Or(cmp.Compare(b.Deliveries, a.Deliveries), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(p.plan.Connections, func(a, b PlanConnection) int {
		return cmp.Or(cmp.Compare(b.Deliveries, a.Deliveries), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	p.plan.Duration = roundUp(seconds)
	p.warn(snapshot)
}

// roundUp makes whole seconds of an estimate; what is too long for a duration is the
// longest one.
func roundUp(seconds float64) hook.Duration {
	if seconds >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64 / hook.Duration(time.Second) * hook.Duration(time.Second)
	}
	return hook.Duration(math.Ceil(seconds)) * hook.Duration(time.Second)
}

// warn tells what the numbers do not.
func (p *planning) warn(snapshot *route.Snapshot) {
	if p.plan.Deliveries == 0 {
		p.warnf("nothing would be delivered")
	}
	if p.failed > 0 {
		texts := make([]string, 0, len(p.failures))
		for text := range p.failures {
			texts = append(texts, text)
		}
		slices.Sort(texts)
		p.warnf("%s not chosen, because the filter fails for %s: %s", amount(p.failed, "event is", "events are"),
			amountOf(p.failed), strings.Join(texts, "; "))
	}
	for reason := skipNot + 1; reason < skips; reason++ {
		if n := p.skipped[reason]; n > 0 {
			p.warnf("%s", skipWarning(reason, n, p.chooser.recipe))
		}
	}
	if p.gone > 0 && p.skipped[skipGone] == 0 {
		p.warnf("%s not made: the connection or the destination was deleted", amount(p.gone, "delivery is", "deliveries are"))
	}
	for i := range p.plan.Destinations {
		p.warnOf(snapshot, p.plan.Destinations[i].ID)
	}
	for i := range p.plan.Connections {
		if connection, ok := snapshot.Connection(p.plan.Connections[i].ID); ok && connection.Paused {
			p.warnf("the connection %s is paused: its deliveries are held until it is resumed", connection.Name)
		}
	}
}

// warnOf tells what keeps deliveries from a destination.
func (p *planning) warnOf(snapshot *route.Snapshot, id hook.DestinationID) {
	destination, ok := snapshot.Destination(id)
	if !ok {
		return
	}
	if destination.Paused {
		p.warnf("the destination %s is paused: deliveries to it are held until it is resumed", destination.Name)
	}
	if circuit := p.engine.options.Circuit(id); circuit.Holds() {
		p.warnf("the circuit of the destination %s is %s (%s): deliveries to it wait until it works again",
			destination.Name, circuit.State, circuit.Reason)
	}
	if rate := destination.Rate; rate.PerSecond() > 0 && rate.PerSecond() < p.plan.Rate.PerSecond() {
		p.warnf("the destination %s takes %s, less than the %s of the replay", destination.Name, rate, p.plan.Rate)
	}
}

// amount writes a number with its noun.
func amount(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// amountOf stands for things that were counted.
func amountOf(n int64) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// skipText says of one candidate why it makes nothing.
func skipText(reason skip, r *recipe) string {
	switch reason {
	case skipUnmatched:
		return "it has no deliveries by the rules of " + string(r.Rules)
	case skipGone:
		return "its connection or destination was deleted"
	case skipUneditable:
		return "its payload cannot be edited"
	case skipUnderWay:
		return "it is under way already"
	case skipNot, skips:
	}
	return ""
}

// skipWarning says of several candidates why they make nothing.
func skipWarning(reason skip, n int64, r *recipe) string {
	switch reason {
	case skipUnmatched:
		return amount(n, "event has", "events have") + " no deliveries by the rules of " + string(r.Rules)
	case skipGone:
		return amount(n, "is", "are") + " left out: the connection or the destination was deleted"
	case skipUneditable:
		return amount(n, "event is", "events are") + " left out: the edit needs a payload that is a JSON object"
	case skipUnderWay:
		return amount(n, "delivery is", "deliveries are") + " under way already"
	case skipNot, skips:
	}
	return ""
}
