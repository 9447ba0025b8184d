package dedupe

import (
	"encoding/binary"

	"malote.dev/malote/internal/hook"
)

// A filter is a Bloom filter in blocks: each hash sets its bits within one block of the
// size of a cache line, so that asking costs one access to memory. With 20 bits for each
// hash about one question in two thousand is answered wrongly, with "perhaps": a window
// of ten million hashes is some eighty runs, of which nearly always none is read.
const (
	blockSize    = 64 // bytes
	bitsPerHash  = 20
	bitsPerBlock = 8 * blockSize
	bitsSet      = 7
)

// place is where a hash lies in filters of any size.
type place struct {
	block uint64
	bits  [bitsSet]uint16
}

// newPlace takes a hash's place from its bytes, which are as good as random. They are
// mixed once more, because hashes made by hand are not.
func newPlace(hash *hook.DedupeHash) place {
	p := place{block: mix(binary.BigEndian.Uint64(hash[:]))}
	rest := mix(binary.BigEndian.Uint64(hash[8:]) ^ p.block)
	for i := range p.bits {
		p.bits[i] = uint16(rest % bitsPerBlock)
		rest /= bitsPerBlock
	}
	return p
}

// mix spreads the bits of v over all of it: the finalizer of SplitMix64.
func mix(v uint64) uint64 {
	v ^= v >> 30
	v *= 0xbf58476d1ce4e5b9
	v ^= v >> 27
	v *= 0x94d049bb133111eb
	return v ^ v>>31
}

// in reports whether the filter may have the hash; when not, it certainly has not.
func (p *place) in(filter []byte) bool {
	block := filter[p.block%uint64(len(filter)/blockSize)*blockSize:][:blockSize]
	for _, bit := range p.bits {
		if block[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// newFilter returns the filter of the hashes.
func newFilter(hashes []hook.DedupeHash) []byte {
	blocks := max(1, (len(hashes)*bitsPerHash+bitsPerBlock-1)/bitsPerBlock)
	filter := make([]byte, blocks*blockSize)
	for i := range hashes {
		p := newPlace(&hashes[i])
		block := filter[p.block%uint64(blocks)*blockSize:][:blockSize]
		for _, bit := range p.bits {
			block[bit/8] |= 1 << (bit % 8)
		}
	}
	return filter
}
