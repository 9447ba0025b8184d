package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
)

// Limits of what a selection holds.
const (
	maxText   = 1 << 10 // bytes of a text, a key or a pattern
	maxFilter = 8 << 10 // bytes of an expression
	maxRate   = 10_000  // deliveries a second
)

// recipe is the compiled form of what a person asks for.
type recipe struct {
	hook.ReplaySpec

	project hook.ProjectID
	types   filter.Types
	filter  *filter.Program // nil: every event
	text    []byte
}

// compile completes a spec by its defaults and compiles it, without a look at the
// catalogue. What is wrong comes as problems, each with the path of its field.
func compile(project hook.ProjectID, spec *hook.ReplaySpec) (*recipe, []hook.Problem) {
	r := &recipe{ReplaySpec: *spec, project: project}
	var problems problems
	r.setDefaults()
	problems.words(&r.ReplaySpec)
	problems.selection(&r.Select)
	if r.Select.Type != "" {
		r.types = filter.CompileTypes([]string{r.Select.Type})
	}
	if r.Select.Text != "" {
		r.text = []byte(r.Select.Text)
	}
	if r.Select.Filter != "" && len(r.Select.Filter) <= maxFilter {
		var err error
		if r.filter, err = filter.Compile(r.Select.Filter); err != nil {
			problems.add("select.filter", "%s", reasons(err))
		}
	}
	return r, problems
}

// setDefaults fills what was left out.
func (r *recipe) setDefaults() {
	if r.Mode == "" {
		r.Mode = hook.ReplayDeliver
	}
	if r.Rules == "" && r.Mode == hook.ReplayDeliver {
		r.Rules = hook.ReplayThen
	}
	if r.Rate == (hook.Rate{}) {
		r.Rate = hook.DefaultReplayRate()
	}
	if s := &r.Select; r.Mode == hook.ReplayRetry && s.State == 0 && len(s.Deliveries) == 0 {
		s.State = hook.StateFailed
	}
	r.Select.Events = slices.Compact(slices.Sorted(slices.Values(r.Select.Events)))
	r.Select.Deliveries = slices.Compact(slices.Sorted(slices.Values(r.Select.Deliveries)))
	if len(bytes.TrimSpace(r.Edit)) == 0 || string(bytes.TrimSpace(r.Edit)) == "null" {
		r.Edit = nil
	}
}

// problems collects what is wrong.
type problems []hook.Problem

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, hook.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

// reasons returns what is wrong with an expression as one text.
func reasons(err error) string {
	var invalid *hook.Error
	if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
		return err.Error()
	}
	texts := make([]string, len(invalid.Problems))
	for i := range invalid.Problems {
		texts[i] = invalid.Problems[i].Message
	}
	return strings.Join(texts, "; ")
}

// words checks everything but the selection.
func (p *problems) words(spec *hook.ReplaySpec) {
	switch spec.Mode {
	case hook.ReplayDeliver:
		if spec.Rules != hook.ReplayThen && spec.Rules != hook.ReplayNow {
			p.add("rules", "%q are no rules: write then, for the connections that matched then, or now, for those that match now", spec.Rules)
		}
		if spec.Edit != nil {
			if wrong := checkEdit(spec.Edit); wrong != "" {
				p.add("edit", "%s", wrong)
			}
		}
	case hook.ReplayRetry:
		const asTheyAre = `mode "retry" sends the deliveries as they are: leave it out, or choose mode "deliver"`
		for path, given := range map[string]bool{"rules": spec.Rules != "", "to": spec.To != 0, "edit": spec.Edit != nil} {
			if given {
				p.add(path, "%s", asTheyAre)
			}
		}
	default:
		p.add("mode", "%q is no mode: write deliver, for new deliveries, or retry, for the same ones again", spec.Mode)
	}
	p.pace(spec)
}

// pace checks how fast a replay goes, and when it stops.
func (p *problems) pace(spec *hook.ReplaySpec) {
	if spec.Rate.PerSecond() <= 0 || spec.Rate.PerSecond() > maxRate {
		p.add("rate", "write a number per s, m or h, such as 50/s; %d/s is the most", maxRate)
	}
	if stop := spec.Stop; stop != nil {
		if !(stop.ErrorPercent >= 0 && stop.ErrorPercent < 100) {
			p.add("stop.errorPercent", "it goes from 0, which no failed attempt passes, to less than 100")
		}
		if stop.After < 0 {
			p.add("stop.after", "it is a number of attempts, 0 for the default")
		}
	}
}

