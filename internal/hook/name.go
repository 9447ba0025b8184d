package hook

import (
	"fmt"
	"strings"
)

// MaxName is the greatest length of a noun's name in bytes.
const MaxName = 64

// CheckName reports why a text cannot name a source, destination or connection.
// Names stand in URLs and files, and must not look like ids.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a name is needed: use up to %d letters, digits, '-', '_' and '.'", MaxName)
	case len(name) > MaxName:
		return fmt.Errorf("the name is %d characters long: %d is the most", len(name), MaxName)
	case len(name) == 4+idBodyLength && strings.Contains("prj_src_evt_con_dst_dlv_att_rfd_tok_", name[:4]):
		return fmt.Errorf("the name %q looks like an id: choose another one", name)
	}
	for i := range len(name) {
		c := name[i]
		inside := i > 0 && (c == '-' || c == '_' || c == '.')
		if !inside && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return fmt.Errorf("%q cannot be a name: use up to %d letters, digits, '-', '_' and '.', a letter or digit first", name, MaxName)
		}
	}
	return nil
}
