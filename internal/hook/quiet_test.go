package hook_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

func at(tb testing.TB, text string) time.Time {
	tb.Helper()
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	night := hook.Quiet{From: "22:00", To: "06:00"}
	berlin := hook.Quiet{From: "02:30", To: "03:30", Zone: "Europe/Berlin"}
	weekend := hook.Quiet{From: "00:00", To: "00:00", Days: []string{"sat", "sun"}, Zone: "America/Sao_Paulo"}
	for name, test := range map[string]struct {
		quiet hook.Quiet
		at    string
		end   string // "": it is not quiet
	}{
		"before the night":                      {night, "2026-11-23T21:59:59Z", ""},
		"at its beginning":                      {night, "2026-11-23T22:00:00Z", "2026-11-24T06:00:00Z"},
		"after midnight":                        {night, "2026-11-24T05:59:59Z", "2026-11-24T06:00:00Z"},
		"at its end":                            {night, "2026-11-24T06:00:00Z", ""},
		"by day":                                {hook.Quiet{From: "12:00", To: "13:30"}, "2026-11-23T13:00:00Z", "2026-11-23T13:30:00Z"},
		"in another zone":                       {hook.Quiet{From: "22:00", To: "06:00", Zone: "Asia/Tokyo"}, "2026-11-23T13:00:00Z", "2026-11-23T21:00:00Z"},
		"a night that begins on Friday":         {hook.Quiet{From: "22:00", To: "06:00", Days: []string{"fri"}}, "2026-11-28T05:00:00Z", "2026-11-28T06:00:00Z"},
		"and not on Saturday":                   {hook.Quiet{From: "22:00", To: "06:00", Days: []string{"fri"}}, "2026-11-28T23:00:00Z", ""},
		"a weekend is one":                      {weekend, "2026-11-28T12:00:00Z", "2026-11-30T03:00:00Z"},
		"before the weekend":                    {weekend, "2026-11-28T02:59:59Z", ""},
		"six days follow each other":            {hook.Quiet{From: "08:00", To: "08:00", Days: []string{"mon", "tue", "wed", "thu", "fri", "sat"}}, "2026-11-23T08:00:00Z", "2026-11-29T08:00:00Z"},
		"Saturday into Sunday, whole days":      {hook.Quiet{From: "08:00", To: "08:00", Days: []string{"sun", "sat"}}, "2026-11-28T08:00:00Z", "2026-11-30T08:00:00Z"},
		"the clock jumps over the beginning":    {berlin, "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"},
		"and it is not quiet before":            {berlin, "2026-03-29T00:59:59Z", ""},
		"the clock jumps over the end":          {hook.Quiet{From: "01:00", To: "02:30", Zone: "Europe/Berlin"}, "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"},
		"the clock jumps over all of it":        {hook.Quiet{From: "02:10", To: "02:50", Zone: "Europe/Berlin"}, "2026-03-29T01:00:00Z", ""},
		"the hour that comes twice, first":      {berlin, "2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z"},
		"the hour that comes twice, again":      {berlin, "2026-10-25T01:10:00Z", "2026-10-25T02:30:00Z"},
		"it ends in the second of two":          {hook.Quiet{From: "22:00", To: "02:30", Zone: "Europe/Berlin"}, "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z"},
		"midnight that is jumped over":          {hook.Quiet{From: "00:00", To: "06:00", Zone: "America/Sao_Paulo"}, "2018-11-04T03:00:00Z", "2018-11-04T08:00:00Z"},
		"a day that there was not":              {hook.Quiet{From: "22:00", To: "06:00", Zone: "Pacific/Apia"}, "2011-12-30T09:00:00Z", "2011-12-30T16:00:00Z"},
		"a zone that never changed has one end": {hook.Quiet{From: "22:00", To: "06:00", Zone: "Etc/GMT-5"}, "2026-11-23T17:00:00Z", "2026-11-24T01:00:00Z"},
		"what is wrong is never quiet":          {hook.Quiet{From: "22", To: "06:00"}, "2026-11-23T23:00:00Z", ""},
	} {
		end, quiet := test.quiet.Until(at(t, test.at))
		if quiet != (test.end != "") {
			t.Errorf("%s: quiet is %v until %s", name, quiet, end)
		} else if quiet && !end.Equal(at(t, test.end)) {
			t.Errorf("%s: until %s, want %s", name, end, test.end)
		}
	}
	var none *hook.Hours
	if _, quiet := none.Until(noon); quiet {
		t.Error("no hours are quiet")
	}
}

