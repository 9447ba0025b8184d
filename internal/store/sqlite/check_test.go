package sqlite_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// filled returns an open store, and its folder, with one event in each situation.
func filled(t *testing.T) (*sqlite.Store, string, hook.Connection) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
	ctx := t.Context()
	if _, err := s.Reclaim(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	project, err := s.Projects().Get(ctx, 0, sqlite.DefaultProject)
	if err != nil {
		t.Fatal(err)
	}
	source := hook.Source{Project: project.ID, Name: "shop", SourceSpec: hook.SourceSpec{Secret: "top-s3cret"}}
	destination := hook.Destination{Project: project.ID, Name: "erp"}
	if err := s.Sources().Create(ctx, &source); err != nil {
		t.Fatal(err)
	}
	if err := s.Destinations().Create(ctx, &destination); err != nil {
		t.Fatal(err)
	}
	connection := hook.Connection{Project: project.ID, Name: "orders", Source: source.ID, Destination: destination.ID}
	if err := s.Connections().Create(ctx, &connection); err != nil {
		t.Fatal(err)
	}
	for _, target := range []hook.Target{{}, {Deferred: true}, {Held: true}} {
		target.Connection, target.Destination = connection.ID, destination.ID
		a := &hook.Acceptance{Event: hook.Event{Project: project.ID, Source: source.ID, Payload: []byte("{}"), Targets: []hook.Target{target}}}
		if _, err := s.Accept(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	return s, dir, connection
}

func check(t *testing.T, dir string) sqlite.Report {
	t.Helper()
	report, err := sqlite.Check(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestCheckOfAHealthyFolder(t *testing.T) {
	s, dir, _ := filled(t)
	report := check(t, dir)
	if !report.Healthy() || !report.InUse || report.Version == 0 || report.SizeBytes == 0 || report.Engine == "" {
		t.Errorf("beside a running server: %+v", report)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if report := check(t, dir); !report.Healthy() || report.InUse {
		t.Errorf("after it was closed: %+v", report)
	}
	if report := check(t, t.TempDir()); report.Version != 0 || len(report.Findings) == 0 {
		t.Errorf("of an empty folder: %+v", report)
	}
	if _, err := sqlite.Check(t.Context(), filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a folder that is not there passed")
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	database, key := sqlite.DatabaseFile, seal.FileName
	for name, test := range map[string]struct {
		harm harm
		want string
	}{
		"open folder":        {mode("", 0o755), "chmod 700"},
		"open database":      {mode(database, 0o644), "chmod 600"},
		"open key":           {mode(key, 0o640), "chmod 600"},
		"missing key":        {removed(key), "is missing"},
		"foreign key":        {foreignKey, "does not belong"},
		"newer database":     {statement("PRAGMA user_version = 99"), "run the newer malote"},
		"lost event":         {statement("DELETE FROM event"), "belong to no event"},
		"lost delivery":      {statement("DELETE FROM delivery"), "counts of waiting"},
		"lost lane":          {statement("DELETE FROM log_connection"), "in no list"},
		"mark too high":      {statement("UPDATE meta SET value = 1 << 62 WHERE key = 'mark'"), "never be attempted"},
		"lost source":        {statement("DELETE FROM source"), "from or to nobody"},
		"scribbled database": {scribble, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir, _ := filled(t)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			test.harm(t, dir)
			report := check(t, dir)
			found := false
			for _, f := range report.Findings {
				found = found || strings.Contains(f.What+f.Mend, test.want)
				if strings.Contains(f.What, "\n") {
					t.Errorf("%q is more than a line", f.What)
				}
				if f.Mend == "" && f.Severity != sqlite.Note {
					t.Errorf("%q does not say how to mend it", f.What)
				}
			}
			if !found || report.Healthy() {
				t.Errorf("findings %+v, want one with %q", report.Findings, test.want)
			}
		})
	}
}

// harm damages a data folder.
type harm func(t *testing.T, dir string)

func mode(name string, mode os.FileMode) harm {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func removed(name string) harm {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func statement(text string) harm {
	return func(t *testing.T, dir string) {
		t.Helper()
		execute(t, dir, text)
	}
}

func foreignKey(t *testing.T, dir string) {
	t.Helper()
	removed(seal.FileName)(t, dir)
	if _, err := seal.Open(filepath.Join(dir, seal.FileName)); err != nil {
		t.Fatal(err)
	}
}

// scribble overwrites the middle of the database with something else.
func scribble(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, sqlite.DatabaseFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(data) / 3; i < len(data)*2/3; i++ {
		data[i] = 0xa5
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
