package deliver

import (
	"time"

	"malote.dev/malote/internal/hook"
)

// CircuitNotice is what a notice of a circuit's transition says.
type CircuitNotice struct {
	Destination hook.DestinationID `json:"destination"`
	Name        string             `json:"name,omitempty"`
	State       hook.CircuitState  `json:"state"`
	Reason      string             `json:"reason,omitempty"` // why it opened
	Since       time.Time          `json:"since,omitzero"`
	OpenedAt    time.Time          `json:"openedAt,omitzero"`
	ProbeAt     time.Time          `json:"probeAt,omitzero"` // while open: when the next probe is made
	Failures    int                `json:"failures"`
	Probes      int                `json:"probes"` // that failed, in a row; 0: the outage begins, or is over
}

// PausedNotice is what a notice says of a destination that answered 410.
type PausedNotice struct {
	Destination hook.DestinationID `json:"destination"`
	Name        string             `json:"name,omitempty"`
	Reason      string             `json:"reason"`
}

// DeliveryNotice is what a notice says of a delivery that failed for good, or that
// parked its key.
type DeliveryNotice struct {
	Delivery    hook.DeliveryID    `json:"delivery"`
	Event       hook.EventID       `json:"event"`
	Type        string             `json:"type,omitempty"` // of the event
	Connection  hook.ConnectionID  `json:"connection"`
	Destination hook.DestinationID `json:"destination"`
	Name        string             `json:"name,omitempty"` // of the destination
	OrderKey    string             `json:"orderKey,omitempty"`
	Attempts    int                `json:"attempts"`
	Outcome     hook.Outcome       `json:"outcome"`
	Status      int                `json:"status,omitempty"`
	Reason      string             `json:"reason"`
}

// notifyCircuit tells of a circuit's new state.
func (e *Engine) notifyCircuit(circuit *hook.Circuit, name string) {
	types := map[hook.CircuitState]string{
		hook.CircuitOpen: hook.NoticeCircuitOpened, hook.CircuitHalfOpen: hook.NoticeCircuitProbing,
		hook.CircuitRamp: hook.NoticeCircuitRamping, hook.CircuitClosed: hook.NoticeCircuitClosed,
	}
	kind := types[circuit.State]
	if circuit.State == hook.CircuitOpen && !circuit.OpenedAt.Equal(circuit.Since) {
		kind = hook.NoticeCircuitReopened // the outage goes on: who was told of it need not be told again
	}
	e.options.Notify(hook.Notice{
		Project: circuit.Project, Type: kind, Key: circuit.Destination.String(), At: circuit.Since, Destination: circuit.Destination,
		Data: CircuitNotice{
			Destination: circuit.Destination, Name: name, State: circuit.State, Reason: circuit.Reason, Since: circuit.Since,
			OpenedAt: circuit.OpenedAt, ProbeAt: circuit.ProbeAt, Failures: circuit.Failures, Probes: circuit.Probes,
		},
	})
}

// notifyDelivery tells of a delivery that ended without success, or stopped its key.
// Of the system's own events nothing is told: that would never end.
func (e *Engine) notifyDelivery(kind string, settlement *hook.Settlement, route *Route) {
	if route.System {
		return
	}
	delivery := &settlement.Job.Delivery
	data := DeliveryNotice{
		Delivery: delivery.ID, Event: delivery.Event, Type: settlement.Job.Event.Type, Connection: delivery.Connection,
		Destination: delivery.Destination, Name: route.Destination.Name, OrderKey: delivery.OrderKey, Attempts: settlement.Attempt.Number,
		Outcome: settlement.Attempt.Outcome, Status: settlement.Attempt.ResponseStatus, Reason: settlement.Reason,
	}
	key := delivery.Destination.String() // many of one destination become one event
	if kind == hook.NoticeKeyParked {
		key = delivery.Connection.String()
	}
	e.options.Notify(hook.Notice{
		Project: delivery.Project, Type: kind, Key: key, At: time.Now(), Destination: delivery.Destination, Data: data,
	})
}
