//go:build !linux

package vfs

import "os"

// datasync is os.File.Sync, which on Darwin asks the drive to empty its cache (F_FULLFSYNC); a plain
// fsync does not there.
func datasync(f *os.File) error { return f.Sync() }
