package control

import (
	"errors"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

func TestIteratorsOfKeysAreReadAsTheyWereWritten(t *testing.T) {
	for _, key := range []string{"c-7", "a.b", "é\x00", strings.Repeat("k", hook.MaxOrderKey)} {
		text := iteratorOf(&hook.OrderedKey{Connection: 3, Key: key})
		if got, err := readIterator(9, text); err != nil || got != (store.Key{Project: 9, Connection: 3, Key: key}) {
			t.Errorf("%q: %+v, %v", key, got, err)
		}
	}
	if got, err := readIterator(9, ""); err != nil || got != (store.Key{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzIterator(f *testing.F) {
	f.Add("con_0000000000001.YQ")
	f.Add("con_0000000000001.")
	f.Add("con_0000000000000.YQ")
	f.Add(".YQ")
	f.Add("-")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := readIterator(9, text)
		switch {
		case err != nil && !errors.Is(err, page.ErrBad):
			t.Fatalf("%q: %v", text, err)
		case err == nil && text != "" && (key.Connection == 0 || key.Key == ""):
			t.Fatalf("%q: %+v", text, key)
		}
	})
}
