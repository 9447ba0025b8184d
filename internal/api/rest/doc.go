// Package rest serves a table of routes as an HTTP API: it checks who calls and
// whether they may, reads parameters, answers in one form, remembers the answers to
// idempotent requests, and generates the OpenAPI description from the same table, so
// that none of these can disagree.
//
// adapter.go, schema.go and problem.go are the only files of the program that name the
// library which does the generic part; handlers are plain functions from a struct to a
// struct.
package rest
