package deliver_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"malote.dev/malote/internal/deliver"
	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/destination/webhook"
	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a destination in virtual time: a RoundTripper that notes every request
// and answers what reply says.
type receiver struct {
	reply func(req *http.Request, n int) (status int, header http.Header, err error)

	mu       sync.Mutex
	bad      string // a body that is answered 500
	requests []received
	flying   int
	most     int
}

// received is one request that came.
type received struct {
	at      time.Time
	host    string
	id      string
	attempt string
	body    string
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.requests = append(r.requests, received{
		at: time.Now(), host: req.URL.Host, id: req.Header.Get("Webhook-Id"), attempt: req.Header.Get("Malote-Attempt"), body: string(body),
	})
	n := len(r.requests)
	r.flying++
	r.most = max(r.most, r.flying)
	reply := r.reply
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.flying--
	}()
	status, header := http.StatusOK, http.Header{}
	if r.poisonous(string(body)) {
		status = http.StatusInternalServerError
	} else if reply != nil {
		if status, header, err = reply(req, n); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
}

// poison makes a body one that the receiver fails on.
func (r *receiver) poison(body string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad = body
}

func (r *receiver) poisonous(body string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad != "" && r.bad == body
}

// answer sets what the receiver answers from now on.
func (r *receiver) answer(reply func(req *http.Request, n int) (int, http.Header, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reply = reply
}

func (r *receiver) got() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// respond makes a reply of one status after a while.
func respond(status int, after time.Duration) func(*http.Request, int) (int, http.Header, error) {
	return func(req *http.Request, _ int) (int, http.Header, error) {
		return status, http.Header{}, wait(req.Context(), after)
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// catalogue is a deliver.Catalogue that tests change.
type catalogue struct {
	mu           sync.Mutex
	connections  map[hook.ConnectionID]hook.Connection
	destinations map[hook.DestinationID]*hook.Destination
}

func (c *catalogue) Route(id hook.ConnectionID, to hook.DestinationID) (deliver.Route, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	connection, ok := c.connections[id]
	dst, there := c.destinations[to]
	if !ok || !there {
		return deliver.Route{}, false
	}
	way := &route.Connection{Connection: connection, To: dst}
	return deliver.Route{Connection: &way.Connection, Destination: dst, Source: "/default/shop", Timing: timing{way, dst}}, true
}

// timing is what the router says of a way.
type timing struct {
	connection  *route.Connection
	destination *hook.Destination
}

func (t timing) DueAt(received, now time.Time) time.Time {
	due := t.connection.DueAt(received, now)
	for _, quiet := range []*hook.Quiet{t.connection.Quiet, t.destination.Quiet} {
		if quiet == nil {
			continue
		}
		if end, ok := quiet.Until(now); ok && end.After(due) {
			due = end
		}
	}
	return due
}

func (c *catalogue) Destination(id hook.DestinationID) (*hook.Destination, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	destination, ok := c.destinations[id]
	return destination, ok
}

// change replaces a destination by a changed copy of the next version.
func (c *catalogue) change(id hook.DestinationID, change func(*hook.Destination)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := *c.destinations[id]
	changed.Version++
	change(&changed)
	c.destinations[id] = &changed
}

// bench is an engine with what it needs, in virtual time.
type bench struct {
	t         *testing.T
	ids       *hook.IDs
	queue     *memory
	catalogue *catalogue
	receiver  *receiver
	engine    *deliver.Engine
	options   deliver.Options
	stop      func()
	accepted  []hook.DeliveryID
}

const (
	destinationID = hook.DestinationID(1)
	connectionID  = hook.ConnectionID(1)
)

// newBench builds an engine with one destination and one connection. It is not
// running yet.
func newBench(t *testing.T, change func(*hook.Destination, *hook.Connection)) *bench {
	t.Helper()
	b := &bench{
		t: t, ids: hook.NewIDs(0), receiver: &receiver{},
		catalogue: &catalogue{connections: map[hook.ConnectionID]hook.Connection{}, destinations: map[hook.DestinationID]*hook.Destination{}},
	}
	b.queue = newMemory(t)
	b.add(destinationID, change)
	guard, err := egress.NewGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	factory := webhook.NewFactory(webhook.Options{Guard: guard, Transport: b.receiver, Logger: quiet()})
	b.options = deliver.Options{
		Queue: b.queue, Holder: b.queue, Catalogue: b.catalogue, Senders: factory.Open, Owner: "test", Logger: quiet(),
		Suspend: func(_ context.Context, id hook.DestinationID, reason string) error {
			b.catalogue.change(id, func(d *hook.Destination) { d.Paused, d.PauseReason = true, reason })
			return nil
		},
	}
	return b
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// add sets up a destination and a connection of the same number.
func (b *bench) add(id hook.DestinationID, change func(*hook.Destination, *hook.Connection)) {
	dst := &hook.Destination{ID: id, Name: "erp", Version: 1, DestinationSpec: hook.DestinationSpec{
		HTTP: &hook.HTTPTarget{URL: "https://erp.example.com/orders", Sign: &hook.Sign{None: true}},
	}}
	connection := &hook.Connection{ID: hook.ConnectionID(id), Destination: id}
	if change != nil {
		change(dst, connection)
	}
	b.catalogue.destinations[id] = dst
	b.catalogue.connections[connection.ID] = *connection
}

// start runs the engine until stop or the end of the test.
func (b *bench) start() {
	b.engine = deliver.New(b.options)
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.engine.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

// accept does what ingest does with one event for one destination.
func (b *bench) accept(id hook.DestinationID, body string) *hook.Job {
	job := b.newJob(id, body)
	b.accepted = append(b.accepted, job.Delivery.ID)
	switch admission := b.engine.Reserve(id); {
	case admission.Inline:
		b.queue.inline(job)
		b.engine.Dispatch(job)
	case admission.Cause != hook.CauseNone:
		b.queue.hold(job, admission)
	default:
		b.queue.put(job, hook.StatePending, time.Now())
	}
	return job
}

func (b *bench) newJob(id hook.DestinationID, body string) *hook.Job {
	now := time.Now()
	event := &hook.Event{
		ID: hook.EventID(b.ids.Next(now)), Type: "order.created", Payload: []byte(body), ReceivedAt: now,
		Headers: hook.Headers{{Name: "Content-Type", Value: "application/json"}},
	}
	return &hook.Job{Event: event, Inline: true, Delivery: hook.Delivery{
		ID: hook.DeliveryID(b.ids.Next(now)), Event: event.ID, Connection: hook.ConnectionID(id), Destination: id, CreatedAt: now,
	}}
}

// memory is a Queue that keeps deliveries in a map and checks the engine's manners:
// no second hand-out, no settlement of what is settled, no attempt beyond its lease.
type memory struct {
	t *testing.T

	mu       sync.Mutex
	rows     map[hook.DeliveryID]*row
	circuits map[hook.DestinationID]hook.Circuit
	fail     error // what everything but Settle, Due and Reclaim fails with
	calls    calls
}

// calls counts what the engine asked for.
type calls struct{ claim, renew, due int }

type row struct {
	job      hook.Job
	state    hook.State
	reason   string
	cause    hook.Cause
	due      time.Time
	lease    time.Time
	inHand   bool // handed out and not settled yet
	attempts []hook.Attempt
	probes   int
	history  []hook.Settlement
}

func newMemory(t *testing.T) *memory {
	t.Helper()
	return &memory{t: t, rows: map[hook.DeliveryID]*row{}, circuits: map[hook.DestinationID]hook.Circuit{}}
}

func (m *memory) inline(job *hook.Job) { m.put(job, hook.StateSending, time.Now()) }

func (m *memory) put(job *hook.Job, state hook.State, due time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	copied := *job
	copied.Inline = job.Inline && state == hook.StateSending
	m.rows[job.Delivery.ID] = &row{job: copied, state: state, due: due, lease: due.Add(time.Hour), inHand: copied.Inline}
}

// hold is put for what the admission says is held.
func (m *memory) hold(job *hook.Job, admission hook.Admission) {
	m.put(job, hook.StateHeld, time.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[job.Delivery.ID].cause, m.rows[job.Delivery.ID].reason = admission.Cause, admission.Reason
}

func (m *memory) Claim(_ context.Context, claim store.Claim) ([]*hook.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls.claim++
	if m.fail != nil {
		return nil, m.fail
	}
	var due []*row
	for _, r := range m.rows {
		if r.state == hook.StatePending && r.job.Delivery.Destination == claim.Destination && !r.due.After(claim.Now) {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b *row) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.job.Delivery.ID, b.job.Delivery.ID))
	})
	jobs := make([]*hook.Job, 0, claim.Limit)
	for _, r := range due[:min(len(due), claim.Limit)] {
		jobs = append(jobs, r.hand(claim.Until))
	}
	return jobs, nil
}

// hand hands a delivery out.
func (r *row) hand(until time.Time) *hook.Job {
	r.state, r.lease, r.inHand, r.job.Inline = hook.StateSending, until, true, false
	job := r.job
	job.Inline = false
	at := r.due
	job.Delivery.State, job.Delivery.NextAttemptAt, job.Delivery.Attempts, job.Delivery.Probes = r.state, &at, len(r.attempts), r.probes
	return &job
}

// Probe implements deliver.Holder.
func (m *memory) Probe(_ context.Context, claim store.Claim, after hook.DeliveryID) (*hook.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	var next, first *row
	for _, r := range m.rows {
		waits := r.state == hook.StatePending && !r.due.After(claim.Now) || r.state == hook.StateHeld && r.cause == hook.CauseCircuit
		if !waits || r.job.Delivery.Destination != claim.Destination {
			continue
		}
		id := r.job.Delivery.ID
		if first == nil || id < first.job.Delivery.ID {
			first = r
		}
		if id > after && (next == nil || id < next.job.Delivery.ID) {
			next = r
		}
	}
	if next == nil {
		next = first
	}
	if next == nil {
		return nil, nil //nolint:nilnil // as the contract has it: nothing waits
	}
	return next.hand(claim.Until), nil
}

// Hold implements deliver.Holder.
func (m *memory) Hold(ctx context.Context, where store.Scope, reason string) (int, error) {
	return m.move(ctx, where, func(r *row) bool {
		if r.state != hook.StatePending {
			return false
		}
		r.state, r.cause, r.reason = hook.StateHeld, where.Cause, reason
		return true
	})
}

// Release implements deliver.Holder.
func (m *memory) Release(ctx context.Context, where store.Scope, now time.Time) (int, error) {
	return m.move(ctx, where, func(r *row) bool {
		if r.state != hook.StateHeld || r.cause != where.Cause {
			return false
		}
		r.state, r.cause, r.due = hook.StatePending, hook.CauseNone, now
		return true
	})
}

func (m *memory) move(ctx context.Context, where store.Scope, change func(*row) bool) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil || ctx.Err() != nil {
		return 0, cmp.Or(m.fail, ctx.Err())
	}
	count := 0
	for _, r := range m.rows {
		if r.job.Delivery.Destination == where.Destination && change(r) {
			count++
		}
	}
	return count, nil
}

// SaveCircuit implements deliver.Holder.
func (m *memory) SaveCircuit(_ context.Context, circuit hook.Circuit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.circuits[circuit.Destination] = circuit
	return nil
}

// Circuits implements deliver.Holder.
func (m *memory) Circuits(context.Context) ([]hook.Circuit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.circuits)), nil
}

