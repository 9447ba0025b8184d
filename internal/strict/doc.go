// Package strict reads YAML that people write into Go values, and says exactly what
// is wrong where: every problem has a file, a line, a column, a sentence, and, for a
// misspelt name, the nearest known one. The shape of a value is that of its JSON
// form, taken from the json tags, so that one struct serves files, API and store.
//
// A document is foreign input: its size, depth and number of nodes (aliases counted
// each time they are used) are bounded.
package strict
