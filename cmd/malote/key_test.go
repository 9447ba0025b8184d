package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store/sqlite"
	"malote.dev/malote/internal/store/sqlite/sqlitetest"
)

func TestKey(t *testing.T) {
	folder := t.TempDir()
	s := sqlitetest.OpenWith(t, sqlite.Options{Dir: folder})
	x := &terminal{t: t}
	path := filepath.Join(folder, seal.FileName)
	first := s.Keyring().Keys()[0].ID

	got := x.run("key", "rotate", "--data", folder)
	if want := "malote: another malote process uses this data folder: stop the other one, or choose another folder than " + folder + " with --data\n"; got.code != exitFailed || got.err != want {
		t.Errorf("beside a server: %+v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got = x.run("key", "rotate", "--data", folder)
	second := keyID(t, x, folder)
	want := fmt.Sprintf("Sealed 2 specs with the new key %s and removed %s.\nBack the key file up again; earlier backups need the old one.\n", second, first)
	if got.code != 0 || got.out != want || first == second {
		t.Errorf("got %+v, want %s", got, want)
	}
	var done app.Rotation
	got = x.run("key", "rotate", "--data", folder, "--json")
	if err := json.Unmarshal([]byte(got.out), &done); err != nil || len(done.Retired) != 1 || done.Retired[0].ID != second || done.Resealed != 2 {
		t.Errorf("got %+v, %v", got, err)
	}

	// No key is shown, only ids and times.
	text := "112233aa AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n112233bb AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= " +
		now.AddDate(0, 0, -3).Format("2006-01-02T15:04:05Z07:00") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got = x.run("key", "list", "--data", folder)
	if want := "ID        CREATED  USE\n112233aa  -        opens what it sealed\n112233bb  3d ago   seals\n"; got.code != 0 || got.out != want {
		t.Errorf("got %+v, want %s", got, want)
	}
	got = x.run("key", "list", "--data", folder, "--json")
	if want := `{"id":"112233aa","current":false}` + "\n" + `{"id":"112233bb","createdAt":"2026-03-01T05:06:07Z","current":true}` + "\n"; got.out != want {
		t.Errorf("got %+v, want %s", got, want)
	}
	// These keys are another database's.
	got = x.run("key", "rotate", "--data", folder)
	if kept, err := os.ReadFile(path); got.code != exitFailed || !strings.Contains(got.err, "the key file does not belong to this database") || string(kept) != text {
		t.Errorf("with foreign keys: %+v; the file is now %q, %v", got, kept, err)
	}
	for _, command := range []string{"list", "rotate"} {
		if got := x.run("key", command, "--data", filepath.Join(folder, "none")); got.code != exitFailed || !strings.Contains(got.err, "there is no key file "+folder) {
			t.Errorf("%s in no folder: %+v", command, got)
		}
	}
}

// keyID returns the id of the only key of a folder.
func keyID(t *testing.T, x *terminal, folder string) string {
	t.Helper()
	var key seal.Key
	got := x.run("key", "list", "--data", folder, "--json")
	if err := json.Unmarshal([]byte(got.out), &key); err != nil || !key.Current { // two lines are no JSON value
		t.Fatalf("got %+v, %v", got, err)
	}
	return key.ID
}
