// Package replay is the engine that delivers a chosen part of the log once more: it
// says beforehand what that would mean, makes the deliveries at a rate, shows how far
// it is, and stops by itself when too much of it fails. It hands its deliveries to the
// store, from where the delivery engine takes them like any others.
package replay
