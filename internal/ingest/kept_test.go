package ingest

import (
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
)

// Sources of other projects than the default one are called by their ids.
func TestAKeptRequestIsRebuiltUnderTheAddressOfItsSource(t *testing.T) {
	refusal := &hook.Refusal{Path: "/orders", Query: "a=b", Headers: hook.Headers{{Name: "Host", Value: "hooks.example.com"}}}
	for home, want := range map[hook.ProjectID]string{
		1: "https://hooks.example.com/in/shop/orders?a=b",
		2: "https://hooks.example.com/in/" + hook.SourceID(10).String() + "/orders?a=b",
	} {
		noun := hook.Source{ID: 10, Project: 1, Name: "shop"}
		source := &route.Source{Source: noun, Path: route.PathOf(&noun, home)}
		if got := keptURL(source, refusal, "https"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
