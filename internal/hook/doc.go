// Package hook is the domain of Malote: the nouns that an event meets on its way
// (project, source, event, connection, destination, delivery, attempt), their ids,
// states and rules, and the kinds of error that every other package speaks in.
//
// It is pure: no network, no database, no clock. What depends on time takes the
// time as an argument. It imports nothing but the standard library.
package hook
