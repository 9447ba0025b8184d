package sqlstore

import (
	"testing"

	"pgregory.net/rapid"
)

func TestMinutes(t *testing.T) {
	for ms, want := range map[int64]int64{0: 0, 59_999: 0, 60_000: 1, -1: -1, -60_000: -1, -60_001: -2} {
		if got := Minute(Time(ms)); got != want {
			t.Errorf("%d ms is in minute %d, want %d", ms, got, want)
		}
	}
}

func TestTypePatterns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.StringMatching(`[a-c]{0,3}`), 1, 4).Draw(t, "parts")
		fill := rapid.SliceOfN(rapid.StringMatching(`[a-c*/]{0,3}`), 4, 4).Draw(t, "fill")
		pattern, eventType := parts[0], parts[0]
		for i, part := range parts[1:] {
			pattern += "*" + part
			eventType += fill[i] + part
		}
		if !matchType(pattern, eventType) && pattern != "" {
			t.Fatalf("%q does not match %q", pattern, eventType)
		}
		if len(parts) == 1 && pattern != "" && matchType(pattern, eventType+"x") {
			t.Fatalf("%q matches %q", pattern, eventType+"x")
		}
		if matchType("x"+pattern, eventType) {
			t.Fatalf("%q matches %q", "x"+pattern, eventType)
		}
	})
}
