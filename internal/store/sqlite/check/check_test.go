package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/check"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

func look(t *testing.T, dir string) check.Report {
	t.Helper()
	report, err := check.Folder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestCheckOfAHealthyFolder(t *testing.T) {
	s, dir, _ := sqlitetest.Filled(t)
	report := look(t, dir)
	if !report.Healthy() || !report.InUse || report.Version == 0 || report.SizeBytes == 0 || report.Engine == "" {
		t.Errorf("beside a running server: %+v", report)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if report := look(t, dir); !report.Healthy() || report.InUse {
		t.Errorf("after it was closed: %+v", report)
	}
	if report := look(t, t.TempDir()); report.Version != 0 || len(report.Findings) == 0 {
		t.Errorf("of an empty folder: %+v", report)
	}
	if _, err := check.Folder(t.Context(), filepath.Join(dir, "nowhere")); err == nil {
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
		"circuit of nobody":  {statement("INSERT INTO circuit (destination, project, data) VALUES (5, 1, x'01')"), "circuits belong to no"},
		"example of nobody": {
			statement("INSERT INTO example (destination, outcome, at, delivery, number, status, text) VALUES (5, 'timeout', 0, 1, 1, 0, '')"),
			"examples of failures belong to no",
		},
		"replay of nobody": {
			statement("INSERT INTO replay (id, project, state, cursor, updated_at, spec) VALUES (5, 5, 'running', 0, 0, x'')"),
			"replays belong to no",
		},
		"replay that lost count": {
			statement("INSERT INTO replay (id, project, state, cursor, made, updated_at, spec) SELECT 5, id, 'running', 0, 1, 0, x'' FROM project"),
			"progress of 1 replays is wrong",
		},
		"two heads of a key": {
			statement("UPDATE delivery SET order_key = 'k', state = 1, next_at = 1; DELETE FROM backlog"),
			"more than one delivery has its turn",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir, _ := sqlitetest.Filled(t)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			test.harm(t, dir)
			report := look(t, dir)
			found := false
			for _, f := range report.Findings {
				found = found || strings.Contains(f.What+f.Mend, test.want)
				if strings.Contains(f.What, "\n") {
					t.Errorf("%q is more than a line", f.What)
				}
				if f.Mend == "" && f.Severity != check.Note {
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
		sqlitetest.Execute(t, dir, text)
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
