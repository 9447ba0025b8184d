package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/lookup"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// CancelIn says why a delivery is canceled.
type CancelIn struct {
	Reason string `json:"reason,omitempty" doc:"A sentence that stays with the delivery"`
}

// RetryIn selects the deliveries of a bulk retry: by their ids, or by a filter.
type RetryIn struct {
	IDs    []string     `json:"ids,omitempty" doc:"These deliveries"`
	Filter *RetryFilter `json:"filter,omitempty" doc:"Or those that fit this"`
	Limit  int          `json:"limit,omitempty" doc:"How many of the filter's deliveries at the most, the newest first; default and greatest 1000"`
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
	Selected int  `json:"selected" doc:"How many deliveries were selected"`
	Retried  int  `json:"retried" doc:"How many of them are due now; the others were under way already"`
	More     bool `json:"more" doc:"The filter selects more than the limit"`
}

// AttemptList is all attempts of a delivery.
type AttemptList struct {
	Data []hook.Attempt `json:"data" doc:"The first attempt first"`
	Done bool           `json:"done"`
}

// maxBulk is how many deliveries one request retries.
const maxBulk = 1000

func (s *server) deliveryRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/delivery", ID: "delivery.list", Role: hook.RoleViewer,
			Summary: "List deliveries, the newest first", Bind: rest.Handle(s.listDeliveries),
		},
		{
			Method: http.MethodPost, Path: "/delivery/retry", ID: "delivery.retry-many", Role: hook.RoleOperator,
			Summary: "Send many deliveries again", In: RetryIn{}, Bind: rest.Handle(s.retryMany),
		},
		{
			Method: http.MethodGet, Path: "/delivery/{id}", ID: "delivery.get", Role: hook.RoleViewer,
			Summary: "Get a delivery", Bind: rest.Handle(s.getDelivery),
		},
		{
			Method: http.MethodGet, Path: "/delivery/{id}/attempt", ID: "delivery.attempt.list", Role: hook.RoleViewer,
			Summary: "List the attempts of a delivery", Bind: rest.Handle(s.listAttempts),
		},
		{
			Method: http.MethodPost, Path: "/delivery/{id}/retry", ID: "delivery.retry", Role: hook.RoleOperator, Status: http.StatusAccepted,
			Summary: "Send a delivery again", More: "One attempt follows at once, and no automatic retry after it.",
			Bind: rest.Handle(s.retryDelivery),
		},
		{
			Method: http.MethodPost, Path: "/delivery/{id}/cancel", ID: "delivery.cancel", Role: hook.RoleOperator,
			Summary: "Cancel a delivery that waits", In: CancelIn{}, Empty: true, Bind: rest.Handle(s.cancelDelivery),
		},
	}
}

type listDeliveriesIn struct {
	State       string `query:"state" enum:"pending,sending,succeeded,failed,held,canceled" doc:"In this state"`
	Cause       string `query:"cause" enum:"paused,circuit,parked" doc:"Held for this cause"`
	Replay      string `query:"replay" doc:"Made or retried by this replay; without a state those that have not ended"`
	Event       string `query:"event" doc:"Of this event"`
	Connection  string `query:"connection" doc:"Over this connection: id or name"`
	Destination string `query:"destination" doc:"To this destination: id or name"`
	rest.TimeRange
	rest.Paging
}

func (s *server) listDeliveries(ctx context.Context, in *listDeliveriesIn) (*rest.Out[rest.List[DeliveryOut]], error) {
	query, err := s.deliveryQuery(ctx, in)
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Deliveries(ctx, query)
	if err != nil {
		return nil, err
	}
	show := s.showDeliveries(ctx)
	list := rest.ListOf[hook.DeliveryID](found, func(d *hook.Delivery) DeliveryOut {
		shown, failed := show(d)
		err = errors.Join(err, failed)
		return shown
	})
	return list, err
}

