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

// intake is the way of events into one source, by whichever door they came.
type intake struct {
	*Handler

	source  *route.Source
	numbers *sourceMetrics
}

func (h *Handler) intakeOf(source *route.Source) intake {
	return intake{Handler: h, source: source, numbers: h.metrics.of(source.ID)}
}

// maxTargets is how many deliveries an event may cause. They are made durable in one
// commit, which all other events wait for.
const maxTargets = 10_000

// errTooManyTargets means that too many connections want an event.
var errTooManyTargets = hook.Errorf(hook.KindConflict,
	"more than %d connections of the source want this event: narrow down their types or filters", maxTargets)

// admit stores an event and returns its receipt and the deliveries that are to be
// attempted at once.
func (i *intake) admit(ctx context.Context, events []*hook.Acceptance) (hook.Receipt, []*hook.Job, error) {
	for _, event := range events {
		if err := i.prepare(event); err != nil {
			return hook.Receipt{}, nil, err
		}
	}
	if len(events) == 1 {
		return i.store(ctx, events[0])
	}
	return i.storeBatch(ctx, events)
}

// prepare identifies an event and finds the deliveries that it causes. The ids of what
// is prepared later are greater.
func (i *intake) prepare(acceptance *hook.Acceptance) error {
	event := &acceptance.Event
	event.ID = hook.EventID(i.options.IDs.Next(event.ReceivedAt))
	event.PayloadSize = len(event.Payload)
	in := filter.NewInput(event)
	defer in.Release()
	identify(i.source, in, acceptance)

	connections, misses := i.source.Match(in, event.Type)
	if len(connections) > maxTargets {
		return errTooManyTargets
	}
	event.Unmatched = misses
	i.metrics.misses.Add(float64(len(misses)))
	event.Targets = make([]hook.Target, len(connections))
	for n, connection := range connections {
		i.aim(&event.Targets[n], connection, event, in)
	}
	return nil
}

// aim fills a target with the delivery of an event over a connection, as far as it is
// known before its lane is asked.
func (i *intake) aim(target *hook.Target, connection *route.Connection, event *hook.Event, in *filter.Input) {
	target.Delivery = hook.DeliveryID(i.options.IDs.Next(event.ReceivedAt))
	target.Connection, target.Destination = connection.ID, connection.Destination
	if connection.Order != nil {
		if target.OrderKey = connection.OrderKey(in); target.OrderKey == "" {
			i.metrics.keyless.Inc()
		}
	}
	if target.Cause, target.Reason = connection.Held(); target.Cause != hook.CauseNone {
		target.Held = true
		return
	}
	target.Due = connection.DueAt(event.ReceivedAt, event.ReceivedAt)
	target.Deferred = !target.Due.IsZero()
}

// store reserves room for the deliveries of a prepared event, makes all of it durable,
// and counts it. It returns what admit does.
func (i *intake) store(ctx context.Context, acceptance *hook.Acceptance) (hook.Receipt, []*hook.Job, error) {
	event := &acceptance.Event
	ordered := i.reserve(event.Targets)
	receipt, err := i.options.Store.Accept(ctx, acceptance)
	if err != nil || receipt.Duplicate {
		i.release(event.Targets, ordered)
	}
	if err != nil {
		return hook.Receipt{}, nil, err
	}
	i.numbers.count(receipt)
	if receipt.Duplicate {
		return receipt, nil, nil
	}
	for _, n := range ordered {
		if event.Targets[n].Deferred { // by the store: it is not its turn
			i.options.Lanes.Release(event.Targets[n].Destination)
		}
	}
	for n := range event.Targets {
		if due := event.Targets[n].Due; !due.IsZero() {
			i.options.Lanes.Expect(event.Targets[n].Destination, due)
		}
	}
	return receipt, jobsOf(event), nil
}

// reserve asks the lanes how the deliveries begin that may be made now. It returns which
// of those with an order key got room: the store may find that it is not their turn.
func (h *Handler) reserve(targets []hook.Target) (ordered []int) {
	for n := range targets {
		target := &targets[n]
		if target.Held || target.Deferred {
			continue
		}
		admission := h.options.Lanes.Reserve(target.Destination)
		switch {
		case admission.Inline && target.OrderKey != "":
			ordered = append(ordered, n)
		case admission.Inline:
		case admission.Cause != hook.CauseNone:
			target.Held, target.Cause, target.Reason = true, admission.Cause, admission.Reason
		default:
			target.Deferred = true
		}
	}
	return ordered
}

