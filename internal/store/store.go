// Package store is the contract of Malote's storage: small capabilities, each with
// what it promises, that a backend implements together. It holds no SQL.
//
// The promises that all methods share: an error is a *hook.Error where a person
// could have caused it (not found, conflict, unavailable); times are UTC and exact
// to the millisecond; empty lists are nil; every read and write is confined to the
// project given, and what belongs to another project is "not found". Package
// storetest holds a backend to all of it.
package store

import (
	"context"
	"errors"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
)

// Errors that callers tell apart.
var (
	// ErrFull means that nothing can be stored now: the disk is full or fails. It is
	// wrapped in a hook.KindUnavailable error.
	ErrFull = errors.New("the storage takes no more data")
	// ErrNewer means that the data was written by a newer version of the program.
	ErrNewer = errors.New("the database was written by a newer version of malote")
	// ErrLocked means that another process uses the data.
	ErrLocked = errors.New("another malote process uses this data folder")
)

// Store is all capabilities of a backend.
type Store interface { //nolint:interfacebloat // the sum of the capabilities below
	Projects() Table[hook.Project]
	Sources() Table[hook.Source]
	Destinations() Table[hook.Destination]
	Connections() Table[hook.Connection]
	Catalogue
	Tokens
	Accepter
	Queue
	Keys
	Circuits
	Log
	Refusals
	Numbers
	Health
	Replays
	Audit
	Upkeep
}

// Table keeps one kind of noun of the catalogue. A ref is the noun's id or its name.
type Table[T any] interface {
	// Create stores a new noun, whose ID, Version, CreatedAt and UpdatedAt it fills; an
	// ID that is set already is kept. A name that exists in the project is a conflict.
	Create(ctx context.Context, item *T) error
	// Get returns one noun by id or name. For projects, project is ignored.
	Get(ctx context.Context, project hook.ProjectID, ref string) (T, error)
	// List returns the nouns of a project in the order of their ids.
	List(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[T], error)
	// Update replaces a noun when its Version is still the stored one, and fills the
	// new Version and UpdatedAt. Another version is a conflict and changes nothing.
	Update(ctx context.Context, item *T) error
	// Delete removes a noun. Deleting a source or destination that a connection uses
	// is a conflict that names the connections, and so is deleting a project that
	// holds any of these. Deliveries under way of a deleted connection are canceled
	// with a reason; the log keeps what it has.
	Delete(ctx context.Context, project hook.ProjectID, ref string) error
}

// Catalogue reads and changes what people set up as a whole.
type Catalogue interface {
	// Catalogue returns everything of all projects, consistent in itself.
	Catalogue(ctx context.Context) (hook.Catalogue, error)
	// Apply makes all changes, or none, in the order given. What Table says of each
	// holds here, too. The ends of a connection that are zero are found by Change.From
	// and Change.To, also among what earlier changes created.
	Apply(ctx context.Context, project hook.ProjectID, changes []hook.Change) error
}

// Tokens keeps API tokens.
type Tokens interface {
	CreateToken(ctx context.Context, token *hook.Token) error
	// TokenByHash returns the token with this hash; not found when there is none. An
	// expired token is returned: whoever asks judges.
	TokenByHash(ctx context.Context, hash [32]byte) (hook.Token, error)
	ListTokens(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[hook.Token], error)
	DeleteToken(ctx context.Context, project hook.ProjectID, ref string) error
	// TouchToken notes the use of a token, to the minute, at its leisure.
	TouchToken(id hook.TokenID, now time.Time)
}

// Accepter makes events durable.
type Accepter interface {
	// Accept stores an event and its deliveries in one commit, shared with whatever
	// else waits, and returns after that commit is on disk. A target that is Deferred
	// or Held gets a delivery row at once; the others are the caller's to attempt, and
	// get theirs from Settle, or from Reclaim after a crash. A target with an OrderKey
	// that is not the head of its key is made Deferred, in the acceptance itself, for
	// the caller to see. When Dedupe was seen within its window, also by a request that
	// waits for the same commit, nothing but the duplicate's count is stored and the
	// receipt names the first event.
	//
	// It fails with ErrFull, or with ctx's error while it still waited for its turn; in
	// both cases nothing was stored.
	Accept(ctx context.Context, acceptance *hook.Acceptance) (hook.Receipt, error)
}

