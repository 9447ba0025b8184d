package app

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite"
)

// stored opens the store of a folder, closed when the test ends or earlier.
func stored(t *testing.T, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// sealedFolder returns a data folder with a source that has this secret.
func sealedFolder(t *testing.T, secret hook.Secret) string {
	t.Helper()
	dir := t.TempDir()
	s := stored(t, dir)
	project, err := s.Projects().Get(t.Context(), 0, sqlite.DefaultProject)
	if err != nil {
		t.Fatal(err)
	}
	source := hook.Source{Project: project.ID, Name: "shop", SourceSpec: hook.SourceSpec{Secret: secret}}
	if err := errors.Join(s.Sources().Create(t.Context(), &source), s.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// secretOf reads the source's secret as a server would.
func secretOf(t *testing.T, dir string) hook.Secret {
	t.Helper()
	s := stored(t, dir)
	all, err := s.Catalogue(t.Context())
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatalf("read the catalogue: %v", err)
	}
	for i := range all.Sources {
		if all.Sources[i].Name == "shop" {
			return all.Sources[i].Secret
		}
	}
	t.Fatal("the source is gone")
	return ""
}

// keysOf returns the ids of the keys in a folder.
func keysOf(t *testing.T, dir string) []string {
	t.Helper()
	keys, err := Keys(config.Settings{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, 0, len(keys))
	for _, key := range keys {
		ids = append(ids, key.ID)
	}
	return ids
}

// crashed returns what another process would find if this one died now: a copy of the
// files as they are, the database's log included.
func crashed(t *testing.T, dir string) string {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(left)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if err := os.Chmod(filepath.Join(left, entry.Name()), 0o600); err != nil { // as it was
			t.Fatal(err)
		}
	}
	return left
}

func TestRotateKeyReplacesTheKey(t *testing.T) {
	dir := sealedFolder(t, "top-s3cret")
	old := keysOf(t, dir)
	done, err := RotateKey(t.Context(), config.Settings{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Retired) != 1 || done.Retired[0].ID != old[0] || done.Key.ID == old[0] || !done.Key.Current || done.Resealed != 3 {
		t.Errorf("done %+v; want the key %s retired, a project and its two sources sealed anew", done, old[0])
	}
	if diff := cmp.Diff([]string{done.Key.ID}, keysOf(t, dir)); diff != "" {
		t.Errorf("keys: %s", diff)
	}
	if got := secretOf(t, dir); got != "top-s3cret" {
		t.Errorf("the secret is %q", got)
	}
}

// Wherever a rotation is cut off, a server starts and reads every secret, and the next
// rotation ends with one key.
func TestARotationThatCrashesLosesNothing(t *testing.T) {
	steps := len((&rotation{}).steps())
	for cut := range steps + 1 {
		t.Run(fmt.Sprintf("after step %d", cut), func(t *testing.T) {
			dir := sealedFolder(t, "top-s3cret")
			old := keysOf(t, dir)
			s := stored(t, dir)
			r := &rotation{store: s, keyring: s.Keyring()}
			for _, step := range r.steps()[:cut] {
				if err := step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			left := crashed(t, dir)
			// Every file that is being replaced may have been left beside it, too.
			unfinished := filepath.Join(left, seal.FileName+".new-77")
			if err := os.WriteFile(unfinished, []byte("0011"), 0o600); err != nil {
				t.Fatal(err)
			}
			if keys := keysOf(t, left); cut > 0 && cut < steps && (len(keys) != 2 || keys[0] != old[0]) {
				t.Errorf("keys %v, want the old one %v and a new one", keys, old)
			}
			again := crashed(t, left)
			if got := secretOf(t, left); got != "top-s3cret" {
				t.Errorf("the secret is %q", got)
			}
			for _, folder := range []string{left, again} { // after a server ran, and at once
				done, err := RotateKey(t.Context(), config.Settings{Data: folder})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{done.Key.ID}, keysOf(t, folder)); diff != "" {
					t.Errorf("keys after the next rotation: %s", diff)
				}
				if got := secretOf(t, folder); got != "top-s3cret" {
					t.Errorf("the secret is %q after the next rotation", got)
				}
				if names, err := filepath.Glob(filepath.Join(folder, seal.FileName+"*")); err != nil || len(names) != 1 {
					t.Errorf("key files %v, %v; want one", names, err)
				}
			}
		})
	}
}

func TestRotateKeyRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		harm func(t *testing.T, dir string)
		want string
		is   error
	}{
		"a folder in use": {func(t *testing.T, dir string) {
			t.Helper()
			stored(t, dir)
		}, "stop the other one", store.ErrLocked},
		"no database": {func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, sqlite.DatabaseFile)); err != nil {
				t.Fatal(err)
			}
		}, "restore it first", nil},
		"a wrong key": {func(t *testing.T, dir string) {
			t.Helper()
			path := filepath.Join(dir, seal.FileName)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if _, err := seal.Open(path); err != nil {
				t.Fatal(err)
			}
		}, "restore secret.key", seal.ErrUnknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sealedFolder(t, "top-s3cret")
			test.harm(t, dir)
			path := filepath.Join(dir, seal.FileName)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = RotateKey(t.Context(), config.Settings{Data: dir})
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(after, before) {
				t.Errorf("the key file changed (%v)", err)
			}
		})
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	if _, err := RotateKey(t.Context(), config.Settings{Data: nowhere}); hook.KindOf(err) != hook.KindNotFound || !strings.Contains(err.Error(), "--data") {
		t.Errorf("without a folder: %v", err)
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("a folder was made")
	}
}
