package ingest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/rule"
)

// The reasons why a request does not become an event, besides those of package
// signature. The set is closed: it labels metrics.
const (
	ReasonMisconfigured = "misconfigured"      // the source cannot be used as it is set up
	ReasonTargets       = "too_many_targets"   // too many connections want it
	ReasonTooLarge      = "too_large"          // the body is above the source's limit
	ReasonSlow          = "too_slow"           // the body did not come in time
	ReasonBroken        = "broken_body"        // the body ended early; counted only
	ReasonMethod        = "method_not_allowed" // counted only
	ReasonUnavailable   = "not_stored"         // the store took nothing; counted only
	ReasonBusy          = "overloaded"         // there is no memory for its body now; counted only
	ReasonGone          = "sender_gone"        // the sender left while its event waited; counted only
	ReasonUnverified    = "verification_error" // verification could not be carried out
)

// maxKeptBody is how much of a refused body is kept.
const maxKeptBody = 64 << 10

// refusedTimeout bounds the storing of a refusal, which goes on when its sender leaves.
const refusedTimeout = 5 * time.Second

// refused is why a request was not accepted.
type refused struct {
	reason      string
	explanation []string
	truncated   bool
}

// refuse counts a refusal and, within the pace allowed, keeps and logs it.
func (x *exchange) refuse(ctx context.Context, why refused) {
	x.numbers.refused(why.reason)
	if x.numbers.mayLog(x.began) {
		x.keep(ctx, why)
	}
}

func (x *exchange) keep(ctx context.Context, why refused) {
	refusal := &hook.Refusal{
		ID:          hook.RefusalID(x.options.IDs.Next(x.began)),
		Project:     x.source.Project,
		Source:      x.source.ID,
		Reason:      why.reason,
		Explanation: why.explanation,
		Method:      x.request.Method,
		Path:        x.request.Path,
		Query:       x.request.Query,
		Headers:     x.request.Headers,
		Payload:     x.request.Body,
		Truncated:   why.truncated,
		ReceivedAt:  x.began,
	}
	if x.request.Remote.IsValid() {
		refusal.Remote = x.request.Remote.String()
	}
	if len(refusal.Payload) > maxKeptBody {
		refusal.Payload, refusal.Truncated = refusal.Payload[:maxKeptBody], true
	}
	if !x.fit(refusal) {
		return
	}
	logger := x.options.Logger
	logger.LogAttrs(ctx, slog.LevelWarn, "refused a request",
		slog.String("source", x.source.ID.String()), slog.String("refusal", refusal.ID.String()), slog.String("reason", why.reason))
	storeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusedTimeout)
	defer cancel()
	if err := x.options.Store.Refuse(storeCtx, refusal); err != nil {
		logger.LogAttrs(ctx, slog.LevelError, "could not keep a refused request",
			slog.String("source", x.source.ID.String()), slog.Any("error", err))
	}
}

// fit leaves the body out of a refusal where too much was kept lately, and reports
// whether there is room for what remains.
func (x *exchange) fit(refusal *hook.Refusal) bool {
	rest := len(refusal.Path) + len(refusal.Query)
	for i := range refusal.Headers {
		rest += len(refusal.Headers[i].Name) + len(refusal.Headers[i].Value)
	}
	if x.numbers.mayKeep(x.began, rest+len(refusal.Payload)) {
		return true
	}
	refusal.Truncated = refusal.Truncated || len(refusal.Payload) > 0
	refusal.Payload = nil
	return x.numbers.mayKeep(x.began, rest)
}

// refuseSignature answers a request that did not prove where it comes from. The sender
// learns that and no more: the explanation is for the source's owner.
func (x *exchange) refuseSignature(ctx context.Context, w http.ResponseWriter, err error) {
	reason, message := ReasonUnverified, "The verification could not be carried out: "+err.Error()
	var refusal *signature.Refusal
	if errors.As(err, &refusal) {
		reason, message = refusal.Reason, refusal.Message
	}
	x.numbers.refused(reason)
	if x.numbers.mayLog(x.began) {
		explanation := []string{message}
		if x.numbers.mayExplain(x.began) {
			explanation = append(explanation, x.source.Verifier.Explain(ctx, &x.request, err)...)
		}
		x.keep(ctx, refused{reason: reason, explanation: explanation})
	}
	if hook.KindOf(err) != hook.KindUnauthorized {
		// It may be genuine: the sender's keys could not be had, for example.
		w.Header().Set("Retry-After", retryAfter)
		answerProblem(w, http.StatusServiceUnavailable, hook.KindUnavailable.String(), "the request cannot be verified now, send it again later")
		return
	}
	answerProblem(w, http.StatusUnauthorized, hook.KindUnauthorized.String(), "the request could not be verified")
}

// refuseMisconfigured answers a request to a source that cannot be used. The sender is
// asked to come again, and the request is kept for those that do not.
func (x *exchange) refuseMisconfigured(ctx context.Context, w http.ResponseWriter) {
	x.refuse(ctx, refused{
		reason:      ReasonMisconfigured,
		explanation: []string{"The source cannot be used as it is set up: " + x.source.Problem.Error()},
	})
	w.Header().Set("Retry-After", retryAfter)
	answerProblem(w, http.StatusServiceUnavailable, hook.KindUnavailable.String(), "this source cannot take requests now, send it again later")
}

