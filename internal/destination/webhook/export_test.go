package webhook

import (
	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
)

// Driver returns the driver without its sender, for the conformance suite.
func Driver(f *Factory, spec *hook.DestinationSpec) (destination.Driver, error) {
	return f.compile(spec)
}
