// Package delivering is the part of the conformance suite that follows deliveries from
// their acceptance to their end.
package delivering

import (
	"testing"

	"malote.dev/malote/internal/store/storetest/stage"
)

// world is the stage of one test.
type world struct{ *stage.World }

// place is a project with one noun of each kind.
type place = stage.Place

// Run runs this part of the suite.
func Run(t *testing.T, h stage.Harness) {
	t.Helper()
	for _, subject := range []struct {
		name  string
		tests map[string]func(*world)
	}{
		{"Accept", acceptTests()},
		{"Dedupe", dedupeTests()},
		{"Claim", claimTests()},
		{"Settle", settleTests()},
		{"Manage", manageTests()},
		{"Cause", causeTests()},
		{"Order", orderTests()},
		{"Keys", keyTests()},
		{"Probe", probeTests()},
		{"Reclaim", reclaimTests()},
	} {
		t.Run(subject.name, func(t *testing.T) {
			for name, test := range subject.tests {
				t.Run(name, func(t *testing.T) { test(&world{stage.New(t, h)}) })
			}
		})
	}
}
