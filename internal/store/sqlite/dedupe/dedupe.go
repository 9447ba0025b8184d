// Package dedupe remembers hashes for a window of time, so that a store can tell an
// event that comes again from a new one, for next to nothing and however many there
// are.
//
// An index with a row for each hash would be written at a random place for each event:
// with a million hashes that is a page of its own, eight times the event itself. So
// nothing is written at random here. What was added last is in memory, and on disk as
// one row for each commit. When enough of it has gathered, it becomes a run: sorted,
// cut into chunks, and written once, in one piece. For each run a filter in memory says
// which hashes it certainly does not have, so that a new hash, the usual case, is known
// as new without a look at the disk. A run is dropped as a whole when its window is
// over.
//
// Each length of window has a shelf of its own, since what is remembered for a month
// must not keep what is remembered for a minute.
package dedupe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"malote.dev/malote/internal/hook"
)

const (
	// freshLimit is how many hashes a shelf gathers before they become a run. Each run
	// costs every later question a look at its filter; each hash that is fresh costs
	// some 60 bytes of memory.
	freshLimit = 128 << 10
	// entrySize is a hash, an event's id and the time it was seen.
	entrySize = len(hook.DedupeHash{}) + 8 + 8
	// chunkEntries fill a page of 8 KiB with the row around them.
	chunkEntries = 250
	// chunkBits of a chunk's id are its place in its run.
	chunkBits = 16
)

// ErrDamaged is wrapped by the errors of what cannot be read.
var ErrDamaged = errors.New("the memory of duplicates is damaged")

// Storage holds what an Index writes. All of it happens in the transaction of a batch.
type Storage interface {
	// SaveFresh stores the hashes of one commit, DropFresh removes them.
	SaveFresh(ctx context.Context, fresh Fresh) error
	DropFresh(ctx context.Context, id int64) error
	// SaveRun and SaveChunk store a run and its parts, DropRun removes both: chunks from
	// the first id to the last.
	SaveRun(ctx context.Context, run *Run) error
	SaveChunk(ctx context.Context, id int64, entries []byte) error
	DropRun(ctx context.Context, run *Run) error
	// Chunk reads a chunk; what it returns is used only until the next call.
	Chunk(ctx context.Context, id int64) ([]byte, error)
}

// Fresh is what one commit added to a shelf.
type Fresh struct {
	ID      int64
	Window  time.Duration
	Entries []byte
}

// Run is a sorted set of hashes.
type Run struct {
	ID      int64
	Window  time.Duration
	Expires int64  // Unix milliseconds
	Count   int64  // hashes
	Filter  []byte // see filter
	Firsts  []byte // the first hash of each chunk
}

// Chunks returns the ids of the run's first and last chunk.
func (r *Run) Chunks() (first, last int64) {
	return r.ID << chunkBits, r.ID<<chunkBits + int64(len(r.Firsts)/len(hook.DedupeHash{})) - 1
}

type entry struct {
	event hook.EventID
	seen  int64 // Unix milliseconds
}

// shelf is what is remembered for one length of window.
type shelf struct {
	fresh   map[hook.DedupeHash]entry
	freshID []int64 // the stored rows of fresh
	runs    []*Run  // the oldest first
}

// Index is the memory of a store. It is not safe for concurrent use: it belongs to the
// writer.
type Index struct {
	storage Storage
	shelves map[time.Duration]*shelf
	last    int64 // id of a Fresh or Run
	limit   int
}

// Batch is what one transaction adds and removes. Nothing of it is in the Index before
// Committed.
type Batch struct {
	index *Index
	added map[time.Duration]map[hook.DedupeHash]entry
	last  int64
	after []func() // changes of the Index's memory
	// dropped are runs that are still in memory and no more on disk.
	dropped []*Run
}

// New returns an Index over what the storage holds: all of it, in the order of ids.
func New(storage Storage, fresh []Fresh, runs []*Run) (*Index, error) {
	x := &Index{storage: storage, shelves: map[time.Duration]*shelf{}, limit: freshLimit}
	for _, f := range fresh {
		s := x.shelf(f.Window)
		if len(f.Entries)%entrySize != 0 {
			return nil, fmt.Errorf("%w: %d bytes in row %d", ErrDamaged, len(f.Entries), f.ID)
		}
		for at := 0; at < len(f.Entries); at += entrySize {
			hash, e := decode(f.Entries[at:])
			s.fresh[hash] = e
		}
		s.freshID = append(s.freshID, f.ID)
		x.last = max(x.last, f.ID)
	}
	for _, r := range runs {
		if len(r.Filter) == 0 || len(r.Filter)%blockSize != 0 || len(r.Firsts) == 0 || len(r.Firsts)%len(hook.DedupeHash{}) != 0 {
			return nil, fmt.Errorf("%w: run %d", ErrDamaged, r.ID)
		}
		s := x.shelf(r.Window)
		s.runs = append(s.runs, r)
		x.last = max(x.last, r.ID)
	}
	return x, nil
}

