package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/replay"
)

func TestReplayCalls(t *testing.T) {
	var got, reply string
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
		fmt.Fprint(w, reply)
	})
	ctx := t.Context()
	request := control.ReplayIn{To: "spare", Edit: json.RawMessage(`{"a":null}`), DryRun: true}
	const stopped = `{"id":"rpl_0000000000009","state":"stopped","mode":"retry","select":{"state":"failed"},"rate":"5/s","progress":{"made":3}}`
	want := hook.Replay{ID: 9, State: hook.ReplayStopped, Progress: hook.ReplayProgress{Made: 3}}
	want.Mode, want.Select.State, want.Rate = hook.ReplayRetry, hook.StateFailed, hook.Rate{Count: 5, Per: 1e9}
	for _, test := range []struct {
		want, reply string
		call        func() (any, error)
		answer      any
	}{
		{
			`POST /api/v1/replay {"to":"spare","edit":{"a":null},"dryRun":true}`, `{"looked":4,"duration":"2s","exact":true,"warnings":["w"]}`,
			func() (any, error) { return c.PlanReplay(ctx, request) },
			control.ReplayPlan{Plan: replay.Plan{Looked: 4, Duration: 2e9, Exact: true, Warnings: []string{"w"}}},
		},
		{`POST /api/v1/replay {"to":"spare","edit":{"a":null}}`, stopped, func() (any, error) { return c.StartReplay(ctx, request) }, want},
		{"GET /api/v1/replay/a%2Fb", stopped, func() (any, error) { return c.Replay(ctx, "a/b") }, want},
		{"POST /api/v1/replay/r/cancel", stopped, func() (any, error) { return c.CancelReplay(ctx, "r") }, want},
		{"GET /api/v1/replay?limit=1", `{"data":[` + stopped + `],"done":true}`, func() (any, error) {
			var last hook.Replay
			for replay, err := range c.Replays(ctx, 1) {
				if last = replay; err != nil {
					return last, err
				}
			}
			return last, nil
		}, want},
	} {
		reply = test.reply
		answer, err := test.call()
		if err != nil {
			t.Fatal(err)
		}
		if got != test.want {
			t.Errorf("sent %s, want %s", got, test.want)
		}
		if diff := cmp.Diff(test.answer, answer); diff != "" {
			t.Errorf("%s: %s", test.want, diff)
		}
	}
}
