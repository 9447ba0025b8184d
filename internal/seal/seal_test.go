package seal_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"malote.dev/malote/internal/seal"
)

func open(t *testing.T, path string) *seal.Keyring {
	t.Helper()
	k, err := seal.Open(path)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return k
}

func TestSealedTextOpensOnlyInItsContext(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), seal.FileName))
	rapid.Check(t, func(r *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(r, "plain")
		context := rapid.SliceOf(rapid.Byte()).Draw(r, "context")
		other := rapid.SliceOf(rapid.Byte()).Draw(r, "other")
		sealed := k.Seal(plain, context)
		if len(plain) > 3 && bytes.Contains(sealed, plain) {
			r.Fatal("the plain text is readable in the sealed one")
		}
		got, err := k.Unseal(sealed, context)
		if err != nil || !bytes.Equal(got, plain) {
			r.Fatalf("Unseal = %x, %v; want %x", got, err, plain)
		}
		if bytes.Equal(other, context) {
			return
		}
		if _, err := k.Unseal(sealed, other); !errors.Is(err, seal.ErrForged) {
			r.Fatalf("Unseal in another context: %v, want ErrForged", err)
		}
	})
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	k := open(t, filepath.Join(t.TempDir(), seal.FileName))
	sealed := k.Seal([]byte("whsec_abc"), []byte("source/1"))
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := k.Unseal(changed, []byte("source/1")); err == nil {
			t.Errorf("byte %d was changed and nobody noticed", i)
		}
	}
	for i := range sealed {
		if _, err := k.Unseal(sealed[:i], []byte("source/1")); err == nil {
			t.Errorf("cut to %d bytes and nobody noticed", i)
		}
	}
}

func TestRotationKeepsOldTextsReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), seal.FileName)
	k := open(t, path)
	before := k.Seal([]byte("old"), nil)
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	after := k.Seal([]byte("new"), nil)
	if bytes.Equal(before[:5], after[:5]) {
		t.Error("the new key has the id of the old one, or is not used")
	}
	again := open(t, path)
	for sealed, want := range map[string]string{string(before): "old", string(after): "new"} {
		got, err := again.Unseal([]byte(sealed), nil)
		if err != nil || string(got) != want {
			t.Errorf("Unseal after reopening = %q, %v; want %q", got, err, want)
		}
	}
	stranger := open(t, filepath.Join(t.TempDir(), seal.FileName))
	if _, err := stranger.Unseal(after, nil); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("another keyring says %v, want ErrUnknownKey", err)
	}
}

func TestKeyFileIsItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), seal.FileName)
	open(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %04o, want 0600", mode)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(path); !errors.Is(err, seal.ErrExposed) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("Open of an exposed file: %v; want ErrExposed and the way to mend it", err)
	}
}

func TestBadKeyFilesAreRefused(t *testing.T) {
	const good = "00112233 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for name, test := range map[string]struct{ text, want string }{
		"empty":         {"", "no key"},
		"comments only": {"# nothing\n\n", "no key"},
		"no space":      {"00112233", "line 1"},
		"short id":      {"0011 AAAA", "line 1"},
		"bad id":        {"zzzzzzzz AAAA", "not hexadecimal"},
		"short key":     {good + "\n00112234 AAAA", "line 2"},
		"no time":       {good + " yesterday", "not a time"},
		"four fields":   {good + " 2026-11-23T16:21:10Z more", "line 1"},
		"an id twice":   {good + "\n" + good, "twice"},
		"endless line":  {strings.Repeat("a", 70<<10), "at most"},
	} {
		path := filepath.Join(t.TempDir(), seal.FileName)
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.Open(path); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	k, err := seal.Open(filepath.Join(f.TempDir(), seal.FileName))
	if err != nil {
		f.Fatal(err)
	}
	sealed := k.Seal([]byte("secret"), []byte("context"))
	f.Add(sealed, []byte("context"))
	f.Add([]byte{}, []byte{})
	f.Add([]byte{1, 2, 3}, []byte("context"))
	f.Fuzz(func(t *testing.T, text, context []byte) {
		plain, err := k.Unseal(text, context)
		if err == nil && !bytes.Equal(text, sealed) && string(plain) != "secret" {
			t.Errorf("forged text %x opened as %x", text, plain)
		}
	})
}

func TestRetireKeepsTheNewestKeyAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), seal.FileName)
	k := open(t, path)
	old := k.Seal([]byte("old"), nil)
	if !k.Current(old) {
		t.Error("what the only key sealed counts as sealed with an older one")
	}
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	sealed := k.Seal([]byte("new"), nil)
	if k.Current(old) || !k.Current(sealed) || k.Current(nil) || k.Current(sealed[:4]) {
		t.Error("Current does not go by the newest key")
	}
	keys := k.Keys()
	if len(keys) != 2 || keys[0].Current || !keys[1].Current || keys[0].CreatedAt.IsZero() || keys[1].CreatedAt.Before(keys[0].CreatedAt) {
		t.Errorf("keys %+v", keys)
	}
	// A crash while the file was written left this, with the keys in it.
	left := path + ".new-1234"
	if err := os.WriteFile(left, []byte("keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // The second time there is nothing to do.
		if err := k.Retire(); err != nil {
			t.Fatal(err)
		}
		for what, ring := range map[string]*seal.Keyring{"the same keyring": k, "the file": open(t, path)} {
			if _, err := ring.Unseal(old, nil); !errors.Is(err, seal.ErrUnknownKey) {
				t.Errorf("%s: what a retired key sealed: %v, want ErrUnknownKey", what, err)
			}
			if got, err := ring.Unseal(sealed, nil); err != nil || string(got) != "new" {
				t.Errorf("%s: Unseal = %q, %v", what, got, err)
			}
			if diff := cmp.Diff(keys[1:], ring.Keys()); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
		if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the unfinished file is still there: %v", err)
		}
	}
}

func TestAKeyFileThatCannotBeWrittenChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k := open(t, filepath.Join(dir, seal.FileName))
	if err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	before := k.Keys()
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func() error{"Rotate": k.Rotate, "Retire": k.Retire} {
		if err := change(); err == nil {
			t.Errorf("%s worked in a folder that is not there", what)
		}
		if diff := cmp.Diff(before, k.Keys()); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

func TestReadCreatesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), seal.FileName)
	if _, err := seal.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read made a file: %v", err)
	}
	// A file whose keys say nothing of when they were made.
	if err := os.WriteFile(path, []byte("# old\n00112233 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := seal.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]seal.Key{{ID: "00112233", Current: true}}, k.Keys()); diff != "" {
		t.Error(diff)
	}
}
