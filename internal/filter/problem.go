package filter

import (
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// invalid returns the error for an expression that cannot be used.
func invalid(problem string) error {
	return hook.Invalid("the expression cannot be used", []hook.Problem{{Message: problem}})
}

// maxProblems is how many problems of one expression are told.
const maxProblems = 3

func explainIssues(issues *cel.Issues) error {
	problems := make([]hook.Problem, 0, maxProblems)
	for _, issue := range issues.Errors() {
		if len(problems) == maxProblems {
			break
		}
		where := fmt.Sprintf("column %d", issue.Location.Column()+1)
		if line := issue.Location.Line(); line > 1 {
			where = fmt.Sprintf("line %d, %s", line, where)
		}
		problems = append(problems, hook.Problem{Message: where + ": " + explain(issue.Message)})
	}
	return hook.Invalid("the expression cannot be used", problems)
}

// explain turns a message of the compiler into one that says what to write.
func explain(message string) string {
	if name, ok := quoted(message, "undeclared reference to '"); ok {
		return unknownName(name)
	}
	if name, ok := quoted(message, "undefined field '"); ok {
		return fmt.Sprintf("event has no field %s%s; it has %s", name, meant(name, eventFieldNames()), strings.Join(eventFieldNames(), ", "))
	}
	if arguments, ok := strings.CutPrefix(message, "found no matching overload for '"); ok {
		name, rest, _ := strings.Cut(arguments, "'")
		return operatorName(name) + " cannot be used" + strings.ReplaceAll(strings.Replace(rest, " applied to", " on", 1), "'", "") +
			": convert first, as in double(x), int(x) or string(x)"
	}
	if hint := syntaxHint(message); hint != "" {
		return tidy(message) + hint
	}
	return tidy(message)
}

func quoted(message, before string) (string, bool) {
	_, rest, ok := strings.Cut(message, before)
	if !ok {
		return "", false
	}
	name, _, ok := strings.Cut(rest, "'")
	return name, ok
}

func unknownName(name string) string {
	variables := []string{varData, varEvent, varHeaders, varQuery}
	functions := []string{
		"double", "int", "string", "bool", "size", "has", "timestamp", "duration", "matches", "contains", "startsWith", "endsWith",
		"lowerAscii", "upperAscii", "replace", "split", "join", "trim", "substring", "indexOf", "orValue", "exists", "all",
	}
	known := "; the variables are " + strings.Join(variables, ", ")
	switch strings.ToLower(name) {
	case "and", "or", "not":
		return fmt.Sprintf("%s is not an operator: write && for and, || for or, ! for not", name)
	case "body", "payload", "json":
		return fmt.Sprintf("there is no %s; the body is called data", name)
	default:
		return fmt.Sprintf("there is no %s%s%s", name, meant(name, append(variables, functions...)), known)
	}
}

// operatorName turns the compiler's name of an operator into what people write.
func operatorName(name string) string {
	return strings.Trim(strings.ReplaceAll(name, "_", " "), " ")
}

func syntaxHint(message string) string {
	switch {
	case !strings.HasPrefix(message, "Syntax error"):
		return ""
	case strings.Contains(message, "'="):
		return " (equality is written ==)"
	case strings.Contains(message, "'&"), strings.Contains(message, "'|"):
		return " (and is written &&, or is written ||)"
	case strings.Contains(message, "'and'"), strings.Contains(message, "'or'"), strings.Contains(message, "'not'"):
		return " (and is written &&, or is written ||, not is written !)"
	default:
		return ""
	}
}

// meant returns ", did you mean …?" when one of the names is close to the one given.
func meant(name string, names []string) string {
	if near := strict.Nearest(name, names); near != "" {
		return ", did you mean " + near + "?"
	}
	return ""
}

// maxErrorText is how long the text of an evaluation's error may be; it is stored with
// the event.
const maxErrorText = 200

// container matches what CEL appends to some messages about where names are looked up.
var container = regexp.MustCompile(` \(in container '[^']*'\)`)

// tidy makes an error's text one short line.
func tidy(message string) string {
	message = container.ReplaceAllString(message, "")
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > maxErrorText {
		message = strings.ToValidUTF8(message[:maxErrorText], "") + "…"
	}
	return message
}