func (m *memory) Settle(settlement hook.Settlement, done func(error)) {
	m.mu.Lock()
	r := m.rows[settlement.Job.Delivery.ID]
	if r.state != hook.StateSending {
		m.t.Errorf("delivery %v is settled as %v while it is %v", settlement.Job.Delivery.ID, settlement.State, r.state)
	}
	if time.Now().After(r.lease) {
		m.t.Errorf("delivery %v is settled at %v, after its lease %v", settlement.Job.Delivery.ID, time.Now(), r.lease)
	}
	if !hook.StateSending.May(settlement.State) {
		m.t.Errorf("delivery %v may not become %v", settlement.Job.Delivery.ID, settlement.State)
	}
	if settlement.Attempt != nil {
		if settlement.Attempt.Number != len(r.attempts)+1 {
			m.t.Errorf("attempt number %d after %d attempts", settlement.Attempt.Number, len(r.attempts))
		}
		r.attempts = append(r.attempts, *settlement.Attempt)
		r.job.Manual = false
	}
	r.cause = settlement.Cause
	if settlement.Free {
		r.probes++
	}
	r.state, r.reason, r.due, r.inHand = settlement.State, settlement.Reason, settlement.Next, false
	r.history = append(r.history, settlement)
	m.mu.Unlock()
	if done != nil {
		done(nil)
	}
}

