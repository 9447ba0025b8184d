package main

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
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
	done     map[string]int // how often each kind of act succeeded
}

func newOperator(system *system, receiver *receiver, chance *rand.Rand) *operator {
	return &operator{
		system: system, receiver: receiver, faults: system.faults, chance: chance, asked: map[string]int{}, done: map[string]int{},
	}
}

// run goes on until ctx ends. That the program is away for a moment disturbs nobody.
func (o *operator) run(ctx context.Context) {
	for pause(ctx, between(o.chance, 20*time.Millisecond, 250*time.Millisecond)) {
		// What was asked for is waited for, so that it is known what was asked.
		o.act(context.WithoutCancel(ctx))
	}
}

// act is something that the operator does, the more often the greater its weight.
type act struct {
	weight int
	do     func(context.Context)
}

func (o *operator) acts() []act {
	post := func(path string) func(context.Context) {
		return func(ctx context.Context) { o.post(ctx, path, nil) }
	}
	return []act{
		{15, post("/destination/parked/pause")},
		{20, post("/destination/parked/resume")},
		{7, post("/connection/hub-to-parked/pause")},
		{10, post("/connection/hub-to-parked/resume")},
		{4, post("/connection/shop-to-flapping/pause")},
		{8, post("/connection/shop-to-flapping/resume")},
		{4, post("/connection/hub-to-strict/pause")},
		{8, post("/connection/hub-to-strict/resume")},
		{2, post("/destination/skipping/pause")},
		{5, post("/destination/skipping/resume")},
		{4, func(context.Context) { o.receiver.dead.Store(true) }},
		{6, func(context.Context) { o.receiver.dead.Store(false) }},
		{2, func(ctx context.Context) { _, _ = o.system.call(ctx, http.MethodDelete, "/connection/"+doomed, nil) }},
		{10, func(ctx context.Context) { o.onOne(ctx, []string{"pending", "held"}, "/cancel") }},
		{14, func(ctx context.Context) {
			o.onOne(ctx, []string{"failed", "canceled", "held", "pending", "succeeded", "sending"}, "/retry")
		}},
		{14, func(ctx context.Context) { o.onParked(ctx, "release") }},
		{3, func(ctx context.Context) { o.onParked(ctx, "skip") }},
		{2, func(ctx context.Context) { o.onParked(ctx, "drop") }},
		{3, func(ctx context.Context) { o.onKey(ctx, "skip") }},
		{1, func(ctx context.Context) { o.onKey(ctx, "drop") }},
		{3, func(ctx context.Context) { o.onCircuit(ctx, "close") }},
		{5, func(ctx context.Context) { o.onCircuit(ctx, "probe") }},
		{4, o.replay},
		{3, o.replayFailed},
		{2, o.cancelReplay},
	}
}

func (o *operator) act(ctx context.Context) {
	all, total := o.acts(), 0
	for _, a := range all {
		total += a.weight
	}
	at := o.chance.IntN(total)
	for _, a := range all {
		if at -= a.weight; at < 0 {
			a.do(ctx)
			return
		}
	}
}

// post calls the API, and counts what succeeded by the noun and the verb of the path.
func (o *operator) post(ctx context.Context, path string, body any) {
	status, err := o.system.exchange(ctx, exchange{http.MethodPost, path, body}, nil)
	if err == nil && status/100 == 2 {
		parts := strings.Split(path, "/") // "", connection, its id, key, release
		noun := parts[1]
		if len(parts) == 5 {
			noun = parts[3]
		}
		o.done[parts[len(parts)-1]+" "+noun]++
	}
}

// summary tells what was done how often.
func (o *operator) summary() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(o.done)) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(plural(o.done[name], name))
	}
	return b.String()
}

// one returns one of the items of a list's first page.
func one[T any](ctx context.Context, o *operator, path string) (T, bool) {
	var found page[T]
	status, err := o.system.call(ctx, http.MethodGet, path, &found)
	if err != nil || status != http.StatusOK || len(found.Data) == 0 {
		var zero T
		return zero, false
	}
	return found.Data[o.chance.IntN(len(found.Data))], true
}

