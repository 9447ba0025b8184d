package filter

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"malote.dev/malote/internal/hook"
)

// Field is a compiled hook.Field. It is safe for concurrent use. A nil Field is never
// there.
type Field struct {
	field hook.Field
	path  []string // the names of Path
	expr  *TextProgram
}

// CompileField compiles a field; nil gives nil. Its error is a *hook.Error of
// KindInvalid whose problems name the field's place.
func CompileField(field *hook.Field) (*Field, error) {
	if field == nil {
		return nil, nil //nolint:nilnil // a nil Field is one that is never there
	}
	compiled := &Field{field: *field}
	places := 0
	for _, place := range []string{field.Header, field.Query, field.Path, field.Expr, field.Value} {
		if place != "" {
			places++
		}
	}
	if places > 1 {
		return nil, hook.Invalid("the field cannot be used", []hook.Problem{
			{Message: "give one of header, query, path, expr and value, not several"},
		})
	}
	if field.Path != "" {
		compiled.path = splitPath(field.Path)
	}
	if field.Expr != "" {
		expr, err := CompileText(field.Expr)
		if err != nil {
			return nil, hook.Invalid("the field cannot be used", []hook.Problem{{Path: "expr", Message: problemText(err)}})
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

// Text reads the field's value from an event; false when it is not there, is empty, or
// is not a text, number or boolean.
func (f *Field) Text(in *Input) (string, bool) {
	var text string
	switch {
	case f == nil:
	case f.field.Value != "":
		text = f.field.Value
	case f.field.Header != "":
		text = in.event.Headers.Get(f.field.Header)
	case f.field.Query != "":
		text = in.queryValues().fields[f.field.Query]
	case f.expr != nil:
		// An expression that fails has no text; its author sees that in the preview.
		if result, err := f.expr.Text(in); err == nil {
			text = result
		}
	case len(f.path) > 0:
		text = in.body.at(f.field.Path, f.path)
	}
	return text, text != ""
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
		return textAt(b.text, names)
	case bodyForm:
		return b.form.at(path, names)
	case bodyOther, bodyEmpty:
		return ""
	default:
		return ""
	}
}

// at finds a form's field by its name, by its name in brackets ("order[id]" for
// order.id), or inside a field that holds JSON, as Slack sends it ("payload.type").
func (f form) at(path string, names []string) string {
	if text, ok := f[path]; ok {
		return text
	}
	if len(names) == 1 {
		return f[names[0]]
	}
	if text, ok := f[names[0]+"["+strings.Join(names[1:], "][")+"]"]; ok {
		return text
	}
	if text := f[names[0]]; text != "" && ValidJSON([]byte(text)) {
		return textAt(text, names[1:])
	}
	return ""
}

// textAt walks a checked JSON text along names and returns the text there.
func textAt(text string, names []string) string {
	part := gjson.Parse(text)
	for _, name := range names {
		if part.Type != gjson.JSON {
			return ""
		}
		var ok bool
		if part.IsArray() {
			part, ok = element(part, name)
		} else {
			part, ok = member(part.Raw, name)
		}
		if !ok {
			return ""
		}
	}
	switch part.Type {
	case gjson.String:
		return part.Str
	case gjson.Number, gjson.True, gjson.False:
		return part.Raw
	case gjson.Null, gjson.JSON:
		return ""
	default:
		return ""
	}
}

// element returns the element of an array whose index, from 0, is written as name.
func element(array gjson.Result, name string) (found gjson.Result, ok bool) {
	index, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return gjson.Result{}, false
	}
	array.ForEach(func(_, value gjson.Result) bool {
		if index == 0 {
			found, ok = value, true
		}
		index--
		return !ok
	})
	return found, ok
}

// problemText returns the problem of an expression's error without the words around it.
func problemText(err error) string {
	var texts []string
	if e, ok := err.(*hook.Error); ok { //nolint:errorlint // made by this package, never wrapped
		for _, p := range e.Problems {
			texts = append(texts, p.Message)
		}
	}
	if len(texts) == 0 {
		return err.Error()
	}
	return strings.Join(texts, "; ")
}