// selection checks what is chosen.
func (p *problems) selection(s *hook.ReplaySelection) {
	p.short("select.type", s.Type, maxText)
	p.short("select.key", s.Key, maxText)
	p.short("select.text", s.Text, maxText)
	p.short("select.filter", s.Filter, maxFilter)
	if !s.After.IsZero() && !s.Before.IsZero() && !s.After.Before(s.Before) {
		p.add("select.before", "nothing was received before it and after the time that select.after says: exchange them")
	}
	if len(s.Events) > 0 && len(s.Deliveries) > 0 {
		p.add("select.deliveries", "give either events or deliveries")
	}
	if len(s.Events) > hook.MaxReplayIDs {
		p.add("select.events", "there are %d ids: %d is the most", len(s.Events), hook.MaxReplayIDs)
	}
	if len(s.Deliveries) > hook.MaxReplayIDs {
		p.add("select.deliveries", "there are %d ids: %d is the most", len(s.Deliveries), hook.MaxReplayIDs)
	}
	if s.State > hook.StateCanceled {
		p.add("select.state", "there is no such state of a delivery")
	}
}

func (p *problems) short(path, text string, most int) {
	if len(text) > most {
		p.add(path, "it has %d bytes, %d is the most", len(text), most)
	}
}

// empty reports whether a selection chooses everything that there is.
func empty(s *hook.ReplaySelection) bool {
	return s.Source == 0 && s.Type == "" && s.Key == "" && s.Text == "" && s.Filter == "" && s.After.IsZero() && s.Before.IsZero() &&
		s.Connection == 0 && s.Destination == 0 && s.State == 0 && len(s.Events) == 0 && len(s.Deliveries) == 0
}

// prepare compiles a spec and holds it to the catalogue and the log.
func (e *Engine) prepare(ctx context.Context, project hook.ProjectID, spec *hook.ReplaySpec) (*recipe, error) {
	if empty(&spec.Select) && spec.Mode != hook.ReplayRetry {
		return nil, invalid([]hook.Problem{{Path: "select", Message: "nothing is chosen: name a source, a destination, a state, a time, or events"}})
	}
	r, problems := compile(project, spec)
	problems = append(problems, r.refs(e.options.Catalogue())...)
	if len(problems) == 0 {
		unknown, err := e.unknown(ctx, r)
		if err != nil {
			return nil, err
		}
		problems = unknown
	}
	if err := invalid(problems); err != nil {
		return nil, err
	}
	return r, nil
}

func invalid(problems []hook.Problem) error {
	slices.SortStableFunc(problems, func(a, b hook.Problem) int { return strings.Compare(a.Path, b.Path) })
	return hook.Invalid("the replay cannot be made", problems)
}

// refs checks the nouns that a recipe names.
func (r *recipe) refs(snapshot *route.Snapshot) []hook.Problem {
	var p problems
	destination := func(path string, id hook.DestinationID, hint string) {
		if found, ok := snapshot.Destination(id); id != 0 && (!ok || found.Project != r.project) {
			p.add(path, "no destination %q in this project%s", id, hint)
		}
	}
	if id := r.Select.Source; id != 0 {
		if source, ok := snapshot.SourceByID(id); !ok || source.Project != r.project {
			p.add("select.source", "no source %q in this project", id)
		}
	}
	if id := r.Select.Connection; id != 0 {
		if connection, ok := snapshot.Connection(id); !ok || connection.Project != r.project {
			p.add("select.connection", "no connection %q in this project", id)
		}
	}
	if r.To == 0 { // else what went to one that was deleted goes to another
		destination("select.destination", r.Select.Destination, ": name another one in to")
	}
	destination("to", r.To, "")
	if state := r.Select.State; r.Mode == hook.ReplayRetry && (state == hook.StatePending || state == hook.StateSending) {
		p.add("select.state", "deliveries that are %s are under way already: retry those that are failed, canceled, held or succeeded", state)
	}
	return p
}

// maxUnknown is how many unknown ids are told at once.
const maxUnknown = 10

// unknown returns the ids of events and deliveries that the log does not have.
func (e *Engine) unknown(ctx context.Context, r *recipe) ([]hook.Problem, error) {
	var p problems
	note := func(path string, err error) (enough bool, failure error) {
		if err == nil {
			return false, nil
		}
		if hook.KindOf(err) != hook.KindNotFound {
			return true, err
		}
		p.add(path, "%s", err)
		return len(p) == maxUnknown, nil
	}
	for _, id := range r.Select.Events {
		_, err := e.options.Log.Event(ctx, r.project, id)
		if enough, err := note("select.events", err); enough {
			return p, err
		}
	}
	for _, id := range r.Select.Deliveries {
		_, err := e.options.Log.Delivery(ctx, r.project, id)
		if enough, err := note("select.deliveries", err); enough {
			return p, err
		}
	}
	return p, nil
}
