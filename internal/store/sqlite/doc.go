// Package sqlite keeps everything that Malote stores in one SQLite database: the
// store.Store of a single machine. It needs no other service.
//
// # The tables
//
// Every primary key is an 8-byte integer of package hook, whose order is the order of
// time, so that rows are appended and a time range is an id range. What no query looks
// into is packed into one column (package codec): a column costs time on each
// write, for ever.
//
//   - project, source, destination, connection, token: what people set up. The spec of
//     a noun is sealed as a whole, so that no secret field can be forgotten.
//   - event: one row each, with the list of its deliveries; indexed by source. A list of
//     several sources merges their walks along that one index. Type and key lie in the
//     index, too, so that a search for them does not read the events: a row is fifty
//     times the size.
//   - delivery: one row each, with its first attempt; indexed by connection and state,
//     which serves every list and finds what is pending or held. The other indexes hold
//     only rows that are pending, sending, ordered by a key, held for some cause, or made
//     by a replay: few, and in the best case none.
//   - attempt: the second and later ones.
//   - log_source, log_connection: which sources and connections the log has rows of,
//     deleted ones included. Lists start here, so that the log outlives the catalogue.
//   - dedupe_fresh, dedupe_run, dedupe_chunk: what is remembered to recognise
//     duplicates, written in pieces and never at random: see package dedupe.
//   - numbers, backlog: counters, written in the commit that they count. Nothing ever
//     counts the log.
//
// # The writer
//
// One goroutine changes the database. It takes all operations that wait, does them in
// one transaction, commits, makes that durable, and then answers: the more wait, the
// less each of them costs. It hardly waits for more to come: while it commits, the next
// group gathers by itself. A group that nobody waits for to be durable (operations that
// are Lazy: settlements, claims, leases) becomes so a moment later. Long pieces of work (a sweep over a backlog, retention) are
// cut into steps that stand in the same line, so that an event that comes meanwhile
// waits for one step at the most. Readers have connections of their own and see the
// last commit. The write-ahead log is copied into the database by another goroutine;
// only its last frames are the writer's.
//
// When the storage takes nothing, new events fail with store.ErrFull and what was
// accepted before is safe; settlements wait in memory. When a single operation is at
// fault, its batch is done again one by one, and it fails alone.
//
// # Inline deliveries and the mark
//
// Most deliveries are attempted the moment that their event is accepted, and succeed.
// Such a delivery gets no row at first: Accept writes the event, which names it, and
// Settle writes the delivery once, in its final state. In between it lives in memory
// (package inline), and lists show it from there. One that takes longer than a second gets
// a row after all.
//
// After a crash those deliveries must be found again. Reclaim looks at events in the
// order of their ids and gives a row, pending, to each delivery that has none. It ends
// with the newest event that was there when the store was opened: what came later is in
// memory. Where it begins is the low-water mark, a row of its own, and this must hold in
// every committed state:
//
//	an event with a delivery that has no row is not below the mark.
//
// Crashes are possible between any two commits only, so each commit has to keep it:
//
//   - Accept of an event below the mark lowers the mark in the same commit. That is
//     rare: ids are made before their events stand in line, so that they may arrive a
//     little out of order, and the mark stays behind by about a second.
//   - The mark is raised to the oldest event whose delivery is in memory without a row,
//     as far as the commits before this one know; what this one accepts counts, too.
//     A delivery that this commit settles holds the mark back until the next time.
//   - A settlement, or the row of one that took long, only ever adds rows.
//   - Retention removes an event together with its deliveries, and only when all of
//     them have ended.
//   - Until the first Reclaim of a process is through, memory does not know all that
//     is open, and the mark is not raised.
//
// A crash between the commit of Accept and the answer to the sender leaves an event
// that the sender sends again: de-duplication is for that. A crash between an attempt
// and its settlement makes the delivery due again: it is made at least once.
//
// A lease belongs to a process, and the lock on the folder says that there is only
// one. When the store is opened, all leases of before are over. A backend of many nodes
// will keep a mark for each node, since ids carry the node, and ask the lease instead
// of the lock who is alive.
//
// # Claims
//
// The connections of a destination take turns. A claim walks round those that have
// pending deliveries, from the one after whose turn was last, and takes its share of
// each, the longest due first; what some do not need the others get. It looks at a few
// connections in each step, and comes back with less than was asked for only when it
// has been all the way round: whoever asks may then wait for the time that Due tells.
//
// # Order
//
// A delivery with an order key waits for the others of its connection with that key.
// "Open" is pending, sending or held; of a key's open deliveries one at most has the
// turn, which is to be in memory to be settled, sending, or pending with a time at
// which it is due. All others are held, or pending without such a time, so that no
// claim finds them. This must hold in every committed state:
//
//	of the open deliveries of a key one has the turn, or the oldest of them is held.
//
// Each commit keeps it by itself. Accept gives the turn to a delivery of whose key
// nothing is open, in a row, in memory, or earlier in the same batch, and makes all
// others wait. Whatever changes a row's state (setState) gives the turn to the oldest
// when nobody has it. What is brought back (retried, released) has no turn before
// that, so that it takes its place by its id; what has the turn and is only given back,
// or made due earlier, keeps it. One partial index holds the open deliveries of each
// key in their order, another one those with the turn: finding either is one seek, also
// when a million wait for one key.
//
// After a crash some had the turn in memory alone. Until Reclaim has given them their
// rows, and with these the turn, nobody else gets one. Then it goes over all keys of
// which nobody has it: those whose first delivery came meanwhile.
//
// # Causes
//
// A held row has a cause: a pause, an open circuit, or that it is the stuck head of its
// key. The end of a cause releases what it holds and leaves the rest, also where a
// pause and a circuit hold deliveries of one destination. A row that leaves "held"
// leaves its cause behind. What a circuit holds has an index of its own, by age, for the
// probes to go round in; they look past what waits for the head of its key.
//
// # Deleted connections
//
// Deleting a connection is one commit; canceling what waits for it takes further
// ones. The writer knows deleted connections and turns away whatever would wait for
// one, and Reclaim cancels what a crash left waiting.
package sqlite
