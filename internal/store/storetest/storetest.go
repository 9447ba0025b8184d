// Package storetest holds a backend of package store to what the contract promises.
// A backend's own test calls Run with a Harness; whatever passes may stand behind the
// engines.
package storetest

import (
	"testing"

	"malote.dev/malote/internal/store/storetest/delivering"
	"malote.dev/malote/internal/store/storetest/stage"
)

// Harness opens the stores under test.
type Harness = stage.Harness

// world is the stage of one test.
type world struct{ *stage.World }

// place is a project with one noun of each kind.
type place = stage.Place

// Run runs the whole suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	delivering.Run(t, h)
	for _, subject := range []struct {
		name  string
		tests map[string]func(*world)
	}{
		{"Catalogue", catalogueTests()},
		{"Apply", applyTests()},
		{"System", systemTests()},
		{"Tokens", tokenTests()},
		{"Events", eventTests()},
		{"Deliveries", deliveryTests()},
		{"Refusals", refusalTests()},
		{"Numbers", numbersTests()},
		{"Replays", replayTests()},
		{"Health", healthTests()},
		{"Circuits kept", circuitTests()},
		{"Audit", auditTests()},
		{"Prune", pruneTests()},
		{"Upkeep", upkeepTests()},
	} {
		t.Run(subject.name, func(t *testing.T) {
			for name, test := range subject.tests {
				t.Run(name, func(t *testing.T) { test(&world{stage.New(t, h)}) })
			}
		})
	}
}
