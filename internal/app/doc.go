// Package app is the composition root: the only place that knows a backend and a
// driver by name. It builds every part from the settings, runs them together, and
// stops them in order: what takes requests first, what others build on last.
package app
