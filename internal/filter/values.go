package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/tidwall/gjson"
)

// object is a JSON object that is still text. What was looked up is remembered, so
// that the filters of an event share their reading.
type object struct {
	in    *Input
	raw   string
	seen  []lookup           // the first few lookups
	index map[string]ref.Val // every member, once there were more than a few
	names []string           // of the index, in the text's order
}

// lookup is a remembered result; a nil value means that there is no such member.
type lookup struct {
	name  string
	value ref.Val
}

// fewLookups is how many members are looked up one by one, each by going over the
// text, before all of them are put into an index.
const fewLookups = 8

func (o *object) find(name string) (ref.Val, bool) {
	if o.index != nil {
		value, ok := o.index[name]
		return value, ok
	}
	for i := range o.seen {
		if o.seen[i].name == name {
			return o.seen[i].value, o.seen[i].value != nil
		}
	}
	if len(o.seen) == fewLookups {
		o.buildIndex()
		value, ok := o.index[name]
		return value, ok
	}
	if !o.in.charge(len(o.raw)) {
		return types.WrapErr(errReadTooMuch), true
	}
	var value ref.Val
	if part, ok := member(o.raw, name); ok {
		value = o.in.valueOf(part)
	}
	o.seen = append(o.seen, lookup{name, value})
	return value, value != nil
}

func (o *object) buildIndex() {
	if o.index != nil {
		return
	}
	o.in.charge(len(o.raw))
	o.index = map[string]ref.Val{}
	gjson.Result{Type: gjson.JSON, Raw: o.raw}.ForEach(func(key, value gjson.Result) bool {
		if _, ok := o.index[key.Str]; !ok {
			o.index[key.Str] = o.in.valueOf(value)
			o.names = append(o.names, key.Str)
		}
		return true
	})
}

// FindStringKey lets CEL look up constant names without boxing them.
func (o *object) FindStringKey(name string) (any, bool) {
	value, ok := o.find(name)
	if !ok {
		return nil, false
	}
	return value, true
}

// Find implements traits.Mapper.
func (o *object) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	return o.find(string(name))
}

// Get implements traits.Indexer.
func (o *object) Get(key ref.Val) ref.Val { return getFrom(o, key) }

// Contains implements traits.Container.
func (o *object) Contains(key ref.Val) ref.Val {
	_, ok := o.Find(key)
	return types.Bool(ok)
}

// Size implements traits.Sizer.
func (o *object) Size() ref.Val {
	o.buildIndex()
	return types.Int(len(o.names))
}

// Iterator implements traits.Iterable.
func (o *object) Iterator() traits.Iterator {
	o.buildIndex()
	return &nameIterator{names: o.names}
}

// AggregateSize tells the cost meter how large the value is, by its text.
func (o *object) AggregateSize(types.AggregateSizer) uint32 { return textSize(o.raw) }

// ConvertToNative implements ref.Val.
func (o *object) ConvertToNative(target reflect.Type) (any, error) {
	return jsonToNative(o.raw, target)
}

// ConvertToType implements ref.Val.
func (o *object) ConvertToType(target ref.Type) ref.Val { return convertMap(o, target) }

// Equal implements ref.Val.
func (o *object) Equal(other ref.Val) ref.Val { return equalMaps(o, other) }

// Type implements ref.Val.
func (*object) Type() ref.Type { return types.MapType }

// Value implements ref.Val; it is the text, because nothing asks for more.
func (o *object) Value() any { return json.RawMessage(o.raw) }

// list is a JSON array that is still text. Its elements' places are found at once,
// their values when they are asked for.
type list struct {
	in     *Input
	raw    string
	places []place
	known  bool
}

// place is where an element's text is.
type place struct{ from, to int32 }

func (l *list) elements() []place {
	if !l.known {
		l.known = true
		l.in.charge(len(l.raw))
		gjson.Result{Type: gjson.JSON, Raw: l.raw}.ForEach(func(_, value gjson.Result) bool {
			from := int32(value.Index) //nolint:gosec // bodies are far smaller than 2 GiB
			l.places = append(l.places, place{from, from + int32(len(value.Raw))})
			return true
		})
	}
	return l.places
}

func (l *list) at(i int) ref.Val {
	p := l.places[i]
	if !l.in.charge(int(p.to - p.from)) {
		return types.WrapErr(errReadTooMuch)
	}
	return l.in.valueOf(gjson.Parse(l.raw[p.from:p.to]))
}

// Get implements traits.Indexer.
func (l *list) Get(index ref.Val) ref.Val {
	i, err := types.GetOrError(index)
	if err != nil {
		return types.WrapErr(err)
	}
	if i < 0 || i >= len(l.elements()) {
		return types.NewErr("index %d is outside of the list, which has %d elements", i, len(l.places))
	}
	return l.at(i)
}

// Contains implements traits.Container.
func (l *list) Contains(value ref.Val) ref.Val {
	for i := range l.elements() {
		if types.Equal(l.at(i), value) == types.True {
			return types.True
		}
	}
	return types.False
}

