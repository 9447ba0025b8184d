package sqlite

import (
	"context"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlite/dedupe"
	"malote.dev/malote/internal/store/sqlite/inline"
	"malote.dev/malote/internal/store/sqlite/tally"
)

// rowAfter is how long an inline delivery stays without a row.
const rowAfter = time.Second

// noLease is the end of a lease that ends only with the process.
const noLease = int64(1<<63 - 1)

// batch is one transaction under way: what it will change in the writer's memory once
// it is committed, and the counters that it writes at its end, each once.
type batch struct {
	w       *writer
	old     []inline.Opened // inline deliveries to be given rows
	tally   tally.Batch
	dedupe  dedupe.Batch
	opened  []inline.Opened
	heads   map[inline.Key]hook.DeliveryID // what opened and closed change of the keys' heads in memory
	written []hook.DeliveryID
	closed  []hook.DeliveryID
	mark    hook.EventID // as it will be stored
	highest hook.EventID
	// sources and connections are parts of the log that it began.
	sources     map[[2]int64]struct{}
	connections map[[3]int64]struct{}
	refused     map[hook.SourceID]struct{} // sources whose refusals are to be bounded
	onCommit    []func()
}

func newBatch(w *writer) *batch {
	return &batch{w: w, tally: w.tally.Begin(), dedupe: w.dedupe.Begin(), mark: w.mark.Stored, highest: w.mark.Highest}
}

// source notes that the log has rows of a source.
func (b *batch) source(ctx context.Context, project hook.ProjectID, source hook.SourceID) error {
	key := [2]int64{int64(project), int64(source)}
	if _, ok := b.w.known.sources[key]; ok {
		return nil
	}
	if _, ok := b.sources[key]; ok {
		return nil
	}
	if b.sources == nil {
		b.sources = map[[2]int64]struct{}{}
	}
	b.sources[key] = struct{}{}
	_, err := b.w.sql.addSource.Exec(ctx, key[0], key[1])
	return err
}

// connection notes that the log has rows of a connection to a destination.
func (b *batch) connection(ctx context.Context, l lane) error {
	key := [3]int64{int64(l.project), int64(l.connection), int64(l.destination)}
	if _, ok := b.w.known.connections[key]; ok {
		return nil
	}
	if _, ok := b.connections[key]; ok {
		return nil
	}
	if b.connections == nil {
		b.connections = map[[3]int64]struct{}{}
	}
	b.connections[key] = struct{}{}
	_, err := b.w.sql.addConnection.Exec(ctx, key[0], key[1], key[2])
	return err
}

// deleted reports whether a connection is gone.
func (b *batch) deleted(id hook.ConnectionID) bool {
	_, gone := b.w.known.deleted[id]
	return gone
}

// startPass makes the batch do the writer's periodic work, too: give rows to inline
// deliveries that take long, so that lists need not look for them in memory for ever,
// and raise the mark.
func (b *batch) startPass() {
	b.old = b.w.inline.Old(time.Now().Add(-rowAfter))
	oldest, open := b.w.inline.Oldest()
	b.mark = b.w.mark.Pass(oldest, open)
}

// Idle implements commit.Batch.
func (b *batch) Idle() bool { return len(b.old) == 0 && b.mark == b.w.mark.Stored }

// Flush implements commit.Batch.
func (b *batch) Flush(ctx context.Context) error {
	if err := b.writeOld(ctx); err != nil {
		return err
	}
	if b.mark != b.w.mark.Stored {
		if _, err := b.w.sql.saveMark.Exec(ctx, int64(b.mark)); err != nil {
			return err
		}
	}
	if err := b.dedupe.Flush(ctx); err != nil {
		return err
	}
	for source := range b.refused {
		if _, err := b.w.sql.boundRefusals.Exec(ctx, int64(source), int64(store.MaxRefusals)); err != nil {
			return err
		}
	}
	return b.tally.Flush(ctx, b.w.now())
}

// writeOld gives rows to the old inline deliveries that the batch does not settle.
func (b *batch) writeOld(ctx context.Context) error {
	if len(b.old) == 0 {
		return nil
	}
	settled := make(map[hook.DeliveryID]struct{}, len(b.closed))
	for _, id := range b.closed {
		settled[id] = struct{}{}
	}
	for i := range b.old {
		d := &b.old[i]
		if _, done := settled[d.ID]; done {
			continue
		}
		_, err := b.w.sql.insertWaiting.Exec(ctx, int64(d.ID), int64(d.Project), int64(d.Event), int64(d.Connection), int64(d.Destination),
			int64(hook.StateSending), d.Created, d.Created, nil, nil, noLease, nil, nil, commit.NullText(d.OrderKey))
		if err != nil {
			return err
		}
		b.tally.Move(d.Project, d.Destination, 0, hook.StateSending)
		b.written = append(b.written, d.ID)
	}
	return nil
}

// Committed implements commit.Batch.
func (b *batch) Committed() {
	w := b.w
	w.mark.Stored, w.mark.Highest = b.mark, max(w.mark.Highest, b.highest)
	b.dedupe.Committed()
	w.inline.Change(b.opened, b.written, b.closed)
	b.tally.Committed()
	for key := range b.sources {
		w.known.sources[key] = struct{}{}
	}
	for key := range b.connections {
		w.known.connections[key] = struct{}{}
	}
	for _, do := range b.onCommit {
		do()
	}
}