// Queue is the life of deliveries after acceptance.
//
// Of the open deliveries (pending, sending or held) of one connection with one order
// key at most one is ever due or sending. When it has ended, in the same commit, the
// oldest of the others becomes due, unless that one is held. So a pending delivery that
// is not its key's head has no time at which it is due.
type Queue interface {
	// Claim takes up to limit due deliveries of a destination, marks them as sending
	// under a lease until the given time, and returns them with their events. The
	// connections of the destination take turns, so that the backlog of one does not
	// delay another; of each connection the longest due go first.
	Claim(ctx context.Context, claim Claim) ([]*hook.Job, error)
	// Settle hands over the result of an attempt, or a change of state without one. It
	// returns at once, or as soon as the writer has room; done, if not nil, is called
	// after the commit. A settlement is never dropped: while the disk takes nothing it
	// waits, and it is lost only with the process, when Reclaim makes the delivery due
	// again.
	Settle(settlement hook.Settlement, done func(error))
	// Renew moves the leases of an owner on the given deliveries.
	Renew(ctx context.Context, owner string, deliveries []hook.DeliveryID, until time.Time) error
	// Due returns, for each destination that has pending deliveries, when the first is
	// due.
	Due(ctx context.Context) ([]Due, error)
	// Reclaim makes due again what a lost process had in hand: deliveries whose lease
	// is over and accepted deliveries without a row. It returns how many.
	Reclaim(ctx context.Context, now time.Time) (int, error)
	// Retry makes failed, canceled, held or succeeded deliveries due now; the next
	// attempt is manual. Pending ones that are due later become due now and go on with
	// their schedule. Those of a deleted connection stay, and so do pending ones that
	// wait for the head of their key. It returns how many changed.
	Retry(ctx context.Context, project hook.ProjectID, deliveries []hook.DeliveryID, now time.Time) (int, error)
	// Cancel ends pending and held deliveries with a reason.
	Cancel(ctx context.Context, project hook.ProjectID, deliveries []hook.DeliveryID, reason string) (int, error)
	// Hold turns the pending deliveries that where selects into held ones, for
	// where.Cause; Release does the opposite with those that are held for that cause.
	// They work in steps, so that a large backlog delays nobody.
	Hold(ctx context.Context, where Scope, reason string) (int, error)
	Release(ctx context.Context, where Scope, now time.Time) (int, error)
}

// Claim says which deliveries to claim.
type Claim struct {
	Destination hook.DestinationID
	Owner       string    // of the lease
	Until       time.Time // end of the lease
	Now         time.Time
	Limit       int
}

// Due is a destination with waiting deliveries.
type Due struct {
	Destination hook.DestinationID
	At          time.Time // when the first is due
}

// Scope selects deliveries: of one destination, whichever connections they go over, or
// of one connection, wherever they go.
type Scope struct {
	Project     hook.ProjectID
	Destination hook.DestinationID
	Connection  hook.ConnectionID
	Except      []hook.ConnectionID // of the destination's deliveries not these
	Cause       hook.Cause          // for Hold and Release; zero: hook.CausePaused
}

// Keys looks at and decides over the deliveries that are ordered by key.
type Keys interface {
	// ListKeys returns the keys that have open deliveries, in the order of their texts;
	// with Parked only those whose head is parked, of all connections when Connection
	// is zero.
	ListKeys(ctx context.Context, query KeyQuery) ([]hook.OrderedKey, error)
	// ReleaseKey makes the parked head of a key due now, its schedule begun anew. Not
	// found when the key is not parked.
	ReleaseKey(ctx context.Context, key Key, now time.Time) error
	// SkipKey cancels the head of a key that is not being sent, and the next one goes.
	SkipKey(ctx context.Context, key Key, reason string) error
	// DropKey cancels everything that waits for a key, and returns how many that were.
	DropKey(ctx context.Context, key Key, reason string) (int, error)
}

// Key names one order key of a connection.
type Key struct {
	Project    hook.ProjectID
	Connection hook.ConnectionID
	Key        string
}

// KeyQuery selects keys.
type KeyQuery struct {
	Project    hook.ProjectID
	Connection hook.ConnectionID // zero only with Parked
	Key        string            // only this one, with Connection; "": all
	Parked     bool
	After      Key // the last one of the page before; zero: from the beginning
	Limit      int
}

// Circuits keeps what attempts showed of destinations.
type Circuits interface {
	// SaveCircuit stores the circuit of a destination in place of the one before; one
	// that never opened is removed.
	SaveCircuit(ctx context.Context, circuit hook.Circuit) error
	// Circuits returns those of all projects that are stored.
	Circuits(ctx context.Context) ([]hook.Circuit, error)
	// Probe claims one delivery that is held because the circuit is open, or one that is
	// due: the oldest after the given one, else the oldest of all. None: nothing waits.
	Probe(ctx context.Context, claim Claim, after hook.DeliveryID) (*hook.Job, error)
}

