package flow

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
)

const controlled = `
sources:
  shop: { verify: none }
destinations:
  erp:
    http: { url: https://erp.example.com, sign: none }
    rate: 50/s
    burst: 10
    concurrency: 4
    inFlight: 200
    adaptive: false
    circuit: { failures: 5, probe: 2s, maxProbe: 10m }
    quiet: { from: 22:00, to: 06:00, days: [mon, fri], zone: America/Sao_Paulo }
connections:
  orders:
    from: shop
    to: erp
    order: { key: data.customer.id, stuck: skip after 3 }
    delay: 10m
    ttl: 2d
    quiet: { from: 12:30, to: 13:30 }
`

func TestDeliveryControl(t *testing.T) {
	state := mustParse(t, controlled).State()
	adaptive := false
	want := hook.DestinationSpec{
		HTTP: &hook.HTTPTarget{URL: "https://erp.example.com", Sign: &hook.Sign{None: true}},
		Rate: hook.Rate{Count: 50, Per: time.Second}, Burst: 10, Concurrency: 4, InFlight: 200, Adaptive: &adaptive,
		Circuit: &hook.CircuitPolicy{Failures: 5, Probe: hook.Duration(2 * time.Second), MaxProbe: hook.Duration(10 * time.Minute)},
		Quiet:   &hook.Quiet{From: "22:00", To: "06:00", Days: []string{"mon", "fri"}, Zone: "America/Sao_Paulo"},
	}
	if diff := cmp.Diff(want, state.Destinations["erp"]); diff != "" {
		t.Error(diff)
	}
	connection := state.Connections["orders"].ConnectionSpec
	if diff := cmp.Diff(hook.ConnectionSpec{
		Order: &hook.Order{Key: "data.customer.id", Stuck: "skip after 3"},
		Delay: hook.Duration(10 * time.Minute), TTL: hook.Duration(48 * time.Hour), Quiet: &hook.Quiet{From: "12:30", To: "13:30"},
	}, connection); diff != "" {
		t.Error(diff)
	}
	if err := validate(t, compiled(t), controlled); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
	plan := mustPlan(t, controlled, hook.Catalogue{}, false)
	if len(plan.Warnings) > 0 {
		t.Errorf("the plan warns: %q", plan.Warnings)
	}
	catalogue := applied(hook.Catalogue{}, plan)
	text, err := Export(project, catalogue)
	if err != nil {
		t.Fatal(err)
	}
	if again := mustPlan(t, string(text), catalogue, true); !again.Empty() {
		t.Errorf("what is exported as\n%s\nchanges on its way back:\n%s", text, again.Text())
	}
}

