// Package api serves the management and sending API under /api/v1, its description
// (/openapi.json, /docs) and the pages of the user interface.
//
// Every route is a value in one table (table.go) with its role, its bodies and its
// handler; the table generates the router, the checks before each handler and the
// OpenAPI document, so that none of them can disagree. Handlers know nothing of the
// library that does this: adapter.go, schema.go and problem.go are the only files
// that name it.
package api
