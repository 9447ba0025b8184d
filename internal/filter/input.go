package filter

import (
	"errors"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"malote.dev/malote/internal/hook"
)

// Input is an event as expressions see it. It is shared by all filters of the event,
// and remembers what they read, so it is for one goroutine at a time. The event must
// not change while the Input is in use.
type Input struct {
	event   *hook.Event
	body    body
	self    eventValue
	headers texts[headerFields]
	query   *texts[form] // parsed at its first use

	places  []part // of all containers that were looked into
	metered bool   // the expression being evaluated has a budget of bytes
	read    int    // bytes that the expression being evaluated has read
}

//nolint:gochecknoglobals // a pool is shared by nature
var inputs = sync.Pool{New: func() any { return &Input{places: make([]part, 0, pooledPlaces)} }}

// Places of parts that an Input of the pool has room for, and may have at the most, so
// that one huge body does not stay in memory.
const (
	pooledPlaces    = 128
	maxPooledPlaces = 4096
)

// NewInput returns an Input over an event. It reads nothing yet.
func NewInput(event *hook.Event) *Input {
	in := inputs.Get().(*Input) //nolint:forcetypeassert // the pool holds nothing else
	in.event, in.self.event, in.body.in = event, event, in
	in.headers.fields = headerFields(event.Headers)
	return in
}

// Release gives the memory of an Input back for the next event. Calling it is optional;
// the Input must not be used afterwards.
func (in *Input) Release() {
	places := in.places[:0]
	if cap(places) > maxPooledPlaces {
		return
	}
	*in = Input{places: places}
	inputs.Put(in)
}

// scan finds the parts of a text in memory that all containers of the event share.
func (in *Input) scan(text string) ([]part, bool) {
	from := len(in.places)
	var ok bool
	in.places, ok = scan(text, in.places)
	return in.places[from:len(in.places):len(in.places)], ok
}

// The variables of expressions.
const (
	varData    = "data"
	varEvent   = "event"
	varHeaders = "headers"
	varQuery   = "query"
)

// ResolveName implements cel.Activation.
func (in *Input) ResolveName(name string) (any, bool) {
	switch name {
	case varData:
		return in.body.value(), true
	case varEvent:
		return &in.self, true
	case varHeaders:
		return &in.headers, true
	case varQuery:
		return in.queryValues(), true
	default:
		return nil, false
	}
}

// Parent implements cel.Activation.
func (*Input) Parent() cel.Activation { return nil }

func (in *Input) queryValues() *texts[form] {
	if in.query == nil {
		in.query = &texts[form]{parseForm(in.event.Query)}
	}
	return in.query
}

// errReadTooMuch ends the evaluation of an expression that reads the body over and over.
var errReadTooMuch = errors.New("the expression reads the body too often: it is a loop over too many fields")

// readBudget is how many bytes of the body a metered expression may look at: enough to
// go over any body a few times, and some megabytes in any case.
func (in *Input) readBudget() int { return 16<<20 + 8*len(in.event.Payload) }

// charge notes that n bytes of the body were looked at and reports whether the
// expression may go on.
func (in *Input) charge(n int) bool {
	if !in.metered {
		return true
	}
	in.read += n
	return in.read <= in.readBudget()
}

// eventValue is the variable event.
type eventValue struct{ event *hook.Event }

// eventField is one field of the variable event.
type eventField struct {
	kind *types.Type
	get  func(*hook.Event) ref.Val
}

// eventFieldOf returns the field of the variable event with this name.
func eventFieldOf(name string) (eventField, bool) {
	switch name {
	case "id":
		return eventField{types.StringType, func(e *hook.Event) ref.Val { return types.String(e.ID.String()) }}, true
	case "type":
		return eventField{types.StringType, func(e *hook.Event) ref.Val { return types.String(e.Type) }}, true
	case "key":
		return eventField{types.StringType, func(e *hook.Event) ref.Val { return types.String(e.Key) }}, true
	case "source":
		return eventField{types.StringType, func(e *hook.Event) ref.Val { return types.String(e.Source.String()) }}, true
	case "receivedAt":
		return eventField{types.TimestampType, func(e *hook.Event) ref.Val { return types.Timestamp{Time: e.ReceivedAt} }}, true
	default:
		return eventField{}, false
	}
}

func eventFieldNames() []string { return []string{"id", "type", "key", "source", "receivedAt"} }

// textOf turns the result of a text expression into its text. What is absent or null
// is the empty text.
func textOf(value ref.Val) (string, error) {
	switch v := value.(type) {
	case types.String:
		return string(v), nil
	case types.Null:
		return "", nil
	case *types.Optional:
		if !v.HasValue() {
			return "", nil
		}
		return textOf(v.GetValue())
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339Nano), nil
	case types.Int, types.Uint, types.Double, types.Bool:
		text, ok := value.ConvertToType(types.StringType).(types.String)
		if !ok {
			return "", errors.New("the value has no text form")
		}
		return string(text), nil
	default:
		return "", errors.New("the expression gives a " + value.Type().TypeName() + ", but a text, a number or a boolean is needed")
	}
}
