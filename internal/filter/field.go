package filter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types/ref"
	"github.com/tidwall/gjson"

	"malote.dev/malote/internal/hook"
)

// Field is a compiled hook.Field. It is safe for concurrent use. A nil Field is never
// there.
type Field struct {
	field hook.Field
	path  []string // the names of Path
	expr  *TextProgram
	or    *Field // where to look when this one is not there
}

// maxAlternatives is how many places a field may name.
const maxAlternatives = 16

// CompileField compiles a field; nil gives nil. Its error is a *hook.Error of
// KindInvalid whose problems name the field's place.
func CompileField(field *hook.Field) (*Field, error) {
	var first *Field
	into, where := &first, ""
	for n := 0; field != nil; n++ {
		if n == maxAlternatives {
			return nil, badField(where, fmt.Sprintf("there are more than %d places to look at", maxAlternatives))
		}
		compiled, err := compilePlace(field, where)
		if err != nil {
			return nil, err
		}
		*into, into = compiled, &compiled.or
		field, where = field.Or, where+"or."
	}
	return first, nil
}

func badField(where, problem string) error {
	return hook.Invalid("the field cannot be used", []hook.Problem{{Path: strings.TrimSuffix(where, "."), Message: problem}})
}

func compilePlace(field *hook.Field, where string) (*Field, error) {
	compiled := &Field{field: *field}
	places := 0
	for _, place := range []string{field.Header, field.Query, field.Path, field.Expr, field.Value} {
		if place != "" {
			places++
		}
	}
	if places > 1 {
		return nil, badField(where, "give one of header, query, path, expr and value, not several")
	}
	if field.Path != "" {
		compiled.path = splitPath(field.Path)
	}
	if field.Expr != "" {
		expr, err := CompileText(field.Expr)
		if err != nil {
			return nil, badField(where+"expr", problemText(err))
		}
		compiled.expr = expr
	}
	return compiled, nil
}

// Field reads a field that is not compiled, false when it is not there. Whoever reads
// the same field from many events compiles it first.
func (in *Input) Field(field *hook.Field) (string, bool) {
	compiled, err := CompileField(field)
	if err != nil {
		return "", false
	}
	return compiled.Text(in)
}

// Text reads the field's value from an event, at the first of its places that has one;
// false when none has a text, number or boolean that is not empty.
func (f *Field) Text(in *Input) (string, bool) {
	for ; f != nil; f = f.or {
		if text := f.text(in); text != "" {
			return text, true
		}
	}
	return "", false
}

func (f *Field) text(in *Input) string {
	switch {
	case f.field.Value != "":
		return f.field.Value
	case f.field.Header != "":
		return in.event.Headers.Get(f.field.Header)
	case f.field.Query != "":
		return in.queryValues().fields[f.field.Query]
	case f.expr != nil:
		// An expression that fails has no text; its author sees that in the preview.
		text, err := f.expr.Text(in)
		if err != nil {
			return ""
		}
		return text
	case len(f.path) > 0:
		return in.body.at(f.field.Path, f.path)
	default:
		return ""
	}
}

// splitPath splits a dotted path into names. A backslash takes the next character as
// it is, so that a name may have a dot.
func splitPath(path string) []string {
	if !strings.Contains(path, `\`) {
		return strings.Split(path, ".")
	}
	var names []string
	var name strings.Builder
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '\\' && i+1 < len(path):
			i++
			name.WriteByte(path[i])
		case path[i] == '.':
			names = append(names, name.String())
			name.Reset()
		default:
			name.WriteByte(path[i])
		}
	}
	return append(names, name.String())
}

// at returns the text at a path into the body, "" when there is none.
func (b *body) at(path string, names []string) string {
	b.look()
	switch b.kind {
	case bodyJSON:
		return textAt(b.root, names)
	case bodyForm:
		return b.formText(path, names)
	case bodyOther, bodyEmpty:
		return ""
	default:
		return ""
	}
}

// formText finds a form's field by its name, by its name in brackets ("order[id]" for
// order.id), or inside a field that holds JSON, as Slack sends it ("payload.type").
func (b *body) formText(path string, names []string) string {
	if text, ok := b.form[path]; ok {
		return text
	}
	if len(names) == 1 {
		return b.form[names[0]]
	}
	if text, ok := b.form[names[0]+"["+strings.Join(names[1:], "][")+"]"]; ok {
		return text
	}
	if inner := b.form[names[0]]; ValidJSON([]byte(inner)) {
		return textAt(b.in.valueOf(strings.Trim(inner, jsonSpace)), names[1:])
	}
	return ""
}

// textAt walks from a value along names and returns the text there, as it was written:
// a number keeps its digits.
func textAt(root ref.Val, names []string) string {
	at := root
	for i, name := range names {
		var inside *text
		var index int
		var ok bool
		switch c := at.(type) {
		case *object:
			inside = &c.text
			index, ok = c.place(name)
		case *list:
			inside = &c.text
			index, ok = c.place(name)
		}
		if !ok {
			return ""
		}
		if i == len(names)-1 {
			return scalar(inside.rawOf(index))
		}
		at = inside.valueOf(index)
	}
	return ""
}

// place returns which element has the index, from 0, that is written as name.
func (l *list) place(name string) (int, bool) {
	index, err := strconv.ParseUint(name, 10, 31)
	if err != nil || index >= uint64(len(l.all())) {
		return 0, false
	}
	return int(index), true
}

// scalar returns the text of a JSON text, number or boolean, "" for anything else.
func scalar(raw string) string {
	switch raw[0] {
	case '"':
		return gjson.Parse(raw).Str
	case '{', '[', 'n':
		return ""
	default:
		return raw
	}
}

// problemText returns the problem of an expression's error without the words around it.
func problemText(err error) string {
	var texts []string
	if e, ok := errors.AsType[*hook.Error](err); ok {
		for _, p := range e.Problems {
			texts = append(texts, p.Message)
		}
	}
	if len(texts) == 0 {
		return err.Error()
	}
	return strings.Join(texts, "; ")
}
