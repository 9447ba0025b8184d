// Package stats answers the API's questions about numbers: what happened with each noun,
// over time, what waits, and how bad it is at each destination. They come from the
// counters that the store keeps, never from counting rows of the log.
package stats

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"malote.dev/malote/internal/api/lookup"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/store"
)

// Limits of statistics.
const (
	defaultSpan = time.Hour
	maxSpan     = 400 * 24 * time.Hour
	maxPoints   = 1500 // of a series
)

// CountsOut is what happened in a span of time, from the exact counters per minute.
type CountsOut struct {
	hook.Numbers

	P50 *int64 `json:"p50,omitempty" doc:"Half of the attempts took at most so many milliseconds; absent without attempts"`
	P95 *int64 `json:"p95,omitempty"`
	P99 *int64 `json:"p99,omitempty"`
}

// NounCounts is what happened with one noun.
type NounCounts struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	CountsOut
}

// TotalsOut is what happened with each noun of a kind.
type TotalsOut struct {
	From time.Time    `json:"from"`
	To   time.Time    `json:"to"`
	Data []NounCounts `json:"data" doc:"Every noun of the kind, by name"`
}

// SeriesOut is what happened with one noun, over time.
type SeriesOut struct {
	ID     string        `json:"id"`
	Name   string        `json:"name"`
	From   time.Time     `json:"from"`
	To     time.Time     `json:"to"`
	Step   hook.Duration `json:"step"`
	Totals CountsOut     `json:"totals"`
	Data   []CountsOut   `json:"data" doc:"One for each step with traffic; minute is where the step begins"`
}

// OverviewOut answers: is it working?
type OverviewOut struct {
	From         time.Time        `json:"from"`
	To           time.Time        `json:"to"`
	Sources      CountsOut        `json:"sources" doc:"What came in, over all sources"`
	Destinations CountsOut        `json:"destinations" doc:"What went out, over all destinations"`
	SuccessRate  float64          `json:"successRate" doc:"Share of the deliveries that ended and succeeded; 1 when none ended"`
	Backlog      map[string]int64 `json:"backlog" doc:"How many deliveries are in each state that is not final"`
}

// BacklogOut is what waits at each destination.
type BacklogOut struct {
	Data []DestinationBacklog `json:"data"`
}

// DestinationBacklog is what waits at one destination.
type DestinationBacklog struct {
	ID     string           `json:"id"`
	Name   string           `json:"name"`
	Paused bool             `json:"paused"`
	States map[string]int64 `json:"states" doc:"How many deliveries are in each state that is not final"`
}

// Options are what the answers are made from. All fields are needed.
type Options struct {
	Nouns   lookup.Tables
	Numbers store.Numbers
	Health  store.Health
	Router  *route.Router
	Lanes   Lanes
	Now     func() time.Time
}

// service is what the handlers share.
type service struct{ Options }

// Routes returns the routes of this package.
func Routes(options Options) []*rest.Route {
	s := &service{options}
	kinds := []string{"source", "connection", "destination"}
	routes := append(make([]*rest.Route, 0, 2+2*len(kinds)), []*rest.Route{
		{
			Method: http.MethodGet, Path: "/stats/overview", ID: "stats.overview", Role: hook.RoleViewer,
			Summary: "Count what happened in the project", Bind: rest.Handle(s.overview),
		},
		{
			Method: http.MethodGet, Path: "/stats/backlog", ID: "stats.backlog", Role: hook.RoleViewer,
			Summary: "Count what waits at each destination", Bind: rest.Handle(s.backlog),
		},
	}...)
	for _, kind := range kinds {
		totals := func(ctx context.Context, in *spanIn) (*rest.Out[TotalsOut], error) {
			return s.totals(ctx, kind, in)
		}
		series := func(ctx context.Context, in *seriesIn) (*rest.Out[SeriesOut], error) {
			return s.series(ctx, kind, in)
		}
		routes = append(routes, &rest.Route{
			Method: http.MethodGet, Path: "/stats/" + kind, ID: "stats." + kind + ".totals", Role: hook.RoleViewer,
			Summary: "Count what happened with each " + kind, Bind: rest.Handle(totals),
		}, &rest.Route{
			Method: http.MethodGet, Path: "/stats/" + kind + "/{id}", ID: "stats." + kind + ".series", Role: hook.RoleViewer,
			Summary: "Count what happened with a " + kind + " over time", Bind: rest.Handle(series),
		})
	}
	return append(routes, s.healthRoutes()...)
}

// Span is a span of time.
type Span struct {
	From time.Time `query:"from" doc:"Beginning, to the minute; default one hour before the end"`
	To   time.Time `query:"to" doc:"End, to the minute; default now"`
}

