package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
)

// maxIdentity is how long type, key and provider id of an event are kept, in bytes.
// Longer ones are cut; duplicates are known by the whole of the provider's id.
const maxIdentity = 512

// acceptances makes the events of a verified request: one, or those of a batch.
func (x *exchange) acceptances(verdict hook.Verdict) []*hook.Acceptance {
	acceptance := &hook.Acceptance{Event: hook.Event{
		Project:    x.source.Project,
		Source:     x.source.ID,
		Method:     x.request.Method,
		Path:       x.request.Path,
		Query:      x.source.Confidential.MaskQuery(x.request.Query),
		Headers:    x.source.Confidential.MaskHeaders(x.request.Headers),
		Payload:    x.request.Body,
		Verdict:    verdict,
		ReceivedAt: stamp(x.began),
	}}
	if x.request.Remote.IsValid() {
		acceptance.Event.Remote = x.request.Remote.String()
	}
	if batch := splitBatch(&acceptance.Event); batch != nil {
		return batch
	}
	return []*hook.Acceptance{acceptance}
}

// stamp makes a time one as the store keeps it: UTC, to the millisecond.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// batchCommits is how many events of one request wait for a commit at the same time.
const batchCommits = 64

// intake is the way of events into one source, by whichever door they came.
type intake struct {
	*Handler

	source  *route.Source
	numbers *sourceMetrics
}

func (h *Handler) intakeOf(source *route.Source) intake {
	return intake{Handler: h, source: source, numbers: h.metrics.of(source.ID)}
}

// admit stores events and returns the receipt of the first and the deliveries that are
// to be attempted at once. When it fails, some events of a batch may have been stored
// and go their way; the sender repeats the batch, and their ids make them duplicates.
func (i *intake) admit(ctx context.Context, events []*hook.Acceptance) (hook.Receipt, []*hook.Job, error) {
	if len(events) == 1 {
		return i.admitOne(ctx, events[0])
	}
	receipts := make([]hook.Receipt, len(events))
	jobs := make([][]*hook.Job, len(events))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(batchCommits)
	for n, event := range events {
		group.Go(func() (err error) {
			receipts[n], jobs[n], err = i.admitOne(groupCtx, event)
			return err
		})
	}
	err := group.Wait()
	all := slices.Concat(jobs...)
	if err != nil {
		i.dispatch(all)
		return hook.Receipt{}, nil, fmt.Errorf("store a batch of %d events: %w", len(events), err)
	}
	return receipts[0], all, nil
}

// admitOne identifies an event, matches it, reserves room for its deliveries, makes all
// of it durable, and counts it.
func (i *intake) admitOne(ctx context.Context, acceptance *hook.Acceptance) (hook.Receipt, []*hook.Job, error) {
	event := &acceptance.Event
	event.ID = hook.EventID(i.options.IDs.Next(event.ReceivedAt))
	event.PayloadSize = len(event.Payload)
	in := filter.NewInput(event)
	identify(i.source, in, acceptance)

	var connections []*route.Connection
	connections, event.Unmatched = i.source.Match(in, event.Type)
	in.Release()
	i.metrics.misses.Add(float64(len(event.Unmatched)))
	event.Targets = make([]hook.Target, len(connections))
	for n, connection := range connections {
		target := &event.Targets[n]
		*target = hook.Target{
			Delivery:    hook.DeliveryID(i.options.IDs.Next(event.ReceivedAt)),
			Connection:  connection.ID,
			Destination: connection.Destination,
		}
		target.Reason, target.Held = connection.Held()
		target.Deferred = !target.Held && !i.options.Lanes.Reserve(target.Destination)
	}
	receipt, err := i.options.Store.Accept(ctx, acceptance)
	if err != nil || receipt.Duplicate {
		i.release(event.Targets)
	}
	if err != nil {
		return hook.Receipt{}, nil, err
	}
	i.numbers.count(receipt)
	if receipt.Duplicate {
		return receipt, nil, nil
	}
	return receipt, jobsOf(event), nil
}

