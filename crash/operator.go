package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"
)

// page is a list of the API.
type page[T any] struct {
	Data     []T     `json:"data"`
	Iterator *string `json:"iterator"`
	Done     bool    `json:"done"`
}

// operator does at random what people do.
type operator struct {
	system   *system
	receiver *receiver
	faults   *faults
	chance   *rand.Rand
	asked    map[string]int // how often each delivery was asked to be sent again
}

// run goes on until ctx ends. That the program is away for a moment disturbs nobody.
func (o *operator) run(ctx context.Context) {
	for pause(ctx, between(o.chance, 20*time.Millisecond, 250*time.Millisecond)) {
		// What was asked for is waited for, so that it is known what was asked.
		o.act(context.WithoutCancel(ctx))
	}
}

func (o *operator) act(ctx context.Context) {
	post := func(path string) { _, _ = o.system.call(ctx, http.MethodPost, path, nil) }
	switch at := o.chance.IntN(100); {
	case at < 15:
		post("/destination/parked/pause")
	case at < 35:
		post("/destination/parked/resume")
	case at < 42:
		post("/connection/hub-to-parked/pause")
	case at < 52:
		post("/connection/hub-to-parked/resume")
	case at < 56:
		post("/connection/shop-to-flapping/pause")
	case at < 64:
		post("/connection/shop-to-flapping/resume")
	case at < 68:
		o.receiver.dead.Store(true)
	case at < 74:
		o.receiver.dead.Store(false)
	case at < 76:
		_, _ = o.system.call(ctx, http.MethodDelete, "/connection/"+doomed, nil)
	case at < 86:
		o.onOne(ctx, []string{"pending", "held"}, "/cancel")
	default:
		o.onOne(ctx, []string{"failed", "canceled", "held", "pending", "succeeded", "sending"}, "/retry")
	}
}

// onOne does something to one delivery among the newest in a state.
func (o *operator) onOne(ctx context.Context, states []string, what string) {
	state := states[o.chance.IntN(len(states))]
	var found page[delivery]
	status, err := o.system.call(ctx, http.MethodGet, "/delivery?limit=50&state="+state, &found)
	if err != nil || status != http.StatusOK || len(found.Data) == 0 {
		return
	}
	id := found.Data[o.chance.IntN(len(found.Data))].ID
	if what == "/retry" {
		o.asked[id]++ // Beforehand: an answer that does not come does not mean that nothing was done.
	}
	_, _ = o.system.call(ctx, http.MethodPost, "/delivery/"+id+what, nil)
}
