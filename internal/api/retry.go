package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/lookup"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// RetryIn selects the deliveries of a bulk retry: by their ids, or by a filter.
type RetryIn struct {
	IDs    []string     `json:"ids,omitempty" doc:"These deliveries"`
	Filter *RetryFilter `json:"filter,omitempty" doc:"Or those that fit this"`
	Limit  int          `json:"limit,omitempty" doc:"How many of the filter's deliveries at the most, the newest first; 1000 is the greatest. Without it, all"`
	Rate   hook.Rate    `json:"rate,omitzero" doc:"Send all of the filter's deliveries again by a replay at this rate"`
}

// RetryFilter selects deliveries; what is absent selects all.
type RetryFilter struct {
	State       string    `json:"state,omitempty" enum:"failed,canceled,held" doc:"Default failed; held with a cause"`
	Cause       string    `json:"cause,omitempty" enum:"paused,circuit,parked" doc:"Held for this cause"`
	Event       string    `json:"event,omitempty" doc:"Of this event"`
	Connection  string    `json:"connection,omitempty" doc:"Over this connection: id or name"`
	Destination string    `json:"destination,omitempty" doc:"To this destination: id or name"`
	After       time.Time `json:"after,omitzero" doc:"Of events at or after this time"`
	Before      time.Time `json:"before,omitzero" doc:"Of events before this time"`
}

// RetryOut says what a bulk retry did.
type RetryOut struct {
	Selected int          `json:"selected" doc:"How many deliveries were selected; those of a replay are not counted"`
	Retried  int          `json:"retried" doc:"How many of them are due now; the others were under way already"`
	More     bool         `json:"more" doc:"The filter selects more than the limit"`
	Replay   *hook.Replay `json:"replay,omitempty" doc:"What sends them again, where they are more than 1,000 or have a rate"`
}

// maxBulk is how many deliveries one request retries.
const maxBulk = 1000

func (s *server) retryMany(ctx context.Context, in *rest.BodyOnly) (*rest.Out[RetryOut], error) {
	var given RetryIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	deliveries, more, err := s.selectDeliveries(ctx, &given)
	if err != nil {
		return nil, err
	}
	if given.Rate != (hook.Rate{}) || more && given.Limit == 0 && given.Filter.Cause == "" {
		return s.retryByReplay(ctx, &given)
	}
	ids := make([]hook.DeliveryID, len(deliveries))
	wake := map[hook.DestinationID]bool{}
	for i := range deliveries {
		ids[i] = deliveries[i].ID
		wake[deliveries[i].Destination] = true
	}
	shown := RetryOut{Selected: len(ids), More: more}
	if len(ids) > 0 {
		if shown.Retried, err = s.Store.Retry(ctx, rest.ProjectOf(ctx), ids, s.Now()); err != nil {
			return nil, err
		}
	}
	for destination := range wake {
		s.Deliver.Wake(destination)
	}
	s.audit(ctx, fmt.Sprintf("retried %d deliveries", shown.Retried), rest.ProjectOf(ctx))
	return rest.Answer(shown), nil
}

// retryByReplay starts a replay that sends again what a filter selects.
func (s *server) retryByReplay(ctx context.Context, in *RetryIn) (*rest.Out[RetryOut], error) {
	query, err := s.retryQuery(ctx, in.Filter)
	if err != nil {
		return nil, err
	}
	spec := hook.ReplaySpec{Mode: hook.ReplayRetry, Rate: in.Rate, Select: hook.ReplaySelection{
		Connection: query.Connection, Destination: query.Destination, State: query.State, After: query.After, Before: query.Before,
	}}
	if query.Event != 0 {
		spec.Select.Events = []hook.EventID{query.Event}
	}
	replay, err := s.Replayer.Start(ctx, query.Project, rest.CallerOf(ctx).Token.Name, spec)
	if err != nil {
		return nil, err
	}
	s.audit(ctx, "started a replay that retries deliveries", replay.ID)
	return rest.Answer(RetryOut{Replay: &replay}), nil
}

