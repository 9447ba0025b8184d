package database

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store"
)

// lockFile is locked for as long as a process uses the data folder. The lock is the
// kernel's: it ends with the process, however that ends, and leaves nothing to clean.
const lockFile = "lock"

// Lock takes the folder for this process, until the file is closed. When another
// process has it, the error is store.ErrLocked.
func Lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, FileMode)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = errors.Join(err, file.Close())
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, hook.Errorf(hook.KindConflict,
				"%w: stop the other one, or choose another folder than %s with --data", store.ErrLocked, dir)
		}
		return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
	}
	return file, nil
}

// Locked reports whether some process holds the folder. It takes the lock for a
// moment when nobody does.
func Locked(dir string) (bool, error) {
	file, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the lock: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	held := errors.Is(err, unix.EWOULDBLOCK)
	if held {
		err = nil
	}
	return held, errors.Join(err, file.Close())
}
