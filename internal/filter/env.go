package filter

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// Limits of an expression's text and of what it makes.
const (
	maxExpression  = 16 << 10 // characters
	maxNesting     = 100
	maxRegexSize   = 2_000   // instructions of a compiled regular expression
	maxText        = 4 << 20 // bytes of a text that a function makes
	eventTypeName  = "malote.Event"
	optionalSelect = "_?._"
	optionalIndex  = "_[?_]"
)

// environment is the language, built at its first use because that takes milliseconds.
//
//nolint:gochecknoglobals // built once; nothing changes it afterwards
var environment = sync.OnceValues(newEnvironment)

func newEnvironment() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return cel.NewEnv(
		cel.CustomTypeAdapter(registry),
		cel.CustomTypeProvider(provider{registry}),
		cel.Variable(varData, cel.DynType),
		cel.Variable(varEvent, cel.ObjectType(eventTypeName)),
		cel.Variable(varHeaders, cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable(varQuery, cel.MapType(cel.StringType, cel.StringType)),
		cel.OptionalTypes(),
		ext.Strings(),
		boundedStrings(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxNesting),
		cel.RegexProgramSizeLimit(maxRegexSize),
	)
}

// provider knows the type of the variable event beside the standard ones, so that a
// misspelt field is an error when the filter is written.
type provider struct{ *types.Registry }

// FindStructType implements types.Provider.
func (p provider) FindStructType(name string) (*types.Type, bool) {
	if name == eventTypeName {
		return types.NewTypeTypeWithParam(types.NewObjectType(eventTypeName)), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	if name == eventTypeName {
		return eventFieldNames(), true
	}
	return p.Registry.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (p provider) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	if name != eventTypeName {
		return p.Registry.FindStructFieldType(name, fieldName)
	}
	field, ok := eventFieldOf(fieldName)
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type:  field.kind,
		IsSet: func(target any) bool { _, ok := target.(*eventValue); return ok },
		GetFrom: func(target any) (any, error) {
			value, ok := target.(*eventValue)
			if !ok {
				return nil, fmt.Errorf("%T is not an event", target)
			}
			return field.get(value.event), nil
		},
	}, true
}

// boundedStrings replaces the functions of the strings library whose work or result
// can be the product of two texts: a sender chooses the texts, so their product must
// not become memory or minutes.
func boundedStrings() cel.EnvOption {
	str, number := cel.StringType, cel.IntType
	options := []cel.EnvOption{
		cel.Function("replace",
			cel.MemberOverload("string_replace_string_string", []*cel.Type{str, str, str}, str,
				cel.FunctionBinding(func(args ...ref.Val) ref.Val { return replace(args[0], args[1], args[2], -1) })),
			cel.MemberOverload("string_replace_string_string_int", []*cel.Type{str, str, str, number}, str,
				cel.FunctionBinding(func(args ...ref.Val) ref.Val { return replace(args[0], args[1], args[2], numberIn(args[3])) }))),
		cel.Function("join",
			cel.MemberOverload("list_join", []*cel.Type{cel.ListType(str)}, str,
				cel.UnaryBinding(func(list ref.Val) ref.Val { return join(list, types.String("")) })),
			cel.MemberOverload("list_join_string", []*cel.Type{cel.ListType(str), str}, str, cel.BinaryBinding(join))),
		cel.Function("indexOf",
			cel.MemberOverload("string_index_of_string", []*cel.Type{str, str}, number,
				cel.BinaryBinding(func(text, part ref.Val) ref.Val { return indexOf(text, part, types.IntZero) })),
			cel.MemberOverload("string_index_of_string_int", []*cel.Type{str, str, number}, number,
				cel.FunctionBinding(func(args ...ref.Val) ref.Val { return indexOf(args[0], args[1], args[2]) }))),
		cel.Function("lastIndexOf",
			cel.MemberOverload("string_last_index_of_string", []*cel.Type{str, str}, number,
				cel.BinaryBinding(func(text, part ref.Val) ref.Val { return lastIndexOf(text, part, types.Int(1<<40)) })),
			cel.MemberOverload("string_last_index_of_string_int", []*cel.Type{str, str, number}, number,
				cel.FunctionBinding(func(args ...ref.Val) ref.Val { return lastIndexOf(args[0], args[1], args[2]) }))),
	}
	return func(environment *cel.Env) (*cel.Env, error) {
		var err error
		for _, option := range options {
			if environment, err = option(environment); err != nil {
				return nil, err
			}
		}
		return environment, nil
	}
}

