package flow

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
)

const project = hook.ProjectID(7)

// applied does to a catalogue what a store does with a plan.
func applied(catalogue hook.Catalogue, plan *Plan) hook.Catalogue {
	next := catalogue
	next.Revision++
	next.Sources = append([]hook.Source(nil), catalogue.Sources...)
	next.Destinations = append([]hook.Destination(nil), catalogue.Destinations...)
	next.Connections = append([]hook.Connection(nil), catalogue.Connections...)
	for i, change := range plan.Changes {
		id := 100*next.Revision + int64(i)
		switch {
		case change.Source != nil:
			source := *change.Source
			source.ID = hook.SourceID(cmp.Or(int64(source.ID), id))
			next.Sources = replaced(next.Sources, func(s *hook.Source) bool { return s.Name == source.Name }, kept(change.Op, source))
		case change.Destination != nil:
			destination := *change.Destination
			destination.ID = hook.DestinationID(cmp.Or(int64(destination.ID), id))
			next.Destinations = replaced(next.Destinations, func(d *hook.Destination) bool { return d.Name == destination.Name }, kept(change.Op, destination))
		default:
			connection := *change.Connection
			connection.ID = hook.ConnectionID(cmp.Or(int64(connection.ID), id))
			resolve(&next, &change, &connection)
			next.Connections = replaced(next.Connections, func(c *hook.Connection) bool { return c.Name == connection.Name }, kept(change.Op, connection))
		}
	}
	return next
}

// resolve gives a connection the ids of ends that the same plan created.
func resolve(catalogue *hook.Catalogue, change *hook.Change, connection *hook.Connection) {
	for i := range catalogue.Sources {
		if connection.Source == 0 && catalogue.Sources[i].Name == change.From {
			connection.Source = catalogue.Sources[i].ID
		}
	}
	for i := range catalogue.Destinations {
		if connection.Destination == 0 && catalogue.Destinations[i].Name == change.To {
			connection.Destination = catalogue.Destinations[i].ID
		}
	}
}

func kept[T any](op hook.ChangeOp, item T) []T {
	if op == hook.OpDelete {
		return nil
	}
	return []T{item}
}

// replaced returns the items without those that match, and with others at the end.
func replaced[T any](items []T, matches func(*T) bool, others []T) []T {
	var rest []T
	for i := range items {
		if !matches(&items[i]) {
			rest = append(rest, items[i])
		}
	}
	return append(rest, others...)
}

