// Package destination attempts one delivery: a concrete Sender does what all kinds of
// destination have in common (time limit, caps, masking of credentials, the outcome
// and its wording) over a small Driver that speaks one protocol.
//
// It does not decide when an attempt is made or what follows from it: package deliver
// does, with the retry rules of package hook. Package destinationtest holds a driver
// to its contract.
package destination
