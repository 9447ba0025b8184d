package shell

import (
	"testing"
	"time"

	"malote.dev/malote/internal/config"
)

func TestLocal(t *testing.T) {
	for want, settings := range map[string]config.Settings{
		"http://127.0.0.1:9000": {Listen: ":9000"},
		"http://127.0.0.1:9001": {Listen: "0.0.0.0:9001"},
		"https://[fd00::1]:443": {Listen: "[fd00::1]:443", TLSCert: "c.pem"},
		"http://localhost:80":   {Listen: "localhost:80"},
		"http://127.0.0.1:9002": {Listen: "[::]:9002"},
	} {
		if got := local(&settings); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestRough(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	s := &Shell{Now: func() time.Time { return now }}
	for span, want := range map[time.Duration]string{
		0: "now", 999 * time.Millisecond: "now", time.Second: "1s ago", 59 * time.Minute: "59m ago", 47 * time.Hour: "47h ago", 49 * time.Hour: "2d ago", -90 * time.Second: "in 1m",
	} {
		if got := s.Ago(now.Add(-span)).Text; got != want {
			t.Errorf("%v: %s, want %s", span, got, want)
		}
	}
	for bytes, want := range map[int]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 20: "5.0 MiB"} {
		if got := Size(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
	for n, want := range map[int]string{1: "1 delivery", 2: "2 deliveries"} {
		if got := Plural(n, "delivery"); got != want {
			t.Errorf("got %s", got)
		}
	}
}
