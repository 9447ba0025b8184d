package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/lookup"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// CancelIn says why a delivery is canceled.
type CancelIn struct {
	Reason string `json:"reason,omitempty" doc:"A sentence that stays with the delivery"`
}

// AttemptList is all attempts of a delivery.
type AttemptList struct {
	Data []hook.Attempt `json:"data" doc:"The first attempt first"`
	Done bool           `json:"done"`
}

func (s *server) deliveryRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/delivery", ID: "delivery.list", Role: hook.RoleViewer,
			Summary: "List deliveries, the newest first", Bind: rest.Handle(s.listDeliveries),
		},
		{
			Method: http.MethodPost, Path: "/delivery/retry", ID: "delivery.retry-many", Role: hook.RoleOperator,
			Summary: "Send many deliveries again",
			More: "Up to 1,000 are due at once, the newest first where there is a limit. When a filter without a limit selects more, " +
				"or a rate is given, a replay of the mode retry is started and answered: it sends all of them again, the oldest first.",
			In: RetryIn{}, Bind: rest.Handle(s.retryMany),
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

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
