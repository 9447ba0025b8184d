package hooktest

import (
	"time"

	"malote.dev/malote/internal/hook"
)

// Secret is a Standard Webhooks secret for tests.
const Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// Source returns a source of the project that checks nothing, changed by the given
// functions.
func Source(project hook.ProjectID, name string, change ...func(*hook.Source)) hook.Source {
	source := hook.Source{
		Project: project, Name: name,
		SourceSpec: hook.SourceSpec{Verify: &hook.Verify{None: true}},
	}
	return built(source, change)
}

// Destination returns a destination of the project that is reached at url and signs
// with Secret.
func Destination(project hook.ProjectID, name, url string, change ...func(*hook.Destination)) hook.Destination {
	destination := hook.Destination{
		Project: project, Name: name,
		DestinationSpec: hook.DestinationSpec{HTTP: &hook.HTTPTarget{URL: url, Sign: &hook.Sign{Secret: Secret}}},
	}
	return built(destination, change)
}

// Connection returns a connection between the two, for every event.
func Connection(from *hook.Source, to *hook.Destination, change ...func(*hook.Connection)) hook.Connection {
	connection := hook.Connection{
		Project: from.Project, Name: from.Name + "-to-" + to.Name,
		Source: from.ID, Destination: to.ID,
	}
	return built(connection, change)
}

// Event returns an event of the source as ingest would make it, with an id of ids and
// a small order for its payload.
func Event(source *hook.Source, ids *hook.IDs, now time.Time, change ...func(*hook.Event)) hook.Event {
	payload := []byte(`{"id":1001,"total_price":"149.90","customer":{"id":7,"name":"Ana"}}`)
	event := hook.Event{
		ID: hook.EventID(ids.Next(now)), Project: source.Project, Source: source.ID,
		Type: "orders/create", Method: "POST", Remote: "192.0.2.1",
		Headers: hook.Headers{{Name: "Content-Type", Value: "application/json"}},
		Payload: payload, PayloadSize: len(payload),
		Verdict: hook.Verdict{Scheme: "none"}, ReceivedAt: now,
	}
	return built(event, change)
}

// Target returns the delivery of an event over a connection, with an id of ids.
func Target(connection *hook.Connection, ids *hook.IDs, now time.Time) hook.Target {
	return hook.Target{
		Delivery: hook.DeliveryID(ids.Next(now)), Connection: connection.ID, Destination: connection.Destination,
	}
}

func built[T any](noun T, change []func(*T)) T {
	for _, f := range change {
		f(&noun)
	}
	return noun
}
