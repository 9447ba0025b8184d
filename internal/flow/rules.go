package flow

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// Rules are what the parts of a flow are held to besides their shape. The zero value
// checks all that needs nothing from outside.
type Rules struct {
	// Source compiles a source's verification, as signature.Compile does; nil: it is not checked.
	Source func(spec *hook.SourceSpec) error
	// Destination says whether a destination can be used as it is set up, as webhook.Factory.Check does; nil: what its
	// driver takes is not checked.
	Destination func(spec *hook.DestinationSpec) error
}

// Check returns everything that is wrong with a state. The paths are those of the
// state's JSON form, such as "destinations.erp.http.url".
func (r Rules) Check(state *State) []hook.Problem {
	c := &check{rules: r}
	for _, name := range names(state.Sources) {
		spec := state.Sources[name]
		c.named("sources", name, func() { c.source(&spec) })
	}
	for _, name := range names(state.Destinations) {
		spec := state.Destinations[name]
		c.named("destinations", name, func() { c.destination(&spec) })
	}
	sources, destinations := fromNames(state), names(state.Destinations)
	for _, name := range names(state.Connections) {
		spec := state.Connections[name]
		c.named("connections", name, func() {
			c.end("from", "source", spec.From, sources)
			c.end("to", "destination", spec.To, destinations)
			c.connection(&spec.ConnectionSpec)
		})
	}
	return c.problems
}

// CheckSource returns what is wrong with one source; the paths start at it.
func (r Rules) CheckSource(spec *hook.SourceSpec) []hook.Problem {
	c := &check{rules: r}
	c.source(spec)
	return c.problems
}

// CheckDestination returns what is wrong with one destination; the paths start at it.
func (r Rules) CheckDestination(spec *hook.DestinationSpec) []hook.Problem {
	c := &check{rules: r}
	c.destination(spec)
	return c.problems
}

// CheckConnection returns what is wrong with one connection; the paths start at it.
func (r Rules) CheckConnection(spec *hook.ConnectionSpec) []hook.Problem {
	c := &check{rules: r}
	c.connection(spec)
	return c.problems
}

// check collects the problems of a state.
type check struct {
	rules    Rules
	prefix   string // path of the part at hand, with a dot at the end
	problems []hook.Problem
}

func (c *check) failf(path, format string, args ...any) {
	c.problems = append(c.problems, hook.Problem{Path: strings.TrimSuffix(c.prefix+path, "."), Message: fmt.Sprintf(format, args...)})
}

// needf fails unless ok.
func (c *check) needf(ok bool, path, format string, args ...any) {
	if !ok {
		c.failf(path, format, args...)
	}
}

// failed adds an error's problems below path.
func (c *check) failed(path string, err error) {
	invalid := (*hook.Error)(nil)
	switch {
	case err == nil:
	case errors.As(err, &invalid) && len(invalid.Problems) > 0:
		for _, problem := range invalid.Problems {
			c.failf(strings.Trim(path+"."+problem.Path, "."), "%s", problem.Message)
		}
	default:
		c.failf(path, "%s", err)
	}
}

func (c *check) named(kind, name string, rest func()) {
	c.prefix = kind + "." + name + "."
	if err := hook.CheckName(name); err != nil {
		c.failf("", "%s", err)
	}
	rest()
}

// fromNames returns the names that connections may lead from: the sources of the flow
// and the one that every project has.
func fromNames(state *State) []string {
	known := append(names(state.Sources), hook.SystemSource)
	slices.Sort(known)
	return known
}

// end checks one end of a connection against the names that there are, in order.
func (c *check) end(path, noun, name string, known []string) {
	_, found := slices.BinarySearch(known, name)
	switch {
	case name == "":
		c.failf(path, "a %s is needed: write %s: and its name", noun, path)
	case len(known) == 0:
		c.failf(path, "no %s %q: the flow has none", noun, name)
	case !found:
		c.failf(path, "no %s %q in the flow%s", noun, name, strict.Suggest(name, known))
	}
}

func (c *check) source(spec *hook.SourceSpec) {
	c.needf(!spec.System, "system", "every project has the source %q from its beginning, and no other of its kind: leave this out", hook.SystemSource)
	c.needf(spec.MaxBody >= 0, "maxBody", "%d is not a number of bytes", spec.MaxBody)
	for i, method := range spec.Methods {
		c.needf(slices.Contains(methods(), method), fmt.Sprintf("methods.%d", i), "%q is not a method that can be taken%s", method,
			strict.Suggest(method, methods()))
	}
	if spec.Reply != nil {
		c.reply(spec.Reply)
	}
	places := map[string]*hook.Field{"type": spec.Type, "key": spec.Key}
	if spec.Dedupe != nil {
		places["dedupe"] = &spec.Dedupe.Field
	}
	for _, path := range names(places) {
		_, err := filter.CompileField(places[path])
		c.failed(path, err)
	}
	if c.rules.Source != nil {
		c.failed("", c.rules.Source(spec))
	}
}

// methods returns the methods that a source may take.
func methods() []string {
	return []string{
		http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
	}
}

// reply judges what an accepted request is answered. Any status outside of 2xx tells
// the sender that it was not accepted, and makes it send again.
func (c *check) reply(reply *hook.Reply) {
	c.needf(reply.Status == 0 || reply.Status >= http.StatusOK && reply.Status < http.StatusMultipleChoices, "reply.status",
		"%d does not say that the request was accepted: it goes from 200 to 299", reply.Status)
	for _, name := range names(reply.Headers) {
		path := "reply.headers." + name
		switch {
		case !hook.IsHeaderName(name):
			c.failf(path, "%q is not a header name", name)
		case slices.Contains(framing(), strings.ToLower(name)):
			c.failf(path, "%s is set by the server and cannot be set here", name)
		}
		c.needf(hook.IsHeaderValue(reply.Headers[name]), path, "the value has a line break or another control character")
	}
}

// framing returns the headers by which an answer finds its end, in lower case.
func framing() []string {
	return []string{"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
}

func (c *check) destination(spec *hook.DestinationSpec) {
	c.lane(spec)
	c.circuit(spec.Circuit)
	c.quiet(spec.Quiet)
	switch {
	case spec.HTTP == nil:
		c.failf("", "the destination has no kind: write http: and its url")
	case c.rules.Destination != nil:
		c.failed("", c.rules.Destination(spec))
	}
}

func (c *check) connection(spec *hook.ConnectionSpec) {
	for i, pattern := range spec.Types {
		c.needf(strings.TrimSpace(pattern) != "", fmt.Sprintf("types.%d", i), "the pattern is empty: write an event type, such as orders/create, or orders/*")
	}
	if spec.Filter != "" {
		_, err := filter.Compile(spec.Filter)
		c.failed("filter", err)
	}
	if spec.Order != nil {
		c.order(spec.Order)
	}
	c.times(spec)
	c.quiet(spec.Quiet)
	c.retry(&spec.Retry)
}

func (c *check) retry(retry *hook.RetryPolicy) {
	c.needf(!retry.Off || len(retry.Schedule) == 0, "retry", "off and schedule contradict each other: remove one of them")
	c.needf(len(retry.Schedule) <= maxRetries, "retry.schedule", "%d retries: %d is the most", len(retry.Schedule), maxRetries)
	if retry.Jitter != nil {
		c.needf(*retry.Jitter >= 0 && *retry.Jitter <= 1, "retry.jitter", "%v is not a share: it goes from 0 to 1", *retry.Jitter)
	}
}
