package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"

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

// batchCommits is how many events of one request wait for a commit at the same time.
const batchCommits = 64

// storeBatch stores prepared events of one request and returns the receipt of the first
// and the deliveries that are to be attempted at once. When it fails, some events may
// have been stored and go their way; the sender repeats the batch, and their ids make
// them duplicates.
func (i *intake) storeBatch(ctx context.Context, events []*hook.Acceptance) (hook.Receipt, []*hook.Job, error) {
	var first hook.Receipt
	var all []*hook.Job
	for rest := events; len(rest) > 0; {
		n := unrelated(rest)
		receipt, jobs, err := i.storeTogether(ctx, rest[:n])
		all = append(all, jobs...)
		if err != nil {
			i.dispatch(all)
			return hook.Receipt{}, nil, fmt.Errorf("store a batch of %d events: %w", len(events), err)
		}
		if first == (hook.Receipt{}) {
			first = receipt
		}
		rest = rest[n:]
	}
	return first, all, nil
}

// unrelated returns how many events at the beginning of a batch no order key connects.
// Those may be stored in any order; what comes after them waits.
func unrelated(events []*hook.Acceptance) int {
	type key struct {
		connection hook.ConnectionID
		text       string
	}
	seen := map[key]bool{}
	for n, event := range events {
		targets := event.Event.Targets
		for i := range targets {
			if targets[i].OrderKey != "" && seen[key{targets[i].Connection, targets[i].OrderKey}] {
				return n
			}
		}
		for i := range targets {
			if targets[i].OrderKey != "" {
				seen[key{targets[i].Connection, targets[i].OrderKey}] = true
			}
		}
	}
	return len(events)
}

// storeTogether stores events side by side, so that they share commits.
func (i *intake) storeTogether(ctx context.Context, events []*hook.Acceptance) (hook.Receipt, []*hook.Job, error) {
	receipts := make([]hook.Receipt, len(events))
	jobs := make([][]*hook.Job, len(events))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(batchCommits)
	for n, event := range events {
		group.Go(func() (err error) {
			receipts[n], jobs[n], err = i.store(groupCtx, event)
			return err
		})
	}
	err := group.Wait()
	return receipts[0], slices.Concat(jobs...), err
}
