package flow

import _ "embed"

// schema is generated from the Go types and their comments; a test keeps it so.
//
//go:embed flow.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of flow files, for editors. It says
// what keys there are and what kind of value each takes; Parse also checks what the
// values mean.
func Schema() []byte { return append([]byte(nil), schema...) }
