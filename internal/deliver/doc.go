// Package deliver carries accepted deliveries to their destinations: it decides when
// an attempt is made, makes it, and hands its result to the store. First tries,
// retries and attempts that a person asked for take the same way.
//
// Each destination has a lane: a bounded queue in memory, a number of attempts in
// flight, a rate. What does not fit in a lane stays in the store and is claimed from
// there in order, so that a slow destination costs the others next to nothing and
// memory has a limit. Goroutines exist for attempts in flight (and a while longer, to
// be used again) and for the engine itself, not for destinations.
//
//	          Reserve, Dispatch                    Claim
//	ingest ───────────────────► lane ◄───────────────────── store
//	                             │ next: circuit, pace, rate, cool-down, quiet hours
//	                             ▼
//	                          attempt ──► RetryPolicy.Decide ──► Settle
//	                             ▲                                 │ pending: due later
//	                             └────────── agenda ◄──────────────┘
//
// A lane that overflowed takes nothing from ingest until it has caught up with the
// store, which keeps deliveries roughly in the order of their acceptance. In a lane the
// connections take turns, and where memory is scarce the projects share it.
//
// How much a destination gets follows what it does with it. The pace (package pace) has
// fewer attempts in flight where it throttles or gets slow. The circuit (hook.Circuit)
// opens where it fails: then nothing is attempted, what is in hand goes back to the
// store as held, and so does, part by part and beside everything else, what waits there
// (see shift). A probe after a while shows whether it works again; then what is held is
// released in the same way, while a ramp already delivers it. Circuits survive a restart.
//
// Every delivery in hand is under a lease that lasts longer than an attempt may, and
// that is renewed while the delivery is in hand. A delivery that is in hand is never
// taken twice. Of those with an order key the store hands out one at a time; when it has
// ended, the lane looks for the next one.
//
// What is held stays in the store until somebody releases it. A Resumer does that for
// what was held a moment too late, when nobody was left to release it.
//
// The package does not know how a destination is spoken to (package destination) or
// by which door an event came.
package deliver
