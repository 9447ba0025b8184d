package config

import (
	"slices"
	"strings"

	"malote.dev/malote/internal/strict"
)

// envPrefix begins the names of the program's variables.
const envPrefix = "MALOTE_"

// Unknown is a variable of the environment that has this program's prefix and is no
// setting of it.
type Unknown struct {
	Name    string
	Nearest string // the variable that was probably meant; "" when none is near
}

// UnknownVariables returns the variables of an environment, as os.Environ returns it,
// that look like settings and are none, by name. They are no mistakes: a flow file may
// refer to them, and another version may know them.
func UnknownVariables(environ []string) []Unknown {
	var known []string
	for _, field := range Fields() {
		known = append(known, field.Env)
	}
	var found []Unknown
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !slices.Contains(known, name) {
			found = append(found, Unknown{Name: name, Nearest: strict.Nearest(name, known)})
		}
	}
	slices.SortFunc(found, func(a, b Unknown) int { return strings.Compare(a.Name, b.Name) })
	return found
}
