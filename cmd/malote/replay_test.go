package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/replay"
)

// planned is a plan of two deliveries, one of them edited.
func planned() control.ReplayPlan {
	return control.ReplayPlan{Plan: replay.Plan{
		Looked: 120, Selected: 3, Skipped: 1, Deliveries: 2, Exact: true,
		Destinations: []replay.PlanDestination{{ID: 2, Name: "erp", Deliveries: 2}},
		Connections:  []replay.PlanConnection{{ID: 3, Name: "orders", Deliveries: 2}},
		Sample: []replay.PlanSample{
			{Event: 12, Type: "orders/create", Key: "1001", Makes: 1, Before: `{"total": 10}`, After: `{"total": 11}`},
			{Event: 13, Type: "orders/create", Before: "\x1b[2Jtext", Skipped: "the payload is not JSON"},
		},
		Duration: hook.Duration(time.Second), Rate: hook.DefaultReplayRate(), Warnings: []string{"the destination erp is paused"},
	}}
}

// running is a replay that stands somewhere.
func running(state hook.ReplayState, progress hook.ReplayProgress) hook.Replay {
	return hook.Replay{
		ID: 7, State: state, CreatedBy: "ana", CreatedAt: now.Add(-time.Minute), Progress: progress,
		ReplaySpec: hook.ReplaySpec{Mode: hook.ReplayDeliver, Rules: hook.ReplayThen, Rate: hook.DefaultReplayRate()},
	}
}

// replayServer answers plans, starts, and then one state of the replay after the other.
func replayServer(t *testing.T, states ...hook.Replay) *server {
	t.Helper()
	s := newServer(t)
	s.answers["POST /api/v1/replay"] = func(w http.ResponseWriter, _ *http.Request) {
		var answer any = running(hook.ReplayRunning, hook.ReplayProgress{})
		if strings.Contains(s.sent(), `"dryRun":true`) {
			answer = planned()
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}
	s.answers["GET /api/v1/replay/rpl_0000000000007"] = func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(states[0]); err != nil {
			t.Error(err)
		}
		if len(states) > 1 {
			states = states[1:]
		}
	}
	return s
}

func TestReplayShowsItsPlan(t *testing.T) {
	s := replayServer(t)
	x := s.terminal()
	x.files["edit.json"] = `{"total": 11}`
	got := x.run("replay", "--source", "shop", "--type", "orders/*", "--filter", "data.total > 5", "--after", "1h", "--before", "2026-03-04T05:00:00Z",
		"--state", "failed", "--destination", "erp", "--to", "spare", "--rules", "now", "--edit", "@edit.json", "--rate", "600/m",
		"--stop-errors", "12.5%", "--stop-after", "30", "--event", "evt_0000000000012", "--dry-run")
	if got.code != 0 || got.err != "" {
		t.Errorf("got %+v", got)
	}
	golden(t, "testdata/replay_plan.golden", got.out)
	want := `POST /api/v1/replay {"select":{"source":"shop","type":"orders/*","filter":"data.total \u003e 5","after":"2026-03-04T04:06:07Z",` +
		`"before":"2026-03-04T05:00:00Z","destination":"erp","state":"failed","events":["evt_0000000000012"]},"rules":"now","to":"spare",` +
		`"edit":{"total":11},"rate":"600/m","stop":{"errorPercent":12.5,"after":30},"dryRun":true}`
	if s.sent() != want {
		t.Errorf("sent %s\nwant %s", s.sent(), want)
	}
	var plan replay.Plan
	if got := x.run("replay", "--retry", "--delivery", "dlv_0000000000005", "--dry-run", "--json"); json.Unmarshal([]byte(got.out), &plan) != nil || plan.Deliveries != 2 {
		t.Errorf("got %+v", got)
	}
	if want := `POST /api/v1/replay {"mode":"retry","select":{"deliveries":["dlv_0000000000005"]},"dryRun":true}`; s.sent() != want {
		t.Errorf("sent %s", s.sent())
	}
}

