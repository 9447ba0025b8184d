package dedupe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

// disk is a Storage in memory that can forget what a transaction did.
type disk struct {
	fresh  map[int64]Fresh
	runs   map[int64]*Run
	chunks map[int64][]byte
	reads  int
}

func newDisk() *disk {
	return &disk{fresh: map[int64]Fresh{}, runs: map[int64]*Run{}, chunks: map[int64][]byte{}}
}

func (d *disk) clone() *disk {
	return &disk{fresh: maps.Clone(d.fresh), runs: maps.Clone(d.runs), chunks: maps.Clone(d.chunks)}
}

func (d *disk) SaveFresh(_ context.Context, f Fresh) error {
	if _, exists := d.fresh[f.ID]; exists {
		return errors.New("the id is taken")
	}
	d.fresh[f.ID] = f
	return nil
}

func (d *disk) DropFresh(_ context.Context, id int64) error {
	delete(d.fresh, id)
	return nil
}

func (d *disk) SaveRun(_ context.Context, r *Run) error {
	if _, exists := d.runs[r.ID]; exists {
		return errors.New("the id is taken")
	}
	d.runs[r.ID] = r
	return nil
}

func (d *disk) SaveChunk(_ context.Context, id int64, entries []byte) error {
	d.chunks[id] = bytes.Clone(entries)
	return nil
}

func (d *disk) DropRun(_ context.Context, r *Run) error {
	delete(d.runs, r.ID)
	for first, last := r.Chunks(); first <= last; first++ {
		delete(d.chunks, first)
	}
	return nil
}

func (d *disk) Chunk(_ context.Context, id int64) ([]byte, error) {
	d.reads++
	return d.chunks[id], nil
}

// index opens an Index with small runs over the disk.
func (d *disk) index(t rapid.TB) *Index {
	ids := slices.Sorted(maps.Keys(d.fresh))
	fresh := make([]Fresh, 0, len(ids))
	for _, id := range ids {
		fresh = append(fresh, d.fresh[id])
	}
	var runs []*Run
	for _, id := range slices.Sorted(maps.Keys(d.runs)) {
		runs = append(runs, d.runs[id])
	}
	x, err := New(d, fresh, runs)
	if err != nil {
		t.Fatal(err)
	}
	x.limit = 8
	return x
}

type known struct {
	window time.Duration
	hash   hook.DedupeHash
}

// TestItRemembersLikeAMap compares the index with the plainest memory there is, over
// batches that commit, batches that are rolled back, crashes and prunes.
func TestItRemembersLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, d := context.Background(), newDisk()
		x := d.index(t)
		model := map[known]entry{}
		now, event := time.UnixMilli(1_800_000_000_000), hook.EventID(0)
		t.Repeat(map[string]func(*rapid.T){
			"batch": func(t *rapid.T) {
				before, trial := d.clone(), maps.Clone(model)
				b := x.Begin()
				for range rapid.IntRange(1, 10).Draw(t, "operations") {
					now = now.Add(time.Duration(rapid.IntRange(0, 700).Draw(t, "ms")) * time.Millisecond)
					event++
					k := known{rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(t, "window"), hook.DedupeHash{15: rapid.ByteMax(40).Draw(t, "hash")}}
					want := hook.EventID(0)
					if e, ok := trial[k]; ok && now.UnixMilli()-e.seen < k.window.Milliseconds() {
						want = e.event
					} else {
						trial[k] = entry{event, now.UnixMilli()}
					}
					got, err := b.Add(ctx, &hook.Acceptance{Event: hook.Event{ID: event, ReceivedAt: now}, Dedupe: k.hash, Window: k.window})
					if err != nil || got != want {
						t.Fatalf("event %d is taken for a duplicate of %d (%v), not of %d", event, got, err, want)
					}
				}
				if err := b.Flush(ctx); err != nil {
					t.Fatal(err)
				}
				if rapid.Bool().Draw(t, "rolled back") {
					*d = *before
					return
				}
				b.Committed()
				model = trial
			},
			"crash": func(t *rapid.T) { x = d.index(t) },
			"prune": func(t *rapid.T) {
				b := x.Begin()
				if _, err := b.Prune(ctx, now); err != nil {
					t.Fatal(err)
				}
				b.Committed()
			},
			"wait": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "seconds")) * time.Second) },
		})
	})
}

