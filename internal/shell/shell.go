// Package shell is what the commands of the program share: how they find their settings
// and the server, how they say what was called wrongly, and how they write for people, in
// tables and lines, and for programs, in JSON.
package shell

import (
	"io"
	"time"
)

// Shell is what a command needs from outside; tests put their own in its place.
type Shell struct {
	In        io.Reader
	Out, Err  io.Writer
	LookupEnv func(name string) (string, bool)
	Environ   func() []string // all of it, as os.Environ returns it
	ReadFile  func(name string) ([]byte, error)
	Now       func() time.Time
	Zone      *time.Location // of the person, for times in tables and flags
	Colored   bool           // the output is a terminal
	Asks      bool           // the input is one, so that somebody is there to answer
	Version   string
	JSON      bool // output is for programs: the flag --json

	given map[string][]string // settings that were given as flags, by key
}