func (s *server) deliveryQuery(ctx context.Context, in *listDeliveriesIn) (query store.DeliveryQuery, err error) {
	query = store.DeliveryQuery{Project: rest.ProjectOf(ctx), After: in.After, Before: in.Before}
	if query.Page, err = rest.PageOf(in.Paging, hook.ParseID[hook.DeliveryID]); err != nil {
		return query, err
	}
	if in.State != "" {
		if err := query.State.UnmarshalText([]byte(in.State)); err != nil {
			return query, rest.InvalidQuery("state", err.Error())
		}
	}
	if in.Cause != "" {
		if err := query.Cause.UnmarshalText([]byte(in.Cause)); err != nil {
			return query, rest.InvalidQuery("cause", err.Error())
		}
		if query.State != 0 && query.State != hook.StateHeld {
			return query, rest.InvalidQuery("cause", "only deliveries that are held have a cause: leave out the state "+in.State)
		}
		query.State = hook.StateHeld
	}
	if in.Replay != "" {
		if query.Replay, err = hook.ParseID[hook.ReplayID](in.Replay); err != nil {
			return query, rest.InvalidQuery("replay", err.Error())
		}
	}
	if in.Event != "" {
		if query.Event, err = hook.ParseID[hook.EventID](in.Event); err != nil {
			return query, rest.InvalidQuery("event", err.Error())
		}
	}
	if query.Connection, err = lookup.Connection(ctx, s.Store, query.Project, in.Connection); err != nil {
		return query, rest.UnknownRef("connection", err)
	}
	if query.Destination, err = lookup.Destination(ctx, s.Store, query.Project, in.Destination); err != nil {
		return query, rest.UnknownRef("destination", err)
	}
	return query, nil
}

func (s *server) findDelivery(ctx context.Context, ref string) (hook.Delivery, error) {
	id, err := hook.ParseID[hook.DeliveryID](ref)
	if err != nil {
		return hook.Delivery{}, hook.NotFound("delivery", ref)
	}
	return s.Store.Delivery(ctx, rest.ProjectOf(ctx), id)
}

func (s *server) getDelivery(ctx context.Context, in *rest.One) (*rest.Out[DeliveryOut], error) {
	d, err := s.findDelivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	shown, err := s.showDeliveries(ctx)(&d)
	return rest.Answer(shown), err
}

func (s *server) listAttempts(ctx context.Context, in *rest.One) (*rest.Out[AttemptList], error) {
	d, err := s.findDelivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	attempts, err := s.Store.Attempts(ctx, d.Project, d.ID)
	if err != nil {
		return nil, err
	}
	if attempts == nil {
		attempts = []hook.Attempt{}
	}
	return rest.Answer(AttemptList{Data: attempts, Done: true}), nil
}

func (s *server) retryDelivery(ctx context.Context, in *rest.One) (*rest.Out[DeliveryOut], error) {
	d, err := s.findDelivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	changed, err := s.Store.Retry(ctx, d.Project, []hook.DeliveryID{d.ID}, s.Now())
	if err != nil {
		return nil, err
	}
	if changed == 0 {
		return nil, hook.Errorf(hook.KindConflict, "the delivery is %s: an attempt is under way or planned already", d.State)
	}
	s.Deliver.Wake(d.Destination)
	s.audit(ctx, "retried a delivery", d.ID)
	return s.getDelivery(ctx, in)
}

func (s *server) cancelDelivery(ctx context.Context, in *rest.OneBody) (*rest.Out[DeliveryOut], error) {
	given := CancelIn{}
	if len(in.RawBody) > 0 {
		if err := body.Decode(in.RawBody, &given); err != nil {
			return nil, err
		}
	}
	if given.Reason == "" {
		given.Reason = "canceled by hand"
	}
	if len(given.Reason) > maxReason {
		return nil, hook.Invalid("it cannot be canceled", []hook.Problem{{Path: "reason", Message: "is longer than 500 bytes"}})
	}
	d, err := s.findDelivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	changed, err := s.Store.Cancel(ctx, d.Project, []hook.DeliveryID{d.ID}, given.Reason)
	if err != nil {
		return nil, err
	}
	if changed == 0 {
		return nil, hook.Errorf(hook.KindConflict, "the delivery is %s: only one that is pending or held can be canceled", d.State)
	}
	s.audit(ctx, "canceled a delivery", d.ID)
	return s.getDelivery(ctx, &rest.One{Ref: in.Ref})
}

func (s *server) retryMany(ctx context.Context, in *rest.BodyOnly) (*rest.Out[RetryOut], error) {
	var given RetryIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	deliveries, more, err := s.selectDeliveries(ctx, &given)
	if err != nil {
		return nil, err
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

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