func TestPruneDropsEverythingInTheEnd(t *testing.T) {
	ctx, d := t.Context(), newDisk()
	x := d.index(t)
	now := time.UnixMilli(1_800_000_000_000)
	for i := range 30 {
		b := x.Begin()
		if _, err := b.Add(ctx, &hook.Acceptance{Event: hook.Event{ID: 1, ReceivedAt: now}, Dedupe: hook.DedupeHash{byte(i)}, Window: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		b.Committed()
	}
	if len(d.runs) == 0 || len(d.fresh) == 0 {
		t.Fatalf("%d runs and %d fresh rows: the test needs both", len(d.runs), len(d.fresh))
	}
	prune := func(at time.Time) (total int64) {
		for {
			b := x.Begin()
			n, err := b.Prune(ctx, at)
			if err != nil {
				t.Fatal(err)
			}
			b.Committed()
			if total += n; n == 0 {
				return total
			}
		}
	}
	if n := prune(now.Add(time.Hour - time.Millisecond)); n != 0 {
		t.Errorf("%d were dropped within the window", n)
	}
	if n := prune(now.Add(time.Hour)); n != 30 || len(d.runs)+len(d.fresh)+len(d.chunks) != 0 {
		t.Errorf("%d were dropped, and %d runs, %d rows, %d chunks are left", n, len(d.runs), len(d.fresh), len(d.chunks))
	}
}

// TestNewHashesHardlyTouchTheDisk holds the filters to what they promise.
func TestNewHashesHardlyTouchTheDisk(t *testing.T) {
	ctx, d := t.Context(), newDisk()
	x := d.index(t)
	x.limit = 1000
	const hashes = 20_000
	hash := func(n int) (h hook.DedupeHash) {
		binary.BigEndian.PutUint64(h[:], mix(uint64(n)))
		binary.BigEndian.PutUint64(h[8:], mix(uint64(n)+1<<32))
		return h
	}
	at := time.UnixMilli(1_800_000_000_000)
	add := func(from, to int, want func(n int) hook.EventID) {
		b := x.Begin()
		for n := from; n < to; n++ {
			first, err := b.Add(ctx, &hook.Acceptance{Event: hook.Event{ID: hook.EventID(n + 1), ReceivedAt: at}, Dedupe: hash(n), Window: time.Hour})
			if err != nil || first != want(n) {
				t.Fatalf("hash %d: first %d, %v", n, first, err)
			}
		}
		if err := b.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		b.Committed()
	}
	for n := 0; n < hashes; n += 100 {
		add(n, n+100, func(int) hook.EventID { return 0 })
	}
	if len(d.runs) < 15 {
		t.Fatalf("%d runs: the test needs many", len(d.runs))
	}
	if limit := hashes * len(d.runs) / 200; d.reads > limit {
		t.Errorf("%d reads for %d new hashes, more than one in two hundred filters asked", d.reads, hashes)
	}
	add(0, hashes, func(n int) hook.EventID { return hook.EventID(n + 1) })
}

func TestDamageIsAnError(t *testing.T) {
	if _, err := New(newDisk(), []Fresh{{ID: 1, Window: time.Hour, Entries: make([]byte, entrySize+1)}}, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a cut row: %v", err)
	}
	for name, run := range map[string]*Run{
		"no filter": {Firsts: make([]byte, 16)}, "odd filter": {Firsts: make([]byte, 16), Filter: make([]byte, 65)},
		"no chunks": {Filter: make([]byte, 64)}, "odd chunks": {Filter: make([]byte, 64), Firsts: make([]byte, 17)},
	} {
		if _, err := New(newDisk(), nil, []*Run{run}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := newDisk()
	x, err := New(d, nil, []*Run{{ID: 1, Window: time.Hour, Firsts: make([]byte, 16), Filter: bytes.Repeat([]byte{0xff}, 64)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, chunk := range [][]byte{nil, make([]byte, 33)} {
		d.chunks[1<<chunkBits] = chunk
		b := x.Begin()
		if _, err := b.Add(t.Context(), &hook.Acceptance{Dedupe: hook.DedupeHash{1}, Window: time.Hour}); !errors.Is(err, ErrDamaged) {
			t.Errorf("a chunk of %d bytes: %v", len(chunk), err)
		}
	}
}
