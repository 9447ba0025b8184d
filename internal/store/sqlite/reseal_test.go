package sqlite_test

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/check"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

// look checks a folder.
func look(t *testing.T, dir string) check.Report {
	t.Helper()
	report, err := check.Folder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// namedKeys counts the sealed texts of a folder by the id of the key that they name.
func namedKeys(t *testing.T, dir string) map[string]int {
	t.Helper()
	rows, err := sqlitetest.Raw(t, dir).QueryContext(t.Context(), "SELECT value FROM meta WHERE key = 'canary' UNION ALL SELECT spec FROM project"+
		" UNION ALL SELECT spec FROM source UNION ALL SELECT spec FROM destination UNION ALL SELECT spec FROM connection UNION ALL SELECT spec FROM replay")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var text []byte
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		counts[hex.EncodeToString(text[1:5])]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}

func TestResealLeavesNothingToTheOldKey(t *testing.T) {
	s, dir, _ := sqlitetest.Filled(t)
	ctx := t.Context()
	before, err := s.Catalogue(ctx)
	if err != nil {
		t.Fatal(err)
	}
	replay := hook.Replay{Project: before.Projects[0].ID, ReplaySpec: hook.ReplaySpec{Edit: []byte(`{"token":"s3cret"}`)}}
	if err := s.CreateReplay(ctx, &replay); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Reseal(ctx); n != 0 || err != nil {
		t.Errorf("Reseal without a new key = %d, %v; want nothing to do", n, err)
	}
	if err := s.Keyring().Rotate(); err != nil {
		t.Fatal(err)
	}
	keys := s.Keyring().Keys()
	if report := look(t, dir); report.Healthy() || !strings.Contains(report.Findings[0].What, "old keys 1, texts sealed with them 7") {
		t.Errorf("in the middle of a rotation: %+v", report.Findings)
	}
	if n, err := s.Reseal(ctx); n != 6 || err != nil {
		t.Errorf("Reseal = %d, %v; want 6: a project, two sources, a destination, a connection and a replay", n, err)
	}
	if diff := cmp.Diff(map[string]int{keys[1].ID: 7}, namedKeys(t, dir)); diff != "" {
		t.Errorf("sealed texts by key: %s", diff)
	}
	if err := s.Keyring().Retire(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if report := look(t, dir); !report.Healthy() {
		t.Errorf("after a rotation: %+v", report.Findings)
	}
	after, err := sqlitetest.OpenWith(t, sqlite.Options{Dir: dir}).Catalogue(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before.Revision = after.Revision
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the catalogue changed: %s", diff)
	}
	if after.Sources[1].Secret != "top-s3cret" {
		t.Errorf("the secret is %q", after.Sources[1].Secret)
	}
}

// A text that the keys do not open stops it all: its key may be found again.
func TestResealIsDoneWholeOrNotAtAll(t *testing.T) {
	for name, test := range map[string]struct {
		harm string
		want error
	}{
		"a wrong key":    {"UPDATE connection SET spec = x'01ffffffff' || substr(spec, 6)", seal.ErrUnknownKey},
		"a changed text": {"UPDATE connection SET spec = (SELECT spec FROM source)", seal.ErrForged},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir, connection := sqlitetest.Filled(t)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			sqlitetest.Execute(t, dir, test.harm)
			before := namedKeys(t, dir)
			s = sqlitetest.OpenWith(t, sqlite.Options{Dir: dir})
			if err := s.Keyring().Rotate(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Reseal(t.Context()); !errors.Is(err, test.want) || !strings.Contains(err.Error(), connection.Name) {
				t.Errorf("error %v, want %v that names the connection", err, test.want)
			}
			if diff := cmp.Diff(before, namedKeys(t, dir)); diff != "" {
				t.Errorf("some of it was sealed anew: %s", diff)
			}
			sources, err := s.Catalogue(t.Context())
			if err == nil {
				t.Errorf("the harm did no harm: %+v", sources)
			}
			source, err := s.Sources().Get(t.Context(), connection.Project, "shop")
			if err != nil || source.Secret != "top-s3cret" {
				t.Errorf("the source reads as %+v, %v", source, err)
			}
		})
	}
}

// The key of another folder is refused before anything is sealed with it.
func TestAWrongKeyringSealsNothing(t *testing.T) {
	s, dir, _ := sqlitetest.Filled(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := namedKeys(t, dir)
	other, err := seal.Open(filepath.Join(t.TempDir(), seal.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Keyring: other}); hook.KindOf(err) != hook.KindInvalid || !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("error %v, want one of the unknown key", err)
	}
	if diff := cmp.Diff(before, namedKeys(t, dir)); diff != "" {
		t.Error(diff)
	}
}