func (x *Index) shelf(window time.Duration) *shelf {
	s := x.shelves[window]
	if s == nil {
		s = &shelf{fresh: map[hook.DedupeHash]entry{}}
		x.shelves[window] = s
	}
	return s
}

// find returns the newest entry of a hash.
func (b *Batch) find(ctx context.Context, window time.Duration, hash *hook.DedupeHash) (entry, bool, error) {
	if e, ok := b.added[window][*hash]; ok {
		return e, true, nil
	}
	s := b.index.shelves[window]
	if s == nil {
		return entry{}, false, nil
	}
	if e, ok := s.fresh[*hash]; ok {
		return e, true, nil
	}
	place := newPlace(hash)
	for _, r := range slices.Backward(s.runs) {
		if !place.in(r.Filter) || slices.Contains(b.dropped, r) {
			continue
		}
		if e, ok, err := b.index.inRun(ctx, r, hash); ok || err != nil {
			return e, ok, err
		}
	}
	return entry{}, false, nil
}

// inRun looks into the only chunk of a run that can have the hash.
func (x *Index) inRun(ctx context.Context, r *Run, hash *hook.DedupeHash) (entry, bool, error) {
	n, found := search(r.Firsts, len(hash), hash)
	if !found {
		n--
	}
	if n < 0 {
		return entry{}, false, nil
	}
	data, err := x.storage.Chunk(ctx, r.ID<<chunkBits+int64(n))
	if err != nil {
		return entry{}, false, err
	}
	if len(data) == 0 || len(data)%entrySize != 0 {
		return entry{}, false, fmt.Errorf("%w: chunk %d of run %d", ErrDamaged, n, r.ID)
	}
	at, found := search(data, entrySize, hash)
	if !found {
		return entry{}, false, nil
	}
	_, e := decode(data[at*entrySize:])
	return e, true, nil
}

// search finds a hash in sorted records of a size that begin with theirs.
func search(records []byte, size int, hash *hook.DedupeHash) (int, bool) {
	low, high := 0, len(records)/size
	for low < high {
		middle := (low + high) / 2
		switch compare(records[middle*size:], hash) {
		case 0:
			return middle, true
		case -1:
			low = middle + 1
		default:
			high = middle
		}
	}
	return low, false
}

func compare(record []byte, hash *hook.DedupeHash) int {
	return bytes.Compare(record[:len(hash)], hash[:])
}

func encode(into []byte, hash *hook.DedupeHash, e entry) []byte {
	into = append(into, hash[:]...)
	into = binary.BigEndian.AppendUint64(into, uint64(e.event))
	return binary.BigEndian.AppendUint64(into, uint64(e.seen))
}

func decode(record []byte) (hook.DedupeHash, entry) {
	size := len(hook.DedupeHash{})
	return hook.DedupeHash(record[:size]), entry{
		event: hook.EventID(binary.BigEndian.Uint64(record[size:])),
		seen:  int64(binary.BigEndian.Uint64(record[size+8:])),
	}
}

// Begin begins a batch; there is one at a time.
func (x *Index) Begin() Batch { return Batch{index: x, last: x.last} }

// Add remembers an event by its hash, unless one was seen within the window: then it
// returns that one.
func (b *Batch) Add(ctx context.Context, a *hook.Acceptance) (hook.EventID, error) {
	window := max(a.Window.Truncate(time.Millisecond), time.Millisecond)
	seen := a.Event.ReceivedAt.UnixMilli()
	e, ok, err := b.find(ctx, window, &a.Dedupe)
	if err != nil {
		return 0, err
	}
	if ok && seen-e.seen < window.Milliseconds() {
		return e.event, nil
	}
	if b.added == nil {
		b.added = map[time.Duration]map[hook.DedupeHash]entry{}
	}
	if b.added[window] == nil {
		b.added[window] = map[hook.DedupeHash]entry{}
	}
	b.added[window][a.Dedupe] = entry{event: a.Event.ID, seen: seen}
	return 0, nil
}

