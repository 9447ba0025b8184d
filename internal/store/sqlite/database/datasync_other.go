//go:build !linux

package database

import "os"

// datasync makes a file's contents durable.
func datasync(file *os.File) error { return file.Sync() }
