// Package api is the management and sending API: a table of routes (table.go) with
// their roles, bodies and handlers, over the contracts of store, router and engines.
// Package rest serves the table; body reads what callers send.
package api
