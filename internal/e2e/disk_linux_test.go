package e2e

import (
	"testing"

	"golang.org/x/sys/unix"
)

// limitedDisk is a file system in memory with little room.
type limitedDisk struct{ dir string }

// smallDisk mounts a small file system, and skips the test where that is not allowed.
func smallDisk(t *testing.T) *limitedDisk {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("a file system can only be mounted by root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return &limitedDisk{dir: dir}
}

// grow gives the file system more room.
func (d *limitedDisk) grow(t *testing.T) {
	t.Helper()
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, "size=256m"); err != nil {
		t.Fatal(err)
	}
}
