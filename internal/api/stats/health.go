package stats

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// Limits of the answers about health.
const (
	recent      = 5 * time.Minute  // over which what arrives and leaves is measured
	justNow     = 15 * time.Second // at the least, where that is enough to tell: up to a minute more
	telling     = 20               // deliveries that came or ended are enough
	maxFailures = 5                // kinds of failure
)

// Lanes is the engine that sends, as far as it is looked at.
type Lanes interface {
	// Circuit returns a destination's circuit as it is now.
	Circuit(destination hook.DestinationID) hook.Circuit
	// Lane returns what a destination's lane does now.
	Lane(destination hook.DestinationID) deliver.LaneStatus
}

// DestinationHealth answers how bad it is at a destination.
type DestinationHealth struct {
	ID          string                 `json:"id"`
	Name        string                 `json:"name"`
	Paused      bool                   `json:"paused"`
	PauseReason string                 `json:"pauseReason,omitempty"`
	Circuit     hook.Circuit           `json:"circuit"`
	Waiting     int64                  `json:"waiting" doc:"How many deliveries have not ended"`
	States      map[string]int64       `json:"states" doc:"Of these, how many are in each state; and how many failed and wait for a person"`
	Oldest      *time.Time             `json:"oldest,omitempty" doc:"When the oldest of them was accepted; absent when none waits"`
	Arriving    float64                `json:"arriving" doc:"Deliveries that came, in a second, over the last minute or, where they are few, five minutes"`
	Leaving     float64                `json:"leaving" doc:"Deliveries that ended, in a second, over the same time; once an open circuit has closed, since then"`
	TimeToDrain *hook.Duration         `json:"timeToDrain,omitempty" doc:"Until nothing waits, if it goes on like this; absent when it does not become less"`
	Stalled     string                 `json:"stalled,omitempty" doc:"Why what waits does not become less, in a sentence"`
	From        time.Time              `json:"from" doc:"Beginning of the span that the following is about"`
	To          time.Time              `json:"to"`
	SuccessRate *float64               `json:"successRate,omitempty" doc:"Share of the attempts that succeeded; absent without attempts"`
	Attempts    int64                  `json:"attempts"`
	Outcomes    map[hook.Outcome]int64 `json:"outcomes" doc:"Attempts by outcome"`
	P50         *int64                 `json:"p50,omitempty" doc:"Half of the attempts took at most so many milliseconds; absent without attempts"`
	P95         *int64                 `json:"p95,omitempty"`
	P99         *int64                 `json:"p99,omitempty"`
}

// LaneOut is what a destination's lane does now.
type LaneOut struct {
	InHand      int           `json:"inHand" doc:"Deliveries in memory"`
	InFlight    int           `json:"inFlight" doc:"Of these, being attempted"`
	Limit       int           `json:"limit" doc:"How many may be in flight, as the destination has shown to bear"`
	Gap         hook.Duration `json:"gap,omitzero" doc:"Between attempts, while even one at a time is too much"`
	ClosedUntil time.Time     `json:"closedUntil,omitzero" doc:"Nothing is attempted before: the destination asked for it, or it is quiet there"`
}

// DestinationHealthDetail is the health of one destination with what its failures are.
type DestinationHealthDetail struct {
	DestinationHealth

	Lane     LaneOut        `json:"lane"`
	Failures []hook.Failure `json:"failures" doc:"The most frequent kinds of failure in the span, each with an example"`
}

// HealthList is the health of the destinations of a project.
type HealthList struct {
	Data []DestinationHealth `json:"data" doc:"The worst first"`
	Done bool                `json:"done" doc:"Every destination is there"`
}

func (s *service) healthRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/stats/health", ID: "stats.health", Role: hook.RoleViewer,
			Summary: "Say how bad it is at each destination, the worst first", Bind: rest.Handle(s.worst),
		},
		{
			Method: http.MethodGet, Path: "/destination/{id}/health", ID: "destination.health", Role: hook.RoleViewer,
			Summary: "Say how bad it is at a destination", Bind: rest.Handle(s.health),
		},
	}
}

type (
	worstIn struct {
		Span
		Limit int `query:"limit" minimum:"1" maximum:"250" default:"50" doc:"How many destinations"`
	}
	healthIn struct {
		rest.Ref
		Span
	}
)

// counters are what the health of a project's destinations is told from.
type counters struct {
	now, from, to time.Time
	waiting       map[hook.DestinationID]map[hook.State]int64
	span          map[int64]hook.Numbers // over from and to
	short, long   lapse
}

// lapse is what happened since a time.
type lapse struct {
	from    time.Time
	numbers map[int64]hook.Numbers
}

