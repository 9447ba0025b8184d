package destination

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"malote.dev/malote/internal/hook"
)

// Classify returns the outcome that an HTTP status stands for. Only 2xx is success.
// 410 ends the destination. 413, 414, 415, 431, 501 and 505 complain of the request
// itself, which a repetition does not change. Everything else may pass later, 4xx
// included: receivers answer 401 while a secret is rotated, 404 during a deployment
// and 422 for a product that arrives a minute later.
func Classify(status int) hook.Outcome {
	switch {
	case status >= 200 && status < 300:
		return hook.OutcomeSuccess
	case status >= 300 && status < 400:
		return hook.OutcomeRedirect
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return hook.OutcomeThrottled
	case http.StatusGone:
		return hook.OutcomeGone
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusUnsupportedMediaType,
		http.StatusRequestHeaderFieldsTooLarge, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return hook.OutcomeRefused
	default:
		return hook.OutcomeRejected
	}
}

// ParseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds or
// an HTTP date. What is malformed or past is 0; nothing is longer than a year.
func ParseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	const most = 365 * 24 * time.Hour
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(most/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), most)
	}
	return 0
}

// detail says in words what an answer means.
func (s *Sender) detail(outcome hook.Outcome, answer *Answer, wait time.Duration) string {
	if outcome == hook.OutcomeSuccess {
		return ""
	}
	status := strconv.Itoa(answer.Status)
	if text := http.StatusText(answer.Status); text != "" {
		status += " " + text
	}
	var b strings.Builder
	switch outcome {
	case hook.OutcomeRedirect:
		fmt.Fprintf(&b, "%s answered %s and points to %s; redirects are not followed, so set the URL to where it leads",
			s.name, status, redirectHost(answer.Headers.Get("Location")))
		return b.String()
	case hook.OutcomeGone:
		fmt.Fprintf(&b, "%s answered %s: it wants no more deliveries", s.name, status)
	case hook.OutcomeRefused:
		fmt.Fprintf(&b, "%s answered %s, which a repetition does not change", s.name, status)
	default:
		fmt.Fprintf(&b, "%s answered %s", s.name, status)
	}
	if wait > 0 {
		fmt.Fprintf(&b, " and asked to wait %s", hook.Duration(wait.Round(time.Second)))
	}
	if gist := Gist(answer.Body); gist != "" {
		b.WriteString(": " + gist)
	}
	return b.String()
}

// redirectHost is the scheme and host of a Location; the rest may hold secrets.
func redirectHost(location string) string {
	parsed, err := url.Parse(location)
	switch {
	case err != nil || location == "":
		return "nowhere"
	case parsed.Host == "":
		return "another path of the same host"
	case parsed.Scheme == "":
		return parsed.Host
	}
	return parsed.Scheme + "://" + parsed.Host
}

// maxGist is how many characters of an answer's body a detail repeats.
const maxGist = 200

// Gist returns the beginning of a body on one line, of an HTML page its title; ""
// when it is no text.
func Gist(body []byte) string {
	text := strings.ToValidUTF8(string(body[:min(len(body), 8*maxGist)]), "\uFFFD")
	if title, ok := htmlTitle(text); ok {
		text = title
	}
	var b strings.Builder
	space := false
	count := 0
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			space = count > 0
			continue
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return strings.TrimSpace(b.String())
		}
		if count >= maxGist {
			return b.String() + "…"
		}
		if space {
			b.WriteByte(' ')
			count++
			space = false
		}
		b.WriteRune(r)
		count++
	}
	return b.String()
}

// htmlTitle returns the title of an HTML page, "" when it has none.
func htmlTitle(text string) (string, bool) {
	lower := strings.ToLower(strings.TrimSpace(text[:min(len(text), 256)]))
	if !strings.HasPrefix(lower, "<!doctype html") && !strings.HasPrefix(lower, "<html") {
		return "", false
	}
	_, after, ok := cutFold(text, "<title")
	if !ok {
		return "", true
	}
	_, after, _ = strings.Cut(after, ">")
	title, _, _ := cutFold(after, "</title")
	return title, true
}

// cutFold is strings.Cut for an ASCII separator in any case.
func cutFold(text, separator string) (before, after string, found bool) {
	for i := 0; i+len(separator) <= len(text); i++ {
		if strings.EqualFold(text[i:i+len(separator)], separator) {
			return text[:i], text[i+len(separator):], true
		}
	}
	return text, "", false
}
