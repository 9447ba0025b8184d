package hook

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Duration is a time.Duration that reads and writes as "1h30m", with "d" for days
// ("30d") understood on input.
type Duration time.Duration

const day = 24 * time.Hour

// maxDays is how many days a Duration has room for.
const maxDays = int64(1<<63-1) / int64(day)

// String returns the shortest usual form: "2h", not "2h0m0s".
func (d Duration) String() string {
	if d != 0 && time.Duration(d)%day == 0 {
		return strconv.FormatInt(int64(time.Duration(d)/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// ParseDuration reads "90s", "1h30m", "30d" or "0"; durations are not negative.
func ParseDuration(text string) (Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseInt(days, 10, 32); err == nil && 0 <= n && n <= maxDays {
			return Duration(time.Duration(n) * day), nil
		}
	}
	parsed, err := time.ParseDuration(text)
	if err != nil || parsed < 0 {
		return 0, fmt.Errorf("%q is not a duration: write a number and a unit, such as 5s, 10m, 2h or 30d", text)
	}
	return Duration(parsed), nil
}

// Rate is a number of deliveries per span of time, written "50/s", "600/m" or
// "1000/h". The zero Rate means no limit.
type Rate struct {
	Count int           // how many
	Per   time.Duration // in how long: a second, a minute or an hour
}

// PerSecond returns the rate in deliveries per second.
func (r Rate) PerSecond() float64 {
	if r.Per <= 0 {
		return 0
	}
	return float64(r.Count) / r.Per.Seconds()
}

// String returns the form that UnmarshalText reads; "" for no limit.
func (r Rate) String() string {
	text, _ := r.MarshalText() // it never fails
	return string(text)
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) {
	unit := ""
	switch r.Per {
	case time.Second:
		unit = "s"
	case time.Minute:
		unit = "m"
	case time.Hour:
		unit = "h"
	}
	if r.Count == 0 || unit == "" {
		return nil, nil
	}
	return []byte(strconv.Itoa(r.Count) + "/" + unit), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Rate{}
		return nil
	}
	count, unit, ok := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "min": time.Minute, "h": time.Hour}[strings.TrimSpace(unit)]
	if !ok || err != nil || n <= 0 || per == 0 {
		return fmt.Errorf("%q is not a rate: write a number per s, m or h, such as 50/s", text)
	}
	*r = Rate{Count: n, Per: per}
	return nil
}

// Cut returns the beginning of a text, at most so many bytes of it, and never a part of
// a character.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// Header is one header field, its name as it was sent.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Headers is a list of header fields in a fixed order.
type Headers []Header

// Get returns the first value of the named field, the case of the name ignored.
func (h Headers) Get(name string) string {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return h[i].Value
		}
	}
	return ""
}

// Values returns all values of the named field, the case of the name ignored.
func (h Headers) Values(name string) []string {
	var values []string
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			values = append(values, h[i].Value)
		}
	}
	return values
}