func (m *memory) Renew(_ context.Context, _ string, ids []hook.DeliveryID, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls.renew++
	if m.fail != nil {
		return m.fail
	}
	for _, id := range ids {
		m.rows[id].lease = until
	}
	return nil
}

func (m *memory) Due(context.Context) ([]store.Due, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls.due++
	first := map[hook.DestinationID]time.Time{}
	for _, r := range m.rows {
		id := r.job.Delivery.Destination
		if at, ok := first[id]; r.state == hook.StatePending && (!ok || r.due.Before(at)) {
			first[id] = r.due
		}
	}
	var list []store.Due
	for id, at := range first {
		list = append(list, store.Due{Destination: id, At: at})
	}
	return list, nil
}

func (m *memory) Reclaim(_ context.Context, now time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	count := 0
	for _, r := range m.rows {
		if r.state == hook.StateSending && !r.job.Inline && r.lease.Before(now) {
			if r.inHand {
				m.t.Errorf("the lease of delivery %v ran out while it was in hand", r.job.Delivery.ID)
			}
			r.state, r.due = hook.StatePending, now
			count++
		}
	}
	return count, nil
}

// failWith makes the queue fail, but for Settle, Due and Reclaim; nil mends it.
func (m *memory) failWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *memory) called() calls {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// row returns a copy of a delivery's row.
func (m *memory) row(id hook.DeliveryID) row {
	m.mu.Lock()
	defer m.mu.Unlock()
	copied := *m.rows[id]
	copied.attempts = slices.Clone(copied.attempts)
	return copied
}

// count returns how many deliveries are in each state.
func (m *memory) count() map[hook.State]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	count := map[hook.State]int{}
	for _, r := range m.rows {
		count[r.state]++
	}
	return count
}

var errDisk = errors.New("the disk is full")

var _ destination.Driver = panicking{}

// panicking is a driver with a defect.
type panicking struct{}

func (panicking) Send(context.Context, *destination.Message) (*destination.Answer, error) {
	panic("index out of range")
}
func (panicking) Close() error { return nil }

// releaseAll makes held deliveries due.
func (m *memory) releaseAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		if r.state == hook.StateHeld {
			r.state, r.due = hook.StatePending, time.Now()
		}
	}
}
