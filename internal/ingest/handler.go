package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature"
)

// Store is what ingest needs of the store.
type Store interface {
	// Accept makes an event and its deliveries durable.
	Accept(ctx context.Context, acceptance *hook.Acceptance) (hook.Receipt, error)
	// Refuse keeps a request that was not accepted.
	Refuse(ctx context.Context, refusal *hook.Refusal) error
	// Admitted notes which event a refused request became.
	Admitted(ctx context.Context, id hook.RefusalID, event hook.EventID) error
}

// Lanes take deliveries that are to be attempted at once.
type Lanes interface {
	// Reserve asks how one delivery begins. If inline, there is room for it until it is
	// given back or used up; else it is held with a reason, or waits in the store.
	Reserve(destination hook.DestinationID) hook.Admission
	// Release gives a reservation back.
	Release(destination hook.DestinationID)
	// Dispatch hands over a delivery for which there is a reservation, and uses it up.
	Dispatch(job *hook.Job)
	// Expect tells of a stored delivery that is due later than now.
	Expect(destination hook.DestinationID, at time.Time)
}

// Catalogue gives the snapshot in force; *route.Router is one.
type Catalogue interface {
	Current() *route.Snapshot
}

// Options is what a Handler needs.
type Options struct {
	Catalogue Catalogue
	Store     Store
	Lanes     Lanes
	IDs       *hook.IDs
	Logger    *slog.Logger
	Metrics   prometheus.Registerer // nil: none are registered
	// Now is the clock; default time.Now.
	Now func() time.Time
	// ReadTimeout bounds how long a sender may take for a body; default DefaultReadTimeout.
	ReadTimeout time.Duration
	// TrustProxy lists the proxies whose X-Forwarded-… headers are believed.
	TrustProxy []netip.Prefix
	// PublicURL is how senders reach this server, such as "https://hooks.example.com";
	// empty: as each request says.
	PublicURL string
	// MaxBody bounds every source's own limit, in bytes; 0: it does not.
	MaxBody int64
	// Memory bounds the bodies of all requests in flight, in bytes; what comes beyond is
	// asked to come again. 0: 128 MiB, or four times MaxBody if that is more.
	Memory int64
}

// DefaultReadTimeout is how long a sender may take to send a body.
const DefaultReadTimeout = 30 * time.Second

// Handler receives events. It is an http.Handler for route.PathPrefix and all below, and is
// safe for concurrent use.
type Handler struct {
	options Options
	metrics *metrics
	memory  *memory
}

// New returns a Handler. It fails when its metrics cannot be registered.
func New(options Options) (*Handler, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.ReadTimeout <= 0 {
		options.ReadTimeout = DefaultReadTimeout
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.IDs == nil {
		options.IDs = hook.NewIDs(0)
	}
	m, err := newMetrics(options.Metrics)
	if err != nil {
		return nil, err
	}
	return &Handler{options: options, metrics: m, memory: newMemory(options.Memory, options.MaxBody)}, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := h.options.Now()
	ref, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), route.PathPrefix), "/")
	source, ok := h.options.Catalogue.Current().Source(ref)
	if !ok || source.Disabled || source.System || rest != "" && !source.Effective.SubPaths {
		h.metrics.unknown.Inc()
		answerProblem(w, http.StatusNotFound, "not_found", "there is no source here")
		return
	}
	x := &exchange{intake: h.intakeOf(source), began: began}
	defer func() { h.memory.give(x.taken) }()
	x.serve(w, r, rest)
}

// exchange is one request to a source on its way through the handler.
type exchange struct {
	intake

	began   time.Time
	request signature.Request
	taken   int64 // of the memory for bodies, in bytes
}

func (x *exchange) serve(w http.ResponseWriter, r *http.Request, rest string) {
	x.describe(r, rest)
	body, err := x.readBody(w, r)
	x.request.Body = body
	if err != nil {
		x.refuseBody(w, r, err)
		return
	}
	ctx := r.Context()
	if x.source.Problem != nil {
		x.refuseMisconfigured(ctx, w)
		return
	}
	if reply, ok := x.source.Verifier.Handshake(ctx, &x.request); ok {
		answerHandshake(w, reply)
		return
	}
	if !x.allows(r.Method) {
		if err := x.source.Verifier.FailedHandshake(&x.request); err != nil {
			x.refuseSignature(ctx, w, err)
			return
		}
		x.numbers.refused(ReasonMethod)
		w.Header().Set("Allow", strings.Join(x.methods(), ", "))
		answerProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "this source takes "+strings.Join(x.methods(), ", "))
		return
	}
	verdict, err := x.source.Verifier.Verify(ctx, &x.request)
	if err != nil {
		x.refuseSignature(ctx, w, err)
		return
	}
	receipt, jobs, err := x.admit(ctx, x.acceptances(verdict))
	if err != nil {
		x.answerFailure(ctx, w, err)
		return
	}
	answerAccepted(w, &x.source.Reply, receipt.Event)
	x.dispatch(jobs)
	x.metrics.ack.Observe(x.options.Now().Sub(x.began).Seconds())
	if x.options.Logger.Enabled(ctx, slog.LevelDebug) {
		x.options.Logger.LogAttrs(ctx, slog.LevelDebug, "accepted an event",
			slog.String("source", x.source.ID.String()), slog.String("event", receipt.Event.String()),
			slog.Bool("duplicate", receipt.Duplicate), slog.Int("deliveries", len(jobs)))
	}
}

func (x *exchange) methods() []string {
	if len(x.source.Effective.Methods) == 0 {
		return []string{http.MethodPost}
	}
	return x.source.Effective.Methods
}

func (x *exchange) allows(method string) bool {
	if len(x.source.Effective.Methods) == 0 {
		return method == http.MethodPost
	}
	return slices.Contains(x.source.Effective.Methods, method)
}

// retryAfter is how long a sender is asked to wait when nothing can be stored.
const retryAfter = "10"

// answerFailure answers a request whose event could not be stored.
func (x *exchange) answerFailure(ctx context.Context, w http.ResponseWriter, err error) {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		x.numbers.refused(ReasonGone)
		return // the sender has gone, so nobody reads an answer
	}
	if errors.Is(err, errTooManyTargets) {
		x.refuseTargets(ctx, w)
		return
	}
	x.numbers.refused(ReasonUnavailable)
	if x.numbers.mayLog(x.began) {
		x.options.Logger.LogAttrs(ctx, slog.LevelError, "could not store an event",
			slog.String("source", x.source.ID.String()), slog.Any("error", err))
	}
	w.Header().Set("Retry-After", retryAfter)
	answerProblem(w, http.StatusServiceUnavailable, hook.KindUnavailable.String(), "the event cannot be stored now, send it again later")
}