// counters reads them for all destinations at once, which costs little more than for one.
func (s *service) counters(ctx context.Context, span Span) (*counters, error) {
	c := &counters{now: s.Now().UTC()}
	var err error
	if c.from, c.to, err = span.bounds(c.now); err != nil {
		return nil, err
	}
	project := rest.ProjectOf(ctx)
	if c.waiting, err = s.Numbers.Backlog(ctx, project); err != nil {
		return nil, err
	}
	query := store.NumbersQuery{Project: project, Scope: store.ByDestination, From: c.from, To: c.to}
	if c.span, err = s.Numbers.Totals(ctx, query); err != nil {
		return nil, err
	}
	for of, span := range map[*lapse]time.Duration{&c.short: justNow, &c.long: recent} {
		of.from = c.now.Add(-span).Truncate(time.Minute) // numbers are kept by the minute
		query.From, query.To = of.from, c.now.Add(time.Minute)
		if of.numbers, err = s.Numbers.Totals(ctx, query); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// ended returns how many deliveries came to an end.
func ended(n *hook.Numbers) int64 { return n.Succeeded + n.Failed + n.Canceled }

// rates returns how many deliveries arrive at a destination in a second, and how many
// leave. Nothing leaves while a circuit is open: what left lately did so since.
func (c *counters) rates(destination hook.DestinationID, circuit *hook.Circuit) (arriving, leaving float64) {
	lately := c.short
	numbers := lately.numbers[int64(destination)]
	if numbers.Deliveries+ended(&numbers) < telling {
		lately = c.long
		numbers = lately.numbers[int64(destination)]
	}
	measured := c.now.Sub(lately.from)
	arriving = perSecond(numbers.Deliveries, measured)
	wasOpen := !circuit.OpenedAt.IsZero() && !circuit.OpenedAt.After(lately.from)
	if wasOpen && !circuit.Holds() && circuit.Since.After(lately.from) {
		const atLeast = 5 * time.Second
		measured = max(c.now.Sub(circuit.Since), atLeast)
	}
	return arriving, perSecond(ended(&numbers), measured)
}

func (s *service) worst(ctx context.Context, in *worstIn) (*rest.Out[HealthList], error) {
	counters, err := s.counters(ctx, in.Span)
	if err != nil {
		return nil, err
	}
	var all []DestinationHealth
	project := rest.ProjectOf(ctx)
	for d := range s.Router.Current().Destinations() {
		if d.Project == project {
			all = append(all, s.healthOf(d, counters))
		}
	}
	slices.SortFunc(all, func(a, b DestinationHealth) int {
		return cmp.Or(-cmp.Compare(trouble(&a), trouble(&b)), -cmp.Compare(a.Waiting, b.Waiting), cmp.Compare(a.Name, b.Name))
	})
	shown := HealthList{Data: append([]DestinationHealth{}, all[:min(in.Limit, len(all))]...), Done: len(all) <= in.Limit}
	for i := range shown.Data {
		if err := s.addOldest(ctx, &shown.Data[i]); err != nil {
			return nil, err
		}
	}
	return rest.Answer(shown), nil
}

func (s *service) health(ctx context.Context, in *healthIn) (*rest.Out[DestinationHealthDetail], error) {
	d, err := s.Nouns.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	counters, err := s.counters(ctx, in.Span)
	if err != nil {
		return nil, err
	}
	shown := DestinationHealthDetail{DestinationHealth: s.healthOf(&d, counters)}
	if err := s.addOldest(ctx, &shown.DestinationHealth); err != nil {
		return nil, err
	}
	failures, err := s.Health.Failures(ctx, d.Project, d.ID, counters.from)
	if err != nil {
		return nil, err
	}
	shown.Failures = append([]hook.Failure{}, failures[:min(len(failures), maxFailures)]...)
	lane := s.Lanes.Lane(d.ID)
	shown.Lane = LaneOut{
		InHand: lane.InHand, InFlight: lane.InFlight, Limit: lane.Limit, Gap: hook.Duration(lane.Gap), ClosedUntil: lane.ClosedUntil,
	}
	return rest.Answer(shown), nil
}

// addOldest adds since when the oldest delivery of a destination waits.
func (s *service) addOldest(ctx context.Context, shown *DestinationHealth) error {
	if shown.Waiting == 0 {
		return nil
	}
	oldest, err := s.Health.Oldest(ctx, rest.ProjectOf(ctx), shown.Circuit.Destination)
	if err == nil && !oldest.IsZero() {
		shown.Oldest = &oldest
	}
	return err
}

// healthOf tells the health of a destination from the counters of its project.
func (s *service) healthOf(d *hook.Destination, c *counters) DestinationHealth {
	span := c.span[int64(d.ID)]
	counts := countsOf(&span)
	shown := DestinationHealth{
		ID: d.ID.String(), Name: d.Name, Paused: d.Paused, PauseReason: d.PauseReason, Circuit: s.Lanes.Circuit(d.ID),
		States: map[string]int64{}, From: c.from, To: c.to, Attempts: span.Attempts, Outcomes: span.Outcomes,
		P50: counts.P50, P95: counts.P95, P99: counts.P99,
	}
	shown.Circuit.Destination, shown.Circuit.Project = d.ID, d.Project // one that never opened may not know
	if shown.Outcomes == nil {
		shown.Outcomes = map[hook.Outcome]int64{}
	}
	if span.Attempts > 0 {
		rate := float64(span.Outcomes[hook.OutcomeSuccess]) / float64(span.Attempts)
		shown.SuccessRate = &rate
	}
	for state, n := range c.waiting[d.ID] {
		shown.States[state.String()] = n
		if !state.Final() {
			shown.Waiting += n
		}
	}
	shown.Arriving, shown.Leaving = c.rates(d.ID, &shown.Circuit)
	shown.TimeToDrain, shown.Stalled = drain(d, &shown, c.now)
	return shown
}