// refuseTargets answers a request whose event too many connections want. It is kept, and
// the sender asked to come again, so that it is not lost until they are narrowed down.
func (x *exchange) refuseTargets(ctx context.Context, w http.ResponseWriter) {
	x.refuse(ctx, refused{reason: ReasonTargets, explanation: []string{errTooManyTargets.Message}})
	w.Header().Set("Retry-After", retryAfter)
	answerProblem(w, http.StatusServiceUnavailable, hook.KindUnavailable.String(), "this source cannot take this event now, send it again later")
}

// Readmit verifies a refused request again, with its source as it is now and as of the
// moment when it came, and stores it as an event. The error is of KindNotFound when the
// source is gone, of KindConflict when the request became an event already or the
// source cannot be used, and of KindInvalid when it still cannot be verified.
func (h *Handler) Readmit(ctx context.Context, refusal *hook.Refusal) (hook.Receipt, error) {
	source, ok := h.options.Catalogue.Current().SourceByID(refusal.Source)
	switch {
	case !ok || source.Project != refusal.Project:
		return hook.Receipt{}, hook.Errorf(hook.KindNotFound, "the source of this request is gone")
	case refusal.Admitted != 0:
		return hook.Receipt{}, hook.Errorf(hook.KindConflict, "this request became the event %s already", refusal.Admitted)
	case refusal.Truncated:
		return hook.Receipt{}, hook.Errorf(hook.KindInvalid, "only a part of the body was kept: ask the sender to send the request again")
	case source.Problem != nil:
		return hook.Receipt{}, hook.Errorf(hook.KindConflict, "the source %q cannot be used as it is set up: %w", source.Name, source.Problem)
	}
	x := &exchange{intake: h.intakeOf(source), began: h.options.Now()}
	verdict, err := x.verifyAgain(ctx, refusal)
	if err != nil {
		return hook.Receipt{}, err
	}
	verdict.Admitted = true
	receipt, err := x.complete(ctx, x.acceptances(verdict))
	if err != nil {
		return hook.Receipt{}, err
	}
	if err := h.options.Store.Admitted(ctx, refusal.ID, receipt.Event); err != nil {
		return receipt, hook.Errorf(hook.KindOf(err), "the request became the event %s, but that could not be noted: %w", receipt.Event, err)
	}
	return receipt, nil
}

// verifyAgain verifies a kept request. Its clock stands at the moment when the request
// came, so that a signed time is no older now than it was then. Which scheme the sender
// called is not kept, so both are tried where the address matters.
func (x *exchange) verifyAgain(ctx context.Context, refusal *hook.Refusal) (hook.Verdict, error) {
	x.request = signature.Request{
		Method: refusal.Method, Path: refusal.Path, Query: refusal.Query,
		Headers: refusal.Headers, Body: refusal.Payload, Now: refusal.ReceivedAt,
	}
	x.request.Remote, _ = netip.ParseAddr(refusal.Remote)
	var failure error
	var why *signature.Refusal
	for _, scheme := range []string{"https", "http"} {
		x.request.URL = keptURL(x.source, refusal, scheme)
		verdict, err := x.source.Verifier.Verify(ctx, &x.request)
		if err == nil {
			return verdict, nil
		}
		if failure = err; errors.As(err, &why) && onlyLate(why, x.source.Effective.Verify) {
			return hook.Verdict{Scheme: SchemeLate, Verified: true}, nil
		}
	}
	if why == nil || hook.KindOf(failure) == hook.KindUnavailable {
		return hook.Verdict{}, hook.Errorf(hook.KindUnavailable, "the request could not be verified again: %w", failure)
	}
	problems := []hook.Problem{{Message: why.Message}}
	for _, sentence := range x.source.Verifier.Explain(ctx, &x.request, failure) {
		problems = append(problems, hook.Problem{Message: sentence})
	}
	return hook.Verdict{}, &hook.Error{
		Kind: hook.KindInvalid, Message: "the request cannot be verified with the source as it is now", Problems: problems, Err: failure,
	}
}

// SchemeLate is the verdict's scheme of re-admitted requests whose signature fits and
// whose signed time was too far from our clock when they came.
const SchemeLate = "late"

// onlyLate reports whether nothing but the signed time is wrong: schemes look at it
// after the signature. Where further checks would have followed, that is not known.
func onlyLate(why *signature.Refusal, verify *hook.Verify) bool {
	return why.Reason == rule.OutOfTolerance && verify != nil && !combines(verify)
}

// combines reports whether a rule asks for more than one thing at once, however deep.
func combines(verify *hook.Verify) bool {
	return len(verify.AllOf) > 0 || len(verify.IPs) > 0 ||
		slices.ContainsFunc(verify.AnyOf, func(one hook.Verify) bool { return combines(&one) })
}

// keptURL rebuilds the address that the sender of a kept request called.
func keptURL(source *route.Source, refusal *hook.Refusal, scheme string) string {
	if set := source.Effective.Settings[settingURL]; set != "" {
		return registeredURL(set, strings.TrimPrefix(refusal.Path, "/"), refusal.Query)
	}
	host := cmp.Or(firstOf(refusal.Headers.Get("X-Forwarded-Host")), refusal.Headers.Get("Host"))
	url := scheme + "://" + host + source.Path + refusal.Path
	if refusal.Query != "" {
		url += "?" + refusal.Query
	}
	return url
}
