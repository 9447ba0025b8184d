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
		if strings.HasPrefix(issue.Message, syntaxError) {
			break // the rest are consequences
		}
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
	if said, ok := strings.CutPrefix(message, syntaxError); ok {
		return tidy(explainSyntax(said)) + syntaxHint(said)
	}
	return tidy(message)
}

// syntaxError begins the parser's messages.
const syntaxError = "Syntax error: "

// What the parser says, and what it complains of: the last is for unknown characters
// and for texts without an end.
var (
	misplaced    = regexp.MustCompile(`^(?:mismatched|extraneous) input '(.*)' expecting `)
	impossible   = regexp.MustCompile(`^no viable alternative at input '(.*)'$`)
	missing      = regexp.MustCompile(`^missing '(.*)' at '(.*)'$`)
	unrecognized = regexp.MustCompile(`^token recognition error at: '(.*)'$`)
)

// explainSyntax says in words what the parser says in terms of its grammar.
func explainSyntax(said string) string {
	for _, pattern := range []*regexp.Regexp{misplaced, impossible} {
		if match := pattern.FindStringSubmatch(said); match != nil {
			if strings.HasSuffix(match[1], "<EOF>") {
				return "the expression ends too early: something is missing after it"
			}
			return fmt.Sprintf("%q does not belong here", match[1])
		}
	}
	if match := missing.FindStringSubmatch(said); match != nil {
		if match[2] == "<EOF>" {
			return fmt.Sprintf("%q is missing at the end", match[1])
		}
		return fmt.Sprintf("%q is missing before %q", match[1], match[2])
	}
	if match := unrecognized.FindStringSubmatch(said); match != nil {
		if strings.HasPrefix(match[1], `"`) || strings.HasPrefix(match[1], `'`) {
			return "the text that begins here has no end: a quotation mark is missing"
		}
		return fmt.Sprintf("%q does not belong here", match[1])
	}
	return said
}

// explainFailure adds to what went wrong with one event how the expression is mended.
func explainFailure(message string) string {
	message = tidy(message)
	switch {
	case strings.HasPrefix(message, "no such key: "):
		return message + " (where it may be absent, ask has(…) first)"
	case strings.HasPrefix(message, "no such overload"):
		return "no such overload: a value is of another type than the expression takes (convert it, as in double(x) or string(x))"
	default:
		return message
	}
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

// syntaxHint names what people write who know another language.
func syntaxHint(said string) string {
	switch {
	case strings.Contains(said, "'="):
		return " (equality is written ==)"
	case strings.Contains(said, "'&"), strings.Contains(said, "'|"):
		return " (and is written &&, or is written ||)"
	case strings.Contains(said, "'and'"), strings.Contains(said, "'or'"), strings.Contains(said, "'not'"):
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
