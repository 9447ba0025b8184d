//go:build unix

package upkeep

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SpaceOf returns a function that reads the room on the disk that holds dir.
func SpaceOf(dir string) func() (Space, error) {
	return func() (Space, error) {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			return Space{}, fmt.Errorf("reading the file system of %s: %w", dir, err)
		}
		block := int64(fs.Bsize) //nolint:unconvert // its type differs between systems
		return Space{Free: int64(fs.Bavail) * block, Total: int64(fs.Blocks) * block}, nil
	}
}