type (
	spanIn   struct{ Span }
	seriesIn struct {
		rest.Ref
		Span
		Step string `query:"step" doc:"Length of a step, in whole minutes; default what makes at most 120 steps" example:"5m"`
	}
)

// bounds returns the span in whole minutes.
func (in Span) bounds(now time.Time) (from, to time.Time, err error) {
	from, to = in.From, in.To
	if to.IsZero() {
		to = now.Add(time.Minute)
	}
	if from.IsZero() {
		from = to.Add(-defaultSpan)
	}
	from, to = from.UTC().Truncate(time.Minute), to.UTC().Truncate(time.Minute)
	switch {
	case !from.Before(to):
		return from, to, rest.InvalidQuery("from", "it is not before the end")
	case to.Sub(from) > maxSpan:
		return from, to, rest.InvalidQuery("from", "the span is longer than 400 days")
	default:
		return from, to, nil
	}
}

// step returns the length of the steps of a series.
func (in *seriesIn) step(span time.Duration) (time.Duration, error) {
	if in.Step == "" {
		const usual = 120
		return max(time.Minute, (span/usual + time.Minute - 1).Truncate(time.Minute)), nil
	}
	parsed, err := hook.ParseDuration(in.Step)
	step := time.Duration(parsed)
	switch {
	case err != nil:
		return 0, rest.InvalidQuery("step", err.Error())
	case step < time.Minute || step%time.Minute != 0:
		return 0, rest.InvalidQuery("step", "it is not a whole number of minutes, such as 5m")
	case span/step > maxPoints:
		return 0, rest.InvalidQuery("step", fmt.Sprintf("it makes %d steps: %d is the most", span/step, maxPoints))
	}
	return step, nil
}

func scopeOf(kind string) store.NumbersScope {
	switch kind {
	case "source":
		return store.BySource
	case "connection":
		return store.ByConnection
	default:
		return store.ByDestination
	}
}

// named is a noun as statistics know it.
type named struct {
	number int64
	id     string
	name   string
}

