// Package flow is the catalogue as files: it reads flow files strictly, plans the
// changes that make a catalogue what they say, and writes a catalogue out as such a
// file. Secrets come from the environment or from files of their own, and are never
// written out.
package flow