// Size implements traits.Sizer.
func (l *list) Size() ref.Val { return types.Int(len(l.elements())) }

// Iterator implements traits.Iterable.
func (l *list) Iterator() traits.Iterator {
	l.elements()
	return &listIterator{list: l}
}

// Add implements traits.Adder.
func (l *list) Add(other ref.Val) ref.Val {
	values := make([]ref.Val, len(l.elements()))
	for i := range l.places {
		values[i] = l.at(i)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, values).Add(other)
}

// AggregateSize tells the cost meter how large the value is, by its text.
func (l *list) AggregateSize(types.AggregateSizer) uint32 { return textSize(l.raw) }

// ConvertToNative implements ref.Val.
func (l *list) ConvertToNative(target reflect.Type) (any, error) { return jsonToNative(l.raw, target) }

// ConvertToType implements ref.Val.
func (l *list) ConvertToType(target ref.Type) ref.Val {
	switch target {
	case types.ListType:
		return l
	case types.TypeType:
		return types.ListType
	default:
		return types.NewErr("a list cannot become a %s", target.TypeName())
	}
}

// Equal implements ref.Val.
func (l *list) Equal(other ref.Val) ref.Val {
	that, ok := other.(traits.Lister)
	if !ok || l.Size() != that.Size() {
		return types.False
	}
	for i := range l.places {
		if types.Equal(l.at(i), that.Get(types.Int(i))) != types.True {
			return types.False
		}
	}
	return types.True
}

// Type implements ref.Val.
func (*list) Type() ref.Type { return types.ListType }

// Value implements ref.Val; it is the text, because nothing asks for more.
func (l *list) Value() any { return json.RawMessage(l.raw) }

func getFrom(m traits.Mapper, key ref.Val) ref.Val {
	value, ok := m.Find(key)
	if !ok {
		return types.NewErr("no such key: %v", key)
	}
	return value
}

func convertMap(m ref.Val, target ref.Type) ref.Val {
	switch target {
	case types.MapType:
		return m
	case types.TypeType:
		return types.MapType
	default:
		return types.NewErr("a map cannot become a %s", target.TypeName())
	}
}

func equalMaps(m traits.Mapper, other ref.Val) ref.Val {
	that, ok := other.(traits.Mapper)
	if !ok || m.Size() != that.Size() {
		return types.False
	}
	for names := m.Iterator(); names.HasNext() == types.True; {
		name := names.Next()
		left, _ := m.Find(name)
		right, ok := that.Find(name)
		if !ok || types.Equal(left, right) != types.True {
			return types.False
		}
	}
	return types.True
}

// jsonToNative decodes a part of a body for the few functions of CEL that want Go values.
func jsonToNative(raw string, target reflect.Type) (any, error) {
	var decoded any
	if err := json.Unmarshal([]byte(raw), &decoded); err != nil {
		return nil, fmt.Errorf("decode a part of the body: %w", err)
	}
	return types.DefaultTypeAdapter.NativeToValue(decoded).ConvertToNative(target)
}

// textSize is the size of a value for the cost meter: one unit for every ten bytes, as
// CEL counts texts.
func textSize(raw string) uint32 {
	return uint32(min(len(raw)/10+1, 1<<31)) //nolint:gosec // bounded by the line itself
}

var errNoValue = errors.New("there is no such conversion")

// iterator is what the iterators share: being a ref.Val, which nothing looks at.
type iterator struct{}

// ConvertToNative implements ref.Val.
func (iterator) ConvertToNative(reflect.Type) (any, error) {
	return nil, errNoValue
}

// ConvertToType implements ref.Val.
func (iterator) ConvertToType(ref.Type) ref.Val { return types.WrapErr(errNoValue) }

// Equal implements ref.Val.
func (iterator) Equal(ref.Val) ref.Val { return types.WrapErr(errNoValue) }

// Type implements ref.Val.
func (iterator) Type() ref.Type { return types.IteratorType }

// Value implements ref.Val.
func (iterator) Value() any { return nil }

// nameIterator goes over the names of a map.
type nameIterator struct {
	iterator

	names []string
}

// HasNext implements traits.Iterator.
func (it *nameIterator) HasNext() ref.Val { return types.Bool(len(it.names) > 0) }

// Next implements traits.Iterator.
func (it *nameIterator) Next() ref.Val {
	if len(it.names) == 0 {
		return nil
	}
	name := it.names[0]
	it.names = it.names[1:]
	return types.String(name)
}

// listIterator goes over the elements of a list.
type listIterator struct {
	iterator

	list *list
	next int
}

// HasNext implements traits.Iterator.
func (it *listIterator) HasNext() ref.Val { return types.Bool(it.next < len(it.list.places)) }

// Next implements traits.Iterator.
func (it *listIterator) Next() ref.Val {
	if it.next >= len(it.list.places) {
		return nil
	}
	it.next++
	return it.list.at(it.next - 1)
}