func mustParse(t *testing.T, text string) *Flow {
	t.Helper()
	parsed, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func mustPlan(t *testing.T, text string, catalogue hook.Catalogue, prune bool) *Plan {
	t.Helper()
	plan, err := mustParse(t, text).Plan(project, catalogue, prune)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestPlanCreates(t *testing.T) {
	plan := mustPlan(t, example, hook.Catalogue{}, false)
	want := `+ source bare
+ source meter
    verify.token.header: x-token
    verify.token.secret: (secret)
    type.header: x-type
    dedupe.path: id
    dedupe.window: 1d
+ source open
    verify.none: true
    type.value: ping
+ source shop
    provider: shopify
    secret: (secret)
+ destination audit
    http.url: https://audit.example.com/
    http.sign.none: true
+ destination erp
    http.url: https://erp.example.com/orders
    http.headers.x-version: 2
    http.auth.bearer: (secret)
    http.sign.secret: (secret)
    http.timeout: 15s
    rate: 50/s
    concurrency: 8
+ connection orders-to-erp
    from: shop
    to: erp
    types: [orders/*]
    filter: double(data.total_price) >= 100.0
    retry.schedule: [5s, 1m, 10m, 1h, 6h, 1d]
    retry.jitter: 0
    order.key: data.customer.id
    order.stuck: park
7 to create, 0 to update, 0 to delete.
`
	if diff := gocmp.Diff(want, plan.Text()); diff != "" {
		t.Error(diff)
	}
	last := plan.Changes[len(plan.Changes)-1]
	if last.Connection == nil || last.From != "shop" || last.To != "erp" || last.Connection.Source != 0 {
		t.Errorf("the connection's ends are not named: %+v", last)
	}
	again := mustPlan(t, example, applied(hook.Catalogue{}, plan), true)
	if !again.Empty() {
		t.Errorf("a second apply changes something:\n%s", again.Text())
	}
}

const small = `sources:
  shop: { provider: shopify, secret: "${SHOPIFY_SECRET}" }
destinations:
  erp: { http: { url: https://erp.example.com/ } }
connections:
  orders: { from: shop, to: erp }
`

func TestPlanUpdatesAndDeletes(t *testing.T) {
	catalogue := applied(hook.Catalogue{}, mustPlan(t, small, hook.Catalogue{}, false))
	catalogue.Destinations[0].HTTP.Headers = map[string]string{"Authorization": "Bearer old"}
	changed := strings.NewReplacer("https://erp.example.com/ }", "https://erp.example.com/, headers: {Authorization: new} }", "shopify, secret", "stripe, secret", "SHOPIFY_SECRET", "METER_TOKEN", "orders: {", "payments: { types: [a],").Replace(small)
	if got, want := mustPlan(t, changed, catalogue, false).Text(), `~ source shop
    provider: shopify → stripe
    secret: (secret) → (secret changed)
~ destination erp
    http.headers.Authorization: (secret) → (secret changed)
+ connection payments
    from: shop
    to: erp
    types: [a]
not in the flow, and left alone: connection orders
1 to create, 2 to update, 0 to delete.
`; got != want {
		t.Error(gocmp.Diff(want, got))
	}
	pruned := mustPlan(t, "sources: {other: }", catalogue, true)
	if got, want := pruned.Text(), `+ source other
- connection orders
- source shop
- destination erp
1 to create, 0 to update, 3 to delete.
`; got != want {
		t.Error(gocmp.Diff(want, got))
	}
	if left := applied(catalogue, pruned); len(left.Sources) != 1 || len(left.Destinations)+len(left.Connections) != 0 {
		t.Errorf("what is left: %+v", left)
	}
}

// A connection may come to lead elsewhere.
func TestPlanMovesAConnection(t *testing.T) {
	catalogue := applied(hook.Catalogue{}, mustPlan(t, small, hook.Catalogue{}, false))
	plan := mustPlan(t, strings.Replace(small, "  erp: {", "  crm: { http: { url: https://crm.example.com/ } }\n  erp: {", 1), catalogue, false)
	catalogue = applied(catalogue, plan)
	moved := mustPlan(t, strings.NewReplacer("to: erp", "to: crm", "  erp: {", "  crm: { http: { url: https://crm.example.com/ } }\n  erp: {").Replace(small), catalogue, false)
	if got, want := moved.Text(), "~ connection orders\n    to: erp → crm\n0 to create, 1 to update, 0 to delete.\n"; got != want {
		t.Error(gocmp.Diff(want, got))
	}
	if moved.Changes[0].Connection.Destination == 0 {
		t.Error("the id of a destination that exists is not given")
	}
}

// A secret that was generated stays, and no other project is touched.
func TestPlanKeepsWhatItDidNotMake(t *testing.T) {
	first := mustPlan(t, small, hook.Catalogue{}, false)
	if text := first.Text(); !strings.Contains(text, "http.sign.secret: (a generated secret)") {
		t.Errorf("no secret was generated:\n%s", text)
	}
	catalogue := applied(hook.Catalogue{}, first)
	secret := catalogue.Destinations[0].HTTP.Sign.Secret
	if !strings.HasPrefix(secret.Reveal(), "whsec_") {
		t.Errorf("the secret is %d characters of something else", len(secret))
	}
	if plan := mustPlan(t, small, catalogue, false); !plan.Empty() {
		t.Errorf("the generated secret is not kept:\n%s", plan.Text())
	}
	other, err := mustParse(t, small).Plan(project+1, catalogue, true)
	if err != nil || len(other.Changes) != 3 || other.Changes[0].Op != hook.OpCreate {
		t.Errorf("another project: %v %v", other, err)
	}
	none := mustPlan(t, strings.Replace(small, "example.com/", "example.com/, sign: none", 1), catalogue, false)
	if text := none.Text(); !strings.Contains(text, "http.sign.none: (nothing) → true") || !strings.Contains(text, "http.sign.secret: (secret) → (nothing)") {
		t.Errorf("signing is not switched off:\n%s", text)
	}
}

// A pause by a person or by a 410 is not ended by a flow that does not know of it.
func TestPlanKeepsPauses(t *testing.T) {
	catalogue := applied(hook.Catalogue{}, mustPlan(t, small, hook.Catalogue{}, false))
	catalogue.Destinations[0].Paused, catalogue.Destinations[0].PauseReason = true, "it answered 410"
	catalogue.Connections[0].Paused = true
	plan := mustPlan(t, strings.Replace(small, "https://erp.example.com/", "https://erp2.example.com/", 1), catalogue, false)
	want := `~ destination erp
    http.url: https://erp.example.com/ → https://erp2.example.com/
warning: the destination erp is paused (it answered 410), and stays so until somebody resumes it
warning: the connection orders is paused, and stays so until somebody resumes it
0 to create, 1 to update, 0 to delete.
`
	if diff := gocmp.Diff(want, plan.Text()); diff != "" {
		t.Error(diff)
	}
	if updated := plan.Changes[0].Destination; !updated.Paused || updated.PauseReason == "" {
		t.Error("the plan resumes the destination")
	}
}

func TestPlanStateChecksTheEnds(t *testing.T) {
	state := State{Connections: map[string]ConnectionSpec{"c": {From: "shp", To: "erp"}}}
	catalogue := hook.Catalogue{Sources: []hook.Source{{ID: 1, Project: project, Name: "shop"}}, Destinations: []hook.Destination{{ID: 2, Project: project, Name: "erp"}}}
	_, err := PlanState(project, catalogue, state, false)
	invalid := (*hook.Error)(nil)
	if !errors.As(err, &invalid) || len(invalid.Problems) != 1 || invalid.Problems[0].Path != "connections.c.from" ||
		invalid.Problems[0].Message != `no source "shp"; did you mean "shop"?` {
		t.Errorf("got %v", err)
	}
	state.Connections["c"] = ConnectionSpec{From: "shop", To: "erp"}
	if plan, err := PlanState(project, catalogue, state, false); err != nil || plan.Changes[0].Connection.Source != 1 {
		t.Errorf("got %v, %v", plan, err)
	}
	if _, err := PlanState(project, catalogue, state, true); err == nil {
		t.Error("a connection may lead from a source that the same plan deletes")
	}
}

func TestLocate(t *testing.T) {
	parsed := mustParse(t, small)
	err := parsed.Locate(hook.Invalid("no", []hook.Problem{
		{Path: "destinations.erp.http.url", Message: "a private address"}, {Path: "nowhere", Message: "unknown"},
	}))
	if got, want := place(err), "flow.yaml:4:23: destinations.erp.http.url: a private address\nnowhere: unknown"; got != want {
		t.Errorf("got %s", got)
	}
	plain := errors.New("plain")
	if got := parsed.Locate(plain); !errors.Is(got, plain) {
		t.Errorf("got %v", got)
	}
}

func TestPlanNamesTenThatAreLeftAlone(t *testing.T) {
	plan := &Plan{}
	for i := range 10 {
		plan.Unmanaged = append(plan.Unmanaged, fmt.Sprintf("source s%d", i))
	}
	const ten = "left alone: source s0, source s1, source s2, source s3, source s4, source s5, source s6, source s7, source s8, source s9"
	if got := plan.Text(); !strings.Contains(got, ten+"\n") {
		t.Error(got)
	}
	plan.Unmanaged = append(plan.Unmanaged, "source s10", "source s11")
	if got := plan.Text(); !strings.Contains(got, ten+" and 2 more\n") {
		t.Error(got)
	}
}
