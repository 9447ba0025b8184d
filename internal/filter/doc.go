// Package filter decides by expressions: which events a connection takes, and what
// text stands for an event's type, key or identity.
//
// Expressions are CEL (https://cel.dev) over four variables: data (the body: JSON or
// a form), event (id, type, key, source, receivedAt), headers (names in lower case)
// and query. Bodies are foreign bytes. They are checked once per event and then read
// field by field where an expression points; nothing decodes the whole. An expression
// cannot run for long: what it may cost is bounded in steps and in bytes read, so that
// its answer depends on the event alone and never on how busy the machine is.
package filter