// identify reads what an event is known by, where it is not given already.
func identify(source *route.Source, in *filter.Input, acceptance *hook.Acceptance) {
	event := &acceptance.Event
	if event.ProviderID == "" {
		event.ProviderID = source.ProviderID(in)
	}
	if event.ProviderID != "" {
		acceptance.Dedupe = dedupeHash(source.ID, event.ProviderID)
		acceptance.Window = source.DedupeWindow()
	}
	if event.Type == "" {
		event.Type = source.EventType(in)
	}
	if event.Key == "" {
		event.Key = source.EventKey(in)
	}
	event.Type, event.Key, event.ProviderID = clip(event.Type), clip(event.Key), clip(event.ProviderID)
}

// dedupeHash identifies a provider's id within its source.
func dedupeHash(source hook.SourceID, providerID string) hook.DedupeHash {
	var buffer [128]byte
	text := binary.BigEndian.AppendUint64(buffer[:0], uint64(source))
	sum := sha256.Sum256(append(text, providerID...))
	return hook.DedupeHash(sum[:len(hook.DedupeHash{})])
}

// clip makes a foreign text fit for lists and labels: valid UTF-8 of bounded length.
func clip(text string) string {
	if len(text) > maxIdentity {
		end := maxIdentity
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// jobsOf returns the deliveries of an accepted event that are to be attempted at once.
func jobsOf(event *hook.Event) []*hook.Job {
	var jobs []*hook.Job
	for i := range event.Targets {
		target := &event.Targets[i]
		if target.Deferred || target.Held {
			continue
		}
		jobs = append(jobs, &hook.Job{
			Delivery: hook.Delivery{
				ID: target.Delivery, Project: event.Project, Event: event.ID, Connection: target.Connection,
				Destination: target.Destination, State: hook.StateSending, CreatedAt: event.ReceivedAt, UpdatedAt: event.ReceivedAt,
			},
			Event:  event,
			Inline: true,
		})
	}
	return jobs
}

func (h *Handler) release(targets []hook.Target) {
	for i := range targets {
		if !targets[i].Deferred && !targets[i].Held {
			h.options.Lanes.Release(targets[i].Destination)
		}
	}
}

func (h *Handler) dispatch(jobs []*hook.Job) {
	for _, job := range jobs {
		h.options.Lanes.Dispatch(job)
	}
}

// Publish stores an event that came by the API rather than from a provider, and
// returns after it is durable. Type, Key, ProviderID, Headers and Payload are taken
// from event; what is empty is read as the source says. The error is of KindTooLarge,
// KindConflict when the source cannot be used, or KindUnavailable.
func (h *Handler) Publish(ctx context.Context, source *route.Source, event *hook.Event) (hook.Receipt, error) {
	switch limit := h.bodyLimit(source); {
	case source.Disabled:
		return hook.Receipt{}, hook.Errorf(hook.KindConflict, "the source %q is disabled", source.Name)
	case source.Problem != nil:
		return hook.Receipt{}, hook.Errorf(hook.KindConflict, "the source %q cannot be used as it is set up: %w", source.Name, source.Problem)
	case int64(len(event.Payload)) > limit:
		return hook.Receipt{}, hook.Errorf(hook.KindTooLarge, "the payload has %d bytes, this source takes %d", len(event.Payload), limit)
	}
	acceptance := &hook.Acceptance{Event: *event}
	published := &acceptance.Event
	published.Project, published.Source = source.Project, source.ID
	published.ReceivedAt = stamp(h.options.Now())
	published.Verdict = hook.Verdict{Scheme: SchemeAPI, Verified: true}
	if published.Method == "" {
		published.Method = http.MethodPost
	}
	return h.complete(ctx, source, []*hook.Acceptance{acceptance})
}

// SchemeAPI is the verdict's scheme of events that came by the API: the caller's token
// proved who sent them.
const SchemeAPI = "api"

// complete stores events outside of a request to their source.
func (h *Handler) complete(ctx context.Context, source *route.Source, events []*hook.Acceptance) (hook.Receipt, error) {
	in := h.intakeOf(source)
	receipt, jobs, err := in.admit(ctx, events)
	if err != nil {
		return hook.Receipt{}, fmt.Errorf("store an event of the source %s: %w", source.ID, err)
	}
	h.dispatch(jobs)
	return receipt, nil
}
