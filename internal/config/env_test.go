package config

import (
	"slices"
	"testing"
)

func TestUnknownVariablesAreNamedWithTheNearestKnown(t *testing.T) {
	got := UnknownVariables([]string{
		"PATH=/bin", "MALOTE_TRUSTED_PROXY=10.0.0.1", "MALOTE_LISTEN=:1", "MALOTE_LISTN=:2", "MALOTEX=1", "MALOTE_ERP_PASSWORD=x=y", "MALOTE_DATA",
	})
	want := []Unknown{
		{Name: "MALOTE_ERP_PASSWORD"}, {Name: "MALOTE_LISTN", Nearest: "MALOTE_LISTEN"}, {Name: "MALOTE_TRUSTED_PROXY", Nearest: "MALOTE_TRUSTED_PROXIES"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}
