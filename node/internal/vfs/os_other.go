//go:build !linux

package vfs

import (
	"errors"
	"os"
)

// datasync is os.File.Sync, which on Darwin asks the drive to empty its cache (F_FULLFSYNC); a plain
// fsync does not there.
func datasync(f *os.File) error { return f.Sync() }

func allocate(f *os.File, size int64) error { return zeros(f, size) }

func punch(osFile, int64, int64) error { return errors.ErrUnsupported }

// OpenDirect implements FS.
func (OS) OpenDirect(string) (File, int, error) { return nil, 0, errors.ErrUnsupported }

// Space implements FS.
func (OS) Space(string) (Space, error) { return Space{}, errors.ErrUnsupported }

// Passing is f for reading it once; elsewhere than on Linux, f itself.
func Passing(f File) File { return f }

// FromDisk is f for reading what the disk has; elsewhere than on Linux, f itself.
func FromDisk(f File) File { return f }
