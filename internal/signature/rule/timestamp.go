package rule

import (
	"strconv"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// timeCheck reads the signed time and holds it against the clock.
type timeCheck struct {
	header, query, path string
	pair                string // name of the pair in the signature's list
	unit                string
	tolerance           time.Duration
	optional            bool
}

func compileTime(spec *hook.TimestampRule, list *hook.ListRule, problems *problems) *timeCheck {
	pair := ""
	if list != nil {
		pair = list.Timestamp
	}
	if spec == nil {
		if pair == "" {
			return nil
		}
		spec = &hook.TimestampRule{}
	}
	check := &timeCheck{
		header: spec.Header, query: spec.Query, path: spec.Path, pair: pair,
		unit: spec.Unit, tolerance: time.Duration(spec.Tolerance), optional: spec.Optional,
	}
	if places := count(check.header != "", check.query != "", check.path != "", pair != ""); places != 1 {
		problems.addf("timestamp", "say where the time is: one of header, query, path or list.timestamp")
	}
	switch check.unit {
	case "":
		check.unit = "s"
	case "s", "ms", "auto", "rfc3339":
	default:
		problems.addf("timestamp.unit", "%q is not a unit: write s, ms, auto or rfc3339", check.unit)
	}
	if check.tolerance == 0 {
		check.tolerance = time.Duration(hook.DefaultTolerance)
	}
	return check
}

// text finds the time as it was sent. fromList is the value of the list's pair.
func (t *timeCheck) text(req *message.Request, fromList string) string {
	switch {
	case t == nil:
		return ""
	case t.pair != "":
		return fromList
	case t.header != "":
		return req.Headers.Get(t.header)
	case t.query != "":
		return req.QueryValue(t.query)
	default:
		value, _ := req.Field(t.path) // absent and empty are the same
		return value
	}
}

// place names where the time is, for messages.
func (t *timeCheck) place() string {
	switch {
	case t.pair != "":
		return "the signature's " + strconv.Quote(t.pair)
	case t.header != "":
		return "the header " + t.header
	case t.query != "":
		return "the query parameter " + t.query
	default:
		return "the field " + t.path
	}
}

// check returns nil when the time is near enough.
func (t *timeCheck) check(text string, now time.Time) *Refusal {
	if t == nil {
		return nil
	}
	if text == "" {
		if t.optional {
			return nil
		}
		return refusef(MissingTimestamp, "The time of signing is missing: %s is empty.", t.place())
	}
	at, ok := parseTime(text, t.unit)
	if !ok {
		return refusef(MalformedTime, "The time of signing in %s cannot be read: it should be %s.", t.place(), unitName(t.unit))
	}
	if off := now.Sub(at); off.Abs() > t.tolerance {
		return refusef(OutOfTolerance, "The request was signed %s; %s is allowed.", describeOffset(off), hook.Duration(t.tolerance))
	}
	return nil
}

func unitName(unit string) string {
	switch unit {
	case "ms":
		return "milliseconds since 1970"
	case "auto":
		return "seconds or milliseconds since 1970"
	case "rfc3339":
		return "an RFC 3339 time such as 2026-01-02T03:04:05Z"
	default:
		return "seconds since 1970"
	}
}

func describeOffset(off time.Duration) string {
	rounded := off.Abs().Round(time.Second)
	if rounded == 0 {
		rounded = off.Abs()
	}
	text := rounded.String()
	const day = 24 * time.Hour
	if rounded > 2*day {
		text = strconv.FormatInt(int64(rounded/day), 10) + " days"
	}
	if off < 0 {
		return text + " in the future"
	}
	return text + " ago"
}

// maxUnix keeps times inside what time arithmetic can hold: the year 9999.
const maxUnix = 253402300799

// msFrom is the magnitude from which a number is taken for milliseconds: the year
// 5138 in seconds, 1973 in milliseconds.
const msFrom = 100_000_000_000

func parseTime(text, unit string) (time.Time, bool) {
	if unit == "rfc3339" {
		at, err := time.Parse(time.RFC3339Nano, text)
		return at, err == nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, false
	}
	if unit == "ms" || unit == "auto" && n >= msFrom {
		return time.UnixMilli(n), n/1000 <= maxUnix
	}
	return time.Unix(n, 0), n <= maxUnix
}

func count(conditions ...bool) int {
	n := 0
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}
