package flow

import (
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
)

// onCall connects what happens in the system itself to a destination.
const onCall = `destinations:
  on-call: { http: { url: https://example.com/ } }
connections:
  alarms: { from: malote, to: on-call, types: [malote.*] }
`

// withSystem is the catalogue of a new project.
func withSystem() hook.Catalogue {
	return hook.Catalogue{Sources: []hook.Source{
		{ID: 9, Project: project, Name: hook.SystemSource, Version: 1, SourceSpec: hook.SourceSpec{System: true}},
	}}
}

func TestTheSystemSourceIsConnectedLikeAnyOther(t *testing.T) {
	for _, prune := range []bool{false, true} {
		plan := mustPlan(t, onCall, withSystem(), prune)
		if len(plan.Items) != 2 || len(plan.Unmanaged) != 0 {
			t.Fatalf("prune %v: the plan is\n%s", prune, plan.Text())
		}
		if made := plan.Changes[1].Connection; made == nil || made.Source != 9 {
			t.Errorf("prune %v: the connection is %+v, want it from the source that is there", prune, made)
		}
		catalogue := applied(withSystem(), plan)
		text, err := Export(project, catalogue)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "from: malote") || strings.Contains(string(text), "sources:") {
			t.Errorf("the export is\n%s\nwant the connection without the source", text)
		}
	}
}

func TestTheSystemSourceIsNobodysToSetUp(t *testing.T) {
	if _, err := parse(t, "sources:\n  own: { system: true }\n"); err == nil || !strings.Contains(err.Error(), "leave this out") {
		t.Errorf("a source that calls itself the system's: %v", err)
	}
	own := "sources:\n  malote: { verify: none }\n"
	if _, err := mustParse(t, own).Plan(project, withSystem(), false); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("a source of its name: %v", err)
	}
	if plan := mustPlan(t, own, hook.Catalogue{}, false); len(plan.Items) != 1 {
		t.Errorf("a source of its name where it has another: %s", plan.Text())
	}
}