// release gives back all that reserve got. What has an order key may have been deferred
// meanwhile, and has its room all the same.
func (h *Handler) release(targets []hook.Target, ordered []int) {
	for n := range targets {
		if target := &targets[n]; target.OrderKey == "" && !target.Deferred && !target.Held {
			h.options.Lanes.Release(target.Destination)
		}
	}
	for _, n := range ordered {
		h.options.Lanes.Release(targets[n].Destination)
	}
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
				Destination: target.Destination, State: hook.StateSending, OrderKey: target.OrderKey,
				CreatedAt: event.ReceivedAt, UpdatedAt: event.ReceivedAt,
			},
			Event:  event,
			Inline: true,
		})
	}
	return jobs
}

func (h *Handler) dispatch(jobs []*hook.Job) {
	for _, job := range jobs {
		h.options.Lanes.Dispatch(job)
	}
}

// Publish stores an event that came by the API rather than from a provider, and
// returns after it is durable. Type, Key, ProviderID, Headers and Payload are taken
// from event; what is empty is read as the source says. The error is of KindTooLarge,
// of KindConflict when the source cannot be used or too many connections want the event,
// or of KindUnavailable.
func (h *Handler) Publish(ctx context.Context, source *route.Source, event *hook.Event) (hook.Receipt, error) {
	switch limit := h.bodyLimit(source); {
	case source.System:
		return hook.Receipt{}, hook.Errorf(hook.KindConflict, "the source %q is for what happens in malote itself: publish to one of your own", source.Name)
	case source.Disabled:
		return hook.Receipt{}, hook.Errorf(hook.KindConflict, "the source %q is disabled", source.Name)
	case source.Problem != nil:
		return hook.Receipt{}, hook.Errorf(hook.KindConflict, "the source %q cannot be used as it is set up: %w", source.Name, source.Problem)
	case int64(len(event.Payload)) > limit:
		return hook.Receipt{}, hook.Errorf(hook.KindTooLarge, "the payload has %d bytes, this source takes %d", len(event.Payload), limit)
	}
	in := h.intakeOf(source)
	return in.complete(ctx, []*hook.Acceptance{in.publication(event, SchemeAPI)})
}

// Announce stores an event of the system itself, which comes from the project's source
// hook.SystemSource, and returns after it is durable. It goes to whoever wants it but
// not to the destination except, which it is about: a notice about a failure would fail
// there, too. Type, Key and Payload are taken from event. The error is of KindNotFound
// when the project is gone, or as that of Publish.
func (h *Handler) Announce(ctx context.Context, project hook.ProjectID, event *hook.Event, except hook.DestinationID) error {
	source, ok := h.options.Catalogue.Current().SystemSource(project)
	if !ok {
		return hook.NotFound("source", hook.SystemSource)
	}
	in := h.intakeOf(source)
	acceptance := in.publication(event, SchemeSystem)
	if err := in.prepare(acceptance); err != nil {
		return err
	}
	acceptance.Event.Targets = slices.DeleteFunc(acceptance.Event.Targets, func(t hook.Target) bool { return t.Destination == except })
	_, jobs, err := in.store(ctx, acceptance)
	if err != nil {
		return fmt.Errorf("store a notice: %w", err)
	}
	in.dispatch(jobs)
	return nil
}

// publication is a copy of an event that nobody sent to this source by a request.
func (i *intake) publication(event *hook.Event, scheme string) *hook.Acceptance {
	acceptance := &hook.Acceptance{Event: *event}
	published := &acceptance.Event
	published.Project, published.Source = i.source.Project, i.source.ID
	published.ReceivedAt = stamp(i.options.Now())
	published.Verdict = hook.Verdict{Scheme: scheme, Verified: true}
	if published.Method == "" {
		published.Method = http.MethodPost
	}
	return acceptance
}

// The verdict's schemes of events that did not come by a request to their source.
const (
	SchemeAPI    = "api"    // the caller's token proved who sent it
	SchemeSystem = "system" // it happened in the system itself
)

// complete stores events outside of a request to their source.
func (i *intake) complete(ctx context.Context, events []*hook.Acceptance) (hook.Receipt, error) {
	receipt, jobs, err := i.admit(ctx, events)
	if err != nil {
		return hook.Receipt{}, fmt.Errorf("store an event of the source %s: %w", i.source.ID, err)
	}
	i.dispatch(jobs)
	return receipt, nil
}