// Flush writes what was added.
func (b *Batch) Flush(ctx context.Context) error {
	for window, added := range b.added {
		s := b.index.shelf(window)
		if len(s.fresh)+len(added) >= b.index.limit {
			if err := b.makeRun(ctx, window, s, added); err != nil {
				return err
			}
			continue
		}
		b.last++
		row := Fresh{ID: b.last, Window: window, Entries: make([]byte, 0, len(added)*entrySize)}
		for hash, e := range added {
			row.Entries = encode(row.Entries, &hash, e)
		}
		if err := b.index.storage.SaveFresh(ctx, row); err != nil {
			return err
		}
		b.after = append(b.after, func() {
			maps.Copy(s.fresh, added)
			s.freshID = append(s.freshID, row.ID)
		})
	}
	return nil
}

// makeRun turns what is fresh, and what this batch added, into a run; what is over by
// the time of the newest hash is left out.
func (b *Batch) makeRun(ctx context.Context, window time.Duration, s *shelf, added map[hook.DedupeHash]entry) error {
	newest := int64(-1 << 62)
	for _, e := range added {
		newest = max(newest, e.seen)
	}
	over := newest - window.Milliseconds()
	entries := make([]byte, 0, (len(s.fresh)+len(added))*entrySize)
	hashes := make([]hook.DedupeHash, 0, len(s.fresh)+len(added))
	for hash, e := range s.fresh {
		if _, again := added[hash]; !again && e.seen > over {
			hashes = append(hashes, hash)
		}
	}
	for hash, e := range added {
		if e.seen > over {
			hashes = append(hashes, hash)
		}
	}
	slices.SortFunc(hashes, func(x, y hook.DedupeHash) int { return bytes.Compare(x[:], y[:]) })
	for i := range hashes {
		e, ok := added[hashes[i]]
		if !ok {
			e = s.fresh[hashes[i]]
		}
		newest = max(newest, e.seen)
		entries = encode(entries, &hashes[i], e)
	}
	b.last++
	run := &Run{ID: b.last, Window: window, Expires: newest + window.Milliseconds(), Count: int64(len(hashes)), Filter: newFilter(hashes)}
	n := int64(0)
	for chunk := range slices.Chunk(entries, chunkEntries*entrySize) {
		run.Firsts = append(run.Firsts, chunk[:len(hook.DedupeHash{})]...)
		if err := b.index.storage.SaveChunk(ctx, run.ID<<chunkBits+n, chunk); err != nil {
			return err
		}
		n++
	}
	if err := b.index.storage.SaveRun(ctx, run); err != nil {
		return err
	}
	if err := b.dropFresh(ctx, s); err != nil {
		return err
	}
	b.after = append(b.after, func() { s.runs = append(s.runs, run) })
	return nil
}

func (b *Batch) dropFresh(ctx context.Context, s *shelf) error {
	for _, id := range s.freshID {
		if err := b.index.storage.DropFresh(ctx, id); err != nil {
			return err
		}
	}
	b.after = append(b.after, func() {
		s.fresh, s.freshID = map[hook.DedupeHash]entry{}, nil
	})
	return nil
}

// Prune drops one run whose window is over, or what is fresh on one shelf when all of
// it is, and returns how many hashes that were; 0 when there is nothing left to drop.
func (b *Batch) Prune(ctx context.Context, now time.Time) (int64, error) {
	for window, s := range b.index.shelves {
		over := func(r *Run) bool { return r.Expires <= now.UnixMilli() && !slices.Contains(b.dropped, r) }
		if i := slices.IndexFunc(s.runs, over); i >= 0 {
			run := s.runs[i]
			b.dropped = append(b.dropped, run)
			b.after = append(b.after, func() { s.runs = slices.DeleteFunc(s.runs, func(r *Run) bool { return r == run }) })
			return run.Count, b.index.storage.DropRun(ctx, run)
		}
		if s.allOver(now.Add(-window).UnixMilli()) {
			return int64(len(s.fresh)), b.dropFresh(ctx, s)
		}
	}
	return 0, nil
}

// allOver reports whether there is something fresh and all of it was seen by then.
func (s *shelf) allOver(then int64) bool {
	for _, e := range s.fresh {
		if e.seen > then {
			return false
		}
	}
	return len(s.fresh) > 0
}

// Committed takes what the batch wrote into memory.
func (b *Batch) Committed() {
	b.index.last = max(b.index.last, b.last)
	for _, do := range b.after {
		do()
	}
}