// Replays keeps replays and makes their deliveries.
type Replays interface {
	// CreateReplay stores a new replay, which runs, and fills its ID, unless it is set, and
	// its times.
	CreateReplay(ctx context.Context, replay *hook.Replay) error
	Replay(ctx context.Context, project hook.ProjectID, id hook.ReplayID) (hook.Replay, error)
	// ListReplays returns a page of a project's replays, the newest first.
	ListReplays(ctx context.Context, project hook.ProjectID, req page.Request) (page.Page[hook.Replay], error)
	// RunningReplays returns those of all projects that have not ended.
	RunningReplays(ctx context.Context) ([]hook.Replay, error)
	// AdvanceReplay makes deliveries of a replay and moves its cursor, in one commit: a
	// crash repeats nothing and leaves nothing out. A replay that has ended, or whose
	// cursor is beyond the step's, makes nothing, and this is a conflict. Targets of an
	// event that is gone make nothing, and neither do deliveries to be retried that are on
	// their way for another replay.
	AdvanceReplay(ctx context.Context, step ReplayStep) (ReplayDone, error)
	// EndReplay brings a running replay to a final state, and cancels what it made and
	// did not begin, with the reason: what waits and was not attempted, or not yet again.
	// The rest goes on and is still counted. One that has ended stays as it is.
	EndReplay(ctx context.Context, project hook.ProjectID, id hook.ReplayID, state hook.ReplayState, reason string) (hook.Replay, error)
}

// ReplayStep is a part of a replay. It is one commit, which all others wait for: keep it
// to a few hundred deliveries.
type ReplayStep struct {
	Replay  hook.ReplayID
	Project hook.ProjectID
	Cursor  int64 // after this step
	Looked  int
	// Selected is how many of the looked-at ones were chosen.
	Selected int
	// Skipped is how many of the chosen ones nothing could be made of.
	Skipped int
	// Events are new ones with edited payloads and their targets, all of them deferred.
	Events []*hook.Acceptance
	// Targets are deliveries of stored events.
	Targets []ReplayTarget
	// Retry are deliveries to be retried.
	Retry []hook.DeliveryID
	Now   time.Time
}

// ReplayTarget is a delivery of a stored event that a replay makes.
type ReplayTarget struct {
	Event hook.EventID
	hook.Target
}

// ReplayDone is what a step of a replay made.
type ReplayDone struct {
	Made         int
	Destinations []hook.DestinationID // to be woken
}

// Audit keeps what was done by whom.
type Audit interface {
	// Record stores an entry, whose ID it fills when it is zero; At becomes that of the id.
	// Entries are kept for 400 days, and no longer than their project.
	Record(ctx context.Context, entry *hook.AuditEntry) error
	// ListAudit returns entries, the newest first. Action and Subject are looked for in at
	// most ScanLimit entries; a page may then come back short with Done false.
	ListAudit(ctx context.Context, query AuditQuery) (page.Page[hook.AuditEntry], error)
}

// AuditQuery selects entries; zero fields select all.
type AuditQuery struct {
	Project hook.ProjectID
	Action  string // exact, or a pattern with "*"
	Subject string
	After   time.Time
	Before  time.Time
	Page    page.Request
}

// Log answers the questions of lists and detail pages. Lists are newest first.
type Log interface {
	// Events returns the page of events that the query selects, without their payloads.
	// Type, Key and Text are looked for in at most ScanLimit events; a page may then
	// come back short with Done false, and Last, or First when it walks back, is where
	// the next one goes on.
	Events(ctx context.Context, query EventQuery) (page.Page[hook.Event], error)
	// Event returns one event, its payload included.
	Event(ctx context.Context, project hook.ProjectID, id hook.EventID) (hook.Event, error)
	// Deliveries returns a page of deliveries, those in memory included.
	Deliveries(ctx context.Context, query DeliveryQuery) (page.Page[hook.Delivery], error)
	Delivery(ctx context.Context, project hook.ProjectID, id hook.DeliveryID) (hook.Delivery, error)
	// Attempts returns the attempts of a delivery, the first one first.
	Attempts(ctx context.Context, project hook.ProjectID, delivery hook.DeliveryID) ([]hook.Attempt, error)
}

