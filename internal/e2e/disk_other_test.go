//go:build !linux

package e2e

import "testing"

type limitedDisk struct{ dir string }

func smallDisk(t *testing.T) *limitedDisk {
	t.Helper()
	t.Skip("a small file system is only made on Linux")
	return nil
}

func (*limitedDisk) grow(*testing.T) {}