func TestQuietIsChecked(t *testing.T) {
	t.Parallel()
	for _, right := range []hook.Quiet{
		{From: "22:00", To: "06:00"},
		{From: "00:00", To: "23:59", Days: []string{"mon"}, Zone: "UTC"},
		{From: "00:00", To: "00:00", Days: []string{"mon", "tue", "wed", "thu", "fri", "sat"}},
		{From: "01:00", To: "02:00", Zone: "Europe/Berlin"},
	} {
		if err := right.Check(); err != nil {
			t.Errorf("%+v: %v", right, err)
		}
	}
	for name, test := range map[string]struct {
		quiet hook.Quiet
		want  string
	}{
		"no times":            {hook.Quiet{}, `from: a time of the day is needed: write one from 00:00 to 23:59; to: a time`},
		"a short time":        {hook.Quiet{From: "6:00", To: "08:00"}, `from: "6:00" is not a time of the day`},
		"a time that is late": {hook.Quiet{From: "06:00", To: "24:00"}, `to: "24:00" is not a time of the day`},
		"seconds":             {hook.Quiet{From: "06:00:00", To: "07:00"}, `from: "06:00:00" is not`},
		"a day":               {hook.Quiet{From: "06:00", To: "07:00", Days: []string{"mon", "Tue"}}, `days.1: "Tue" is not a day: write mon, tue`},
		"a day twice":         {hook.Quiet{From: "06:00", To: "07:00", Days: []string{"mon", "mon"}}, `days.1: mon is there twice`},
		"a zone":              {hook.Quiet{From: "06:00", To: "07:00", Zone: "Berlin"}, `zone: "Berlin" is not a time zone: write an IANA name`},
		"the machine's zone":  {hook.Quiet{From: "06:00", To: "07:00", Zone: "Local"}, `zone: "Local" is not a time zone`},
		"a path":              {hook.Quiet{From: "06:00", To: "07:00", Zone: "../etc/passwd"}, `is not a time zone`},
		"always":              {hook.Quiet{From: "06:00", To: "06:00"}, `so nothing is ever delivered`},
		"always, by days":     {hook.Quiet{From: "06:00", To: "06:00", Days: []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}}, `so nothing is ever delivered`},
	} {
		err := test.quiet.Check()
		if invalid := (*hook.Error)(nil); !errors.As(err, &invalid) || invalid.Kind != hook.KindInvalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The end of what is quiet comes later and is not quiet, and all before it is; where
// the clock is not changed, it is quiet just when it shows a time of the hours.
func TestQuietHoursAreWhole(t *testing.T) {
	t.Parallel()
	const minutes = 24 * 60
	clock := func(minute int) string {
		return time.Date(2000, 1, 1, 0, minute, 0, 0, time.UTC).Format("15:04")
	}
	zones := []string{"", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns"}
	rapid.Check(t, func(t *rapid.T) {
		from, to := rapid.IntRange(0, minutes-1).Draw(t, "from"), rapid.IntRange(0, minutes-1).Draw(t, "to")
		quiet := hook.Quiet{From: clock(from), To: clock(to), Zone: rapid.SampledFrom(zones).Draw(t, "zone")}
		quiet.Days = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}), 1, 6, rapid.ID).Draw(t, "days")
		hours, err := quiet.Hours()
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(1.2e9, 1.9e9).Draw(t, "now"), 0).UTC()
		end, is := hours.Until(now)
		if quiet.Zone == "" && is != quietInUTC(now, from, to, quiet.Days) {
			t.Fatalf("%s is quiet: %v", now, is)
		}
		if !is {
			return
		}
		if !end.After(now) || end.Sub(now) > 7*25*time.Hour {
			t.Fatalf("%s is quiet until %s", now, end)
		}
		if _, still := hours.Until(end); still {
			t.Fatalf("it is quiet until %s, and then, too", end)
		}
		for between := now; between.Before(end); between = between.Add(max(end.Sub(now)/50, time.Minute)) {
			if again, is := hours.Until(between); !is || !again.Equal(end) {
				t.Fatalf("from %s until %s, and at %s until %s", now, end, between, again)
			}
		}
	})
}

// quietInUTC says the same more simply, for a clock that is never changed.
func quietInUTC(now time.Time, from, to int, days []string) bool {
	on := func(day time.Time) bool {
		return strings.Contains(strings.Join(days, " "), strings.ToLower(day.Format("Mon")))
	}
	minute := now.Hour()*60 + now.Minute()
	today, yesterday := on(now), on(now.AddDate(0, 0, -1))
	if from < to {
		return today && from <= minute && minute < to
	}
	return today && minute >= from || yesterday && minute < to
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	spec := hook.ConnectionSpec{TTL: hook.Duration(time.Hour)}
	if reason, expired := spec.Expired(noon, noon.Add(time.Hour-1)); expired {
		t.Errorf("it expired early: %s", reason)
	}
	if reason, expired := spec.Expired(noon, noon.Add(time.Hour)); !expired || reason != "it expired: it was not delivered within 1h" {
		t.Errorf("%v, %q", expired, reason)
	}
	if _, expired := new(hook.ConnectionSpec).Expired(noon, noon.Add(1e6*time.Hour)); expired {
		t.Error("what has no time to live expired")
	}
}
