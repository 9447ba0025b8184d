package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/tidwall/gjson"
)

// text is a container that is still text, with the places of its parts, which are
// found when they are first needed.
type text struct {
	in    *Input
	raw   string
	parts []part
	known bool
	made  []madePart // containers among the parts that were looked into
}

// madePart is a part that became a value.
type madePart struct {
	index int
	value ref.Val
}

// maxMade is how many containers are remembered of each container. Those that the
// filters of an event share are few.
const maxMade = 32

// containerCost is what turning a part into an object or list costs the budget of
// bytes: looking into it costs more.
const containerCost = 16

// all returns the places of the parts; none when the budget is used up.
func (t *text) all() []part {
	if !t.known && t.in.charge(len(t.raw)) {
		t.known = true
		t.parts, _ = t.in.scan(t.raw) // a part of a checked text needs no second check
	}
	return t.parts
}

func (t *text) rawOf(index int) string { return t.raw[t.parts[index].from:t.parts[index].to] }

// valueOf returns the value of a part. The same container comes back each time, so
// that what was found in it is not looked for again.
func (t *text) valueOf(index int) ref.Val {
	raw := t.rawOf(index)
	if raw[0] != '{' && raw[0] != '[' {
		if !t.in.charge(len(raw)) {
			return types.WrapErr(errReadTooMuch)
		}
		return t.in.valueOf(raw)
	}
	for i := range t.made {
		if t.made[i].index == index {
			return t.made[i].value
		}
	}
	if !t.in.charge(containerCost) {
		return types.WrapErr(errReadTooMuch)
	}
	value := t.in.valueOf(raw)
	if len(t.made) < maxMade {
		t.made = append(t.made, madePart{index, value})
	}
	return value
}

// object is a JSON object.
type object struct {
	text

	lookups int
	index   map[string]int // of a large object, once it is looked into often
}

// When an object gets an index.
const (
	largeObject = 64 // members
	manyLookups = 8
)

// nameOf returns the name of a member.
func (o *object) nameOf(i int) string {
	p := &o.parts[i]
	if p.escaped {
		return gjson.Parse(o.raw[p.keyFrom-1 : p.keyTo+1]).Str
	}
	return o.raw[p.keyFrom:p.keyTo]
}

// place returns which member has a name: the first, when several have it.
func (o *object) place(name string) (int, bool) {
	parts := o.all()
	o.lookups++
	if o.lookups > manyLookups && len(parts) > largeObject {
		if o.index == nil {
			o.buildIndex()
		}
		i, ok := o.index[name]
		return i, ok
	}
	for i := range parts {
		p := &parts[i]
		if p.escaped {
			if o.nameOf(i) == name {
				return i, true
			}
		} else if int(p.keyTo-p.keyFrom) == len(name) && o.raw[p.keyFrom:p.keyTo] == name {
			return i, true
		}
	}
	return 0, false
}

func (o *object) buildIndex() {
	o.index = make(map[string]int, len(o.parts))
	for i := range slices.Backward(o.parts) {
		o.index[o.nameOf(i)] = i
	}
}

func (o *object) find(name string) (ref.Val, bool) {
	i, ok := o.place(name)
	if !ok {
		return nil, false
	}
	return o.valueOf(i), true
}

// names returns the different names of the members, in the text's order.
func (o *object) names() []string {
	if len(o.all()) == 0 {
		return nil
	}
	o.buildIndex()
	names := make([]string, 0, len(o.index))
	for i := range o.parts {
		if name := o.nameOf(i); o.index[name] == i {
			names = append(names, name)
		}
	}
	return names
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
	return types.Int(len(o.names()))
}

// Iterator implements traits.Iterable.
func (o *object) Iterator() traits.Iterator {
	return &nameIterator{names: o.names()}
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

// list is a JSON array.
type list struct{ text }

// Get implements traits.Indexer.
func (l *list) Get(index ref.Val) ref.Val {
	i, err := types.GetOrError(index)
	if err != nil {
		return types.WrapErr(err)
	}
	if i < 0 || i >= len(l.all()) {
		return types.NewErr("index %d is outside of the list, which has %d elements", i, len(l.parts))
	}
	return l.valueOf(i)
}

// Contains implements traits.Container.
func (l *list) Contains(value ref.Val) ref.Val {
	for i := range l.all() {
		if types.Equal(l.valueOf(i), value) == types.True {
			return types.True
		}
	}
	return types.False
}

// Size implements traits.Sizer.
func (l *list) Size() ref.Val { return types.Int(len(l.all())) }

// Iterator implements traits.Iterable.
func (l *list) Iterator() traits.Iterator {
	l.all()
	return &listIterator{list: l}
}

// Add implements traits.Adder.
func (l *list) Add(other ref.Val) ref.Val {
	values := make([]ref.Val, len(l.all()))
	for i := range l.parts {
		values[i] = l.valueOf(i)
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
	for i := range l.parts {
		if types.Equal(l.valueOf(i), that.Get(types.Int(i))) != types.True {
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
	return uint32(min(len(raw)/10+1, 1<<31))
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
func (it *listIterator) HasNext() ref.Val { return types.Bool(it.next < len(it.list.parts)) }

// Next implements traits.Iterator.
func (it *listIterator) Next() ref.Val {
	if it.next >= len(it.list.parts) {
		return nil
	}
	it.next++
	return it.list.valueOf(it.next - 1)
}
