package hook_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
)

// FuzzParseID holds ids to their one text: what is read prints as it was written.
func FuzzParseID(f *testing.F) {
	for _, text := range []string{"evt_01h2xcejqtf2n", "evt_7zzzzzzzzzzzz", "evt_8000000000000", "evt_0000000000000", "src_01h2xcejqtf2n", "evt_", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := hook.ParseID[hook.EventID](text)
		if err != nil {
			if id != 0 {
				t.Errorf("%q is an error and the id %v", text, id)
			}
			return
		}
		if id <= 0 || id.String() != text {
			t.Errorf("%q is read as %d, which prints as %q", text, id, id)
		}
	})
}

// FuzzDuration reads what it writes, and nothing negative.
func FuzzDuration(f *testing.F) {
	for _, text := range []string{"5s", "1h30m", "30d", "0", "-1s", "1e9h", "106752d", "d", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := hook.ParseDuration(text)
		if err != nil {
			return
		}
		again, err := hook.ParseDuration(read.String())
		if read < 0 || err != nil || again != read {
			t.Errorf("%q is read as %s, which is read as %s, %v", text, read, again, err)
		}
	})
}

// FuzzRate reads what it writes.
func FuzzRate(f *testing.F) {
	for _, text := range []string{"50/s", "600/m", "1000/h", "1 / min", "0/s", "-1/s", "9223372036854775807/s", "/", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var read, again hook.Rate
		if read.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(read.String())); err != nil || again != read || read.PerSecond() < 0 {
			t.Errorf("%q is read as %q, which is read as %q, %v", text, read, again, err)
		}
	})
}

// FuzzSpecs reads specs of the catalogue, whose short forms have code of their own:
// whatever is read is written as something that is read again.
func FuzzSpecs(f *testing.F) {
	for _, text := range []string{
		`{"type":"order","dedupe":{"path":"id","window":"24h"},"verify":{"none":true}}`, `{"type":{"header":"x-type"}}`,
		`{"dedupe":{"off":true}}`, `{"type":5}`, `{"type":null}`, `{`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var read, again hook.SourceSpec
		if json.Unmarshal(text, &read) != nil {
			return
		}
		written, err := json.Marshal(read)
		if err != nil {
			t.Fatalf("%s cannot be written again: %v", text, err)
		}
		if err := json.Unmarshal(written, &again); err != nil {
			t.Errorf("%s is written as %s, which cannot be read: %v", text, written, err)
		}
	})
}

// FuzzQuiet holds whatever hours somebody writes to being wrong or having an end.
func FuzzQuiet(f *testing.F) {
	f.Add("22:00|06:00|Europe/Berlin|mon|fri", int64(1.7e9))
	f.Add("00:00|00:00|", int64(0))
	f.Add("24:00|x|../x|x", int64(-1))
	f.Fuzz(func(t *testing.T, text string, now int64) {
		parts := strings.Split(text+"||", "|")
		quiet := hook.Quiet{From: parts[0], To: parts[1], Zone: parts[2], Days: strings.FieldsFunc(strings.Join(parts[3:], "|"), func(r rune) bool { return r == '|' })}
		at := time.Unix(now%1e11, 0)
		end, is := quiet.Until(at)
		if is && !end.After(at) {
			t.Errorf("%+v: quiet at %s until %s", quiet, at, end)
		}
		if is && quiet.Check() != nil {
			t.Errorf("%+v is wrong, and quiet", quiet)
		}
	})
}