// Each is one thing that cannot be, with where it is and how to mend it.
func TestDeliveryControlIsChecked(t *testing.T) {
	for _, test := range []struct {
		change func(*hook.DestinationSpec)
		path   string
		want   string // "": it is right
	}{
		{func(d *hook.DestinationSpec) { d.Burst = 5 }, "burst", "there is no rate that it is a part of"},
		{func(d *hook.DestinationSpec) { d.Burst, d.Rate = 5, hook.Rate{Count: 1, Per: time.Second} }, "", ""},
		{func(d *hook.DestinationSpec) { d.Burst = -1 }, "burst", "-1 is out of range"},
		{func(d *hook.DestinationSpec) { d.InFlight = 15 }, "inFlight", "15 is less than the concurrency, which is 16: raise it, or lower that"},
		{func(d *hook.DestinationSpec) { d.InFlight, d.Concurrency = 15, 15 }, "", ""},
		{func(d *hook.DestinationSpec) { d.InFlight, d.Concurrency = 15, 17 }, "inFlight", "15 is less than the concurrency, which is 17"},
		{func(d *hook.DestinationSpec) { d.InFlight = -1 }, "inFlight", "out of range"},
		{func(d *hook.DestinationSpec) { d.InFlight = 1e9 }, "inFlight", "out of range"},
		{func(d *hook.DestinationSpec) { d.Circuit = &hook.CircuitPolicy{Off: true} }, "", ""},
		{func(d *hook.DestinationSpec) { d.Circuit = &hook.CircuitPolicy{Off: true, Failures: 3} }, "circuit", "off contradicts the rest"},
		{func(d *hook.DestinationSpec) { d.Circuit = &hook.CircuitPolicy{Failures: -3} }, "circuit.failures", "-3 is out of range"},
		{func(d *hook.DestinationSpec) { d.Circuit = &hook.CircuitPolicy{Probe: 1} }, "circuit.probe", "1ns is out of range: it goes from 100ms to 1d"},
		{func(d *hook.DestinationSpec) { d.Circuit = &hook.CircuitPolicy{Probe: hook.Duration(time.Hour)} }, "", ""},
		{
			func(d *hook.DestinationSpec) {
				d.Circuit = &hook.CircuitPolicy{MaxProbe: hook.Duration(500 * time.Millisecond)}
			}, "circuit.maxProbe", "500ms is less than the wait for the first probe, which is 1s",
		},
		{
			func(d *hook.DestinationSpec) {
				d.Circuit = &hook.CircuitPolicy{MaxProbe: hook.Duration(48 * time.Hour)}
			}, "circuit.maxProbe", "2d is out of range",
		},
		{func(d *hook.DestinationSpec) { d.Quiet = &hook.Quiet{From: "22:00", To: "6:00"} }, "quiet.to", `"6:00" is not a time of the day`},
		{
			func(d *hook.DestinationSpec) {
				d.Quiet = &hook.Quiet{From: "22:00", To: "06:00", Days: []string{"mon", "x"}}
			}, "quiet.days.1", `"x" is not a day`,
		},
		{func(d *hook.DestinationSpec) { d.Quiet = &hook.Quiet{From: "22:00", To: "22:00"} }, "quiet", "nothing is ever delivered"},
	} {
		spec := hook.DestinationSpec{HTTP: &hook.HTTPTarget{URL: "https://erp.example.com"}}
		test.change(&spec)
		judge(t, Rules{}.CheckDestination(&spec), test.path, test.want)
	}
}

func TestConnectionControlIsChecked(t *testing.T) {
	for _, test := range []struct {
		spec hook.ConnectionSpec
		path string
		want string // "": it is right
	}{
		{hook.ConnectionSpec{Delay: hook.Duration(time.Hour)}, "", ""},
		{hook.ConnectionSpec{Delay: hook.Duration(time.Hour), TTL: hook.Duration(2 * time.Hour)}, "", ""},
		{hook.ConnectionSpec{Delay: hook.Duration(time.Hour), TTL: hook.Duration(time.Hour)}, "ttl", "1h is not more than the delay, which is 1h"},
		{hook.ConnectionSpec{Delay: hook.Duration(400 * 24 * time.Hour)}, "delay", "400d is out of range: 365d is the most"},
		{hook.ConnectionSpec{Quiet: &hook.Quiet{From: "x", To: "06:00"}}, "quiet.from", `"x" is not a time of the day`},
		{hook.ConnectionSpec{Quiet: &hook.Quiet{From: "01:00", To: "06:00", Zone: "Atlantis"}}, "quiet.zone", `"Atlantis" is not a time zone`},
		{hook.ConnectionSpec{Order: &hook.Order{Key: "data.id", Stuck: "park"}}, "", ""},
		{hook.ConnectionSpec{Order: &hook.Order{Key: "data.id", Stuck: "wait"}}, "order.stuck", `"wait" is not a rule for a stuck head`},
		{hook.ConnectionSpec{Order: &hook.Order{Key: "data.id", Stuck: "skip after 1001"}}, "order.stuck", "1001 attempts are out of range: 1000 is the most"},
		{hook.ConnectionSpec{Order: &hook.Order{Key: "dta.id"}}, "order.key", "there is no dta"},
		{hook.ConnectionSpec{Order: &hook.Order{}}, "order.key", "a key is needed"},
	} {
		judge(t, Rules{}.CheckConnection(&test.spec), test.path, test.want)
	}
}

func judge(t *testing.T, problems []hook.Problem, path, want string) {
	t.Helper()
	switch {
	case want == "" && len(problems) > 0:
		t.Errorf("what is right is refused: %+v", problems)
	case want != "" && (len(problems) != 1 || problems[0].Path != path || !strings.Contains(problems[0].Message, want)):
		t.Errorf("got %+v, want %s: %s", problems, path, want)
	}
}