// nouns returns every noun of a kind in the caller's project, by name.
func (s *service) nouns(ctx context.Context, kind string) ([]named, error) {
	project := rest.ProjectOf(ctx)
	var found []named
	var err error
	switch kind {
	case "source":
		err = lookup.Each(ctx, s.Nouns.Sources(), project, func(n *hook.Source) {
			found = append(found, named{int64(n.ID), n.ID.String(), n.Name})
		})
	case "connection":
		err = lookup.Each(ctx, s.Nouns.Connections(), project, func(n *hook.Connection) {
			found = append(found, named{int64(n.ID), n.ID.String(), n.Name})
		})
	default:
		err = lookup.Each(ctx, s.Nouns.Destinations(), project, func(n *hook.Destination) {
			found = append(found, named{int64(n.ID), n.ID.String(), n.Name})
		})
	}
	slices.SortFunc(found, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	return found, err
}

// find returns one noun of a kind.
func (s *service) find(ctx context.Context, kind, ref string) (named, error) {
	project := rest.ProjectOf(ctx)
	switch kind {
	case "source":
		n, err := s.Nouns.Sources().Get(ctx, project, ref)
		return named{int64(n.ID), n.ID.String(), n.Name}, err
	case "connection":
		n, err := s.Nouns.Connections().Get(ctx, project, ref)
		return named{int64(n.ID), n.ID.String(), n.Name}, err
	default:
		n, err := s.Nouns.Destinations().Get(ctx, project, ref)
		return named{int64(n.ID), n.ID.String(), n.Name}, err
	}
}

func (s *service) totals(ctx context.Context, kind string, in *spanIn) (*rest.Out[TotalsOut], error) {
	from, to, err := in.bounds(s.Now())
	if err != nil {
		return nil, err
	}
	nouns, err := s.nouns(ctx, kind)
	if err != nil {
		return nil, err
	}
	counts, err := s.Numbers.Totals(ctx, store.NumbersQuery{Project: rest.ProjectOf(ctx), Scope: scopeOf(kind), From: from, To: to})
	if err != nil {
		return nil, err
	}
	shown := TotalsOut{From: from, To: to, Data: make([]NounCounts, len(nouns))}
	for i, noun := range nouns {
		numbers := counts[noun.number]
		numbers.Minute = time.Time{}
		shown.Data[i] = NounCounts{ID: noun.id, Name: noun.name, CountsOut: countsOf(&numbers)}
	}
	return rest.Answer(shown), nil
}

func (s *service) series(ctx context.Context, kind string, in *seriesIn) (*rest.Out[SeriesOut], error) {
	from, to, err := in.bounds(s.Now())
	if err != nil {
		return nil, err
	}
	step, err := in.step(to.Sub(from))
	if err != nil {
		return nil, err
	}
	noun, err := s.find(ctx, kind, in.ID)
	if err != nil {
		return nil, err
	}
	query := store.NumbersQuery{Project: rest.ProjectOf(ctx), Scope: scopeOf(kind), ID: noun.number, From: from, To: to}
	minutes, err := s.Numbers.Series(ctx, query)
	if err != nil {
		return nil, err
	}
	total, steps := fold(minutes, from, step)
	shown := SeriesOut{
		ID: noun.id, Name: noun.name, From: from, To: to, Step: hook.Duration(step), Totals: countsOf(&total), Data: make([]CountsOut, len(steps)),
	}
	for i := range steps {
		shown.Data[i] = countsOf(&steps[i])
	}
	return rest.Answer(shown), nil
}

// fold sums minutes up: all of them, and by steps that begin at from.
func fold(minutes []hook.Numbers, from time.Time, step time.Duration) (total hook.Numbers, steps []hook.Numbers) {
	for i := range minutes {
		add(&total, &minutes[i])
		begin := from.Add(minutes[i].Minute.Sub(from).Truncate(step))
		if len(steps) == 0 || !steps[len(steps)-1].Minute.Equal(begin) {
			steps = append(steps, hook.Numbers{Minute: begin})
		}
		add(&steps[len(steps)-1], &minutes[i])
	}
	return total, steps
}

// add adds the counters of more to sum.
func add(sum, more *hook.Numbers) {
	sum.Accepted += more.Accepted
	sum.Duplicates += more.Duplicates
	sum.Refused += more.Refused
	sum.Bytes += more.Bytes
	sum.Unmatched += more.Unmatched
	sum.FilterErrors += more.FilterErrors
	sum.Deliveries += more.Deliveries
	sum.Succeeded += more.Succeeded
	sum.Failed += more.Failed
	sum.Canceled += more.Canceled
	sum.Attempts += more.Attempts
	for outcome, n := range more.Outcomes {
		if sum.Outcomes == nil {
			sum.Outcomes = map[hook.Outcome]int64{}
		}
		sum.Outcomes[outcome] += n
	}
	sum.Latency.Merge(&more.Latency)
}

func countsOf(numbers *hook.Numbers) CountsOut {
	quantile := func(q float64) *int64 {
		if numbers.Latency == (hook.Histogram{}) {
			return nil
		}
		bound := numbers.Latency.Quantile(q)
		return &bound
	}
	return CountsOut{Numbers: *numbers, P50: quantile(0.5), P95: quantile(0.95), P99: quantile(0.99)}
}

func (s *service) overview(ctx context.Context, in *spanIn) (*rest.Out[OverviewOut], error) {
	from, to, err := in.bounds(s.Now())
	if err != nil {
		return nil, err
	}
	shown := OverviewOut{From: from, To: to, SuccessRate: 1, Backlog: map[string]int64{}}
	for _, part := range []struct {
		kind string
		into *CountsOut
	}{{"source", &shown.Sources}, {"destination", &shown.Destinations}} {
		query := store.NumbersQuery{Project: rest.ProjectOf(ctx), Scope: scopeOf(part.kind), From: from, To: to}
		counts, err := s.Numbers.Totals(ctx, query)
		if err != nil {
			return nil, err
		}
		sum := hook.Numbers{}
		for _, numbers := range counts {
			add(&sum, &numbers)
		}
		*part.into = countsOf(&sum)
	}
	if ended := shown.Destinations.Succeeded + shown.Destinations.Failed; ended > 0 {
		shown.SuccessRate = float64(shown.Destinations.Succeeded) / float64(ended)
	}
	waiting, err := s.Numbers.Backlog(ctx, rest.ProjectOf(ctx))
	if err != nil {
		return nil, err
	}
	for _, states := range waiting {
		for state, n := range states {
			shown.Backlog[state.String()] += n
		}
	}
	return rest.Answer(shown), nil
}

func (s *service) backlog(ctx context.Context, _ *rest.NoInput) (*rest.Out[BacklogOut], error) {
	waiting, err := s.Numbers.Backlog(ctx, rest.ProjectOf(ctx))
	if err != nil {
		return nil, err
	}
	shown := BacklogOut{Data: []DestinationBacklog{}}
	err = lookup.Each(ctx, s.Nouns.Destinations(), rest.ProjectOf(ctx), func(d *hook.Destination) {
		one := DestinationBacklog{ID: d.ID.String(), Name: d.Name, Paused: d.Paused, States: map[string]int64{}}
		for state, n := range waiting[d.ID] {
			one.States[state.String()] = n
		}
		shown.Data = append(shown.Data, one)
	})
	if err != nil {
		return nil, err
	}
	return rest.Answer(shown), nil
}