func TestReplayAsksBeforeItStarts(t *testing.T) {
	for _, c := range []struct {
		name, input, out, err string
		asks                  bool
		args                  []string
		code                  int
	}{
		{"yes", "y\n", "Start 2 deliveries? [y/N] ", "", true, nil, exitFine},
		{"no", "\n", "Start 2 deliveries? [y/N] ", "malote: nothing was started\n", true, nil, exitFailed},
		{"nobody", "", "", "malote: nobody is there to confirm the plan: add --yes, or --dry-run to see it\nSee \"malote replay --help\".\n", false, nil, exitUsage},
		{"a program", "", "", "malote: nobody is there to confirm the plan: add --yes, or --dry-run to see it\nSee \"malote replay --help\".\n", true, []string{"--json"}, exitUsage},
		{"not asked", "", "rpl_0000000000007 is running: \"malote replay show rpl_0000000000007\" tells how far it is.\n", "", false, []string{"--yes", "--detach"}, exitFine},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := replayServer(t, running(hook.ReplayCompleted, hook.ReplayProgress{Made: 2, Succeeded: 2, Attempts: 2}))
			x := s.terminal()
			x.input, x.asks = c.input, c.asks
			got := x.run(append([]string{"replay", "--source", "shop"}, c.args...)...)
			if got.code != c.code || !strings.Contains(got.out, c.out) || got.err != c.err {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestReplayShowsItsProgress(t *testing.T) {
	half := running(hook.ReplayRunning, hook.ReplayProgress{Looked: 60, Selected: 2, Made: 2, Succeeded: 1, Attempts: 2, Errors: 1})
	done := running(hook.ReplayCompleted, hook.ReplayProgress{Looked: 120, Selected: 3, Made: 2, Succeeded: 2, Attempts: 3, Errors: 1})
	stopped := running(hook.ReplayStopped, hook.ReplayProgress{Made: 2, Failed: 1, Canceled: 1, Attempts: 1, Errors: 1})
	stopped.Reason = "1 of 1 attempts failed, more than 10 %"
	failed := running(hook.ReplayCompleted, hook.ReplayProgress{Made: 2, Succeeded: 1, Failed: 1, Attempts: 2, Errors: 1})
	for _, c := range []struct {
		name     string
		terminal bool
		states   []hook.Replay
		out, err string
		code     int
	}{
		{
			"on a terminal", true,
			[]hook.Replay{half, done},
			"\r[" + strings.Repeat("░", 30) + "] running: 0 of 2 delivered" +
				"\r[" + strings.Repeat("█", 15) + strings.Repeat("░", 15) + "] running: 1 of 2 delivered, 1 under way; 1 of 2 attempts were errors" +
				"\r[" + strings.Repeat("█", 30) + "] completed: 2 of 2 delivered; 1 of 3 attempts were errors" + strings.Repeat(" ", 11) + "\n",
			"", exitFine,
		},
		{"in a pipe", false, []hook.Replay{half, done}, "running: 0 of 2 delivered\ncompleted: 2 of 2 delivered; 1 of 3 attempts were errors\n", "", exitFine},
		{
			"stopped", false,
			[]hook.Replay{stopped},
			"running: 0 of 2 delivered\nstopped: 0 of 2 delivered, 1 failed, 1 canceled; 1 of 1 attempts were errors\n",
			"malote: rpl_0000000000007 was stopped: 1 of 1 attempts failed, more than 10 %\n", exitFailed,
		},
		{
			"with failures", false,
			[]hook.Replay{failed},
			"running: 0 of 2 delivered\ncompleted: 1 of 2 delivered, 1 failed; 1 of 2 attempts were errors\n",
			"malote: 1 of 2 deliveries failed: \"malote deliveries --state failed\" shows them\n", exitFailed,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := replayServer(t, c.states...)
			x := s.terminal()
			x.colored, x.env["NO_COLOR"] = c.terminal, "1"
			got := x.run("replay", "--source", "shop", "--yes")
			_, progress, _ := strings.Cut(got.out, "is paused\n")
			if got.code != c.code || progress != c.out || got.err != c.err {
				t.Errorf("got %+v\nwant %q", got, c.out)
			}
		})
	}
	s := replayServer(t, done)
	var last hook.Replay
	if got := s.terminal().run("replay", "--source", "shop", "--yes", "--json"); json.Unmarshal([]byte(got.out), &last) != nil || last.State != hook.ReplayCompleted || got.code != exitFine {
		t.Errorf("got %+v", got)
	}
}

func TestAReplayGoesOnWithoutTheOneWhoWatches(t *testing.T) {
	s := replayServer(t, running(hook.ReplayRunning, hook.ReplayProgress{Made: 1}))
	ctx, cancel := context.WithCancel(t.Context())
	answer := s.answers["GET /api/v1/replay/rpl_0000000000007"].(func(http.ResponseWriter, *http.Request))
	s.answers["GET /api/v1/replay/rpl_0000000000007"] = func(w http.ResponseWriter, r *http.Request) {
		answer(w, r)
		cancel()
	}
	got := runWith(ctx, s.terminal(), "replay", "--source", "shop", "--yes")
	if got.code != exitFine || got.err != "" || !strings.HasSuffix(got.out, "\nrpl_0000000000007 goes on: \"malote replay show rpl_0000000000007\" tells how far it is, \"malote replay cancel rpl_0000000000007\" ends it.\n") {
		t.Errorf("got %+v", got)
	}
}

func TestReplayListShowCancel(t *testing.T) {
	s := newServer(t)
	ended := now
	full := hook.Replay{
		ID: 7, State: hook.ReplayStopped, Reason: "21 of 30 attempts failed, more than 50 %", CreatedBy: "ana", CreatedAt: now.Add(-time.Hour), EndedAt: &ended,
		ReplaySpec: hook.ReplaySpec{
			Mode: hook.ReplayDeliver, Rules: hook.ReplayNow, To: 2, Edit: json.RawMessage(`{"a":1}`), Rate: hook.DefaultReplayRate(), Stop: &hook.StopRule{ErrorPercent: 50},
			Select: hook.ReplaySelection{
				Source: 1, Type: "orders/*", Key: "1001", Text: "x", Filter: "data.a == 1", After: now.Add(-2 * time.Hour), Before: now,
				Connection: 3, Destination: 99, State: hook.StateFailed, Events: []hook.EventID{1}, Deliveries: []hook.DeliveryID{1, 2},
			},
		},
		Progress: hook.ReplayProgress{Looked: 50, Selected: 40, Skipped: 5, Made: 35, Succeeded: 9, Failed: 21, Canceled: 5, Attempts: 30, Errors: 21},
	}
	s.answers["GET /api/v1/replay"] = page(full, running(hook.ReplayRunning, hook.ReplayProgress{Made: 3, Succeeded: 1}))
	s.answers["GET /api/v1/replay/rpl_0000000000007"] = full
	s.answers["POST /api/v1/replay/rpl_0000000000007/cancel"] = running(hook.ReplayCanceled, hook.ReplayProgress{Made: 3, Succeeded: 1, Canceled: 2})
	x := s.terminal()
	golden(t, "testdata/replays.golden", x.run("replay", "list").out+"\n"+x.run("replay", "show", "rpl_0000000000007").out)
	if got := x.run("replay", "cancel", "rpl_0000000000007"); got.out != "rpl_0000000000007 is canceled: 1 of the 3 deliveries that it made succeeded.\n" {
		t.Errorf("got %+v", got)
	}
	if got := x.run("replay", "show", "rpl_0000000000007", "--watch"); got.code != exitFailed || !strings.HasPrefix(got.out, "stopped: 9 of 35 delivered") {
		t.Errorf("got %+v", got)
	}
	s.answers["GET /api/v1/replay"] = page[hook.Replay]()
	if got := x.run("replay", "list"); got.out != "There are no replays.\n" {
		t.Errorf("got %+v", got)
	}
}

func TestReplayWronglyCalled(t *testing.T) {
	x := newServer(t).terminal()
	for args, want := range map[string]string{
		"--rate fast":                    `--rate: "fast" is not a rate: write a number per s, m or h, such as 50/s`,
		"--state lost":                   `--state: "lost" is not a state of a delivery`,
		"--stop-errors many":             `--stop-errors: "many" is no percentage: write 10%`,
		"--stop-after 3":                 "--stop-after goes with --stop-errors: say how many may fail",
		"--event nope":                   `--event: malformed id: "nope" is not of the form evt_`,
		"--delivery evt_0000000000001":   `--delivery: malformed id: "evt_0000000000001" is not of the form dlv_`,
		"--edit {":                       `--edit: it is not JSON`,
		"--edit -":                       "--edit - leaves nothing to answer with: add --yes or --dry-run",
		"--after soon":                   `--after: "soon" is not a time`,
		"begin":                          `unknown command "begin" of "malote replay"`,
		"show":                           `"malote replay show" needs the ID of a replay`,
		"cancel rpl_1 rpl_2":             `"malote replay cancel" takes one argument`,
		"--source shop --edit @nope.txt": "the edit cannot be read",
	} {
		got := x.run(append([]string{"replay"}, strings.Fields(args)...)...)
		wanted := exitUsage
		if strings.HasPrefix(want, "the edit") {
			wanted = exitFailed
		}
		if got.code != wanted || !strings.HasPrefix(got.err, "malote: "+want) {
			t.Errorf("%s: got %+v, want %q", args, got, want)
		}
	}
}
