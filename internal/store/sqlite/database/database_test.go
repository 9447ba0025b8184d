package database

import (
	"slices"
	"testing"
)

func TestOldEnginesAreRefused(t *testing.T) {
	for version, allowed := range map[string]bool{
		"3.51.3": true, "3.51.10": true, "3.52.0": true, "4.0.0": true, "3.51.2": false, "3.50.9": false, "3.9.0": false, "2.99.9": false, "x": false,
	} {
		if err := engineAllowed(version); (err == nil) != allowed {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestEachComplaintIsALineOfItsOwn(t *testing.T) {
	for text, want := range map[string][]string{
		"ok":                       nil,
		"row 1 missing from index": {"row 1 missing from index"},
		"*** in database main ***\nTree 5 page 9: btreeInitPage() returns error code 11\n\nPage 12: never used\n": {
			"Tree 5 page 9: btreeInitPage() returns error code 11", "Page 12: never used",
		},
	} {
		if got := complaints(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
