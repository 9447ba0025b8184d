package control

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
)

func (s *service) circuitRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodPost, Path: "/destination/{id}/circuit/close", ID: "destination.circuit.close", Role: hook.RoleOperator,
			Summary: "Close the circuit of a destination",
			More:    "What it held is released and attempted. When that fails again, it opens again.",
			Bind:    rest.Handle(s.closeCircuit),
		},
		{
			Method: http.MethodPost, Path: "/destination/{id}/circuit/probe", ID: "destination.circuit.probe", Role: hook.RoleOperator,
			Status: http.StatusAccepted, Summary: "Probe a destination whose circuit is open at once",
			More: "One of the deliveries that wait is attempted. It uses up nothing of its schedule when it fails.",
			Bind: rest.Handle(s.probeCircuit),
		},
	}
}

// circuit returns the circuit of a destination as it is now.
func (s *service) circuit(d *hook.Destination) hook.Circuit {
	circuit := s.Deliver.Circuit(d.ID)
	circuit.Destination, circuit.Project = d.ID, d.Project // one that never opened may not know
	return circuit
}

func (s *service) closeCircuit(ctx context.Context, in *rest.One) (*rest.Out[hook.Circuit], error) {
	d, err := s.Nouns.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	// A long backlog is released to its end when the caller does not wait for it.
	if err := s.Deliver.CloseCircuit(context.WithoutCancel(ctx), d.ID); err != nil {
		return nil, err
	}
	rest.Acted(ctx, s.Logger, "closed the circuit of a destination", d.ID)
	return rest.Answer(s.circuit(&d)), nil
}

func (s *service) probeCircuit(ctx context.Context, in *rest.One) (*rest.Out[hook.Circuit], error) {
	d, err := s.Nouns.Destinations().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	if circuit := s.circuit(&d); circuit.State != hook.CircuitOpen {
		return nil, hook.Errorf(hook.KindConflict, "the circuit of the destination %q is %s: only an open one is probed", d.Name, circuit.State)
	}
	s.Deliver.ProbeNow(d.ID)
	rest.Acted(ctx, s.Logger, "probed the circuit of a destination", d.ID)
	return rest.Answer(s.circuit(&d)), nil
}
