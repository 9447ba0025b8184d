package sqlite_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// A database of before there were system sources gets them, and what a person called by
// that name stays theirs.
func TestAnOlderDatabaseGetsItsSystemSource(t *testing.T) {
	for name, test := range map[string]struct {
		theirs []string
		want   string
	}{
		"nobody has the name":        {nil, hook.SystemSource},
		"somebody has the name":      {[]string{hook.SystemSource}, hook.SystemSource + "-system"},
		"somebody has the next, too": {[]string{hook.SystemSource, hook.SystemSource + "-system"}, hook.SystemSource + "-system-2"},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir, connection := sqlitetest.Filled(t)
			for i := range test.theirs {
				source := hook.Source{Project: connection.Project, Name: "theirs-" + string(rune('0'+i))}
				if err := s.Sources().Create(t.Context(), &source); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			sqlitetest.Execute(t, dir, "DELETE FROM source WHERE name = 'malote'")
			for i, taken := range test.theirs {
				sqlitetest.Execute(t, dir, "UPDATE source SET name = '"+taken+"' WHERE name = 'theirs-"+string(rune('0'+i))+"'")
			}
			var log bytes.Buffer
			s = sqlitetest.OpenWith(t, sqlite.Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			list, err := s.Sources().List(t.Context(), connection.Project, page.Request{})
			if err != nil {
				t.Fatal(err)
			}
			var system []string
			for _, source := range list.Items {
				if source.System {
					system = append(system, source.Name)
				}
			}
			if strings.Join(system, " ") != test.want || len(list.Items) != 2+len(test.theirs) {
				t.Errorf("the system sources are %v of %d, want %s", system, len(list.Items), test.want)
			}
			if said := strings.Contains(log.String(), test.want); said != (len(test.theirs) > 0) {
				t.Errorf("the log says %q", log.String())
			}
		})
	}
}
