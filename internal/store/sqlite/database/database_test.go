package database

import "testing"

func TestOldEnginesAreRefused(t *testing.T) {
	for version, allowed := range map[string]bool{
		"3.51.3": true, "3.51.10": true, "3.52.0": true, "4.0.0": true, "3.51.2": false, "3.50.9": false, "3.9.0": false, "2.99.9": false, "x": false,
	} {
		if err := engineAllowed(version); (err == nil) != allowed {
			t.Errorf("%s: %v", version, err)
		}
	}
}
