package dedupe

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"malote.dev/malote/internal/hook"
)

// numbered returns a hash like those of real ids.
func numbered(n uint64) (hash hook.DedupeHash) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	copy(hash[:], sum[:])
	return hash
}

func TestFilterIsNeverWrongAboutNoAndSeldomAboutPerhaps(t *testing.T) {
	const known, asked = 50_000, 200_000
	hashes := make([]hook.DedupeHash, known)
	for i := range hashes {
		hashes[i] = numbered(uint64(i))
	}
	filter := newFilter(hashes)
	for i := range hashes {
		if place := newPlace(&hashes[i]); !place.in(filter) {
			t.Fatalf("the filter denies hash %d, which it was made of", i)
		}
	}
	wrong := 0
	for i := range asked {
		hash := numbered(uint64(known + i))
		if place := newPlace(&hash); place.in(filter) {
			wrong++
		}
	}
	if share := float64(wrong) / asked; share > 1.0/1000 {
		t.Errorf("%d of %d unknown hashes, %.4f %%, are said to be there perhaps", wrong, asked, 100*share)
	}
}
