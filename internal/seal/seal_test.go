package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
