// Package vfs is the seam between datanode and a file system: small interfaces, and three things
// behind them. OS is the real one. Mem keeps everything in memory and can crash: what was not synced
// is lost, kept or torn. Fault wraps another FS and makes chosen calls fail.
//
// Names are slash-separated paths. Errors satisfy errors.Is with io/fs's ErrNotExist and ErrExist.
// Every implementation is safe for concurrent use; whoever writes the same bytes of one file from
// two goroutines must order that himself.
package vfs

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// FS is a file system. Changes to names (Create, Remove, Rename) survive a crash only after SyncDir
// of the folder they happened in.
type FS interface {
	// Create makes a new empty file, open for reading and writing. It fails with fs.ErrExist when
	// the name is taken, so that nothing is ever overwritten by accident.
	Create(name string) (File, error)
	// OpenRW opens an existing file for reading and writing.
	OpenRW(name string) (File, error)
	// OpenRead opens an existing file for reading.
	OpenRead(name string) (File, error)
	// OpenDirect opens an existing file for reading and writing past the system's cache. The position, the length and the
	// place in memory of each read and write must be multiples of align, else it fails with EINVAL. What is written is
	// seen by way of other handles, and is durable after Sync of any handle. Where the file system does not say that it
	// does this the error is errors.ErrUnsupported.
	OpenDirect(name string) (f File, align int, err error)
	// Remove takes a file's name away. Handles that are open go on working.
	Remove(name string) error
	// Rename gives a file a new name, replacing what had it, in one step: after a crash the file
	// has the old name or the new one, never both or neither. Durable after SyncDir of both folders.
	Rename(from, to string) error
	// List returns the names in a folder, sorted, without the folder's own path.
	List(dir string) ([]string, error)
	// MkdirAll makes a folder and its missing parents. The folders are durable when it returns. Nobody but its owner
	// may look into the folder then, whatever was there.
	MkdirAll(dir string) error
	// Private keeps everybody but their owner out of a folder and all folders in it, whatever their modes were.
	Private(dir string) error
	Stat(name string) (Info, error)
	// Space says how full the disk of a folder is, errors.ErrUnsupported where nobody can tell.
	Space(dir string) (Space, error)
	// SyncDir makes the names in a folder durable.
	SyncDir(dir string) error
	// Lock takes an exclusive lock in the form of a file, to keep a second process out of a data
	// folder. It never waits: a lock that is held is ErrLocked. Closing releases it; so does the
	// death of the process.
	Lock(name string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the bytes and the size durable (not times and modes: fdatasync where there is
	// one). After a failed Sync nothing is known about any write since the last good one.
	Sync() error
	Truncate(size int64) error
	// Allocate grows the file to size and has the disk set room aside for all of it. When it fails the file may have
	// grown by a part.
	Allocate(size int64) error
	// Punch makes n bytes from off on read as zeros, as far as the file has them, and gives the disk back the whole blocks
	// among them. The size stays. It is durable after Sync. The error is errors.ErrUnsupported, and nothing has changed,
	// where the file system cannot do that, or takes nothing back from it.
	Punch(off, n int64) error
	Size() (int64, error)
}

// Space is how full a disk is.
type Space struct {
	FreeBytes  uint64 // that this process may still take
	TotalBytes uint64
	Kind       string // of file system: ext4, xfs, btrfs or fuse; empty: another, or not known
}

// Info is what Stat returns.
type Info struct {
	SizeBytes int64
	DiskBytes int64 // what the file takes on the disk: less than its size where it has been punched; SizeBytes elsewhere
	IsDir     bool
	Modified  time.Time // when it was last written or cut; zero where nobody can tell
}

// ErrLocked is returned by Lock when another process, or another holder in this one, has the lock.
var ErrLocked = errors.New("locked by another process")

// IsNoSpace reports whether err says that the disk, or the user's share of it, is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