// selectDeliveries returns what a bulk retry is about, and whether there is more.
func (s *server) selectDeliveries(ctx context.Context, in *RetryIn) ([]hook.Delivery, bool, error) {
	fail := func(path, message string) error {
		return hook.Invalid("nothing was retried", []hook.Problem{{Path: path, Message: message}})
	}
	switch {
	case (len(in.IDs) == 0) == (in.Filter == nil):
		return nil, false, fail("ids", "give either ids or a filter")
	case len(in.IDs) > maxBulk:
		return nil, false, fail("ids", fmt.Sprintf("there are %d ids: %d is the most", len(in.IDs), maxBulk))
	case in.Limit < 0 || in.Limit > maxBulk:
		return nil, false, fail("limit", fmt.Sprintf("it goes from 1 to %d", maxBulk))
	case in.Rate != (hook.Rate{}) && (in.Filter == nil || in.Limit != 0 || in.Filter.Cause != ""):
		return nil, false, fail("rate", "it goes with a filter that has no cause, and without a limit")
	case in.Filter != nil:
		return s.filterDeliveries(ctx, in)
	}
	deliveries := make([]hook.Delivery, len(in.IDs))
	for i, ref := range in.IDs {
		d, err := s.findDelivery(ctx, ref)
		if hook.KindOf(err) == hook.KindNotFound {
			return nil, false, fail(fmt.Sprintf("ids.%d", i), err.Error())
		}
		if err != nil {
			return nil, false, err
		}
		deliveries[i] = d
	}
	return deliveries, false, nil
}

func (s *server) filterDeliveries(ctx context.Context, in *RetryIn) (deliveries []hook.Delivery, more bool, err error) {
	query, err := s.retryQuery(ctx, in.Filter)
	if err != nil {
		return nil, false, err
	}
	limit := in.Limit
	if limit == 0 {
		limit = maxBulk
	}
	for {
		query.Page.Limit = min(limit+1-len(deliveries), page.MaxLimit)
		found, err := s.Store.Deliveries(ctx, query)
		if err != nil {
			return nil, false, err
		}
		deliveries = append(deliveries, found.Items...)
		if len(deliveries) > limit {
			return deliveries[:limit], true, nil
		}
		if found.Done || found.Last == 0 {
			return deliveries, false, nil
		}
		query.Page.From = found.Last
	}
}

func (s *server) retryQuery(ctx context.Context, filter *RetryFilter) (store.DeliveryQuery, error) {
	query := store.DeliveryQuery{Project: rest.ProjectOf(ctx), State: hook.StateFailed}
	var problems []hook.Problem
	note := func(path string, err error) {
		if err != nil {
			problems = append(problems, hook.Problem{Path: "filter." + path, Message: err.Error()})
		}
	}
	if filter.State != "" {
		err := query.State.UnmarshalText([]byte(filter.State))
		if err == nil && !slices.Contains([]hook.State{hook.StateFailed, hook.StateCanceled, hook.StateHeld}, query.State) {
			err = fmt.Errorf("%s deliveries are not retried in bulk: use failed, canceled or held", query.State)
		}
		note("state", err)
	}
	if filter.Cause != "" {
		note("cause", query.Cause.UnmarshalText([]byte(filter.Cause)))
		if filter.State == "" {
			query.State = hook.StateHeld
		}
		if query.State != hook.StateHeld {
			note("cause", errors.New("only deliveries that are held have a cause"))
		}
	}
	var err error
	if filter.Event != "" {
		query.Event, err = hook.ParseID[hook.EventID](filter.Event)
		note("event", err)
	}
	if query.Connection, err = lookup.Connection(ctx, s.Store, query.Project, filter.Connection); hook.KindOf(err) != hook.KindNotFound && err != nil {
		return query, err
	}
	note("connection", err)
	if query.Destination, err = lookup.Destination(ctx, s.Store, query.Project, filter.Destination); hook.KindOf(err) != hook.KindNotFound && err != nil {
		return query, err
	}
	note("destination", err)
	query.After, query.Before = filter.After, filter.Before
	return query, hook.Invalid("nothing was retried", problems)
}
