package database

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes a file's contents durable, as cheaply as the system can.
func datasync(file *os.File) error { return unix.Fdatasync(int(file.Fd())) }