// ScanLimit is how many events a list looks at, at the most, to fill a page.
const ScanLimit = 20_000

// EventQuery selects events; zero fields select all.
type EventQuery struct {
	Project hook.ProjectID
	Source  hook.SourceID
	Type    string    // exact, or a pattern with "*"
	Key     string    // exact
	Text    string    // found in the payload, as bytes
	After   time.Time // at or after
	Before  time.Time // before
	Page    page.Request
}

// DeliveryQuery selects deliveries; zero fields select all.
type DeliveryQuery struct {
	Project     hook.ProjectID
	Event       hook.EventID
	Connection  hook.ConnectionID
	Destination hook.DestinationID
	State       hook.State
	Cause       hook.Cause    // with State held: only those that it holds
	Replay      hook.ReplayID // of those that it made or retried; with State 0 the ones that have not ended
	After       time.Time
	Before      time.Time
	Page        page.Request
}

// Refusals is the bounded log of requests that were not accepted.
type Refusals interface {
	// Refuse stores a refusal. Only the newest MaxRefusals of a source are kept.
	Refuse(ctx context.Context, refusal *hook.Refusal) error
	ListRefusals(ctx context.Context, query RefusalQuery) (page.Page[hook.Refusal], error)
	Refusal(ctx context.Context, project hook.ProjectID, id hook.RefusalID) (hook.Refusal, error)
	// Admitted notes which event a refused request became.
	Admitted(ctx context.Context, id hook.RefusalID, event hook.EventID) error
}

// MaxRefusals is how many refused requests are kept for each source.
const MaxRefusals = 1000

// RefusalQuery selects refused requests; zero fields select all.
type RefusalQuery struct {
	Project hook.ProjectID
	Source  hook.SourceID
	Page    page.Request
}

// Numbers answers from the roll-ups per minute, which are exact as of the last commit.
type Numbers interface {
	// Series returns the minutes of one noun, those without traffic left out: from the
	// minute that From lies in to the last one that begins before To.
	Series(ctx context.Context, query NumbersQuery) ([]hook.Numbers, error)
	// Totals returns the sum over the same minutes for each noun of the kind in the
	// project, by id value.
	Totals(ctx context.Context, query NumbersQuery) (map[int64]hook.Numbers, error)
	// Backlog returns, for each destination of the project, how many deliveries are
	// pending, sending (those in memory included), held and failed. The last wait, too:
	// for a person.
	Backlog(ctx context.Context, project hook.ProjectID) (map[hook.DestinationID]map[hook.State]int64, error)
}

// NumbersQuery selects roll-ups.
type NumbersQuery struct {
	Project  hook.ProjectID
	Scope    NumbersScope
	ID       int64 // of the noun; 0 with Series: the sum over all of the project
	From, To time.Time
}

// NumbersScope is the kind of noun that roll-ups are kept for.
type NumbersScope uint8

// The scopes of roll-ups.
const (
	BySource NumbersScope = iota + 1
	ByConnection
	ByDestination
)

// Health answers how bad it is at a destination.
type Health interface {
	// Oldest returns when the oldest delivery was accepted that is pending, sending or
	// held at a destination; the zero time when there is none.
	Oldest(ctx context.Context, project hook.ProjectID, destination hook.DestinationID) (time.Time, error)
	// Failures returns the kinds of failure at a destination since a time, the most
	// frequent first, each with an example.
	Failures(ctx context.Context, project hook.ProjectID, destination hook.DestinationID, since time.Time) ([]hook.Failure, error)
}

// Upkeep is what a running store needs done from time to time, and its end.
type Upkeep interface {
	// Prune removes what is older than each project's retention, in steps short enough
	// that ingest never waits. It returns how much went.
	Prune(ctx context.Context, now time.Time) (Pruned, error)
	// Ready fails when nothing can be stored.
	Ready(ctx context.Context) error
	// Stats describes the store for metrics and doctor.
	Stats(ctx context.Context) (Stats, error)
	// Close waits for everything handed over to be stored, then closes.
	Close() error
}

// Pruned counts what a Prune removed.
type Pruned struct{ Events, Deliveries, Attempts, Refusals, Dedupe, Numbers, Audit, Replays int64 }

// Stats describes the store at one moment.
type Stats struct {
	SizeBytes    int64         // on disk, everything included
	Commits      int64         // group commits since the start
	Operations   int64         // operations in them
	CommitTime   time.Duration // spent in them
	Waiting      int           // operations that wait for a commit
	LastCommitAt time.Time
}