// pick returns one of the words.
func (o *operator) pick(words ...string) string { return words[o.chance.IntN(len(words))] }

// onOne does something to one delivery among the newest in a state.
func (o *operator) onOne(ctx context.Context, states []string, what string) {
	d, found := one[delivery](ctx, o, "/delivery?limit=50&state="+o.pick(states...))
	if !found {
		return
	}
	if what == "/retry" {
		o.asked[d.ID]++ // Beforehand: an answer that does not come does not mean that nothing was done.
	}
	o.post(ctx, "/delivery/"+d.ID+what, nil)
}

// key is one of the keys of an ordered connection.
type key struct {
	Connection string `json:"connection"`
	Key        string `json:"key"`
}

// onParked decides over a key whose head is parked.
func (o *operator) onParked(ctx context.Context, what string) {
	if k, found := one[key](ctx, o, "/key?parked=true"); found {
		o.post(ctx, "/connection/"+k.Connection+"/key/"+what, map[string]string{"key": k.Key})
	}
}

// onKey decides over any key that has something waiting.
func (o *operator) onKey(ctx context.Context, what string) {
	connection := o.pick("hub-to-strict", "plain-to-strict", "shop-to-skipping", "hub-to-parking")
	if k, found := one[key](ctx, o, "/connection/"+connection+"/key"); found {
		o.post(ctx, "/connection/"+k.Connection+"/key/"+what, map[string]string{"key": k.Key, "reason": "the operator says so"})
	}
}

func (o *operator) onCircuit(ctx context.Context, what string) {
	o.post(ctx, "/destination/"+o.pick("flapping", "slow", "dead", "strict", "skipping", "parked")+"/circuit/"+what, nil)
}

// replay delivers the newest events of a connection anew, sometimes elsewhere, sometimes
// with an edited payload, sometimes only until too much fails.
func (o *operator) replay(ctx context.Context) {
	connection := o.pick("hub-to-strict", "plain-to-strict", "shop-to-skipping", "hub-to-parking", "shop-to-flapping", "plain-to-limited")
	spec := map[string]any{
		"select": map[string]any{"connection": connection, "after": time.Now().Add(-between(o.chance, time.Second, 4*time.Second)).UTC()},
		"rules":  o.pick("then", "now"),
		"rate":   o.pick("20/s", "100/s"),
	}
	switch o.chance.IntN(4) {
	case 0:
		spec["to"] = "parked"
	case 1:
		spec["edit"] = map[string]any{"note": "edited"}
	}
	if o.chance.IntN(3) == 0 {
		spec["stop"] = map[string]any{"errorPercent": 30, "after": 10}
	}
	if o.chance.IntN(5) == 0 {
		spec["dryRun"] = true
	}
	o.post(ctx, "/replay", spec)
}

// replayFailed retries some of the newest deliveries that failed or were canceled.
func (o *operator) replayFailed(ctx context.Context) {
	var found page[delivery]
	query := url.Values{"limit": {"10"}, "state": {o.pick("failed", "canceled")}}
	status, err := o.system.call(ctx, http.MethodGet, "/delivery?"+query.Encode(), &found)
	if err != nil || status != http.StatusOK || len(found.Data) == 0 {
		return
	}
	ids := make([]string, 0, len(found.Data))
	for i := range found.Data {
		ids = append(ids, found.Data[i].ID)
		o.asked[found.Data[i].ID]++
	}
	o.post(ctx, "/replay", map[string]any{"mode": "retry", "select": map[string]any{"deliveries": ids}, "rate": "50/s"})
}

func (o *operator) cancelReplay(ctx context.Context) {
	if r, found := one[replay](ctx, o, "/replay?limit=5"); found {
		o.post(ctx, "/replay/"+r.ID+"/cancel", nil)
	}
}
