package hook

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Quiet is the hours in which nothing is delivered: what is due meanwhile waits until
// they are over. The times are those of a clock on the wall of Zone, changes of summer
// time included.
type Quiet struct {
	From string   `json:"from"`           // "22:00"
	To   string   `json:"to"`             // "06:00"; before From: of the next day; the same: the whole day
	Days []string `json:"days,omitempty"` // on which they begin: mon, tue, wed, thu, fri, sat, sun; none: every day
	Zone string   `json:"zone,omitempty"` // IANA name, such as America/Sao_Paulo; default UTC
}

// Check reports what is wrong with the hours: an Error of KindInvalid whose problems
// name the fields.
func (q *Quiet) Check() error {
	_, err := q.Hours()
	return err
}

// Until reports whether t is quiet, and when that ends: hours that follow each other
// are one. Hours that Check does not pass are never quiet. Whoever asks often asks
// Hours, which finds the zone once.
func (q *Quiet) Until(t time.Time) (end time.Time, quiet bool) {
	hours, err := q.Hours()
	if err != nil {
		return time.Time{}, false
	}
	return hours.Until(t)
}

// Hours are quiet hours, ready to be asked. They are immutable; nil is never quiet.
type Hours struct {
	from, to int // minutes of the day
	days     [7]bool
	zone     *time.Location
}

const week = 7

var dayNames = [week]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} //nolint:gochecknoglobals // a constant table

// Hours makes the hours ready. The error is that of Check.
func (q *Quiet) Hours() (*Hours, error) {
	hours := &Hours{}
	var problems []Problem
	fail := func(path string, err error) {
		if err != nil {
			problems = append(problems, Problem{Path: path, Message: err.Error()})
		}
	}
	var err error
	hours.from, err = minuteOfDay(q.From)
	fail("from", err)
	hours.to, err = minuteOfDay(q.To)
	fail("to", err)
	begins := 0
	for i, name := range q.Days {
		day, ok := parseDay(name)
		if !ok {
			fail(fmt.Sprintf("days.%d", i), fmt.Errorf("%q is not a day: write mon, tue, wed, thu, fri, sat or sun", name))
			continue
		}
		if hours.days[day] {
			fail(fmt.Sprintf("days.%d", i), fmt.Errorf("%s is there twice: remove one", name))
		}
		hours.days[day] = true
		begins++
	}
	if len(q.Days) == 0 {
		hours.days, begins = [week]bool{true, true, true, true, true, true, true}, week
	}
	hours.zone, err = findZone(q.Zone)
	fail("zone", err)
	if len(problems) == 0 && hours.from == hours.to && begins == week {
		fail("", fmt.Errorf("the hours from %s to %s are all of every day, so nothing is ever delivered: leave out some days, or pause it", q.From, q.To))
	}
	if len(problems) > 0 {
		return nil, Invalid("the quiet hours are not right", problems)
	}
	return hours, nil
}

// minuteOfDay reads a time of the form 22:00.
func minuteOfDay(text string) (int, error) {
	const layout = "15:04"
	if text == "" {
		return 0, errors.New("a time of the day is needed: write one from 00:00 to 23:59")
	}
	clock, err := time.Parse(layout, text)
	if err != nil || len(text) != len(layout) {
		return 0, fmt.Errorf("%q is not a time of the day: write one from 00:00 to 23:59", text)
	}
	return clock.Hour()*60 + clock.Minute(), nil
}

func parseDay(name string) (time.Weekday, bool) {
	for day, known := range dayNames {
		if name == known {
			return time.Weekday(day), true
		}
	}
	return 0, false
}

func findZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(name)
	// The zone of the machine is none that means the same everywhere.
	if err != nil || strings.EqualFold(name, "local") {
		return nil, fmt.Errorf("%q is not a time zone: write an IANA name, such as America/Sao_Paulo or Europe/Berlin", name)
	}
	return zone, nil
}

// Until is Quiet.Until.
func (h *Hours) Until(t time.Time) (end time.Time, quiet bool) {
	if h == nil {
		return time.Time{}, false
	}
	if end, quiet = h.window(t); !quiet {
		return time.Time{}, false
	}
	for range week { // no more than six days follow each other without a gap
		next, more := h.window(end)
		if !more {
			break
		}
		end = next
	}
	return end.UTC(), true
}

// window returns the end of the window that t lies in. Windows last a day at the most,
// so it began today or yesterday.
func (h *Hours) window(t time.Time) (end time.Time, inside bool) {
	year, month, today := t.In(h.zone).Date()
	for _, date := range [...]int{today - 1, today} {
		wall := time.Date(year, month, date, 0, 0, 0, 0, time.UTC)
		if !h.days[wall.Weekday()] {
			continue
		}
		until := h.to
		if h.to <= h.from {
			until += int(day / time.Minute)
		}
		begins, _ := h.showing(wall.Add(time.Duration(h.from) * time.Minute))
		_, ends := h.showing(wall.Add(time.Duration(until) * time.Minute))
		if !t.Before(begins) && t.Before(ends) {
			end, inside = ends, true
		}
	}
	return end, inside
}

// showing returns the first and the last moment at which a clock on the wall shows a
// time, which is given as if it were UTC. Where the clock jumps over it, both are the
// moment of the jump.
func (h *Hours) showing(wall time.Time) (first, last time.Time) {
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, h.zone)
	begins, ends := at.ZoneBounds() // within which the zone's distance from UTC is what it is then
	switch shown := at.UTC().Add(h.offset(at)); {
	case shown.After(wall):
		return begins, begins
	case shown.Before(wall):
		return ends, ends
	}
	first, last = at, at
	if !begins.IsZero() {
		if before := wall.Add(-h.offset(begins.Add(-1))); before.Before(begins) {
			first = before
		}
	}
	if !ends.IsZero() {
		if after := wall.Add(-h.offset(ends)); !after.Before(ends) {
			last = after
		}
	}
	return first, last
}

// offset returns how far the zone's clock is ahead of UTC at t.
func (h *Hours) offset(t time.Time) time.Duration {
	_, seconds := t.In(h.zone).Zone()
	return time.Duration(seconds) * time.Second
}
