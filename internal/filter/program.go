package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"malote.dev/malote/internal/hook"
)

// Program is a compiled filter. It is safe for concurrent use.
type Program struct{ expression expression }

// TextProgram is a compiled expression whose result is a text. It is safe for
// concurrent use.
type TextProgram struct{ expression expression }

// Compile compiles a filter. Its error is a *hook.Error of KindInvalid that names the
// column, what is wrong there and what to write.
func Compile(text string) (*Program, error) {
	compiled, err := compile(text, "true or false", cel.BoolType, cel.DynType)
	if err != nil {
		return nil, err
	}
	return &Program{compiled}, nil
}

// CompileText compiles an expression whose result becomes a text: a text, a number, a
// boolean, a time, or an optional one of these. Its error is as Compile's.
func CompileText(text string) (*TextProgram, error) {
	compiled, err := compile(text, "a text or a number",
		cel.StringType, cel.IntType, cel.UintType, cel.DoubleType, cel.BoolType, cel.TimestampType, cel.NullType, cel.DynType)
	if err != nil {
		return nil, err
	}
	return &TextProgram{compiled}, nil
}

// Match reports whether the event passes. An error, such as a field that is not there,
// means that it does not; its text says why and shows nothing of the event but names.
func (p *Program) Match(in *Input) (bool, error) {
	value, err := p.expression.eval(in)
	if err != nil {
		return false, err
	}
	passes, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the filter gives a %s, but true or false is needed", value.Type().TypeName())
	}
	return bool(passes), nil
}

// Text returns the expression's result for the event, "" where it is null or absent.
// What it refers to must be there: "data.?id.orValue(”)" is how to allow that it is not.
func (p *TextProgram) Text(in *Input) (string, error) {
	value, err := p.expression.eval(in)
	if err != nil {
		return "", err
	}
	return textOf(value)
}

// expression is what both kinds of program share.
type expression struct {
	program cel.Program
	metered bool
}

// costLimit is how many steps a metered expression may take, in the units of CEL: a
// few milliseconds of work.
const costLimit = 200_000

// compile compiles text to one of the wanted types, the last of which is dyn.
func compile(text, what string, wanted ...*cel.Type) (expression, error) {
	environment, err := environment()
	if err != nil {
		return expression{}, hook.Errorf(hook.KindInternal, "set up the expression language: %w", err)
	}
	if strings.TrimSpace(text) == "" {
		return expression{}, invalid("the expression is empty: write one such as data.total >= 100")
	}
	checked, issues := environment.Compile(text)
	if issues.Err() != nil {
		return expression{}, explainIssues(issues)
	}
	if !returns(checked.OutputType(), wanted) {
		return expression{}, invalid(fmt.Sprintf("the expression gives %s, but %s is needed", checked.OutputType(), what))
	}
	compiled := expression{metered: needsMeter(checked.NativeRep().Expr())}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if compiled.metered {
		options = append(options, cel.CostLimit(costLimit))
	}
	if compiled.program, err = environment.Program(checked, options...); err != nil {
		return expression{}, invalid(tidy(err.Error()))
	}
	return compiled, nil
}

// returns reports whether the type given is one of those wanted, or an optional of one.
func returns(given *cel.Type, wanted []*cel.Type) bool {
	if parameters := given.Parameters(); given.TypeName() == types.OptionalType.TypeName() && len(parameters) == 1 {
		given = parameters[0]
	}
	return slices.ContainsFunc(wanted, given.IsExactType)
}

func (e *expression) eval(in *Input) (ref.Val, error) {
	in.metered, in.read = e.metered, 0
	value, _, err := e.program.Eval(in)
	if in.read > in.readBudget() {
		return nil, errReadTooMuch
	}
	if err == nil {
		return value, nil
	}
	var canceled interpreter.EvalCancelledError
	if errors.As(err, &canceled) {
		return nil, fmt.Errorf("the expression was stopped after %d steps: it loops over too much", costLimit)
	}
	return nil, errors.New(explainFailure(err.Error()))
}
