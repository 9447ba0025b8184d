// Package route knows where events go: an immutable snapshot of the catalogue with
// everything compiled that the way of an event needs (how to verify, where type, key
// and identity are, which connections match), behind an atomic pointer. A change of the
// catalogue builds a new snapshot; matching never touches the database.
package route
