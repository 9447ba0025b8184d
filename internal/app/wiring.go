package app

import (
	"context"
	"iter"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
)

// catalogue shows the router's snapshot to the delivery engine.
type catalogue struct{ router *route.Router }

// Route implements deliver.Catalogue.
func (c catalogue) Route(id hook.ConnectionID, to hook.DestinationID) (deliver.Route, bool) {
	snapshot := c.router.Current()
	connection, ok := snapshot.Way(id, to)
	if !ok {
		return deliver.Route{}, false
	}
	way := deliver.Route{Connection: &connection.Connection, Destination: connection.To, Source: route.PathPrefix, Timing: connection}
	if source, ok := snapshot.SourceByID(connection.Source); ok {
		way.Source, way.System = source.Path, source.System
	}
	return way, true
}

// routes yields the ways of all connections that lead somewhere.
func (c catalogue) routes() iter.Seq[deliver.Route] {
	return func(yield func(deliver.Route) bool) {
		for connection := range c.router.Current().Connections() {
			if connection.To != nil && !yield(deliver.Route{Connection: &connection.Connection, Destination: connection.To}) {
				return
			}
		}
	}
}

// Destination implements deliver.Catalogue.
func (c catalogue) Destination(id hook.DestinationID) (*hook.Destination, bool) {
	return c.router.Current().Destination(id)
}

// announced is the store, and tells those who watch what has just been stored.
type announced struct {
	*sqlite.Store

	live *api.Live
}

// Accept implements store.Accepter.
func (s announced) Accept(ctx context.Context, acceptance *hook.Acceptance) (hook.Receipt, error) {
	receipt, err := s.Store.Accept(ctx, acceptance)
	if err == nil && !receipt.Duplicate && s.live.Listening() {
		s.showEvent(acceptance)
	}
	return receipt, err
}

// showEvent publishes an event without its payload: nobody is shown that, and slow
// listeners would keep hundreds of them.
func (s announced) showEvent(acceptance *hook.Acceptance) {
	event := acceptance.Event
	event.Payload = nil
	s.live.Publish(api.Notice{Project: event.Project, Event: &event})
}

// AdvanceReplay implements store.Replays.
func (s announced) AdvanceReplay(ctx context.Context, step store.ReplayStep) (store.ReplayDone, error) {
	done, err := s.Store.AdvanceReplay(ctx, step)
	if err == nil && s.live.Listening() {
		for _, acceptance := range step.Events {
			s.showEvent(acceptance)
		}
	}
	return done, err
}

// Settle implements store.Queue.
func (s announced) Settle(settlement hook.Settlement, done func(error)) {
	if !s.live.Listening() {
		s.Store.Settle(settlement, done)
		return
	}
	s.Store.Settle(settlement, func(err error) {
		if done != nil {
			done(err)
		}
		if err == nil {
			s.tell(&settlement)
		}
	})
}

// tell publishes the delivery as it stands after the settlement.
func (s announced) tell(settlement *hook.Settlement) {
	delivery := settlement.Job.Delivery
	delivery.State, delivery.Cause, delivery.Reason, delivery.NextAttemptAt = settlement.State, settlement.Cause, settlement.Reason, nil
	if settlement.State == hook.StatePending {
		next := settlement.Next
		delivery.NextAttemptAt = &next
	}
	if settlement.Attempt != nil {
		delivery.Attempts = settlement.Attempt.Number
	}
	if settlement.Free {
		delivery.Probes++
	}
	s.live.Publish(api.Notice{Project: delivery.Project, Delivery: &delivery})
}

// Refuse implements store.Refusals.
func (s announced) Refuse(ctx context.Context, refusal *hook.Refusal) error {
	err := s.Store.Refuse(ctx, refusal)
	if err == nil && s.live.Listening() {
		shown := *refusal
		shown.Payload = nil
		s.live.Publish(api.Notice{Project: shown.Project, Refusal: &shown})
	}
	return err
}
