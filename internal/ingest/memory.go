package ingest

import (
	"errors"
	"io"
	"sync/atomic"
)

// errBusy means that there is no memory for one more body now.
var errBusy = errors.New("too many bodies are in flight")

// The memory for bodies of all requests together, unless Options say otherwise. Without
// a bound, strangers with many connections could have as much as they like: bodies are
// read before it is known who sends them.
const (
	minMemory    = 128 << 20 // bytes …
	memoryBodies = 4         // … or this many bodies of the greatest size, if that is more
)

// memory is what bodies may take that are being read or worked on. Bytes count when they
// come, not when they are announced, so that an announcement costs nobody anything. A
// quarter is for small bodies alone: great ones cannot keep them out.
type memory struct {
	limit int64
	used  atomic.Int64
}

func newMemory(limit, maxBody int64) *memory {
	if limit <= 0 {
		limit = max(minMemory, memoryBodies*maxBody)
	}
	return &memory{limit: limit}
}

// take reports whether there is room for n more bytes, and takes it if so.
func (m *memory) take(n int64, small bool) bool {
	limit := m.limit
	if !small {
		limit -= limit / 4
	}
	if m.used.Add(n) > limit {
		m.used.Add(-n)
		return false
	}
	return true
}

// give gives room back.
func (m *memory) give(n int64) { m.used.Add(-n) }

// charged reads a body and takes memory for what comes.
type charged struct {
	from  io.Reader
	room  *memory
	taken int64
}

// Read implements io.Reader.
func (c *charged) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	if !c.room.take(int64(n), false) {
		return 0, errBusy
	}
	c.taken += int64(n)
	return n, err
}
