// Package interop holds Malote's signatures to libraries that others wrote: what the
// providers' official Go and npm libraries accept, Malote accepts; what they refuse,
// it refuses; and what Malote signs, they verify. It is a module of its own so that
// their dependencies stay out of the product's.
//
// Run it with scripts/interop.sh, which installs the pinned npm packages first.
package interop
