package ingest

import (
	"strings"

	"github.com/tidwall/gjson"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
)

// The media types of CloudEvents in JSON (CloudEvents 1.0.2, JSON event format,
// sections 3 and 4).
const (
	cloudEventsBatch = "application/cloudevents-batch+json"
	cloudEventsOne   = "application/cloudevents+json"
)

// maxBatch is how many events of one request are taken apart; a longer batch stays one
// event.
const maxBatch = 1000

// splitBatch takes a batch of CloudEvents apart into structured ones. It returns nil
// for anything else: other arrays mean whatever their sender means, and stay whole.
func splitBatch(event *hook.Event) []*hook.Acceptance {
	mediaType, parameters, _ := strings.Cut(event.Headers.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(mediaType), cloudEventsBatch) || !filter.ValidJSON(event.Payload) {
		return nil
	}
	array := gjson.ParseBytes(event.Payload)
	if !array.IsArray() {
		return nil
	}
	contentType := cloudEventsOne
	if parameters != "" {
		contentType += ";" + parameters
	}
	headers := replaceHeader(event.Headers, "Content-Type", contentType)
	var batch []*hook.Acceptance
	fits := true
	array.ForEach(func(_, element gjson.Result) bool {
		fits = element.IsObject() && len(batch) < maxBatch
		one := &hook.Acceptance{Event: *event}
		one.Event.Headers, one.Event.Payload = headers, []byte(element.Raw)
		batch = append(batch, one)
		return fits
	})
	if !fits {
		return nil
	}
	return batch
}

// replaceHeader returns headers with the named field's value replaced.
func replaceHeader(headers hook.Headers, name, value string) hook.Headers {
	replaced := make(hook.Headers, len(headers))
	for i, header := range headers {
		if strings.EqualFold(header.Name, name) {
			header.Value = value
		}
		replaced[i] = header
	}
	return replaced
}