func tooLong() ref.Val {
	return types.NewErr("the text that the expression makes is longer than %d bytes", maxText)
}

// textIn and numberIn take the arguments of a function, whose types CEL has checked
// against the declaration before the call.
func textIn(value ref.Val) string {
	text, _ := value.(types.String)
	return string(text)
}

func numberIn(value ref.Val) int64 {
	number, _ := value.(types.Int)
	return int64(number)
}

// replace replaces the first places, or all when limit is negative.
func replace(in, from, to ref.Val, limit int64) ref.Val {
	text, old, with := textIn(in), textIn(from), textIn(to)
	count := strings.Count(text, old)
	if limit >= 0 {
		count = min(count, int(limit))
	}
	if len(text)+count*(len(with)-len(old)) > maxText {
		return tooLong()
	}
	return types.String(strings.Replace(text, old, with, count))
}

func join(parts, separator ref.Val) ref.Val {
	list, ok := parts.(traits.Lister)
	if !ok {
		return types.MaybeNoSuchOverloadErr(parts)
	}
	between := textIn(separator)
	var b strings.Builder
	for it := list.Iterator(); it.HasNext() == types.True; {
		part, ok := it.Next().(types.String)
		if !ok {
			return types.NewErr("join needs a list of texts")
		}
		if b.Len()+len(between)+len(part) > maxText {
			return tooLong()
		}
		b.WriteString(string(part))
		if it.HasNext() == types.True {
			b.WriteString(between)
		}
	}
	return types.String(b.String())
}

// indexOf counts in characters, as the strings library does.
func indexOf(in, part, from ref.Val) ref.Val {
	text, offset := textIn(in), numberIn(from)
	if offset < 0 {
		return types.NewErr("index out of range: %d", offset)
	}
	start := byteOffset(text, offset)
	at := strings.Index(text[start:], textIn(part))
	if at < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(text[:start+at]))
}

func lastIndexOf(in, part, from ref.Val) ref.Val {
	text, sought, offset := textIn(in), textIn(part), numberIn(from)
	if offset < 0 {
		return types.NewErr("index out of range: %d", offset)
	}
	end := min(len(text), byteOffset(text, offset)+len(sought))
	at := strings.LastIndex(text[:end], sought)
	if at < 0 {
		return types.Int(-1)
	}
	return types.Int(utf8.RuneCountInString(text[:at]))
}

// byteOffset returns where the character with the given number begins, the text's end
// when it has fewer.
func byteOffset(text string, characters int64) int {
	for i := range text {
		if characters == 0 {
			return i
		}
		characters--
	}
	return len(text)
}

// needsMeter reports whether an expression could do more work than going over its
// inputs once for each of its operations: whether it has a loop, or a function that is
// not known to be cheap. Only those pay for the counting of steps.
func needsMeter(expr ast.Expr) bool {
	needs := false
	ast.PreOrderVisit(expr, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			needs = true
		case ast.CallKind:
			needs = needs || !cheap(e.AsCall().FunctionName())
		default:
		}
	}))
	return needs
}

func cheap(function string) bool {
	switch function {
	case operators.Conditional, operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.NotStrictlyFalse,
		operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate,
		operators.Index, operators.In, optionalSelect, optionalIndex,
		overloads.Contains, overloads.StartsWith, overloads.EndsWith, overloads.Matches, overloads.Size,
		overloads.TypeConvertBool, overloads.TypeConvertDouble, overloads.TypeConvertInt, overloads.TypeConvertString,
		overloads.TypeConvertTimestamp, overloads.TypeConvertDuration, overloads.TypeConvertUint,
		"orValue", "or", "hasValue", "lowerAscii", "upperAscii", "trim":
		return true
	default:
		return false
	}
}
