package hook

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "shop", "orders-to-erp", "v1.2_x", "7", "src_x", strings.Repeat("n", MaxName)} {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
	for _, name := range []string{"", "-a", ".a", "a b", "a/b", "é", "a%", "src_01h2xcejqtf2n", strings.Repeat("n", MaxName+1)} {
		if CheckName(name) == nil {
			t.Errorf("CheckName(%q) accepts it", name)
		}
	}
}
