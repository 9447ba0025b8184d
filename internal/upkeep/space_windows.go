package upkeep

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// SpaceOf returns a function that reads the room on the disk that holds dir.
func SpaceOf(dir string) func() (Space, error) {
	return func() (Space, error) {
		name, err := windows.UTF16PtrFromString(dir)
		if err != nil {
			return Space{}, fmt.Errorf("reading the file system of %s: %w", dir, err)
		}
		var free, total, whole uint64
		if err := windows.GetDiskFreeSpaceEx(name, &free, &total, &whole); err != nil {
			return Space{}, fmt.Errorf("reading the file system of %s: %w", dir, err)
		}
		return Space{Free: int64(free), Total: int64(total)}, nil
	}
}
